//! ASGD: gradient descent with averaging. Polyak & Juditsky 1992, <https://doi.org/10.1137/0330046>; rates of Bottou's code and
//! Xu 2011, <https://arxiv.org/abs/1107.2490>.
//! ```text
//! ηₜ = η/(1 + λη(t − 1))^α          μₜ = 1/max(1, t − 1 − t₀)
//! θ ← (1 − ληₜ) θ − ηₜ g
//! a ← a + μₜ (θ − a)
//! ```
//! For convex problems with noisy gradients: the mean a of late iterates, which is what is evaluated and saved, reaches the best rate
//! that any method can. Memory: 1 number a parameter. As PyTorch, which leaves it to its user to evaluate a; there t₀ = 10⁶ means
//! that shorter runs do not average at all. optax and Keras have none; their averages (`ema`) are those of [`crate::chain::ema`].

use thalweg_core::Real;
use thalweg_core::hyper::{Hyper, Range};

use crate::rule::{Rule, Scalar, Slot, When, coef, declared, hyper};

/// λ.
pub const LAMBD: Hyper =
    Hyper::new("lambd", 1e-4, Range::NON_NEGATIVE, "λ: decay of θ, and how fast the rate falls");
/// α.
pub const ALPHA: Hyper = Hyper::new("alpha", 0.75, Range::NON_NEGATIVE, "α: power of the rate's fall");
/// t₀.
pub const T0: Hyper = Hyper::new("t0", 1e6, Range::NON_NEGATIVE, "t₀: steps before averaging begins");

hyper! {
    /// Gradient descent at a falling rate, with the mean of its late iterates.
    pub struct Asgd {
        lambd = LAMBD;
        alpha = ALPHA;
        t0 = T0;
    }
}

coef! {
    /// The scalars of a step.
    pub struct Coef {
        /// ηₜ.
        eta,
        /// ληₜ.
        decay,
        /// μₜ.
        mu,
    }
}

impl Rule<1> for Asgd {
    const NAME: &'static str = "asgd";
    const STATE: [Slot; 1] = [Slot::theta("ax")];
    const PROXIMAL: bool = false;
    const EVALUATES: Option<usize> = Some(0);
    declared!(Asgd, Coef);

    fn coef<X: Scalar>(h: &Asgd<X>, When { t, lr }: When<X>, _: &mut [X]) -> Coef<X> {
        let one = X::one();
        let before = t - one;
        let eta = lr / (one + h.lambd * lr * before).pow(h.alpha);
        Coef { eta, decay: h.lambd * eta, mu: one / (before - h.t0).at_least(one) }
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, theta: F, g: F, [a]: [F; 1]) -> (F, [F; 1]) {
        let u = -(c.decay * theta) - c.eta * g;
        let next = theta + u;
        // From the nearer end: a share of 1 gives θ itself.
        let near = c.mu.lt(F::from_f64(0.5));
        let moved = F::select(near, a + c.mu * (next - a), next + (F::one() - c.mu) * (a - next));
        (u, [moved])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, _: [F; 1]) -> F {
        c.eta
    }
}
