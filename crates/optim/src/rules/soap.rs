//! SOAP: Adam in the eigenbasis of Shampoo's statistics. Vyas et al. 2024, Algorithm 3, <https://arxiv.org/abs/2409.11321>.
//! ```text
//! Sₖ ← γ Sₖ + (1 − γ) Gₖ Gₖᵀ              Gₖ: the gradient unfolded along axis k;  Qₖ: eigenvectors of Sₖ
//! m ← β₁ m + (1 − β₁) G
//! v ← β₂ v + (1 − β₂) G'²                 G' = G ×ₖ Qₖᵀ, the gradient in the basis; so is m'
//! N = (m' / (√v + ε)) ×ₖ Qₖ
//! θ ← (1 − η λ) (θ − η √(1 − β₂ˢ)/(1 − β₁ˢ) N)       s = t − 1
//! every so many steps:  Qₖ ← the orthogonal factor of Sₖ Qₖ, by falling eigenvalues;  v is put into the same order
//! ```
//! Shampoo's sight of rows and columns that move together at little more than Adam's cost, since the bases may grow old. For
//! transformers and wherever Shampoo would be too dear.
//!
//! The first gradient only fills the statistics, whose eigenvectors are the first bases, and moves nothing: not even decay acts. The
//! later bases take one step of orthogonal iteration each. Vectors, and axes longer than `max_dim`, keep their own basis: there
//! it is Adam.
//!
//! Memory: two numbers per parameter, and for each axis twice the square of its size; at a step, twice the tensor's size and, in
//! f64, that of its largest basis twice.
//!
//! Differs from the paper's code as pytorch-optimizer does: ε is added before the correction of v. QR is done in f64, there in f32.
//! PyTorch, optax and Keras have no SOAP.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Buffer, Float, Real, Tensor};

use super::shampoo::{EVERY, MAX_DIM, axes, by};
use super::{Decay, Entry, Kind, Room, USUAL, Values, adam};
use crate::about::about;
use crate::arithmetic::{mixed, ratio};
use crate::eigen;
use crate::method::Method;
use crate::rule::Scalar;
use crate::tensorwise::{Axis, Now, One, TensorRule, Tensorwise, lean};
use crate::trace::{Symbol, Tracer};
use crate::vector::each;

pub(super) static SOAP: Entry = Entry {
    name: "soap",
    summary: "Adam in the basis that Shampoo's statistics turn slowly",
    source: "Vyas et al. 2024, Algorithm 3",
    about: about!("soap.rs"),
    lr: 3e-3,
    hyper: &[
        Hyper { default: 0.95, ..adam::BETA1 },
        Hyper { default: 0.95, doc: "decay β₂ of the mean square v in the basis per step", ..adam::BETA2 },
        Hyper { doc: "ε, added to √v; gradient units", ..adam::EPS },
        Hyper { doc: "λ: the new θ shrinks by ηλθ (decoupled)", ..super::DECOUPLED },
        Hyper::new("shampoo_beta", 0.95, Range::UNIT, "decay γ of the statistics per step"),
        Hyper { default: 10.0, doc: "steps from one turn of the bases to the next", ..EVERY },
        MAX_DIM,
    ],
    decay: Decay::Decoupled,
    kind: Kind::Tensor,
    make: (make, make),
    ..USUAL
};

struct Soap<F> {
    beta1: f64,
    beta2: f64,
    eps: f64,
    shampoo_beta: f64,
    every: u64,
    max_dim: f64,
    /// Scratch.
    room: [Vec<F>; 2],
}

fn make<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let most = room.tensors.iter().map(|t| t.len()).max().unwrap_or(0);
    let rule = Soap {
        beta1: v.get("beta1"),
        beta2: v.get("beta2"),
        eps: v.get("eps"),
        shampoo_beta: v.get("shampoo_beta"),
        every: v.get("every") as u64,
        max_dim: v.get("max_dim"),
        room: [(); 2].map(|()| vec![F::zero(); most]),
    };
    Box::new(Tensorwise::new(rule, room.tensors))
}

/// `x` into the bases, or (`back`) out of them; `other` is scratch of the same length.
fn turn<F: Float>(
    now: Now<'_>,
    axes: &[(usize, Axis)],
    slots: &[[Buffer<F>; 2]],
    back: bool,
    x: &mut [F],
    other: &mut [F],
) {
    for ((_, axis), [_, basis]) in axes.iter().zip(slots) {
        axis.multiply(now.threads, basis, !back, x, other);
        x.copy_from_slice(other);
    }
}

/// The first basis: the eigenvectors of a statistic [n, n], by falling eigenvalues, as columns.
fn first_basis<F: Float>(now: Now<'_>, n: usize, statistic: &[F], basis: &mut [F]) {
    let mut square: Vec<f64> = statistic.iter().map(|x| x.to_f64()).collect();
    if eigen::symmetric(now.threads, &mut square, n).is_none() {
        return basis.fill(F::NAN);
    }
    columns(n, &square, basis);
}

/// Rows of `square` as columns of `basis`.
fn columns<F: Float>(n: usize, square: &[f64], basis: &mut [F]) {
    for (j, row) in square.chunks(n).enumerate() {
        row.iter().enumerate().for_each(|(i, &x)| basis[i * n + j] = F::from_f64(x));
    }
}

/// The next basis, by a step of orthogonal iteration; `v` is brought into its order along the axis. `other` is scratch of v's length.
fn next_basis<F: Float>(
    now: Now<'_>,
    axis: Axis,
    statistic: &[F],
    basis: &mut [F],
    v: &mut [F],
    other: &mut [F],
) {
    let n = axis.size;
    let mut product = vec![F::zero(); n * n];
    Axis { outer: 1, size: n, inner: n }.multiply(now.threads, statistic, false, basis, &mut product);
    // The eigenvalue that each column stands for.
    let mut values = vec![0.0; n];
    for (q, p) in basis.chunks(n).zip(product.chunks(n)) {
        values.iter_mut().zip(q.iter().zip(p)).for_each(|(value, (q, p))| *value += q.to_f64() * p.to_f64());
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| values[j].total_cmp(&values[i]));
    let mut square: Vec<f64> =
        order.iter().flat_map(|&j| (0..n).map(move |i| i * n + j)).map(|at| product[at].to_f64()).collect();
    eigen::qr(now.threads, &mut square, n);
    columns(n, &square, basis);
    other.copy_from_slice(v);
    for (to, from) in v.chunks_mut(n * axis.inner).zip(other.chunks(n * axis.inner)) {
        for (to, &j) in to.chunks_mut(axis.inner).zip(&order) {
            to.copy_from_slice(&from[j * axis.inner..(j + 1) * axis.inner]);
        }
    }
}

/// The new v.
#[inline(always)]
fn square<F: Real>(old: F, v: F, new: F, x: F) -> F {
    old * v + new * (x * x)
}

/// x/(√v + ε).
#[inline(always)]
fn divided<F: Real>(x: F, v: F, eps: F) -> F {
    ratio(x, v.sqrt() + eps)
}

/// −η with Adam's corrections after s steps.
fn rate<X: Scalar>(lr: X, beta1: X, beta2: X, s: X) -> X {
    let (c1, c2) = (X::one() - beta1.pow(s), X::one() - beta2.pow(s));
    -lr * c2.sqrt() / c1
}

impl<F: Float> TensorRule<F> for Soap<F> {
    const NAME: &'static str = "soap";
    const DECAY: Decay = Decay::Decoupled;
    const DECAY_LAST: bool = true;

    fn trace(&self, page: &mut Tracer) -> Symbol {
        let [b1, b2, eps] = ["beta1", "beta2", "eps"].map(|name| page.scalar(name));
        let one = Symbol::one();
        page.say("the first gradient fills Sₖ, whose eigenvectors are the bases Qₖ, one for each axis; nothing moves");
        page.say("G ← g in the bases");
        let (m, v, turned) = (page.slot("m"), page.slot("v"), page.each("G"));
        page.assign("v", v, square(b2, v, one - b2, turned));
        page.assign("m", m, mixed(b1, m, one - b1, page.g()));
        page.say("M ← m in the bases");
        let inside = divided(page.each("M"), square(b2, v, one - b2, turned), eps);
        page.name("N", inside);
        page.say("N ← N out of the bases");
        page.say("Sₖ ← shampoo_beta·Sₖ + (1 − shampoo_beta)·Gₖ·Gₖᵀ, Gₖ being g unfolded along axis k");
        page.say("at every `every`-th step: Qₖ ← the orthogonal factor of Sₖ·Qₖ, by falling eigenvalues");
        let s = page.name("s", page.scalar("t") - one);
        by(rate(page.lr(), b1, b2, s), page.each("N"))
    }

    fn slots(&self, tensor: &Tensor) -> Vec<(String, usize)> {
        let n = tensor.len();
        let mut slots = vec![("m".into(), n), ("v".into(), n)];
        for (k, axis) in self.axes(tensor) {
            slots.extend(["statistic", "basis"].map(|name| (format!("{name}{k}"), axis.size * axis.size)));
        }
        slots
    }

    fn update(&mut self, now: Now<'_>, One { tensor, g, memory, .. }: One<'_, F>) -> bool {
        let (axes, n) = (self.axes(tensor), g.len());
        let [m, v, memory @ ..] = memory else { unreachable!("m, v and the axes' slots") };
        let (slots, _): (&mut [[Buffer<F>; 2]], _) = memory.as_chunks_mut();
        let gamma = self.shampoo_beta;
        if now.t == 1 {
            for ((_, axis), [statistic, basis]) in axes.iter().zip(slots) {
                axis.gram(now.threads, 1.0 - gamma, g, 0.0, statistic);
                first_basis(now, axis.size, statistic, basis);
            }
            return false;
        }
        let [x, other] = &mut self.room;
        let (x, other) = (&mut x[..n], &mut other[..n]);
        x.copy_from_slice(g);
        turn(now, &axes, slots, false, x, other);
        let (old, new) = (F::from_f64(self.beta2), F::from_f64(1.0 - self.beta2));
        each(now.threads, v, x, |v, x| {
            v.iter_mut().zip(x).for_each(|(v, x)| *v = square(old, *v, new, *x));
        });
        lean(now.threads, self.beta1, m, g);
        x.copy_from_slice(m);
        turn(now, &axes, slots, false, x, other);
        let eps = F::from_f64(self.eps);
        each(now.threads, x, v, |x, v| {
            x.iter_mut().zip(v).for_each(|(x, v)| *x = divided(*x, *v, eps));
        });
        turn(now, &axes, slots, true, x, other);
        for ((_, axis), [statistic, basis]) in axes.iter().zip(slots) {
            axis.gram(now.threads, 1.0 - gamma, g, gamma, statistic);
            if (now.t - 1).is_multiple_of(self.every) {
                next_basis(now, *axis, statistic, basis, v, other);
            }
        }
        let s = (now.t - 1) as f64;
        let rate = F::from_f64(rate(now.lr, self.beta1, self.beta2, s));
        each(now.threads, g, x, |g, x| g.iter_mut().zip(x).for_each(|(g, x)| *g = by(rate, *x)));
        true
    }
}

impl<F> Soap<F> {
    /// The axes with a basis: none of a vector's.
    fn axes(&self, tensor: &Tensor) -> Vec<(usize, Axis)> {
        if tensor.shape.len() < 2 { vec![] } else { axes(&tensor.shape, self.max_dim) }
    }
}
