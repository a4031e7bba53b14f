//! Gradient accumulation: the gradients of n steps of the loop make one step of the rule, as one batch of all their rows would.
//! ```text
//! G ← G + g, W ← W + w;   at the n-th:  step with G/W,  G, W ← 0
//! ```
//! Gradients are weighted sums, so windows of batches of any size and weight are right: the mean is over rows, not over batches.
//! (PyTorch's usual loop divides each batch's mean by n, which is another gradient when batches differ in size.)
//!
//! It acts first, wherever it stands in its chain; other groups go on meanwhile. Schedules count the loop's steps, the rule its own.
//! At the end of an epoch the loop takes the step with what there is. G is saved with the rest of the memory.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Buffer, Float, Memory, Tensor, Threads, Total};

use super::{Make, Stage, copies, visit_copies};
use crate::about::about;
use crate::method::Part;

/// One step of the rule for n of the loop.
pub static ACCUMULATE: Stage = Stage {
    name: "accumulate",
    summary: "one step for the sum of n steps' gradients: n times the batch",
    about: about!("accumulate.rs"),
    hyper: &[Hyper::required("n", Range::COUNT, "gradients in a step; an epoch's last step may have fewer")],
    before: true,
    make: Make::Accumulate,
};

#[derive(Debug)]
pub(crate) struct Accumulate<F> {
    n: u64,
    /// How many gradients wait.
    pub seen: u64,
    total: Total,
    sum: Vec<Buffer<F>>,
}

impl<F: Float> Accumulate<F> {
    pub fn new(n: u64, tensors: &[&Tensor]) -> Self {
        Self { n, seen: 0, total: Total::default(), sum: copies(tensors) }
    }

    /// Takes a gradient, to be multiplied by `scale`; what all weigh together, once there are enough of them or `now`: then the
    /// parts hold their sum.
    pub fn take(
        &mut self,
        parts: &mut [Part<'_, F>],
        total: Total,
        scale: f64,
        now: bool,
        threads: &Threads,
    ) -> Option<Total> {
        self.seen += u64::from(total.weight > 0.0);
        self.total += total;
        let (enough, scale) = (self.seen >= self.n || now, F::from_f64(scale));
        for (sum, part) in self.sum.iter_mut().zip(parts) {
            crate::vector::each(threads, sum, part.grad(), |sum, grad| {
                for (sum, g) in sum.iter_mut().zip(grad) {
                    let all = *sum + *g * scale;
                    (*sum, *g) = if enough { (F::zero(), all) } else { (all, F::zero()) };
                }
            });
        }
        enough.then(|| {
            self.seen = 0;
            std::mem::take(&mut self.total)
        })
    }

    pub fn visit_state(&mut self, tensors: &[&Tensor], visit: &mut dyn FnMut(&str, Memory<'_>)) {
        visit("accumulated", Memory::Count(&mut self.seen));
        visit("accumulated.loss", Memory::Scalar(&mut self.total.loss));
        visit("accumulated.weight", Memory::Scalar(&mut self.total.weight));
        visit_copies("accumulated", &mut self.sum, tensors, visit);
    }
}
