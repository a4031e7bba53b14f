//! Shampoo. Gupta, Koren & Singer 2018, Algorithm 2, <https://arxiv.org/abs/1802.09568>.
//! ```text
//! Sₖ ← Sₖ + Gₖ Gₖᵀ                    Gₖ: the gradient unfolded along axis k, [nₖ, all others];  Sₖ = ε I at the start
//! U = G ×₁ S₁^(−1/2p) ×₂ … ×ₚ Sₚ^(−1/2p)      p: how many axes are preconditioned
//! θ ← θ − η U
//! ```
//! AdaGrad with a full matrix for each axis: for a matrix U = L^(−1/4) G R^(−1/4). It sees how rows, and columns, move together. For
//! networks whose layers have sides of up to about a thousand: an inverse root takes some 10 n³ operations for each side n.
//!
//! Memory: for each axis, twice the square of its size; at a step, twice the tensor's size and that of its largest statistic in
//! f64. A step costs Σ nₖ products of the tensor's size, and the roots every `every` steps.
//!
//! Roots are computed at steps every, 2·every, …; before the first of these nothing moves, as in pytorch-optimizer. An axis longer
//! than `max_dim` is not preconditioned. Differs from the paper: nowhere. On a vector it is full-matrix AdaGrad. Roots come from an
//! eigen-decomposition in f64, eigenvalues counting as ε at least, which they are. PyTorch, optax and Keras have no Shampoo.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Buffer, Float, Real, Tensor};

use super::{COUPLED, Decay, Entry, Kind, Rate, Room, USUAL, Values};
use crate::about::about;
use crate::eigen::symmetric;
use crate::method::Method;
use crate::tensorwise::{Axis, Now, One, TensorRule, Tensorwise};
use crate::trace::{Symbol, Tracer};
use crate::vector::each_at;

pub(super) const MAX_DIM: Hyper =
    Hyper::new("max_dim", 4096.0, Range::COUNT, "an axis longer than this is not preconditioned");
pub(super) const EVERY: Hyper =
    Hyper::new("every", 1.0, Range::COUNT, "steps from one decomposition of the statistics to the next");

pub(super) static SHAMPOO: Entry = Entry {
    name: "shampoo",
    summary: "AdaGrad with a full matrix for each axis of a tensor",
    source: "Gupta, Koren & Singer 2018, Algorithm 2",
    about: about!("shampoo.rs"),
    lr: 1e-3,
    hyper: &[
        Hyper::new("eps", 1e-6, Range::POSITIVE, "ε: the statistics start at ε·I; gradient units squared"),
        EVERY,
        COUPLED,
        MAX_DIM,
    ],
    decay: Decay::Coupled,
    kind: Kind::Tensor,
    make: (make, make),
    rate: Rate::Number(0.5),
    ..USUAL
};

struct Shampoo<F> {
    eps: f64,
    every: u64,
    max_dim: f64,
    /// Scratch.
    other: Vec<F>,
    square: Vec<f64>,
}

fn make<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let (eps, every, max_dim) = (v.get("eps"), v.get("every") as u64, v.get("max_dim"));
    Box::new(Tensorwise::new(Shampoo { eps, every, max_dim, other: vec![], square: vec![] }, room.tensors))
}

/// The axes that are preconditioned, with their numbers.
pub(super) fn axes(shape: &[usize], max_dim: f64) -> Vec<(usize, Axis)> {
    Axis::all(shape).into_iter().enumerate().filter(|(_, axis)| axis.size as f64 <= max_dim).collect()
}

/// The update of a direction.
#[inline(always)]
pub(super) fn by<F: Real>(rate: F, u: F) -> F {
    rate * u
}

impl<F: Float> Shampoo<F> {
    /// root ← S^(−1/order): Z diag(λ^(−1/order)) Zᵀ.
    fn root(&mut self, now: Now<'_>, n: usize, order: f64, s: &[F], root: &mut [F]) {
        self.square.clear();
        self.square.extend(s.iter().map(|x| x.to_f64()));
        let Some(values) = symmetric(now.threads, &mut self.square, n) else {
            root.fill(F::NAN);
            return;
        };
        let mut scaled = self.square.clone();
        for (row, value) in scaled.chunks_mut(n).zip(values) {
            let power = libm::pow(value.max(self.eps), -1.0 / order);
            row.iter_mut().for_each(|x| *x *= power);
        }
        let all = Axis { outer: 1, size: n, inner: n };
        let mut product = vec![0.0; n * n];
        // Zᵀ diag Z: the vectors are rows here.
        all.multiply(now.threads, &self.square, true, &scaled, &mut product);
        root.iter_mut().zip(product).for_each(|(root, x)| *root = F::from_f64(x));
    }
}

impl<F: Float> TensorRule<F> for Shampoo<F> {
    const NAME: &'static str = "shampoo";
    const DECAY: Decay = Decay::Coupled;

    fn trace(&self, page: &mut Tracer) -> Symbol {
        page.say(
            "for each axis k no longer than max_dim: Sₖ ← Sₖ + Gₖ·Gₖᵀ, from eps·I; Gₖ is g unfolded along it",
        );
        page.say(
            "at every `every`-th step: Lₖ ← Sₖ^(−1/2n) by its eigenvectors, n being the number of such axes",
        );
        page.say("u ← g multiplied by Lₖ along each of them");
        by(-page.lr(), page.each("u"))
    }

    fn slots(&self, tensor: &Tensor) -> Vec<(String, usize)> {
        let axes = axes(&tensor.shape, self.max_dim);
        let slots = |(k, axis): (usize, Axis)| {
            ["statistic", "root"].map(|name| (format!("{name}{k}"), axis.size * axis.size))
        };
        axes.into_iter().flat_map(slots).collect()
    }

    fn update(&mut self, now: Now<'_>, One { tensor, g, memory, .. }: One<'_, F>) -> bool {
        let axes = axes(&tensor.shape, self.max_dim);
        let order = 2.0 * axes.len() as f64;
        let (slots, _): (&mut [[Buffer<F>; 2]], _) = memory.as_chunks_mut();
        for ((_, axis), [statistic, root]) in axes.iter().zip(&mut *slots) {
            let n = axis.size;
            if now.t == 1 {
                (0..n).for_each(|i| statistic[i * n + i] = F::from_f64(self.eps));
            }
            axis.gram(now.threads, 1.0, g, 1.0, statistic);
            if now.t.is_multiple_of(self.every) {
                self.root(now, n, order, statistic, root);
            }
        }
        for ((_, axis), [_, root]) in axes.iter().zip(slots) {
            self.other.resize(g.len(), F::zero());
            axis.multiply(now.threads, root, false, g, &mut self.other);
            g.copy_from_slice(&self.other);
        }
        let rate = F::from_f64(-now.lr);
        each_at(now.threads, g, |_, g| g.iter_mut().for_each(|g| *g = by(rate, *g)));
        true
    }
}
