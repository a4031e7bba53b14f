//! [`Rule`]: an update rule as the papers write it, one scalar at a time.

use std::fmt::Debug;

use thalweg_core::Real;
use thalweg_core::hyper::Hyper;

/// Where in a run a step is, as a rule's coefficients see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct When {
    /// The number of the step: 1, 2, …
    pub t: u64,
    /// The learning rate of this step, as scheduled; parameter units per step.
    pub lr: f64,
}

/// A number of memory that a rule keeps for each parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slot {
    /// Its name in saved states, as in `m`.
    pub name: &'static str,
    /// What it can hold; memory formats go by it.
    pub sign: Sign,
}

/// What a [`Slot`] can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Any number.
    Signed,
    /// No negative number.
    NonNegative,
}

impl Slot {
    /// A slot that can hold any number.
    pub const fn signed(name: &'static str) -> Self {
        Self { name, sign: Sign::Signed }
    }
    /// A slot that never holds a negative number.
    pub const fn non_negative(name: &'static str) -> Self {
        Self { name, sign: Sign::NonNegative }
    }
}

/// An elementwise update rule with `S` numbers of memory for each parameter.
///
/// It returns the *update*; the driver does θ ← θ + u, and everything around it: the gradient's scale, clipping, decay, the
/// proximal step, averaging.
pub trait Rule<const S: usize>: Copy + Debug + Send + Sync + 'static {
    /// The name in expressions.
    const NAME: &'static str;
    /// The memory.
    const STATE: [Slot; S];
    /// The hyperparameters besides the learning rate.
    const HYPER: &'static [Hyper];
    /// What is computed once a step.
    type Coef<F: Real>: Copy + Send + Sync;

    /// The values of [`Rule::HYPER`], in its order.
    fn values(&self) -> Vec<f64>;
    /// What slot `k` holds before the first step.
    fn initial(&self, _k: usize) -> f64 {
        0.0
    }
    /// The scalars of one step, computed in f64 and rounded once.
    fn coef<F: Real>(&self, when: When) -> Self::Coef<F>;
    /// One parameter: the update u and the new memory.
    fn element<F: Real>(c: &Self::Coef<F>, theta: F, g: F, s: [F; S]) -> (F, [F; S]);
    /// The coordinate's own step size: the factor between a gradient that has stayed the same for long and the update. The
    /// proximal step shrinks by `metric · l1`, so that a point at rest is a minimum of loss + l1·‖θ‖₁.
    fn metric<F: Real>(c: &Self::Coef<F>, s: [F; S]) -> F;

    /// Checks each value against its declared range.
    ///
    /// # Errors
    /// The first one that is outside, as in `beta1 must be in [0, 1), got 1.2`.
    fn check(self) -> Result<Checked<Self>, HyperError>
    where
        Self: Sized,
    {
        for (hyper, value) in Self::HYPER.iter().zip(self.values()) {
            hyper.check(value).map_err(HyperError)?;
        }
        Ok(Checked(self))
    }
}

/// A rule whose values are all in their ranges.
#[derive(Clone, Copy, Debug)]
pub struct Checked<R>(R);

impl<R> Checked<R> {
    /// The rule.
    pub fn rule(&self) -> &R {
        &self.0
    }
}

/// A hyperparameter outside its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HyperError(pub(crate) String);

/// Declares a rule's struct from one line for each hyperparameter: field, default, range and meaning.
macro_rules! hyper {
    ($(#[$doc:meta])* pub struct $name:ident { $($field:ident = $hyper:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[allow(missing_docs, reason = "each field's meaning is in HYPER, where it is declared")]
        pub struct $name { $(pub $field: f64,)* }
        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $hyper.default,)* }
            }
        }
        impl $name {
            const DECLARED: &'static [thalweg_core::hyper::Hyper] = &[$($hyper,)*];
            #[allow(clippy::unused_self, reason = "a rule without hyperparameters has no values")]
            fn list(&self) -> Vec<f64> {
                vec![$(self.$field,)*]
            }
        }
    };
}
pub(crate) use hyper;
