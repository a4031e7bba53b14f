//! Fromage: steps in the size of each tensor. Bernstein, Vahdat, Yue & Liu 2020, Algorithm 1, <https://arxiv.org/abs/2002.03432>.
//! ```text
//! θ ← (θ − η ‖θ‖/‖g‖ g) / √(1 + η²)
//! ```
//! The norms are those of one tensor: each turns by the angle of tangent η and keeps its length, whatever the size of its
//! gradient. For generative and other deep networks whose rate is hard to find: η = 0.01 serves most.
//!
//! Memory: none. As optax's `fromage`: a norm below `min_norm` counts as that, so that tensors that start at 0 move. The decay is
//! coupled, and only the direction of g counts; optax's has none. PyTorch and Keras do not have it.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Float, Real, Tensor};

use super::shampoo::by;
use super::{COUPLED, Decay, Entry, Kind, Room, USUAL, Values};
use crate::about::about;
use crate::method::Method;
use crate::norm::norm;
use crate::rule::Scalar;
use crate::tensorwise::{Now, One, TensorRule, Tensorwise};
use crate::trace::{Symbol, Tracer};
use crate::vector::each_at;

pub(super) static FROMAGE: Entry = Entry {
    name: "fromage",
    summary: "turns each tensor by an angle and keeps its length: one rate for all networks",
    source: "Bernstein, Vahdat, Yue & Liu 2020, Algorithm 1",
    about: about!("fromage.rs"),
    lr: 1e-2,
    hyper: &[
        Hyper::new(
            "min_norm",
            1e-6,
            Range::POSITIVE,
            "the least that a norm counts; parameter and gradient units",
        ),
        COUPLED,
    ],
    decay: Decay::Coupled,
    kind: Kind::Tensor,
    make: (make, make),
    ..USUAL
};

struct Fromage {
    min_norm: f64,
}

fn make<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    Box::new(Tensorwise::new(Fromage { min_norm: v.get("min_norm") }, room.tensors))
}

/// What θ and g are multiplied by before they are added.
fn factors<X: Scalar>(lr: X, theta: X, g: X, min_norm: X) -> (X, X) {
    let shorter = X::one() / (X::one() + lr * lr).sqrt();
    (shorter, -shorter * lr * (theta.at_least(min_norm) / g.at_least(min_norm)))
}

impl<F: Float> TensorRule<F> for Fromage {
    const NAME: &'static str = "fromage";
    const DECAY: Decay = Decay::Coupled;

    fn slots(&self, _: &Tensor) -> Vec<(String, usize)> {
        vec![]
    }

    fn trace(&self, page: &mut Tracer) -> Symbol {
        page.say("‖θ‖, ‖g‖: the norms over one tensor");
        let [theta, g, least] = ["‖θ‖", "‖g‖", "min_norm"].map(|name| page.scalar(name));
        let (stay, along) = factors(page.lr(), theta, g, least);
        turned(page.theta(), page.g(), stay, along)
    }

    fn update(&mut self, now: Now<'_>, One { theta, g, .. }: One<'_, F>) -> bool {
        let size = |x: &[F]| norm(&[x], f64::INFINITY, now.threads);
        let (stay, along) = factors(now.lr, size(theta), size(g), self.min_norm);
        let (stay, along) = (F::from_f64(stay), F::from_f64(along));
        each_at(now.threads, g, |from, g| {
            for (g, theta) in g.iter_mut().zip(&theta[from..]) {
                *g = turned(*theta, *g, stay, along);
            }
        });
        true
    }
}

/// The update of the turn.
#[inline(always)]
fn turned<F: Real>(theta: F, g: F, stay: F, along: F) -> F {
    by(along, g) + (stay - F::one()) * theta
}
