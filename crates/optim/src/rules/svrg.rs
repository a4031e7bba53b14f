//! SVRG: stochastic gradients corrected by those of an older point, whose full gradient is known. Johnson & Zhang 2013,
//! <https://papers.nips.cc/paper/4937>.
//! ```text
//! every so often:  θ̃ ← θ,  μ ← ∇f(θ̃) over all rows
//! θ ← θ − η (g_B(θ) − g_B(θ̃) + μ)        B: the rows of the batch
//! ```
//! For strongly convex sums (linear models with l2), where a constant rate then converges linearly; SGD's noise would not go
//! away. 2 numbers of memory a parameter (θ̃, μ), 3 gradient passes for one over the data. θ̃ is the last iterate (option I),
//! taken anew every `every` steps, once a pass where that is 0 (the paper: every two). With row weights w and N rows of total
//! weight W, a batch's sum counts N/(|B| W): unbiased for rows drawn evenly. A network's dropout and batch normalisation make no
//! fixed sum: their noise stays. The l2 penalty is exact and not part of the noise; l1 is a proximal step at the rate η (Xiao &
//! Zhang 2014, <https://arxiv.org/abs/1403.4699>). PyTorch, optax and Keras do not have it. Rate: 1/(10 L) in the theory, L the
//! largest curvature of a row; 1/(3 L) is common.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Buffer, Float, Memory, Needs, Real, StepError, Tensor};

use super::{Decay, Entry, Kind, Rate, Room, USUAL, Values};
use crate::about::about;
use crate::arithmetic::proximal;
use crate::chain::{copies, visit_copies};
use crate::method::{Done, Method, Step};
use crate::trace::{Setting, Tracer};
use crate::vector::fuse;
use crate::whole::{Elsewhere, count, finite, keep, mark, scalar};

/// The entry.
pub(super) static SVRG: Entry = Entry {
    name: "svrg",
    summary: "SGD whose noise goes away: corrected by an older point's gradients; full gradient once a pass",
    source: "Johnson & Zhang 2013",
    about: about!("svrg.rs"),
    lr: 0.01,
    hyper: &[Hyper::new("every", 0.0, Range::NON_NEGATIVE, "steps between two full gradients; 0 is a pass")],
    decay: Decay::Coupled,
    kind: Kind::Whole,
    make: (make::<f32>, make::<f64>),
    rate: Rate::RowCurvature,
    falls: false,
    unsigned: Some("compares gradients of several points, and sign(θ) is that of one"),
    ..USUAL
};

struct Svrg<F: Float> {
    every: u64,
    /// Steps since θ̃ was taken; 0 takes it.
    age: u64,
    /// Total weight of all rows.
    weight: f64,
    /// θ̃.
    anchor: Vec<Buffer<F>>,
    /// μ.
    mean: Vec<Buffer<F>>,
    there: Elsewhere<F>,
}

fn make<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    Box::new(Svrg {
        every: v.get("every") as u64,
        age: 0,
        weight: 0.0,
        anchor: copies(room.tensors),
        mean: copies(room.tensors),
        there: Elsewhere::new(),
    })
}

/// What a batch's sum of gradients counts in the mean over all rows, and how many batches make a pass.
pub(super) fn share<F: Float>(
    step: &Step<'_, '_, F>,
    rule: &'static str,
    weight: f64,
) -> Result<(f64, u64), StepError> {
    let rows = step.oracle.rows().filter(|rows| !rows.is_empty()).zip(step.oracle.count());
    let (rows, count) = rows.ok_or(StepError::NoOracle { rule, what: "the places of the batch's rows" })?;
    Ok((count as f64 / (rows.len() as f64 * weight), count.div_ceil(rows.len()).max(1) as u64))
}

impl<F: Float> Method<F> for Svrg<F> {
    fn needs(&self) -> Needs {
        Needs { reevaluation: true, rows: true, ..Needs::default() }
    }

    fn proximal(&self) -> bool {
        true
    }

    fn trace(&self, page: &mut Tracer, setting: &Setting) {
        page.say("every so often: anchor ← θ, mean ← the mean gradient of all rows there");
        page.say("older ← the batch's sum of gradients at the anchor; g is the same at θ");
        page.say("c ← N/(|B|·W): N rows weigh W together, the batch has |B|");
        page.slot("anchor");
        let (older, mean) = (page.each("older"), page.slot("mean"));
        page.change_g(corrected(page.scalar("c"), page.g(), older, mean));
        trace_descent(page, setting);
    }

    fn step(&mut self, step: &mut Step<'_, '_, F>) -> Result<Done, StepError> {
        // Known to be possible before anything changes.
        let (_, pass) = share(step, SVRG.name, 1.0)?;
        if self.age == 0 {
            self.there.set(step, |_, theta, to| to.copy_from_slice(theta));
            self.weight = self.there.full_gradient(step, SVRG.name)?.weight;
            let scale = F::from_f64(1.0 / self.weight);
            for ((part, anchor), mean) in step.parts.iter_mut().zip(&mut self.anchor).zip(&mut self.mean) {
                anchor.copy_from_slice(part.theta());
                let sum = self.there.grad_mut(part.tensor);
                crate::vector::each(step.threads, mean, sum, |mean, sum| {
                    mean.iter_mut().zip(sum).for_each(|(mean, sum)| *mean = *sum * scale);
                });
            }
        }
        let (counts, _) = share(step, SVRG.name, self.weight)?;
        let anchor = &self.anchor;
        self.there.set(step, |nth, _, to| to.copy_from_slice(&anchor[nth]));
        self.there.gradient(step, SVRG.name)?;
        let counts = F::from_f64(counts);
        for (part, mean) in step.parts.iter_mut().zip(&mut self.mean) {
            let older = self.there.grad_mut(part.tensor);
            let rows = [([part.grad(), &mut mean[..], older], ())];
            let [] = fuse(step.threads, rows, |[g, mean, older], (), []| {
                for ((g, mean), older) in g.iter_mut().zip(mean).zip(older) {
                    *g = corrected(counts, *g, *older, *mean);
                }
            });
        }
        step.scale = 1.0;
        let period = if self.every == 0 { pass } else { self.every };
        self.age = if self.age + 1 < period { self.age + 1 } else { 0 };
        descend(step, SVRG.name)
    }

    fn visit_state(&mut self, tensors: &[&Tensor], visit: &mut dyn FnMut(&str, Memory<'_>)) {
        count(visit, "age", &mut self.age);
        scalar(visit, "weight", &mut self.weight);
        visit_copies("anchor", &mut self.anchor, tensors, visit);
        visit_copies("mean", &mut self.mean, tensors, visit);
    }
}

/// θ − η g.
#[inline(always)]
pub(super) fn downhill<F: Real>(theta: F, rate: F, g: F) -> F {
    theta - rate * g
}

/// A batch's gradient, corrected: what it is here less what it was at the older point, plus the mean there.
#[inline(always)]
fn corrected<F: Real>(counts: F, g: F, older: F, mean: F) -> F {
    counts * (g - older) + mean
}

/// Writes down [`descend`] on the gradient that was corrected.
pub(super) fn trace_descent(page: &mut Tracer, setting: &Setting) {
    page.couple(setting, true);
    page.step_to(downhill(page.theta(), page.lr(), page.g()));
    page.shrink(page.lr(), setting.terms);
}

/// θ ← θ − η g with coupled l2 in g, then the proximal step at the rate η.
pub(super) fn descend<F: Float>(step: &mut Step<'_, '_, F>, rule: &'static str) -> Result<Done, StepError> {
    let l1 = std::mem::take(&mut step.at.penalty.l1);
    let l2 = std::mem::take(&mut step.terms.proximal.l2);
    step.settle(rule)?;
    let lr = F::from_f64(step.lr);
    let rows = step.parts.iter_mut().map(|part| {
        let by = if part.tensor.kind.is_penalised() { (l1, l2) } else { (0.0, 0.0) };
        let (theta, g) = part.both();
        ([theta, g], (F::from_f64(by.0), F::from_f64(by.1)))
    });
    let [marked] = fuse(step.threads, rows, |[theta, g], (l1, l2), [marks]| {
        for ((theta, g), m) in theta.iter_mut().zip(g).zip(marks) {
            let next = downhill(*theta, lr, *g);
            let fine = finite([next]);
            *theta = keep(fine, proximal(next, lr, l1, l2), *theta);
            (*g, *m) = mark(fine);
        }
    });
    Ok(Done { bad: step.consumed(marked), ..Done::default() })
}
