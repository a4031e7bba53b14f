//! SM3. Anil, Gupta, Koren & Singer 2019, Algorithm SM3-II, <https://arxiv.org/abs/1901.11150>.
//! ```text
//! ν[i, j, …] = min(μ₁[i], μ₂[j], …) + g[i, j, …]²
//! μ₁[i] ← max over j, … of ν;   μ₂[j] ← max over i, … of ν;   …
//! u = g / √(ν + ε)                     0 where ν = 0
//! m ← β m + (1 − β) u
//! θ ← θ − η m
//! ```
//! AdaGrad with one sum for each row and column instead of one for each parameter: the ν are bounds of AdaGrad's sums from above. For
//! very large embeddings and translation models. On a vector it is AdaGrad.
//!
//! Memory: one number for each place of each axis, and one per parameter for momentum (none with momentum=0).
//!
//! Differs from the paper: the momentum is of u, as in optax and pytorch-optimizer, and ε is under the root (the paper has none;
//! optax 1e-8, pytorch-optimizer 1e-30). PyTorch and Keras have no SM3.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Float, Real, Tensor, Threads};

use super::shampoo::by;
use super::{COUPLED, Decay, Entry, Kind, Rate, Room, USUAL, Values, momentum};
use crate::about::about;
use crate::arithmetic::mixed;
use crate::method::Method;
use crate::tensorwise::{Now, One, TensorRule, Tensorwise, lean};
use crate::trace::{Symbol, Tracer};
use crate::vector::{by_rows, each, each_at};

pub(super) static SM3: Entry = Entry {
    name: "sm3",
    summary: "AdaGrad with a sum for each row and column only: hardly any memory",
    source: "Anil, Gupta, Koren & Singer 2019, SM3-II",
    about: about!("sm3.rs"),
    lr: 0.1,
    hyper: &[
        Hyper { doc: "decay β of the mean update m per step; 0: no momentum", ..momentum::MOMENTUM },
        Hyper::new("eps", 1e-8, Range::NON_NEGATIVE, "ε, added to ν under the root; gradient units squared"),
        COUPLED,
    ],
    decay: Decay::Coupled,
    kind: Kind::Tensor,
    make: (make, make),
    rate: Rate::Number(0.5),
    ..USUAL
};

struct Sm3<F> {
    momentum: f64,
    eps: f64,
    /// Scratch: for each row of the last axis the least μ of the other axes, then the largest ν.
    of_row: Vec<F>,
    /// Scratch: for each place of the last axis the largest ν.
    of_column: Vec<F>,
}

fn make<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let rule = Sm3 { momentum: v.get("momentum"), eps: v.get("eps"), of_row: vec![], of_column: vec![] };
    Box::new(Tensorwise::new(rule, room.tensors))
}

/// g / √(ν + ε), and 0 where ν is 0.
#[inline(always)]
fn divide<F: Real>(g: F, nu: F, eps: F) -> F {
    F::select(F::zero().lt(nu), g / (nu + eps).sqrt(), F::zero())
}

/// ν of a coordinate whose axes have at least `least`.
#[inline(always)]
fn bound<F: Real>(least: F, g: F) -> F {
    least + g * g
}

fn larger<F: Float>(a: F, b: F) -> F {
    a.at_least(b)
}

impl<F: Float> Sm3<F> {
    /// u of a tensor of two axes or more; `mu` has the slots of its axes.
    fn factored(
        &mut self,
        threads: &Threads,
        shape: &[usize],
        g: &mut [F],
        mu: &mut [thalweg_core::Buffer<F>],
    ) {
        let (&cols, lead) = shape.split_last().expect("two axes or more");
        let rows: usize = lead.iter().product();
        let (last, mu) = mu.split_last_mut().expect("a slot for each axis");
        // The place of row r on leading axis k is (r / stride) mod size.
        let strides: Vec<usize> = (0..lead.len()).map(|k| lead[k + 1..].iter().product()).collect();
        let place = |r: usize, k: usize| r / strides[k] % lead[k];
        let least =
            |r: usize| (0..lead.len()).map(|k| mu[k][place(r, k)]).fold(F::INFINITY, |a, b| a.at_most(b));
        self.of_row.clear();
        self.of_row.extend((0..rows).map(least));
        let eps = F::from_f64(self.eps);
        let held: &[F] = last;
        by_rows(threads, cols, g, &mut self.of_row, &mut self.of_column, larger, |g, of_row, of_column| {
            for (g, of_row) in g.chunks_mut(cols).zip(of_row) {
                let (base, mut top) = (*of_row, F::zero());
                for ((g, &mu), of_column) in g.iter_mut().zip(held).zip(of_column.iter_mut()) {
                    let nu = bound(base.at_most(mu), *g);
                    *of_column = larger(nu, *of_column);
                    top = larger(nu, top);
                    *g = divide(*g, nu, eps);
                }
                *of_row = top;
            }
        });
        last.copy_from_slice(&self.of_column);
        for (k, mu) in mu.iter_mut().enumerate() {
            mu.fill(F::zero());
            for (r, &top) in self.of_row.iter().enumerate() {
                let to = &mut mu[place(r, k)];
                *to = larger(top, *to);
            }
        }
    }
}

impl<F: Float> TensorRule<F> for Sm3<F> {
    const NAME: &'static str = "sm3";
    const DECAY: Decay = Decay::Coupled;

    fn trace(&self, page: &mut Tracer) -> Symbol {
        page.say("least ← the least μ of the parameter's places, one on each axis");
        let nu = bound(page.each("least"), page.g());
        page.name("ν", nu);
        let mut u = divide(page.g(), nu, page.scalar("eps"));
        page.name("u", u);
        page.say("μ of each place on each axis ← the largest ν there");
        if self.momentum > 0.0 {
            let (beta, m) = (page.scalar("momentum"), page.slot("m"));
            let new = mixed(beta, m, Symbol::one() - beta, u);
            page.assign("m", m, new);
            u = new;
        }
        by(-page.lr(), u)
    }

    fn slots(&self, tensor: &Tensor) -> Vec<(String, usize)> {
        let mut slots: Vec<(String, usize)> = match tensor.shape[..] {
            [] => vec![("mu0".into(), 1)],
            _ => tensor.shape.iter().enumerate().map(|(k, &n)| (format!("mu{k}"), n)).collect(),
        };
        if self.momentum > 0.0 {
            slots.push(("m".into(), tensor.len()));
        }
        slots
    }

    fn update(&mut self, now: Now<'_>, One { tensor, g, memory, .. }: One<'_, F>) -> bool {
        let (mu, m) = memory.split_at_mut(tensor.shape.len().max(1));
        if let [mu] = mu {
            let eps = F::from_f64(self.eps);
            each(now.threads, g, mu, |g, mu| {
                for (g, mu) in g.iter_mut().zip(mu) {
                    *mu = bound(*mu, *g);
                    *g = divide(*g, *mu, eps);
                }
            });
        } else {
            self.factored(now.threads, &tensor.shape, g, mu);
        }
        if let [m] = m {
            lean(now.threads, self.momentum, m, g);
            g.copy_from_slice(m);
        }
        let rate = F::from_f64(-now.lr);
        each_at(now.threads, g, |_, g| g.iter_mut().for_each(|g| *g = by(rate, *g)));
        true
    }
}
