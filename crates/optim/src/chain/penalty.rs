//! Penalties of a chain's own weights, beside the objective's: l1, l2 and both (elastic net: Zou & Hastie 2005,
//! <https://doi.org/10.1111/j.1467-9868.2005.00503.x>). Each acts in one of three ways, said by `by`:
//! ```text
//! coupled      g ← g + λ₁ sign(θ) + λ₂ θ                     behind clipping, before the rule
//! decoupled    θ ← soft((1 − η λ₂) θ + u, η λ₁)               u: the rule's update, η: its rate
//! proximal     θ ← soft(θ + u, s λ₁)/(1 + s λ₂)               s: the coordinate's own step size
//! soft(x, a) = sign(x) max(|x| − a, 0)
//! ```
//! They act on weights and never on biases or gains. `coupled` is a part of the loss, with sign(0) = 0: exact, but no coordinate
//! stays at 0. `proximal` is one as well: what comes to rest is a minimum of loss + penalty, zeros included, since s is η for SGD
//! and η/(√v̂ + ε) for Adam (the proximal gradient method: Parikh & Boyd 2014, section 4.2). `decoupled` shrinks all coordinates
//! alike, as AdamW's decay does (Loshchilov & Hutter 2019, <https://arxiv.org/abs/1711.05101>): zeros are exact too, but for a
//! rule that divides the gradient it is no minimum of loss + penalty.
//!
//! Rules that are not elementwise take the decoupled step after their own, all of θ at once. Where η is found by the rule
//! itself (Prodigy, Polyak) it is the rate that the step was made at. For SVRG and SAGA, whose s is η, decoupled and proximal
//! l1 are the same step.
//!
//! What is left out (`l1(0.1)`) is the objective's own way, as `--l1` and `--l2` go: l2 coupled, l1 proximal. PyTorch's
//! `weight_decay` is coupled in SGD and Adam, on biases too, and decoupled in AdamW; optax's `add_decayed_weights` is coupled
//! before a rule and decoupled behind it; Keras's kernel_regularizer is coupled, its `weight_decay` decoupled. None of them has a
//! proximal step, but for FTRL's in Keras. What the loop prints as the loss and compares with its tolerance knows the objective's
//! penalty alone.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Float, Penalty, Real, Threads};

use super::{Make, Stage};
use crate::about::about;
use crate::arithmetic::{limited, signed, soft};
use crate::method::{Part, Step};
use crate::rules::Values;

const L1: Hyper = Hyper::required("l1", Range::NON_NEGATIVE, "strength of l1·‖θ‖₁; loss per parameter unit");
const L2: Hyper =
    Hyper::required("l2", Range::NON_NEGATIVE, "strength of l2/2·‖θ‖²; loss per parameter unit squared");

/// The ways, in the order of `by`'s words.
const WAYS: [&str; 3] = ["coupled", "decoupled", "proximal"];
const ABOUT: &str = "through the gradient, beside the rule as AdamW's decay, or by a proximal step";

/// l2·‖θ‖²/2 of weights, through the gradient when nothing is said.
pub static L2_STAGE: Stage = Stage {
    name: "l2",
    summary: "adds l2/2·‖θ‖² of this chain's weights to the loss, or shrinks them beside the rule",
    about: about!("penalty.rs"),
    hyper: &[L2, Hyper::new("by", 0.0, Range::one_of(&WAYS), ABOUT)],
    before: true,
    make: Make::Penalty(|v| Terms::of(Penalty { l1: 0.0, l2: v.get("l2") }, v.get("by") as usize)),
};

/// l1·‖θ‖₁ of weights, by a proximal step when nothing is said.
pub static L1_STAGE: Stage = Stage {
    name: "l1",
    summary: "adds l1·‖θ‖₁ of this chain's weights to the loss, or shrinks them beside the rule",
    about: about!("penalty.rs"),
    hyper: &[L1, Hyper::new("by", 2.0, Range::one_of(&WAYS), ABOUT)],
    before: true,
    make: Make::Penalty(|v| Terms::of(Penalty { l1: v.get("l1"), l2: 0.0 }, v.get("by") as usize)),
};

/// Both.
pub static ELASTIC: Stage = Stage {
    name: "elastic",
    summary: "adds l1·‖θ‖₁ + l2/2·‖θ‖² of this chain's weights to the loss, or shrinks them beside the rule",
    about: about!("penalty.rs"),
    hyper: &[
        L1,
        L2,
        Hyper::new(
            "by",
            0.0,
            Range::one_of(&["mixed", WAYS[0], WAYS[1], WAYS[2]]),
            "as l2 and l1 by default (mixed), or both in one way",
        ),
    ],
    before: true,
    make: Make::Penalty(elastic),
};

fn elastic(v: &Values<'_>) -> Terms {
    let both = Penalty { l1: v.get("l1"), l2: v.get("l2") };
    match v.get("by") as usize {
        0 => Terms {
            coupled: Penalty { l1: 0.0, ..both },
            proximal: Penalty { l2: 0.0, ..both },
            ..Terms::default()
        },
        way => Terms::of(both, way - 1),
    }
}

/// What a chain's penalties add, by how they act.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Terms {
    /// Through the gradient.
    pub coupled: Penalty,
    /// Beside the rule.
    pub decoupled: Penalty,
    /// In the rule's own metric.
    pub proximal: Penalty,
}

impl Terms {
    /// One penalty in one of the [`WAYS`].
    fn of(penalty: Penalty, way: usize) -> Self {
        let none = Self::default();
        match way {
            0 => Self { coupled: penalty, ..none },
            1 => Self { decoupled: penalty, ..none },
            _ => Self { proximal: penalty, ..none },
        }
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        let sum = |a: Penalty, b: Penalty| Penalty { l1: a.l1 + b.l1, l2: a.l2 + b.l2 };
        Self {
            coupled: sum(self.coupled, other.coupled),
            decoupled: sum(self.decoupled, other.decoupled),
            proximal: sum(self.proximal, other.proximal),
        }
    }

    /// Whether it takes passes of its own over gradients or weights: what the driver's sweep does not do.
    pub fn passes(&self) -> bool {
        self.coupled.l1 > 0.0 || self.decoupled.l1 > 0.0
    }
}

/// Whether a penalty is one.
pub(crate) fn is_some(penalty: Penalty) -> bool {
    penalty != Penalty::default()
}

/// The gradient with that of l1·|θ| in it.
#[inline(always)]
pub(crate) fn with_sign<F: Real>(g: F, l1: F, theta: F) -> F {
    g + signed(l1, theta)
}

/// What is left of θ beside the rule: `stay` of it, and then `by` less.
#[inline(always)]
pub(crate) fn beside<F: Real>(theta: F, stay: F, by: F) -> F {
    soft(stay * theta, by)
}

/// The gradients become means, clipped, with l1·sign(θ) of weights in them.
pub(crate) fn add_signs<F: Float>(step: &mut Step<'_, '_, F>, l1: f64) {
    let (scale, limit) = (F::from_f64(step.scale), F::from_f64(step.limit));
    let threads = step.threads;
    for part in &mut step.parts {
        let l1 = F::from_f64(if part.tensor.kind.is_penalised() { l1 } else { 0.0 });
        let (theta, grad) = part.both();
        crate::vector::each(threads, theta, grad, |theta, grad| {
            for (theta, g) in theta.iter().zip(grad) {
                *g = with_sign(limited(*g, scale, limit), l1, *theta);
            }
        });
    }
    (step.scale, step.limit) = (1.0, f64::INFINITY);
}

/// θ ← soft((1 − η λ₂) θ, η λ₁) of weights.
pub(crate) fn shrink<F: Float>(parts: &mut [Part<'_, F>], rate: f64, penalty: Penalty, threads: &Threads) {
    let (stay, by) = (F::from_f64(1.0 - rate * penalty.l2), F::from_f64(rate * penalty.l1));
    let weights = parts.iter_mut().filter(|part| part.tensor.kind.is_penalised());
    let [] = crate::vector::fuse(threads, weights.map(|part| ([part.weights()], ())), |[theta], (), []| {
        theta.iter_mut().for_each(|theta| *theta = beside(*theta, stay, by));
    });
}
