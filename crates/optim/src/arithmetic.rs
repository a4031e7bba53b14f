//! What is done to one parameter around the rule: the driver runs it on numbers, a trace on symbols.

use thalweg_core::Real;

/// The gradient, scaled and then cut to ± `limit`.
#[inline(always)]
pub(crate) fn limited<F: Real>(grad: F, scale: F, limit: F) -> F {
    let g = (grad * scale).at_most(limit).at_least(-limit);
    // Cutting makes numbers of NaN and ∞; adding 0·g brings NaN back.
    g + F::zero() * grad
}

/// The gradient with that of decay/2·θ² in it.
#[inline(always)]
pub(crate) fn coupled<F: Real>(g: F, decay: F, theta: F) -> F {
    g + decay * theta
}

/// θ with the update in it: `keep` is 1 − ηλ for decoupled decay, `moved` below 1 for a proximal one.
#[inline(always)]
pub(crate) fn added<F: Real>(theta: F, u: F, keep: F, moved: F) -> F {
    theta * keep + u * moved
}

/// `size` with the sign of x; 0 where x is 0.
#[inline(always)]
pub(crate) fn signed<F: Real>(size: F, x: F) -> F {
    let zero = F::zero();
    F::select(zero.lt(x), size, F::select(x.lt(zero), -size, zero))
}

/// sign(x)·max(|x| − by, 0); x itself where `by` is 0.
#[inline(always)]
pub(crate) fn soft<F: Real>(x: F, by: F) -> F {
    let size = (x.abs() - by).at_least(F::zero());
    let shrunk = F::select(x.lt(F::zero()), -size, size);
    F::select(F::zero().lt(by), shrunk, x)
}

/// soft(θ, metric·l1)/(1 + metric·l2): the proximal step of l1·|θ| + l2/2·θ².
#[inline(always)]
pub(crate) fn proximal<F: Real>(theta: F, metric: F, l1: F, l2: F) -> F {
    // A metric may be infinite, and 0·∞ is no number: a strength of 0 is left out.
    let zero = F::zero();
    let by = F::select(zero.lt(l1), metric * l1, zero);
    let more = F::select(zero.lt(l2), metric * l2, zero);
    soft(theta, by) / (F::one() + more)
}

/// a/b, and 0 where b is 0: with ε = 0 a coordinate that has had no gradient stays where it is.
#[inline(always)]
pub(crate) fn ratio<F: Real>(a: F, b: F) -> F {
    F::select(F::zero().lt(b), a / b, F::zero() * a)
}

/// old·m + new·x.
#[inline(always)]
pub(crate) fn mixed<F: Real>(old: F, m: F, new: F, x: F) -> F {
    old * m + new * x
}

/// old·v + new·x·x.
#[inline(always)]
pub(crate) fn mixed_square<F: Real>(old: F, v: F, new: F, x: F) -> F {
    old * v + new * x * x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinite_and_missing_steps_are_limits() {
        assert_eq!(soft(-3.0, 1.0), -2.0);
        assert_eq!((soft(0.5, 1.0), soft(-0.0f64, 0.0).to_bits()), (0.0, (-0.0f64).to_bits()));
        assert_eq!(proximal(2.0, f64::INFINITY, 0.0, 0.0), 2.0);
        assert_eq!(
            (proximal(2.0, f64::INFINITY, 1.0, 0.0), proximal(2.0, f64::INFINITY, 0.0, 1.0)),
            (0.0, 0.0)
        );
        assert_eq!(proximal(3.0, 0.5, 1.0, 2.0), 2.5 / 2.0);
        assert!(limited(f64::NAN, 1.0, 1.0).is_nan() && limited(f64::INFINITY, 1.0, 1.0).is_nan());
        assert_eq!((ratio(1.0, 0.0), ratio(1.0, 4.0)), (0.0, 0.25));
        assert_eq!((signed(2.0, -0.1), signed(2.0, 0.0)), (-2.0, 0.0));
    }
}
