//! SAGA: stochastic gradients corrected by the last one of the same row. Defazio, Bach & Lacoste-Julien 2014,
//! <https://arxiv.org/abs/1407.0202>.
//! ```text
//! θ ← θ − η ((N/(|B| W)) Σ_{i∈B} (gᵢ(θ) − αᵢ) + (1/W) Σᵢ αᵢ)        αᵢ ← gᵢ(θ) for i ∈ B
//! ```
//! For strongly convex sums (linear models with l2): a constant rate converges linearly, without SVRG's full passes. gᵢ is row i's
//! weighted gradient, N and W are the number of rows and their total weight. Memory: N numbers a parameter, a gradient for each
//! row, up to 8 GiB in all; SVRG needs 2. The first step takes every row's gradient (scikit-learn's `saga` starts from zeros and
//! counts the rows that it has seen). A network's dropout and batch normalisation make no fixed sum: their noise stays. The l2
//! penalty is exact and not part of the noise; l1 is a proximal step at the rate η, as in the paper and in scikit-learn. PyTorch,
//! optax and Keras do not have it. Rate: 1/(3 L), L the largest curvature of a row.

use thalweg_core::{Buffer, Float, Memory, Needs, Real, StepError, Tensor};

use super::svrg::{descend, share, trace_descent};
use super::{Decay, Entry, Grown, Kind, Rate, Room, USUAL, Values};
use crate::about::about;
use crate::chain::{copies, visit_copies};
use crate::method::{Done, Method, Step};
use crate::trace::{Setting, Symbol, Tracer};
use crate::vector::fuse;
use crate::whole::{Elsewhere, count, scalar};

/// The most that the gradients of all rows may take; bytes.
const MOST: usize = 8 << 30;

/// The entry.
pub(super) static SAGA: Entry = Entry {
    name: "saga",
    summary: "SGD whose noise goes away: keeps the last gradient of every row",
    source: "Defazio, Bach & Lacoste-Julien 2014",
    about: about!("saga.rs"),
    lr: 0.01,
    hyper: &[],
    decay: Decay::Coupled,
    kind: Kind::Whole,
    make: (make::<f32>, make::<f64>),
    rate: Rate::RowCurvature,
    falls: false,
    unsigned: Some("compares gradients of several points, and sign(θ) is that of one"),
    memory: Some(|_| Grown { numbers: None, text: "N + 1, a gradient for each of the N rows and their sum" }),
    ..USUAL
};

/// The sum of a batch's changes, corrected by the mean of all gradients that are kept.
#[inline(always)]
fn corrected<F: Real>(counts: F, changes: F, mean: F, sum: F) -> F {
    counts * changes + mean * sum
}

struct Saga<F: Float> {
    /// N; 0 before the first step.
    rows: u64,
    /// W.
    weight: f64,
    /// Σ αᵢ.
    sum: Vec<Buffer<F>>,
    /// αᵢ of every row, one after the other, tensor by tensor.
    table: Vec<Buffer<F>>,
    sizes: Vec<usize>,
    here: Elsewhere<F>,
}

fn make<F: Float>(_: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let sizes: Vec<usize> = room.tensors.iter().map(|t| t.len()).collect();
    Box::new(Saga {
        rows: 0,
        weight: 0.0,
        sum: copies(room.tensors),
        table: sizes.iter().map(|_| Buffer::zeros(0)).collect(),
        sizes,
        here: Elsewhere::new(),
    })
}

impl<F: Float> Saga<F> {
    /// What the gradients of `rows` rows take.
    fn bytes(&self, rows: usize) -> usize {
        self.sizes.iter().sum::<usize>().saturating_mul(rows).saturating_mul(F::BYTES)
    }

    /// Room for the gradients of `rows` rows.
    fn enlarge(&mut self, rows: u64) {
        self.rows = rows;
        self.table = self.sizes.iter().map(|n| Buffer::zeros(n * rows as usize)).collect();
    }

    /// Row i's gradient at θ takes the place of αᵢ in the table and in its sum; what changed is added to `g`, if there is one.
    fn take(&mut self, step: &mut Step<'_, '_, F>, row: usize, add: bool) -> Result<f64, StepError> {
        let weight = self.here.row_gradient(step, SAGA.name, row)?.weight;
        for (nth, part) in step.parts.iter_mut().enumerate() {
            let n = self.sizes[nth];
            let old = &mut self.table[nth][row * n..(row + 1) * n];
            let new = self.here.grad_mut(part.tensor);
            let rows = [([part.grad(), new, old, &mut self.sum[nth][..]], ())];
            let share = if add { F::one() } else { F::zero() };
            let [] = fuse(step.threads, rows, |[g, new, old, sum], (), []| {
                for (((g, new), old), sum) in g.iter_mut().zip(new).zip(old).zip(sum) {
                    let change = *new - *old;
                    *g += share * change;
                    *sum += change;
                    *old = *new;
                }
            });
        }
        Ok(weight)
    }
}

impl<F: Float> Method<F> for Saga<F> {
    fn needs(&self) -> Needs {
        Needs { rows: true, ..Needs::default() }
    }

    fn proximal(&self) -> bool {
        true
    }

    fn trace(&self, page: &mut Tracer, setting: &Setting) {
        page.say("changes ← Σ (gᵢ − αᵢ) over the rows i of the batch, gᵢ being row i's gradient at θ and αᵢ the one that was kept");
        page.say("c ← N/(|B|·W): N rows weigh W together, the batch has |B|; sum ← Σ αᵢ over all rows");
        let (changes, sum) = (page.each("changes"), page.slot("sum"));
        let mean = Symbol::one() / page.scalar("W");
        page.change_g(corrected(page.scalar("c"), changes, mean, sum));
        page.say("αᵢ ← gᵢ for the rows of the batch, and their sum with them");
        trace_descent(page, setting);
    }

    fn step(&mut self, step: &mut Step<'_, '_, F>) -> Result<Done, StepError> {
        share(step, SAGA.name, 1.0)?;
        self.here.set(step, |_, theta, to| to.copy_from_slice(theta));
        if self.rows == 0 {
            let rows = step.oracle.count().unwrap_or(0);
            if self.bytes(rows) > MOST {
                let why = "keeps a gradient for each row, and those of this many rows take more than 8 GiB; svrg keeps two numbers a parameter";
                return Err(StepError::Unsupported { rule: SAGA.name, why });
            }
            self.enlarge(rows as u64);
            self.weight = 0.0;
            for row in 0..rows {
                match self.take(step, row, false) {
                    Ok(weight) => self.weight += weight,
                    Err(e) => {
                        self.enlarge(0);
                        return Err(e);
                    }
                }
            }
        }
        let (counts, _) = share(step, SAGA.name, self.weight)?;
        let sums: Vec<Vec<F>> = self.sum.iter().map(|sum| sum.to_vec()).collect();
        step.clear_gradients();
        for row in step.oracle.rows().unwrap_or_default() {
            self.take(step, row, true)?;
        }
        let (counts, mean) = (F::from_f64(counts), F::from_f64(1.0 / self.weight));
        for (part, mut sum) in step.parts.iter_mut().zip(sums) {
            crate::vector::each(step.threads, part.grad(), &mut sum, |g, sum| {
                g.iter_mut().zip(sum).for_each(|(g, sum)| *g = corrected(counts, *g, mean, *sum));
            });
        }
        step.scale = 1.0;
        descend(step, SAGA.name)
    }

    fn visit_state(&mut self, tensors: &[&Tensor], visit: &mut dyn FnMut(&str, Memory<'_>)) {
        let mut rows = self.rows;
        if count(visit, "rows.length", &mut rows) && self.bytes(rows as usize) <= MOST {
            self.enlarge(rows);
        }
        scalar(visit, "weight", &mut self.weight);
        visit_copies("sum", &mut self.sum, tensors, visit);
        for (table, tensor) in self.table.iter_mut().zip(tensors) {
            visit(&format!("rows.{}", tensor.name.replace('/', "_")), F::memory(table));
        }
    }
}
