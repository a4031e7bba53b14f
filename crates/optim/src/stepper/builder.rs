//! [`StepperBuilder`]: tensors, setting and callbacks of a [`Stepper`].

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use thalweg_core::{Kind, Layout, Penalty, Report};

use super::{Built, Callback, Stepper, StepperError, vector};
use crate::plan::{Plan, Setup};
use crate::rules::Build;
use crate::schedule::Horizon;

/// Collects what a [`Stepper`] is made of.
pub struct StepperBuilder<F: Build> {
    pub(super) expression: String,
    pub(super) tensors: Vec<Declared>,
    pub(super) setup: Setup,
    pub(super) horizon: Option<Horizon>,
    pub(super) penalty: Penalty,
    pub(super) callbacks: Vec<Callback>,
    pub(super) of: std::marker::PhantomData<F>,
}

impl<F: Build> fmt::Debug for StepperBuilder<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepperBuilder").field("expression", &self.expression).finish_non_exhaustive()
    }
}

/// A tensor before the layout is made.
pub(super) struct Declared {
    name: String,
    shape: Vec<usize>,
    axes: Vec<&'static str>,
    kind: Kind,
    master: bool,
    head: bool,
}

impl<F: Build> StepperBuilder<F> {
    /// Adds a tensor behind the others: its name, sizes (outermost first), axes (as `["out", "in"]`) and kind. No tensor at all means
    /// one vector, whose length the first step tells.
    pub fn tensor(self, name: &str, shape: &[usize], axes: &[&'static str], kind: Kind) -> Self {
        self.declare(name, shape, axes, kind, false)
    }

    /// Adds a tensor whose parameters are given in bf16; a copy of them in full precision is kept with the optimizer's memory. It is
    /// what moves: the bf16 numbers are its nearest ones after each step. Without this a tensor may be in bf16 as well, and its
    /// parameters are rounded stochastically then.
    pub fn tensor_with_master(self, name: &str, shape: &[usize], axes: &[&'static str], kind: Kind) -> Self {
        self.declare(name, shape, axes, kind, true)
    }

    fn declare(
        mut self,
        name: &str,
        shape: &[usize],
        axes: &[&'static str],
        kind: Kind,
        master: bool,
    ) -> Self {
        let (name, shape, axes) = (name.into(), shape.into(), axes.into());
        self.tensors.push(Declared { name, shape, axes, kind, master, head: false });
        self
    }

    /// Says that the last tensor maps to the model's outputs: Muon alone leaves it to AdamW, and groups name it `head`.
    pub fn head(mut self) -> Self {
        if let Some(last) = self.tensors.last_mut() {
            last.head = true;
        }
        self
    }

    /// Threads, seed, checks and whether decay reaches biases; its horizon is that of the run.
    pub fn setup(mut self, setup: Setup) -> Self {
        self.horizon = Some(setup.horizon);
        self.setup = setup;
        self
    }

    /// The length of the run, for schedules and phases.
    pub fn horizon(mut self, horizon: Horizon) -> Self {
        self.horizon = Some(horizon);
        self
    }

    /// What the objective adds to the mean loss. Its l1 part is taken by a proximal step.
    pub fn penalty(mut self, penalty: Penalty) -> Self {
        self.penalty = penalty;
        self
    }

    /// Calls `callback` after each step.
    pub fn on_step(mut self, callback: impl FnMut(&Report) + Send + 'static) -> Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    /// The optimizer.
    ///
    /// # Errors
    /// An expression that is wrong or needs the length of the run, tensors that are in no group or in two, names that are taken.
    pub fn build(self) -> Result<Stepper<F>, StepperError> {
        let plan = Plan::parse(&self.expression)?;
        if self.horizon.is_none() && plan.needs_horizon() {
            return Err(StepperError::NoHorizon { expression: self.expression });
        }
        let mut setup = self.setup;
        setup.horizon = self.horizon.unwrap_or(setup.horizon);
        let mut names = BTreeSet::new();
        for Declared { name, shape, axes, .. } in &self.tensors {
            if !names.insert(name) {
                return Err(StepperError::Twice { name: name.clone() });
            }
            let bytes = shape.iter().try_fold(F::BYTES, |n, &size| n.checked_mul(size));
            if shape.len() != axes.len() || bytes.is_none_or(|n| n > isize::MAX as usize / 2) {
                return Err(StepperError::Shape {
                    name: name.clone(),
                    shape: shape.clone(),
                    axes: axes.clone(),
                });
            }
        }
        let built = if self.tensors.is_empty() {
            // The length does not matter to groups.
            plan.assemble::<F>(&vector(1), &setup)?;
            None
        } else {
            let layout = self.tensors.iter().fold(Layout::builder(), |builder, t| {
                let builder = builder.tensor(&t.name, &t.shape, &t.axes, t.kind);
                if t.head { builder.head() } else { builder }
            });
            let masters: Vec<bool> = self.tensors.iter().map(|t| t.master).collect();
            Some(Built::new(&plan, &setup, &Arc::new(layout.build()), &masters)?)
        };
        Ok(Stepper { plan, setup, penalty: self.penalty, built, steps: 0, callbacks: self.callbacks })
    }
}
