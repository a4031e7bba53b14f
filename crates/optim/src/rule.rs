//! [`Rule`]: an update rule as the papers write it, one scalar at a time.

use std::fmt::Debug;

use thalweg_core::Real;
use thalweg_core::hyper::Hyper;

/// A number that coefficients are computed in, once a step: `f64`, or a symbol that records the formula.
pub trait Scalar: Real + Debug {
    /// Whether a number that is not negative is 0; false for NaN.
    fn is_zero(self) -> Self::Mask {
        self.lt(Self::from_f64(f64::from_bits(1)))
    }
}

impl Scalar for f64 {}

/// Where in a run a step is, as a rule's coefficients see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct When<X = f64> {
    /// The number of the step: 1, 2, …
    pub t: X,
    /// The learning rate of this step, as scheduled; parameter units per step.
    pub lr: X,
}

/// A number of memory that a rule keeps for each parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slot {
    /// Its name in saved states, as in `m`.
    pub name: &'static str,
    /// What it can hold; memory formats go by it.
    pub sign: Sign,
    /// Whether it starts as a copy of θ.
    pub from_theta: bool,
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
        Self { name, sign: Sign::Signed, from_theta: false }
    }
    /// A slot that never holds a negative number.
    pub const fn non_negative(name: &'static str) -> Self {
        Self { name, sign: Sign::NonNegative, from_theta: false }
    }
    /// A slot that is θ before the first step.
    pub const fn theta(name: &'static str) -> Self {
        Self { name, sign: Sign::Signed, from_theta: true }
    }
}

/// An elementwise update rule with `S` numbers of memory for each parameter.
///
/// It returns the *update*; the driver does θ ← θ + u, and everything around it: the gradient's scale, clipping, decay, the
/// proximal step, averaging.
///
/// [`Rule::coef`] and [`Rule::element`] are generic over their numbers, so that the same code runs on vectors of floats and on
/// symbols: the documentation's formulas are traced from it.
pub trait Rule<const S: usize>: Copy + Debug + Send + Sync + 'static {
    /// The name in expressions.
    const NAME: &'static str;
    /// The memory.
    const STATE: [Slot; S];
    /// The hyperparameters besides the learning rate.
    const HYPER: &'static [Hyper];
    /// Numbers that live from step to step, with their first values.
    const SCALARS: &'static [(&'static str, f64)] = &[];
    /// Whether an l1 penalty can be taken by a proximal step in the rule's [`Rule::metric`].
    const PROXIMAL: bool = true;
    /// The slot that holds the weights to evaluate, where those are not θ.
    const EVALUATES: Option<usize> = None;
    /// The hyperparameters as numbers of another kind.
    type With<X: Scalar>;
    /// What is computed once a step.
    type Coef<F: Real>: Copy + Send + Sync;

    /// The values of [`Rule::HYPER`], in its order.
    fn values(&self) -> Vec<f64>;
    /// The hyperparameters from values in the order of [`Rule::HYPER`].
    fn with<X: Scalar>(values: &[X]) -> Self::With<X>;
    /// What slot `k` holds before the first step.
    fn initial(&self, _k: usize) -> f64 {
        0.0
    }
    /// The scalars of one step; `scalars` are those of [`Rule::SCALARS`], to be read and brought up to date.
    fn coef<X: Scalar>(h: &Self::With<X>, when: When<X>, scalars: &mut [X]) -> Self::Coef<X>;
    /// The coefficients in another type, rounded once.
    fn cast<F: Real>(c: Self::Coef<f64>) -> Self::Coef<F>;
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

/// Declares a rule: its struct from one line for each hyperparameter (field, default, range and meaning).
macro_rules! hyper {
    ($(#[$doc:meta])* pub struct $name:ident { $($field:ident = $hyper:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[allow(missing_docs, reason = "each field's meaning is in HYPER, where it is declared")]
        pub struct $name<X = f64> { $(pub $field: X,)* }
        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $hyper.default,)* }
            }
        }
        impl $name {
            const DECLARED: &'static [thalweg_core::hyper::Hyper] = &[$($hyper,)*];
            fn list(&self) -> Vec<f64> {
                vec![$(self.$field,)*]
            }
        }
        impl<X: Copy> $name<X> {
            fn from_list(values: &[X]) -> Self {
                let mut values = values.iter().copied();
                Self { $($field: values.next().expect("one value for each hyperparameter"),)* }
            }
        }
    };
}
pub(crate) use hyper;

/// Declares the numbers of a step.
macro_rules! coef {
    ($(#[$doc:meta])* $vis:vis struct $name:ident { $($(#[$about:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        #[allow(missing_docs, reason = "the rule's own letters")]
        pub struct $name<F> { $($(#[$about])* $vis $field: F,)* }
        impl $name<f64> {
            /// The same numbers in another type, rounded once.
            pub(super) fn cast<F: thalweg_core::Real>(self) -> $name<F> {
                $name { $($field: F::from_f64(self.$field),)* }
            }
        }
    };
}
pub(crate) use coef;

/// The items of [`Rule`] that a declaration answers.
macro_rules! declared {
    ($rule:ident, $coef:ident) => {
        const HYPER: &'static [thalweg_core::hyper::Hyper] = Self::DECLARED;
        type With<X: crate::rule::Scalar> = $rule<X>;
        type Coef<F: thalweg_core::Real> = $coef<F>;
        fn values(&self) -> Vec<f64> {
            self.list()
        }
        fn with<X: crate::rule::Scalar>(values: &[X]) -> $rule<X> {
            $rule::from_list(values)
        }
        fn cast<F: thalweg_core::Real>(c: $coef<f64>) -> $coef<F> {
            c.cast()
        }
    };
}
pub(crate) use declared;
