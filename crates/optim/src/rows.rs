//! Row-sparse gradients: a table of rows of which a step meets only some, as embeddings and hashed features are.
//!
//! A step costs as much as the rows that occur in it. What happens to the others is a choice, [`RowMode`]:
//!
//! - **lazy**: nothing, until they occur again. What PyTorch's `SparseAdam` does; memory does not decay meanwhile.
//! - **exact**: what a dense gradient with zeros there would have done, made up for when the row is next met or read. The bits are
//!   those of the dense run. The learning rates of the last steps are kept for that, and all rows catch up when there are too many.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use thalweg_core::expr::ExprError;
use thalweg_core::{Buffer, Float, Kind, Layout, Memory, Penalty, Report, StepError, Threads};

use crate::assembled::Chain;
use crate::chain::clip::Clipped;
use crate::driver::{Around, Gradient, Span, Sweep, sweep};
use crate::elementwise::{Elementwise, start_at};
use crate::format::{BLOCK8, View};
use crate::groups::GroupError;
use crate::method::{Decay, Method};
use crate::plan::{Plan, Setup};
use crate::row_norm::{Sparse, joint_norm};
use crate::rule::{Rule, When};
use crate::rules::Build;
use crate::state::Stateful;

/// Steps that rows may stay behind in [`RowMode::Exact`] before all catch up.
pub const HISTORY: usize = 4096;
/// Numbers that catch up together: with their memory they stay in the second cache through all steps.
const TOGETHER: usize = 1 << 13;

/// The gradient of some rows of a tensor [rows, width]; that of the others is zero.
#[derive(Clone, Copy, Debug)]
pub struct RowGrad<'a, F> {
    /// The rows, in any order. One that stands here twice gets the sum.
    pub rows: &'a [usize],
    /// Their gradients, one after the other: rows.len() × width numbers.
    pub values: &'a [F],
}

/// What happens to rows that have no gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowMode {
    /// Nothing: parameters and memory stay, decay included. The rule's t counts all steps.
    #[default]
    Lazy,
    /// What a gradient of zeros does, made up for before the row is met or read.
    Exact,
}

/// Why a [`RowOptimizer`] cannot be made or cannot step. Nothing was written then.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// The expression is wrong.
    #[error(transparent)]
    Expression(#[from] ExprError),
    /// Its groups do not fit.
    #[error(transparent)]
    Groups(#[from] GroupError),
    /// The expression has something that does not work row by row.
    #[error("{expression} does not work row by row: {why}")]
    NotByRow {
        /// The expression.
        expression: String,
        /// Why not.
        why: &'static str,
    },
    /// More numbers than a machine can count.
    #[error("{rows} rows of {width} numbers are more than memory holds")]
    TooMany {
        /// How many rows.
        rows: usize,
        /// How wide.
        width: usize,
    },
    /// A row that the tensor does not have.
    #[error("row {row} stands at place {place} of the list, and there are {rows} rows")]
    NoRow {
        /// Its place in the list, from 0.
        place: usize,
        /// The row, from 0.
        row: usize,
        /// How many rows there are.
        rows: usize,
    },
    /// Wrong lengths, or a batch without weight.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// A rule that can be told which stretches of its only tensor to step, with the coefficients of any step since it was last told to
/// forget.
pub(crate) trait ByRow<F: Float>: Send {
    /// The rule's numbers that live from step to step, by name.
    fn scalars(&mut self) -> Vec<(&'static str, &mut f64)>;
    /// Computes the coefficients of a step, to be kept behind the others.
    fn coefficients(&mut self, when: When);
    /// Forgets all coefficients.
    fn forget(&mut self);
    /// Before the first step: slots that start at θ do.
    fn begin(&mut self, theta: &mut [F]);
    /// Steps `stretches` of θ (apart, in order) with the `nth` coefficients; `grad` are their gradients one after the other, where
    /// they are not zeros. The first coordinate whose new value was not finite.
    fn stretches(
        &mut self,
        nth: usize,
        stretches: &[Range<usize>],
        on: On<'_, F>,
        around: Around,
        how: Sweep<'_>,
    ) -> Result<Option<usize>, StepError>;
}

/// What [`ByRow::stretches`] works on.
pub(crate) struct On<'a, F> {
    theta: &'a mut [F],
    average: Option<&'a mut [F]>,
    grad: Option<&'a [F]>,
    /// As many zeros as the stretches have numbers, where there is no gradient.
    zeros: &'a [F],
    /// The place of the first number of θ among all parameters.
    place: u64,
}

impl<R: Rule<S>, F: Float, const S: usize> ByRow<F> for Elementwise<R, F, S>
where
    R::With<f64>: Send,
{
    fn scalars(&mut self) -> Vec<(&'static str, &mut f64)> {
        R::SCALARS.iter().map(|s| s.0).zip(&mut self.scalars).collect()
    }

    fn coefficients(&mut self, when: When) {
        self.coefs.push(R::cast::<F>(R::coef(&self.with, when, &mut self.scalars)));
    }

    fn forget(&mut self) {
        self.coefs.clear();
    }

    fn begin(&mut self, theta: &mut [F]) {
        let theta = View::Own(theta);
        for (slot, kept) in R::STATE.iter().zip(&mut self.slots) {
            if slot.from_theta {
                kept.views().iter_mut().for_each(|view| start_at(None, &theta, view));
            }
        }
    }

    fn stretches(
        &mut self,
        nth: usize,
        stretches: &[Range<usize>],
        on: On<'_, F>,
        around: Around,
        how: Sweep<'_>,
    ) -> Result<Option<usize>, StepError> {
        let mut views = self.slots.each_mut().map(|kept| kept.views().pop());
        let (mut theta, mut average) = (on.theta, on.average);
        let mut spans = Vec::with_capacity(stretches.len());
        let (mut from, mut done) = (0, 0);
        for stretch in stretches {
            let (skip, len) = (stretch.start - from, stretch.len());
            let grad = match on.grad {
                Some(grad) => &grad[done..done + len],
                None => &on.zeros[..len],
            };
            spans.push(Span {
                theta: View::Own(crate::assembled::take(&mut theta, skip, len)),
                master: None,
                grad: Gradient::Keep(grad),
                state: views.each_mut().map(|view| {
                    let rest = view.take().expect("one tensor has one view");
                    let (now, after) = rest.split(skip).1.split(len);
                    *view = Some(after);
                    now
                }),
                average: average.as_mut().map(|a| crate::assembled::take(a, skip, len)),
                around,
                place: on.place + stretch.start as u64,
            });
            (from, done) = (stretch.end, done + len);
        }
        let bad = sweep::<R, F, S>(&self.coefs[nth], spans, how)?.bad;
        Ok(bad.and_then(|mut place| {
            stretches.iter().find_map(|s| {
                let inside = (place < s.len()).then_some(s.start + place);
                place = place.wrapping_sub(s.len());
                inside
            })
        }))
    }
}

/// An optimizer over one tensor [rows, width] whose gradients have few rows.
///
/// ```
/// use thalweg_optim::{RowGrad, RowMode, RowOptimizer};
/// let (rows, width) = (1000, 4);
/// let mut table = vec![0.5f32; rows * width];
/// let mut adagrad = RowOptimizer::<f32>::new("adagrad(lr=0.1)", rows, width, RowMode::Lazy)?;
/// adagrad.step(&mut table, &RowGrad { rows: &[7, 912], values: &[1.0; 8] })?;
/// assert_eq!(table[7 * width], 0.4);
/// assert_eq!(table[8 * width], 0.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RowOptimizer<F: Build> {
    expression: String,
    rule: &'static str,
    setup: Setup,
    mode: RowMode,
    rows: usize,
    width: usize,
    layout: Arc<Layout>,
    penalty: Penalty,
    chain: Chain<F>,
    /// Calls so far, those included that wrote nothing: schedules go by them.
    calls: u64,
    /// The last step of each row; none in lazy mode.
    last: Vec<u64>,
    /// The step that the history begins after: no row is behind it.
    base: u64,
    /// The rule's scalars after that step.
    base_scalars: Vec<f64>,
    /// The learning rates since; zeros behind those.
    rates: Vec<f64>,
    /// Whether the coefficients of the history are to be computed anew.
    restored: bool,
    /// As many zeros as catch up together.
    zeros: Vec<F>,
    /// Numbers that were stepped so far.
    swept: u64,
    /// The place of the first number among all parameters.
    place: u64,
}

impl<F: Build> fmt::Debug for RowOptimizer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowOptimizer")
            .field("expression", &self.expression)
            .field("rows", &self.rows)
            .field("width", &self.width)
            .field("mode", &self.mode)
            .field("step", &self.chain.t)
            .finish_non_exhaustive()
    }
}

impl<F: Build> RowOptimizer<F> {
    /// An optimizer over `rows` rows of `width` numbers.
    ///
    /// # Errors
    /// As [`RowOptimizer::with_setup`].
    pub fn new(expression: &str, rows: usize, width: usize, mode: RowMode) -> Result<Self, RowError> {
        if Plan::parse(expression)?.needs_horizon() {
            let why = "it depends on the length of the run, which RowOptimizer::with_setup takes";
            return Err(RowError::NotByRow { expression: expression.into(), why });
        }
        Self::with_setup(expression, rows, width, mode, &Setup::default())
    }

    /// [`RowOptimizer::new`] with the length of the run, threads and seed. Gradients are always checked.
    ///
    /// # Errors
    /// A wrong expression; a rule that looks at more than a coordinate; groups, phases and stages other than `clip`, `clip_value`,
    /// penalties and `ema`; `block8` memory where rows are not whole blocks of 256.
    pub fn with_setup(
        expression: &str,
        rows: usize,
        width: usize,
        mode: RowMode,
        setup: &Setup,
    ) -> Result<Self, RowError> {
        let no = |why| RowError::NotByRow { expression: expression.into(), why };
        let plan = Plan::parse(expression)?.filled();
        if !plan.is_single() {
            return Err(no("there is one tensor and one rule for it, without groups and phases"));
        }
        if plan.entry().kind != crate::rules::Kind::Elementwise {
            return Err(no("its rule looks at more than one coordinate"));
        }
        let numbers = rows.checked_mul(width).filter(|n| *n <= isize::MAX as usize / (2 * F::BYTES));
        if numbers.is_none() {
            return Err(RowError::TooMany { rows, width });
        }
        let layout = Layout::builder().tensor("rows", &[rows, width], &["row", "in"], Kind::Weight).build();
        let layout = Arc::new(layout);
        plan.groups(&layout)?;
        let mut chains = plan.chains::<F>(0, &layout, setup);
        let (Some(mut chain), true) = (chains.pop(), chains.is_empty()) else {
            return Err(no("there is one tensor and one rule for it"));
        };
        let Some(rule) = chain.method.by_row() else {
            return Err(no("its rule looks at more than one coordinate"));
        };
        let base_scalars: Vec<f64> = rule.scalars().into_iter().map(|(_, x)| *x).collect();
        let wishes = chain.wishes;
        if wishes.scale.is_some() || wishes.skip.is_some() || wishes.rollback.is_some() {
            return Err(no("policies for gradients that are not finite need the whole gradient"));
        }
        let passes = chain.early.iter().any(|e| matches!(e, crate::assembled::Early::Pass(_)));
        if chain.accumulate.is_some() || !chain.late.is_empty() || passes {
            return Err(no(
                "of the stages around a rule only clip, clip_value, penalties and ema go with it",
            ));
        }
        if chain.terms.passes() {
            return Err(no("l1 goes with it by a proximal step alone"));
        }
        let mut blocks = false;
        chain.method.visit_state(&[&layout.tensors()[0]], &mut |_, memory| {
            blocks |= matches!(memory, Memory::U8(_));
        });
        if blocks && !width.is_multiple_of(BLOCK8) {
            return Err(no("memory=block8 goes with rows of whole blocks of 256 numbers"));
        }
        chain.average = chain.ema.map(|_| {
            let mut copy = Buffer::zeros(layout.buffer_len());
            copy[..rows * width].fill(F::NAN);
            copy
        });
        let exact = mode == RowMode::Exact;
        Ok(Self {
            expression: plan.to_string(),
            rule: plan.entry().name,
            setup: setup.clone(),
            mode,
            rows,
            width,
            layout,
            penalty: Penalty { l1: chain.terms.proximal.l1, l2: chain.terms.coupled.l2 },
            chain,
            calls: 0,
            last: vec![0; if exact { rows } else { 0 }],
            base: 0,
            base_scalars,
            rates: vec![0.0; if exact { HISTORY } else { 0 }],
            restored: false,
            zeros: vec![],
            swept: 0,
            place: 0,
        })
    }

    /// What the objective adds to the mean loss, beside the expression's own penalties.
    #[must_use]
    pub fn penalty(mut self, penalty: Penalty) -> Self {
        let own = self.chain.terms;
        self.penalty = Penalty { l1: own.proximal.l1 + penalty.l1, l2: own.coupled.l2 + penalty.l2 };
        self
    }

    /// Lets rows stay behind by at most this many steps (at least 1, [`HISTORY`] if nothing is said) before all catch up. To be said
    /// before the first step; a saved state has the same.
    #[must_use]
    pub fn history(mut self, steps: usize) -> Self {
        if self.mode == RowMode::Exact && self.calls == 0 {
            self.rates = vec![0.0; steps.max(1)];
        }
        self
    }

    /// Lets the table start at this place among all parameters: rounding to compressed formats goes by it.
    pub(crate) fn placed(mut self, place: u64) -> Self {
        self.place = place;
        self
    }

    /// One step, given the gradient of the mean loss.
    ///
    /// # Errors
    /// As [`RowOptimizer::step_sum`].
    pub fn step(&mut self, theta: &mut [F], grad: &RowGrad<'_, F>) -> Result<Report, RowError> {
        self.step_sum(theta, grad, 1.0)
    }

    /// One step, given a gradient that is a sum over rows of data that weigh `weight` together.
    ///
    /// With `clip`, the norm has the bits of the dense gradient's.
    ///
    /// # Errors
    /// Wrong lengths, a row that is not there, no weight: nothing is written then. A gradient that is not finite is no error:
    /// [`Report::non_finite`] says so.
    pub fn step_sum(
        &mut self,
        theta: &mut [F],
        grad: &RowGrad<'_, F>,
        weight: f64,
    ) -> Result<Report, RowError> {
        self.admits(theta, grad)?;
        if weight.is_nan() || weight <= 0.0 {
            return Err(StepError::NoWeight.into());
        }
        let merged = Merged::new(grad, self.width);
        let sparse = merged.sparse(grad, self.rows, self.width);
        let threads = self.setup.threads.clone();
        let norm = |limit| joint_norm(&[sparse], limit, &threads);
        let (lr, size) = (self.begin_call(), norm(f64::INFINITY));
        let mut report = Report { lr, grad_norm: size / weight, ..Report::default() };
        if let Some(place) = sparse.not_finite().filter(|_| !size.is_finite()) {
            report.non_finite = Some(place);
            report.grad_norm = f64::NAN;
            return Ok(report);
        }
        let clipped = Clipped::of(&self.chain.early, 1.0 / weight, norm);
        report.clipped = clipped.clipped;
        report.non_finite = self.take(theta, sparse, lr, clipped)?;
        Ok(report)
    }

    /// Refuses what does not fit.
    pub(crate) fn admits(&self, theta: &[F], grad: &RowGrad<'_, F>) -> Result<(), RowError> {
        self.check_theta(theta)?;
        self.check_rows(grad.rows)?;
        let (expected, found) = (grad.rows.len().checked_mul(self.width), grad.values.len());
        if expected != Some(found) {
            let expected = expected.unwrap_or(usize::MAX);
            return Err(StepError::Length { what: "the gradient of the rows", expected, found }.into());
        }
        if self.penalty.l1 > 0.0 && !self.chain.method.proximal() {
            return Err(StepError::NoProximal { rule: self.rule }.into());
        }
        Ok(())
    }

    /// Counts a call, and the learning rate that goes with it.
    pub(crate) fn begin_call(&mut self) -> f64 {
        self.catch_coefficients();
        self.calls += 1;
        self.chain.lr.rate(self.calls, self.chain.horizon)
    }

    /// The step of a call that has begun, of a gradient without duplicates. The first coordinate that could not move.
    pub(crate) fn take(
        &mut self,
        theta: &mut [F],
        grad: Sparse<'_, F>,
        lr: f64,
        clipped: Clipped,
    ) -> Result<Option<usize>, RowError> {
        let Sparse { rows, values, .. } = grad;
        if self.chain.t == 0 {
            by_row(&mut self.chain.method).begin(theta);
        }
        let mut non_finite = None;
        if self.mode == RowMode::Lazy {
            (self.base, self.base_scalars) = (self.chain.t, self.scalars());
            by_row(&mut self.chain.method).forget();
        } else {
            non_finite = if self.behind() == self.rates.len() {
                self.catch_up_all(theta)?
            } else {
                self.catch_up_rows(theta, rows)?
            };
        }
        let t = self.chain.t + 1;
        by_row(&mut self.chain.method).coefficients(When { t: t as f64, lr });
        let stretches = self.stretches_of(rows);
        let around = Around { scale: clipped.scale, clip: clipped.limit, ..self.around(lr) };
        let nth = (t - self.base - 1) as usize;
        let bad = self.sweep(nth, t, &stretches, theta, Some(values), around)?;
        self.chain.t = t;
        if self.mode == RowMode::Exact {
            self.rates[nth] = lr;
            rows.iter().for_each(|&row| self.last[row] = t);
        }
        Ok(non_finite.or(bad))
    }

    /// Brings these rows up to date, before they are read; in lazy mode they always are. The first coordinate whose value on the way
    /// would not have been finite, as in [`Report::non_finite`].
    ///
    /// # Errors
    /// A wrong length, or a row that is not there.
    pub fn read(&mut self, theta: &mut [F], rows: &[usize]) -> Result<Option<usize>, RowError> {
        self.check_theta(theta)?;
        self.check_rows(rows)?;
        self.catch_coefficients();
        let mut sorted = rows.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        self.catch_up_rows(theta, &sorted)
    }

    /// Brings all rows up to date: to be done before θ is read as a whole or saved.
    ///
    /// # Errors
    /// A wrong length.
    pub fn catch_up(&mut self, theta: &mut [F]) -> Result<Option<usize>, RowError> {
        self.check_theta(theta)?;
        self.catch_coefficients();
        self.catch_up_all(theta)
    }

    /// The weights to validate and to save, where they are not θ itself (`ema`): those of all rows. In exact mode
    /// [`RowOptimizer::catch_up`] comes first.
    ///
    /// # Errors
    /// A wrong length.
    pub fn evaluation_weights(&mut self, theta: &[F]) -> Result<Option<Vec<F>>, RowError> {
        self.check_theta(theta)?;
        if self.chain.t == 0 {
            return Ok(None);
        }
        let Some(average) = &self.chain.average else {
            let mut out = theta.to_vec();
            return Ok(self.chain.method.evaluation(0, theta, &mut out).then_some(out));
        };
        // Rows that have not moved have no average yet.
        let one = |(a, t): (&F, &F)| if a.is_finite() { *a } else { *t };
        Ok(Some(average.iter().zip(theta).map(one).collect()))
    }

    /// How many steps were made.
    pub fn steps(&self) -> u64 {
        self.chain.t
    }

    /// What all that has cost: a number of the table counts once for each step that it took, those made up for included. A dense run
    /// counts every number at every step. No part of the state.
    pub fn swept(&self) -> u64 {
        self.swept
    }

    /// The expression, all values filled in.
    pub fn expression(&self) -> String {
        self.expression.clone()
    }

    /// Shows all memory, as [`thalweg_core::Optimizer::visit_state`] does.
    pub fn visit_state(&mut self, visit: &mut dyn FnMut(&str, Memory<'_>)) {
        let now = self.scalars();
        visit("step", Memory::Count(&mut self.chain.t));
        visit("rows.calls", Memory::Count(&mut self.calls));
        let exact = self.mode == RowMode::Exact;
        let mut first = if exact { self.base_scalars.clone() } else { now };
        let names: Vec<&'static str> =
            by_row(&mut self.chain.method).scalars().into_iter().map(|(name, _)| name).collect();
        for (name, x) in names.iter().zip(&mut first) {
            visit(&format!("rows.{name}"), Memory::Scalar(x));
        }
        if exact {
            visit("rows.base", Memory::Count(&mut self.base));
            visit("rows.rates", Memory::F64(&mut self.rates));
            visit("rows.last", Memory::Counts(&mut self.last));
        }
        // The rule's scalars as they are now follow from these.
        let tensor = &self.layout.tensors()[0];
        self.chain.method.visit_state(&[tensor], &mut |name, memory| {
            if name.contains('/') {
                visit(name, memory);
            }
        });
        if let Some(average) = &mut self.chain.average {
            visit("rows/average", F::memory(&mut average[tensor.range()]));
        }
        // A number of steps behind that cannot be is none.
        if self.chain.t < self.base || self.chain.t - self.base > self.rates.len() as u64 {
            self.base = self.chain.t;
        }
        self.base_scalars = first;
        self.restored = true;
    }

    /// After the state was shown, and perhaps written: the coefficients of the history, and the scalars that go with them.
    fn catch_coefficients(&mut self) {
        if !std::mem::take(&mut self.restored) {
            return;
        }
        let rule = by_row(&mut self.chain.method);
        rule.forget();
        rule.scalars().into_iter().zip(&self.base_scalars).for_each(|((_, x), &first)| *x = first);
        if self.mode == RowMode::Exact {
            let behind = (self.chain.t - self.base) as usize;
            let rule = by_row(&mut self.chain.method);
            for (nth, &lr) in self.rates[..behind].iter().enumerate() {
                rule.coefficients(When { t: (self.base + 1 + nth as u64) as f64, lr });
            }
        }
    }

    fn scalars(&mut self) -> Vec<f64> {
        if self.restored {
            self.catch_coefficients();
        }
        by_row(&mut self.chain.method).scalars().into_iter().map(|(_, x)| *x).collect()
    }

    /// Steps since the history began.
    fn behind(&self) -> usize {
        (self.chain.t - self.base) as usize
    }

    /// The coefficients around the rule of a step with this learning rate, without a gradient.
    fn around(&self, lr: f64) -> Around {
        let (decay, how) = self.chain.decay;
        let coupled = how == Decay::Coupled;
        let (keep, moved) = how.factors(lr, decay, self.chain.terms.decoupled.l2);
        Around {
            decay: self.penalty.l2 + if coupled { decay } else { 0.0 },
            keep,
            moved,
            l1: self.penalty.l1,
            l2: self.chain.terms.proximal.l2,
            average: self.chain.ema.map_or(0.0, |decay| 1.0 - decay),
            ..Around::NOTHING
        }
    }

    /// The numbers of rows that are sorted and distinct; neighbours are one stretch.
    fn stretches_of(&self, rows: &[usize]) -> Vec<Range<usize>> {
        let mut stretches: Vec<Range<usize>> = Vec::with_capacity(rows.len());
        for &row in rows {
            let numbers = row * self.width..(row + 1) * self.width;
            match stretches.last_mut() {
                Some(last) if last.end == numbers.start => last.end = numbers.end,
                _ => stretches.push(numbers),
            }
        }
        stretches
    }

    fn sweep(
        &mut self,
        nth: usize,
        t: u64,
        stretches: &[Range<usize>],
        theta: &mut [F],
        grad: Option<&[F]>,
        around: Around,
    ) -> Result<Option<usize>, StepError> {
        self.swept += stretches.iter().map(|s| s.len() as u64).sum::<u64>();
        let average = self.chain.average.as_deref_mut();
        let on = On { theta, average, grad, zeros: &self.zeros, place: self.place };
        let serial = Threads::serial();
        // What catches up is too little for several.
        let threads = if grad.is_some() { &self.setup.threads } else { &serial };
        let how = Sweep { threads, seed: self.setup.seed, step: t, squares: false };
        by_row(&mut self.chain.method).stretches(nth, stretches, on, around, how)
    }

    /// Makes up for the steps that these rows (sorted, distinct) have missed.
    fn catch_up_rows(&mut self, theta: &mut [F], rows: &[usize]) -> Result<Option<usize>, RowError> {
        let t = self.chain.t;
        if self.mode == RowMode::Lazy || self.width == 0 {
            return Ok(None);
        }
        let mut bad: Option<usize> = None;
        let most = (TOGETHER / self.width).max(1);
        self.zeros.resize(most * self.width, F::zero());
        for rows in rows.chunks(most) {
            let oldest = rows.iter().map(|&row| self.last[row].max(self.base)).min().unwrap_or(t);
            let mut late = Vec::with_capacity(rows.len());
            for step in oldest + 1..=t {
                late.clear();
                late.extend(rows.iter().copied().filter(|&row| self.last[row].max(self.base) < step));
                let nth = (step - self.base - 1) as usize;
                let (stretches, around) = (self.stretches_of(&late), self.around(self.rates[nth]));
                let found = self.sweep(nth, step, &stretches, theta, None, around)?;
                bad = bad.into_iter().chain(found).min();
            }
            rows.iter().for_each(|&row| self.last[row] = t);
        }
        Ok(bad)
    }

    /// Makes up for all steps that were missed; the history is empty then.
    fn catch_up_all(&mut self, theta: &mut [F]) -> Result<Option<usize>, RowError> {
        let t = self.chain.t;
        if self.mode == RowMode::Lazy {
            return Ok(None);
        }
        let behind: Vec<usize> = (0..self.rows).filter(|&row| self.last[row] < t).collect();
        let bad = self.catch_up_rows(theta, &behind)?;
        self.base_scalars = self.scalars();
        self.base = t;
        self.rates.fill(0.0);
        by_row(&mut self.chain.method).forget();
        Ok(bad)
    }

    fn check_theta(&self, theta: &[F]) -> Result<(), StepError> {
        let (expected, found) = (self.rows * self.width, theta.len());
        if found == expected {
            return Ok(());
        }
        Err(StepError::Length { what: "the tensor", expected, found })
    }

    fn check_rows(&self, rows: &[usize]) -> Result<(), RowError> {
        match rows.iter().position(|&row| row >= self.rows) {
            Some(place) => Err(RowError::NoRow { place, row: rows[place], rows: self.rows }),
            None => Ok(()),
        }
    }
}

/// The rule of a chain that was found to work row by row.
fn by_row<F: Build>(method: &mut Box<dyn Method<F>>) -> &mut dyn ByRow<F> {
    method.by_row().expect("the rule works row by row")
}

/// Rows and gradients in order, each row once: the sum of its gradients in the order in which they were given.
pub(crate) struct Merged<F>(Option<(Vec<usize>, Vec<F>)>);

impl<F: Float> Merged<F> {
    pub fn new(grad: &RowGrad<'_, F>, width: usize) -> Self {
        if grad.rows.is_sorted_by(|a, b| a < b) {
            return Self(None);
        }
        let mut order: Vec<usize> = (0..grad.rows.len()).collect();
        order.sort_by_key(|&place| grad.rows[place]);
        let mut rows: Vec<usize> = Vec::with_capacity(order.len());
        let mut values: Vec<F> = Vec::with_capacity(grad.values.len());
        for place in order {
            let (row, new) = (grad.rows[place], &grad.values[place * width..(place + 1) * width]);
            if rows.last() == Some(&row) {
                let start = values.len() - width;
                values[start..].iter_mut().zip(new).for_each(|(sum, &g)| *sum += g);
            } else {
                rows.push(row);
                values.extend_from_slice(new);
            }
        }
        Self(Some((rows, values)))
    }

    /// What was merged, or `grad` itself where there was nothing to merge; the table has so many rows.
    pub fn sparse<'a>(&'a self, grad: &RowGrad<'a, F>, rows: usize, width: usize) -> Sparse<'a, F> {
        let len = rows * width;
        match &self.0 {
            Some((rows, values)) => Sparse { rows, values, width, len },
            None => Sparse { rows: grad.rows, values: grad.values, width, len },
        }
    }
}

impl<F: Build> Stateful for RowOptimizer<F> {
    fn expression(&self) -> String {
        RowOptimizer::expression(self)
    }
    fn visit_state(&mut self, visit: &mut dyn FnMut(&str, Memory<'_>)) {
        RowOptimizer::visit_state(self, visit);
    }
}
