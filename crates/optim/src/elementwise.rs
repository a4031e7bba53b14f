//! [`Elementwise`]: an elementwise rule with its memory, as a [`Method`] of a chain.

use thalweg_core::{Float, Memory, StepError, Tensor};

use crate::driver::{Span, Sweep, sweep};
use crate::format::{Format, View};
use crate::kept::Kept;
use crate::method::{Done, Method, Step};
use crate::rows::ByRow;
use crate::rule::{Rule, When};
use crate::trace::{Setting, Tracer};

/// A rule over the tensors of a chain.
pub(crate) struct Elementwise<R: Rule<S>, F: Float, const S: usize> {
    pub with: R::With<f64>,
    pub scalars: Vec<f64>,
    pub slots: [Kept<F>; S],
    /// The coefficients of several steps, for rows that stay behind.
    pub coefs: Vec<R::Coef<F>>,
}

impl<R: Rule<S>, F: Float, const S: usize> Elementwise<R, F, S> {
    pub fn new(rule: R, format: Format, tensors: &[&Tensor]) -> Self {
        Self {
            with: R::with(&rule.values()),
            scalars: R::SCALARS.iter().map(|s| s.1).collect(),
            slots: std::array::from_fn(|k| Kept::new(R::STATE[k], rule.initial(k), format, tensors)),
            coefs: vec![],
        }
    }
}

impl<R: Rule<S>, F: Float, const S: usize> Method<F> for Elementwise<R, F, S>
where
    R::With<f64>: Send,
{
    fn trace(&self, page: &mut Tracer, setting: &Setting) {
        page.couple(setting, true);
        let (coef, u, new) = page.rule::<R, S>();
        page.move_by(u, setting);
        page.shrink(R::metric(&coef, new), setting.terms);
    }

    fn elementwise(&self) -> bool {
        true
    }

    fn proximal(&self) -> bool {
        R::PROXIMAL
    }

    fn by_row(&mut self) -> Option<&mut dyn ByRow<F>> {
        Some(self)
    }

    fn step(&mut self, step: &mut Step<'_, '_, F>) -> Result<Done, StepError> {
        let around: Vec<_> = step.parts.iter().map(|p| step.around(p.tensor)).collect();
        if !R::PROXIMAL && around.iter().any(|a| a.l1 > 0.0 || a.l2 > 0.0) {
            return Err(StepError::NoProximal { rule: R::NAME });
        }
        let when = When { t: step.t as f64, lr: step.lr };
        let coef = R::cast::<F>(R::coef(&self.with, when, &mut self.scalars));
        let mut views = self.slots.each_mut().map(|kept| kept.views().into_iter());
        let mut spans = Vec::with_capacity(step.parts.len());
        let mut ends = Vec::with_capacity(step.parts.len());
        let mut end = 0;
        for (part, around) in step.parts.iter_mut().zip(around) {
            end += part.theta.len();
            ends.push((end, part.index));
            let mut state = views.each_mut().map(|v| v.next().expect("one view for each tensor"));
            if step.t == 1 {
                for (_, view) in R::STATE.iter().zip(&mut state).filter(|(slot, _)| slot.from_theta) {
                    start_at(part.master.as_deref(), &part.theta, view);
                }
            }
            spans.push(Span {
                theta: part.theta.reborrow(),
                master: part.master.as_deref_mut(),
                grad: part.grad.reborrow(),
                state,
                average: part.average.as_deref_mut(),
                around,
                place: part.place,
            });
        }
        let how = Sweep { threads: step.threads, seed: step.seed, step: step.t, squares: step.squares };
        let swept = sweep::<R, F, S>(&coef, spans, how)?;
        let bad = swept.bad.map(|nth| {
            let which = ends.partition_point(|&(end, _)| end <= nth);
            let before = if which == 0 { 0 } else { ends[which - 1].0 };
            (ends[which].1, nth - before)
        });
        Ok(Done { bad, norm: step.squares.then(|| swept.squares.sqrt()), lr: None })
    }

    fn evaluation(&mut self, nth: usize, _theta: &[F], out: &mut [F]) -> bool {
        let Some(k) = R::EVALUATES else { return false };
        let view = self.slots[k].views().into_iter().nth(nth);
        let numbers = view.and_then(View::own).expect("weights to evaluate are kept whole");
        out.copy_from_slice(numbers);
        true
    }

    fn visit_state(&mut self, tensors: &[&Tensor], visit: &mut dyn FnMut(&str, Memory<'_>)) {
        for ((name, _), value) in R::SCALARS.iter().zip(&mut self.scalars) {
            visit(name, Memory::Scalar(value));
        }
        for slot in &mut self.slots {
            slot.visit(tensors, visit);
        }
    }
}

/// θ into a slot that starts there; such slots are never compressed.
pub(crate) fn start_at<F: Float>(master: Option<&[F]>, theta: &View<'_, F>, slot: &mut View<'_, F>) {
    let View::Own(slot) = slot else { unreachable!("a slot that starts at θ is kept whole") };
    match (master, theta) {
        (Some(master), _) => slot.copy_from_slice(master),
        (None, View::Own(theta)) => slot.copy_from_slice(theta),
        (None, View::Bf16(theta)) => crate::format::decode_bf16(theta, slot),
        (None, View::Block8 { codes, scales, sign }) => {
            crate::format::decode_block8(codes, scales, *sign, slot);
        }
    }
}
