//! [`Assembled`]: the optimizer that a plan builds: chains over groups of tensors, one phase after the other.

use std::sync::Arc;

use thalweg_core::{
    At, Buffer, Float, Grads, Layout, Memory, Needs, Optimizer, Oracle, Params, Report, StepError, Tensor,
    Threads, Total,
};

use crate::chain::accumulate::Accumulate;
use crate::chain::clip::Clipped;
use crate::chain::penalty::{self, Terms};
use crate::driver::Gradient;
use crate::format::View;
use crate::guard::{Guard, Wishes};
use crate::method::{After, Before, Decay, Done, Method, Part, Step};
use crate::norm::norm;
use crate::oracles::{Frozen, Masked};
use crate::plan::{Plan, Setup};
use crate::rules::Build;
use crate::schedule::{Horizon, Schedule};

/// A stage before the rule, in the order in which they stand.
pub(crate) enum Early<F: Float> {
    /// Clipping of the global norm.
    Clip(f64),
    /// Clipping by value.
    ClipValue(f64),
    /// A pass over the gradients.
    Pass(Box<dyn Before<F>>),
}

/// One chain over its tensors.
pub(crate) struct Chain<F: Float> {
    /// Where it stands in names of its state: empty for the only chain.
    pub name: String,
    /// The rule's name.
    pub rule: &'static str,
    /// The numbers of its tensors in the layout, in order.
    pub tensors: Vec<usize>,
    pub lr: Schedule,
    pub horizon: Horizon,
    /// The loop's steps before its phase began.
    pub from: u64,
    pub decay: (f64, Decay),
    pub accumulate: Option<Accumulate<F>>,
    /// Its own penalties, beside the objective's.
    pub terms: Terms,
    pub wishes: Wishes,
    pub early: Vec<Early<F>>,
    pub method: Box<dyn Method<F>>,
    pub late: Vec<Box<dyn After<F>>>,
    pub ema: Option<f64>,
    /// The averaged copy over the whole layout. NaN: the average has not begun. It is state, so it is saved, and a first step
    /// that writes nothing cannot spoil it.
    pub average: Option<Buffer<F>>,
    /// Its own steps so far.
    pub t: u64,
}

/// An optimizer over flat parameters, as a [`Plan`] describes it.
pub(crate) struct Assembled<F: Build> {
    plan: Plan,
    expression: String,
    layout: Arc<Layout>,
    setup: Setup,
    phase: u64,
    chains: Vec<Chain<F>>,
    evaluated: Option<Buffer<F>>,
    guard: Guard<F>,
    /// The coordinates that stay 0.
    masked: Option<Vec<usize>>,
}

/// Parameters and gradients of a step, tensor by tensor.
pub(crate) struct Parts<'a, F: Float> {
    pub parts: Vec<Part<'a, F>>,
    pub total: Total,
}

impl<F: Build> Assembled<F> {
    /// A step, or a flush, over flat buffers.
    fn flat(
        &mut self,
        at: At,
        theta: &mut Params<F>,
        grads: &mut Grads<F>,
        oracle: &mut dyn Oracle<F>,
        flush: bool,
    ) -> Result<Report, StepError> {
        let lengths = [
            ("the parameter buffer", self.layout.buffer_len(), theta.flat().len()),
            ("the gradient", self.layout.trained_len(), grads.flat().len()),
        ];
        for (what, expected, found) in lengths {
            if found != expected {
                return Err(StepError::Length { what, expected, found });
            }
        }
        let total = if flush { Total::default() } else { grads.total };
        self.advance(at);
        self.zero_masked(grads.flat_mut());
        self.zero_masked(theta.flat_mut());
        self.keep_copy(theta.flat());
        let layout = Arc::clone(&self.layout);
        let mut parts = Vec::with_capacity(layout.trained().len());
        let (mut flat, frozen) = theta.flat_mut().split_at_mut(layout.trained_len());
        let mut grad = grads.flat_mut();
        let mut held = Frozen { oracle, layout: &layout, numbers: frozen, room: None };
        let oracle: &mut dyn Oracle<F> = if held.numbers.is_empty() { &mut *held.oracle } else { &mut held };
        let mut from = 0;
        for (index, tensor) in layout.trained().iter().enumerate() {
            let (skip, len) = (tensor.offset - from, tensor.len());
            parts.push(Part {
                index,
                tensor,
                theta: View::Own(take(&mut flat, skip, len)),
                master: None,
                grad: Gradient::Clear(take(&mut grad, skip, len)),
                average: None,
                place: tensor.offset as u64,
            });
            from = tensor.offset + len;
        }
        let report = self.step_parts(at, Parts { parts, total }, oracle, flush)?;
        if report.skipped {
            self.roll_back(theta.flat_mut());
        }
        self.zero_masked(theta.flat_mut());
        if report.non_finite.is_some() || report.skipped {
            grads.clear();
        }
        grads.total = Total::default();
        Ok(report)
    }

    pub fn new(plan: &Plan, layout: &Arc<Layout>, setup: &Setup) -> Self {
        let mut assembled = Self {
            plan: plan.clone(),
            expression: plan.to_string(),
            layout: Arc::clone(layout),
            setup: setup.clone(),
            phase: 0,
            chains: vec![],
            evaluated: None,
            guard: Guard::new(),
            masked: None,
        };
        assembled.enter(0);
        assembled
    }

    /// Starts a phase: its chains are new.
    fn enter(&mut self, phase: u64) {
        self.phase = phase;
        self.chains = self.plan.chains(phase as usize, &self.layout, &self.setup);
        self.chains.iter_mut().for_each(|chain| chain.begin_average(&self.layout));
        let memory = if self.chains.iter().any(|c| c.wishes.rollback.is_some()) {
            self.chains_memory().len()
        } else {
            0
        };
        self.guard.enter(self.chains.iter().map(|c| c.wishes), &self.layout, memory);
    }

    /// Enters the phase of a step.
    pub fn advance(&mut self, at: At) {
        while let Some(end) = self.plan.end_of(self.phase as usize, self.setup.horizon) {
            if at.step <= end {
                break;
            }
            self.enter(self.phase + 1);
        }
    }

    /// All memory of the chains, as bytes.
    fn chains_memory(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for chain in &mut self.chains {
            chain.visit(&self.layout, &mut |_, memory| bytes.extend(memory.to_bytes()));
        }
        bytes
    }

    /// Whether weights and memory may go back to a copy of them.
    pub fn rolls_back(&self) -> bool {
        self.guard.rolls_back()
    }

    /// Whether gradients and losses that are not finite are met by a policy.
    pub fn is_guarded(&self) -> bool {
        self.guard.stands()
    }

    /// Copies weights and memory, if it is time to.
    pub fn keep_copy(&mut self, theta: &[F]) {
        if self.guard.wants_copy() {
            let memory = self.chains_memory();
            self.guard.keep(theta, memory);
        }
    }

    /// Weights and memory become those of the copy, if there is one.
    pub fn roll_back(&mut self, theta: &mut [F]) {
        let Some(mut bytes) = self.guard.back(theta) else { return };
        for chain in &mut self.chains {
            chain.visit(&self.layout, &mut |_, mut memory| {
                let (piece, rest) = bytes.split_at(memory.to_bytes().len());
                memory.copy_from(piece);
                bytes = rest;
            });
        }
    }

    fn zero_masked(&self, numbers: &mut [F]) {
        self.masked.iter().flatten().for_each(|&i| numbers[i] = F::zero());
    }

    /// Whether every chain works coordinate by coordinate, so that parameters may be compressed and gradients borrowed.
    pub fn is_elementwise(&self) -> bool {
        self.chains.iter().all(|c| {
            c.method.elementwise()
                && c.late.is_empty()
                && c.accumulate.is_none()
                && !c.terms.passes()
                && c.early.iter().all(|e| !matches!(e, Early::Pass(_)))
        })
    }

    /// The first rule of this phase that goes by the loss.
    pub fn goes_by_loss(&self) -> Option<&'static str> {
        self.chains.iter().find(|c| c.needs().loss).map(|c| c.rule)
    }

    /// Whether gradients wait for a step.
    pub fn waits(&self) -> bool {
        self.chains.iter().any(|c| c.accumulate.as_ref().is_some_and(|a| a.seen > 0))
    }

    /// Whether gradients are read outside the sweep, for a norm: then they cannot be compressed.
    pub fn reads_gradients(&self) -> bool {
        let clips = |c: &Chain<F>| c.early.iter().any(|e| matches!(e, Early::Clip(_)));
        self.setup.check || self.guard.stands() || F::BYTES != 4 || self.chains.iter().any(clips)
    }

    /// Holds these places of the flat buffer at 0: the oracle's gradients there, and the weights to evaluate; θ and the given
    /// gradients are the caller's to see to.
    pub fn mask(&mut self, places: Option<Vec<usize>>) {
        self.masked = places;
    }

    /// One step over tensors wherever they lie; with `flush`, the steps for which gradients wait, and no others.
    pub fn step_parts(
        &mut self,
        at: At,
        parts: Parts<'_, F>,
        oracle: &mut dyn Oracle<F>,
        flush: bool,
    ) -> Result<Report, StepError> {
        let Some(places) = self.masked.take() else { return self.step_free(at, parts, oracle, flush) };
        let report = self.step_free(at, parts, &mut Masked { oracle, places: &places }, flush);
        self.masked = Some(places);
        report
    }

    fn step_free(
        &mut self,
        at: At,
        parts: Parts<'_, F>,
        oracle: &mut dyn Oracle<F>,
        flush: bool,
    ) -> Result<Report, StepError> {
        let Parts { parts, total } = parts;
        if !flush && (total.weight.is_nan() || total.weight <= 0.0) {
            return Err(StepError::NoWeight);
        }
        self.advance(at);
        let mut report = Report { lr: f64::NAN, ..Report::default() };
        let mut parts: Vec<Option<Part<'_, F>>> = parts.into_iter().map(Some).collect();
        let mut lots = Vec::with_capacity(self.chains.len());
        for chain in &self.chains {
            let lot: Vec<Part<'_, F>> = chain.tensors.iter().filter_map(|&i| parts[i].take()).collect();
            lots.push(lot);
        }
        let guarded = self.guard.stands();
        let checked = self.setup.check || guarded;
        let mut norms = vec![0.0; lots.len()];
        if checked && !flush {
            for (lot, found) in lots.iter().zip(&mut norms) {
                let grads: Vec<&[F]> = lot.iter().map(Part::gradient).collect();
                *found = norm(&grads, f64::INFINITY, &self.setup.threads);
                if found.is_finite() {
                    continue;
                }
                for part in lot {
                    if let Some(place) = part.gradient().iter().position(|g| !g.is_finite()) {
                        report.non_finite.get_or_insert(part.tensor.offset + place);
                    }
                }
            }
            if report.non_finite.is_some() || (guarded && !total.loss.is_finite()) {
                report.grad_norm = f64::NAN;
                report.lr = self.chains.first().map_or(f64::NAN, |c| self.guard.lr * c.rate(at));
                report.skipped = guarded && self.guard.bad();
                return Ok(report);
            }
        }
        let (mut total_norm, mut moved) = (0.0, false);
        for ((chain, mut lot), known) in self.chains.iter_mut().zip(lots).zip(norms) {
            let (mut total, mut scale, mut known) =
                (total, 1.0 / self.guard.scale(), checked.then_some(known));
            let whole = chain.take(&mut lot, total, scale, flush, &self.setup.threads)?;
            if let Some(whole) = whole {
                match whole {
                    Window::Waits => {
                        total_norm = libm::hypot(total_norm, known.unwrap_or(0.0) * scale / total.weight);
                        continue;
                    }
                    Window::Empty => continue,
                    Window::Full(all) => {
                        (total, scale) = (all, 1.0);
                        known = checked.then(|| {
                            let grads: Vec<&[F]> = lot.iter().map(Part::gradient).collect();
                            norm(&grads, f64::INFINITY, &self.setup.threads)
                        });
                    }
                }
            }
            let wanted = !checked && self.setup.norm;
            let now = Now { at, total, scale, lr: self.guard.lr, wanted, norm: known, clipped: None };
            let done = chain.step(now, lot, &self.layout, &self.setup, oracle, &mut report)?;
            moved = true;
            if report.lr.is_nan() {
                report.lr = done.lr.unwrap_or_else(|| self.guard.lr * chain.rate(at));
            }
            let norm = known.or(done.norm).unwrap_or(f64::NAN);
            total_norm = libm::hypot(total_norm, norm * scale / total.weight);
            if let Some((index, place)) = done.bad {
                report.non_finite.get_or_insert(self.layout.tensors()[index].offset + place);
            }
        }
        if report.lr.is_nan() {
            report.lr = self.chains.first().map_or(f64::NAN, |c| self.guard.lr * c.rate(at));
        }
        report.waiting = !moved;
        report.grad_norm = total_norm;
        if report.non_finite.is_some() && self.guard.rolls_back() {
            // A new value was not finite: some are written, and the copy undoes them.
            report.skipped = self.guard.bad();
        } else {
            self.guard.good();
        }
        Ok(report)
    }

    /// The weights to evaluate of each tensor into a buffer; `None` where all are θ itself.
    pub fn evaluated(&mut self, theta: &[F]) -> Option<&[F]> {
        let layout = Arc::clone(&self.layout);
        let tensors = layout.tensors();
        let mut any = false;
        let buffer = self.evaluated.get_or_insert_with(|| Buffer::zeros(layout.buffer_len()));
        for chain in &mut self.chains {
            for nth in 0..chain.tensors.len() {
                let range = tensors[chain.tensors[nth]].range();
                any |= chain.evaluated(nth, range.clone(), &theta[range.clone()], &mut buffer[range]);
            }
        }
        let buffer = self.evaluated.as_mut().filter(|_| any)?;
        self.masked.iter().flatten().for_each(|&i| buffer[i] = F::zero());
        let trained = layout.trained_len();
        buffer[trained..].copy_from_slice(&theta[trained..]);
        Some(&self.evaluated.as_ref()?[..])
    }
}

/// What a chain that accumulates does at a step.
enum Window {
    /// It waits for more.
    Waits,
    /// It has nothing to flush.
    Empty,
    /// The parts hold the sum of all gradients, and this is their total.
    Full(Total),
}

/// A step as a chain meets it.
pub(crate) struct Now {
    pub at: At,
    pub total: Total,
    /// The factor of gradients beside 1/weight.
    pub scale: f64,
    /// The factor of the learning rate.
    pub lr: f64,
    /// Whether the gradients' norm is wanted.
    pub wanted: bool,
    /// It, where it is known.
    pub norm: Option<f64>,
    /// What the clipping stages come to, where others than the chain's own tensors had a say in it.
    pub clipped: Option<Clipped>,
}

impl<F: Build> Chain<F> {
    /// What its rule and the stages before it ask of the loop.
    pub fn needs(&self) -> Needs {
        let early = self.early.iter().map(|early| match early {
            Early::Pass(before) => before.needs(),
            _ => Needs::default(),
        });
        early.fold(self.method.needs(), Needs::and)
    }

    /// The schedule's rate.
    pub fn rate(&self, at: At) -> f64 {
        self.lr.rate(at.step.saturating_sub(self.from), self.horizon)
    }

    /// The weights to evaluate of its `nth` tensor, which lies at `range`, into `out`; false where they are θ itself.
    pub fn evaluated(
        &mut self,
        nth: usize,
        range: std::ops::Range<usize>,
        theta: &[F],
        out: &mut [F],
    ) -> bool {
        let averaged = self.average.as_ref().map(|a| &a[range]);
        let averaged = averaged.filter(|a| a.first().is_some_and(|x| !x.to_f64().is_nan()));
        let late = self.late.iter().rev().filter(|_| self.t > 0).find_map(|l| l.evaluation(nth));
        match averaged.or(late) {
            Some(weights) => out.copy_from_slice(weights),
            None if self.t > 0 && self.method.evaluation(nth, theta, out) => {}
            None => {
                out.copy_from_slice(theta);
                return false;
            }
        }
        true
    }

    /// Starts the averaged copy, if one is kept: NaN until there is one.
    pub fn begin_average(&mut self, layout: &Layout) {
        self.average = self.ema.map(|_| {
            let mut buffer = Buffer::zeros(layout.trained_len());
            for &i in &self.tensors {
                buffer[layout.tensors()[i].range()].fill(F::NAN);
            }
            buffer
        });
    }

    /// Adds a gradient to those that wait; `None` for a chain that takes each as it comes.
    fn take(
        &mut self,
        parts: &mut [Part<'_, F>],
        total: Total,
        scale: f64,
        flush: bool,
        threads: &Threads,
    ) -> Result<Option<Window>, StepError> {
        let needs = self.needs();
        let Some(accumulate) = &mut self.accumulate else { return Ok(flush.then_some(Window::Empty)) };
        if needs.reevaluation || needs.rows || needs.curvature {
            let why = "takes no rule that looks at its batch again: it has only the last of several";
            return Err(StepError::Unsupported { rule: "accumulate", why });
        }
        if flush && accumulate.seen == 0 {
            return Ok(Some(Window::Empty));
        }
        let all = accumulate.take(parts, total, scale, flush, threads);
        Ok(Some(all.map_or(Window::Waits, Window::Full)))
    }

    pub fn step(
        &mut self,
        now: Now,
        parts: Vec<Part<'_, F>>,
        layout: &Arc<Layout>,
        setup: &Setup,
        oracle: &mut dyn Oracle<F>,
        report: &mut Report,
    ) -> Result<Done, StepError> {
        let Now { mut at, total, wanted, norm: mut known, .. } = now;
        let clipped = now.clipped.unwrap_or(Clipped::new(now.scale / total.weight));
        let lr = now.lr * self.rate(at);
        let needs = self.method.needs();
        if (needs.full_batch || needs.rows) && (!self.early.is_empty() || now.scale != 1.0) {
            let why = "changes the gradient, and this rule compares gradients of several points";
            return Err(StepError::Unsupported { rule: "a stage before the rule", why });
        }
        at.penalty.l1 += self.terms.proximal.l1;
        at.penalty.l2 += self.terms.coupled.l2;
        let elementwise = self.method.elementwise();
        let (mut terms, mut beside) = (self.terms, self.terms.decoupled);
        // The driver's sweep shrinks θ beside the rule; behind any other method a pass does.
        if elementwise {
            beside.l2 = 0.0;
        } else {
            terms.decoupled.l2 = 0.0;
        }
        let mut step = Step {
            at,
            t: self.t + 1,
            lr,
            scale: clipped.scale,
            limit: clipped.limit,
            decay: self.decay,
            decay_biases: setup.decay_biases,
            terms,
            average: self.ema.map_or(0.0, |decay| 1.0 - decay),
            parts,
            layout,
            total,
            oracle,
            threads: &setup.threads,
            seed: setup.seed,
            squares: false,
        };
        // A sum of squares from the sweep itself costs no pass over memory; in f64 it may overflow, and the careful norm is taken.
        let plain = terms.coupled.l1 == 0.0 && self.early.iter().all(|e| !matches!(e, Early::Pass(_)));
        let sweeps = elementwise && plain && F::BYTES == 4;
        let clips = now.clipped.is_none() && matches!(self.early.first(), Some(Early::Clip(_)));
        if known.is_none() && (clips || (wanted && !sweeps)) {
            known = Some(gradient_norm(&step, f64::INFINITY));
        }
        step.squares = wanted && known.is_none();
        // Whether the gradients are still those of the known norm.
        let mut raw = true;
        for early in &mut self.early {
            match early {
                Early::Clip(_) | Early::ClipValue(_) if now.clipped.is_some() => {}
                Early::Clip(max) => {
                    let mut clipped = Clipped { limit: step.limit, ..Clipped::new(step.scale) };
                    clipped.by_norm(*max, |limit| match known {
                        Some(norm) if raw && limit == f64::INFINITY => norm,
                        _ => gradient_norm(&step, limit),
                    });
                    (step.scale, step.limit) = (clipped.scale, clipped.limit);
                    report.clipped |= clipped.clipped;
                }
                Early::ClipValue(limit) => step.limit = step.limit.min(*limit),
                Early::Pass(before) => {
                    if step.limit < f64::INFINITY {
                        let (scale, limit) = (F::from_f64(step.scale), F::from_f64(step.limit));
                        for part in &mut step.parts {
                            crate::vector::map(step.threads, part.grad(), |g| {
                                crate::arithmetic::limited(g, scale, limit)
                            });
                        }
                        (step.scale, step.limit) = (1.0, f64::INFINITY);
                    }
                    raw = false;
                    before.before(&mut step)?;
                }
            }
        }
        if terms.coupled.l1 > 0.0 {
            penalty::add_signs(&mut step, terms.coupled.l1);
        }
        if self.t == 0 {
            for late in &mut self.late {
                step.parts.iter_mut().enumerate().for_each(|(nth, part)| late.begin(nth, part.theta()));
            }
        }
        // What is done to weights after the rule is done before they are averaged.
        let passes = penalty::is_some(beside);
        let fused = elementwise && self.late.is_empty() && !passes;
        let mut rest: &mut [F] = match &mut self.average {
            Some(average) => average,
            None => &mut [],
        };
        let mut from = 0;
        let mut copies = Vec::new();
        if self.ema.is_some() {
            for part in &mut step.parts {
                let range = part.tensor.range();
                let copy = take(&mut rest, range.start - from, range.len());
                if fused {
                    part.average = Some(copy)
                } else {
                    copies.push(copy)
                }
                from = range.end;
            }
        }
        let mut done = self.method.step(&mut step)?;
        done.norm = done.norm.or(known);
        self.t += 1;
        if passes {
            penalty::shrink(&mut step.parts, done.lr.unwrap_or(lr), beside, &setup.threads);
        }
        if !self.late.is_empty() {
            let mut theta: Vec<&mut [F]> = step.parts.iter_mut().map(Part::weights).collect();
            self.late.iter_mut().for_each(|late| late.after(self.t, &mut theta, &setup.threads));
        }
        let share = step.average;
        for (part, copy) in step.parts.iter_mut().zip(copies) {
            crate::vector::each(&setup.threads, copy, part.weights(), |copy, theta| {
                crate::block::average(copy, theta, share);
            });
        }
        Ok(done)
    }

    pub fn visit(&mut self, layout: &Layout, visit: &mut dyn FnMut(&str, Memory<'_>)) {
        let tensors: Vec<&Tensor> = self.tensors.iter().map(|&i| &layout.tensors()[i]).collect();
        let prefix = self.name.clone();
        let mut named = |name: &str, memory: Memory<'_>| {
            if name.contains('/') { visit(name, memory) } else { visit(&format!("{prefix}{name}"), memory) }
        };
        named("step", Memory::Count(&mut self.t));
        for (name, x) in self.lr.state_mut() {
            named(name, Memory::Scalar(x));
        }
        if let Some(accumulate) = &mut self.accumulate {
            accumulate.visit_state(&tensors, &mut named);
        }
        for early in &mut self.early {
            if let Early::Pass(before) = early {
                before.visit_state(&tensors, &mut named);
            }
        }
        self.method.visit_state(&tensors, &mut named);
        if let Some(average) = &mut self.average {
            for tensor in &tensors {
                named(&format!("{}/average", tensor.name), F::memory(&mut average[tensor.range()]));
            }
        }
        for late in &mut self.late {
            late.visit_state(&tensors, &mut named);
        }
    }
}

/// ‖g‖₂ of the sums as they stand, each number cut to ± `limit` first.
fn gradient_norm<F: Float>(step: &Step<'_, '_, F>, limit: f64) -> f64 {
    let grads: Vec<&[F]> = step.parts.iter().map(Part::gradient).collect();
    norm(&grads, limit, step.threads)
}

impl<F: Build> Optimizer<F> for Assembled<F> {
    fn needs(&self) -> Needs {
        self.chains.iter().fold(Needs::default(), |needs, chain| needs.and(chain.needs()))
    }

    fn step(
        &mut self,
        at: At,
        theta: &mut Params<F>,
        grads: &mut Grads<F>,
        oracle: &mut dyn Oracle<F>,
    ) -> Result<Report, StepError> {
        self.flat(at, theta, grads, oracle, false)
    }

    fn flush(
        &mut self,
        at: At,
        theta: &mut Params<F>,
        grads: &mut Grads<F>,
        oracle: &mut dyn Oracle<F>,
    ) -> Result<Option<Report>, StepError> {
        if !self.waits() {
            return Ok(None);
        }
        self.flat(at, theta, grads, oracle, true).map(Some)
    }

    fn loss_scale(&self) -> f64 {
        self.guard.scale()
    }

    fn set_mask(&mut self, mask: Option<&Params<F>>) -> Result<(), StepError> {
        let Some(mask) = mask else {
            self.mask(None);
            return Ok(());
        };
        let (expected, found) = (self.layout.buffer_len(), mask.flat().len());
        if found != expected {
            return Err(StepError::Length { what: "the mask", expected, found });
        }
        let places = self.layout.trained().iter().flat_map(Tensor::range);
        self.mask(Some(places.filter(|&i| mask.flat()[i] == F::zero()).collect()));
        Ok(())
    }

    fn evaluation_weights(&mut self, theta: &Params<F>) -> Option<&[F]> {
        self.evaluated(theta.flat())
    }

    fn observe(&mut self, score: f64) {
        self.chains.iter_mut().for_each(|chain| chain.lr.observe(score));
    }

    fn expression(&self) -> String {
        self.expression.clone()
    }

    fn visit_state(&mut self, visit: &mut dyn FnMut(&str, Memory<'_>)) {
        let mut phase = self.phase;
        visit("phase", Memory::Count(&mut phase));
        // A phase that the plan does not have is not entered: who restores sees that the number stays.
        if phase != self.phase && self.plan.has_phase(phase) {
            self.enter(phase);
        }
        let layout = Arc::clone(&self.layout);
        self.guard.visit_state(&layout, visit);
        for chain in &mut self.chains {
            chain.visit(&layout, visit);
        }
    }
}

/// The `len` numbers after the next `skip`; `rest` starts behind them then.
pub(crate) fn take<'a, F>(rest: &mut &'a mut [F], skip: usize, len: usize) -> &'a mut [F] {
    let (taken, after) = std::mem::take(rest)[skip..].split_at_mut(len);
    *rest = after;
    taken
}
