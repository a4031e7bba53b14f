//! Adafactor. Shazeer & Stern 2018, Algorithms 4 and 5, <https://arxiv.org/abs/1804.04235>; in PyTorch's form.
//! ```text
//! ω = tᵞ                                           t = 1, 2, …;  γ = −0.8:  1 − ω is β₂
//! Rᵢ ← Rᵢ + ω (meanⱼ gᵢⱼ² − Rᵢ)                      Cⱼ ← Cⱼ + ω (meanᵢ gᵢⱼ² − Cⱼ)
//! uᵢⱼ = gᵢⱼ / max(√(Rᵢ Cⱼ / max(mean R, ε₁)), ε₁)    a vector has V ← V + ω (g² − V) and u = g / max(√V, ε₁)
//! α = max(ε₂, rms θ) · min(η, 1/√t)
//! u ← α u / max(1, rms(u)/d)
//! θ ← (1 − η λ) θ − u                              β₁ > 0:  m ← β₁ m + (1 − β₁) u;  θ ← (1 − η λ) θ − m
//! ```
//! Adam's second moment as the outer product of its row and column means: for models whose optimizer memory would not fit. The step
//! is a share of the parameters' own size.
//!
//! Memory: for a matrix, one number per row and one per column; for a vector, one per parameter; with β₁ > 0 one more per parameter.
//! At a step, 16 numbers per column of one tensor at most.
//!
//! A tensor of more than two axes is a stack of matrices in its last two, as in PyTorch; optax takes the two largest axes, if
//! they have 128 places. Differs from the paper as PyTorch does: ε₁ is a least value where the paper adds ε₁ to g². PyTorch's ε₁
//! is the machine's epsilon when nothing is said; here it is the paper's 1e-30. Keras adds ε₁ to g² as the paper does; optax
//! scales by the parameters' size and by the rate as it is given, without 1/√t. PyTorch has no β₁; with it this is optax's chain,
//! in which the decay is added to m. There is no bias correction: β₂ is 0 at the first step.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::math::sum_by;
use thalweg_core::{Buffer, Float, Real, Tensor};

use super::shampoo::by;
use super::{Decay, Entry, Kind, Rate, Room, USUAL, Values, adam};
use crate::about::about;
use crate::arithmetic::ratio;
use crate::arithmetic::{mixed, mixed_square};
use crate::method::Method;
use crate::norm::norm;
use crate::rule::Scalar;
use crate::tensorwise::{Now, One, TensorRule, Tensorwise, lean};
use crate::trace::{Symbol, Tracer};
use crate::vector::{by_rows, each};

pub(super) static ADAFACTOR: Entry = Entry {
    name: "adafactor",
    summary: "Adam's second moment from row and column means: hardly any memory",
    source: "Shazeer & Stern 2018, Algorithms 4 and 5",
    about: about!("adafactor.rs"),
    lr: 1e-2,
    hyper: &[
        Hyper::new(
            "beta2_decay",
            -0.8,
            Range::new(f64::NEG_INFINITY, true, 0.0, false),
            "γ: β₂ is 1 − tᵞ at step t",
        ),
        Hyper::new(
            "eps1",
            1e-30,
            Range::NON_NEGATIVE,
            "ε₁, the least root mean square that divides; gradient units",
        ),
        Hyper::new(
            "eps2",
            1e-3,
            Range::NON_NEGATIVE,
            "ε₂, the least size that a tensor's step is a share of; parameter units",
        ),
        Hyper::new(
            "d",
            1.0,
            Range::new(1.0, false, f64::INFINITY, true),
            "the root mean square that u is cut to",
        ),
        Hyper { default: 0.0, ..super::DECOUPLED },
        Hyper {
            default: 0.0, doc: "decay β₁ of the mean update m per step; 0: no momentum", ..adam::BETA1
        },
    ],
    decay: Decay::Decoupled,
    kind: Kind::Tensor,
    make: (make, make),
    rate: Rate::Number(0.05),
    ..USUAL
};

struct Adafactor {
    beta2_decay: f64,
    eps1: f64,
    eps2: f64,
    d: f64,
    beta1: f64,
    row_sums: Vec<f64>,
    column_sums: Vec<f64>,
}

fn make<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let rule = Adafactor {
        beta2_decay: v.get("beta2_decay"),
        eps1: v.get("eps1"),
        eps2: v.get("eps2"),
        d: v.get("d"),
        beta1: v.get("beta1"),
        row_sums: vec![],
        column_sums: vec![],
    };
    Box::new(Tensorwise::new(rule, room.tensors))
}

/// Rows and columns of the matrices in a tensor's last two axes; `None` for a vector.
fn sides(tensor: &Tensor) -> Option<(usize, usize)> {
    match tensor.shape[..] {
        [.., rows, cols] => Some((rows, cols)),
        _ => None,
    }
}

impl Adafactor {
    /// g ← g / max(√(Rᵢ Cⱼ / max(mean R, ε₁)), ε₁) for one matrix, R and C brought up to date.
    fn divide<F: Float>(
        &mut self,
        now: Now<'_>,
        share: f64,
        cols: usize,
        g: &mut [F],
        r: &mut [F],
        c: &mut [F],
    ) {
        let rows = r.len();
        self.row_sums.clear();
        self.row_sums.resize(rows, 0.0);
        let add = |a: f64, b: f64| a + b;
        by_rows(
            now.threads,
            cols,
            g,
            &mut self.row_sums,
            &mut self.column_sums,
            add,
            |g, of_row, of_column| {
                for (g, sum) in g.chunks(cols).zip(of_row) {
                    *sum = sum_by(g, |g| g * g);
                    for (sum, g) in of_column.iter_mut().zip(g) {
                        let g = g.to_f64();
                        *sum += g * g;
                    }
                }
            },
        );
        let follow = |held: &mut [F], sums: &[f64], n: usize| {
            for (held, sum) in held.iter_mut().zip(sums) {
                let old = held.to_f64();
                *held = F::from_f64(old + share * (sum / n as f64 - old));
            }
        };
        follow(r, &self.row_sums, cols);
        follow(c, &self.column_sums, rows);
        let mean = r.iter().map(|x| x.to_f64()).sum::<f64>() / rows as f64;
        let least = mean.max(self.eps1);
        // √Rᵢ and √Cⱼ apart: their product stays in range where RᵢCⱼ does not. Rows have F's range, as the columns.
        let root = |x: f64| x.sqrt();
        let mut of_row: Vec<F> =
            r.iter().map(|x| ratio(F::from_f64(root(x.to_f64())), F::from_f64(root(least)))).collect();
        let of_column: Vec<F> = c.iter().map(|x| x.sqrt()).collect();
        let eps = F::from_f64(self.eps1);
        let mut none: Vec<F> = vec![];
        let keep = |a: F, _: F| a;
        by_rows(now.threads, cols, g, &mut of_row, &mut none, keep, |g, of_row, _| {
            for (g, &a) in g.chunks_mut(cols).zip(of_row.iter()) {
                for (g, &b) in g.iter_mut().zip(&of_column) {
                    *g = factored(*g, a, b, eps);
                }
            }
        });
    }
}

/// g divided by the roots of its row and column.
#[inline(always)]
fn factored<F: Real>(g: F, row: F, column: F, eps: F) -> F {
    ratio(g, (row * column).at_least(eps))
}

/// g divided by the root of its own mean square.
#[inline(always)]
fn single<F: Real>(g: F, v: F, eps: F) -> F {
    ratio(g, v.sqrt().at_least(eps))
}

/// α: what the update's size is a share of, at this step.
fn size<X: Scalar>(rms: X, eps2: X, lr: X, t: X) -> X {
    rms.at_least(eps2) * lr.at_most(X::one() / t.sqrt())
}

/// The factor of u, so that its root mean square is α·d at most.
fn shorten<X: Scalar>(alpha: X, rms: X, d: X) -> X {
    -alpha / (rms / d).at_least(X::one())
}

impl<F: Float> TensorRule<F> for Adafactor {
    const NAME: &'static str = "adafactor";
    const DECAY: Decay = Decay::Decoupled;

    fn trace(&self, page: &mut Tracer) -> Symbol {
        let (one, t) = (Symbol::one(), page.scalar("t"));
        let share = page.name("ω", t.pow(page.scalar("beta2_decay")));
        page.say("a matrix: R ← R + ω·(the mean of g·g over each row − R), C the same over each column");
        page.say("row ← √R/√max(the mean of R, eps1), column ← √C");
        let eps = page.scalar("eps1");
        let (row, column) = (page.each("row"), page.each("column"));
        page.name("u", factored(page.g(), row, column, eps));
        page.say("a vector has a mean square for each number:");
        let v = page.each("v");
        let new = mixed_square(one - share, v, share, page.g());
        page.assign("v", v, new);
        page.name("u", single(page.g(), new, eps));
        page.say("rms: the root mean square over one tensor");
        let alpha = size(page.scalar("rms(θ)"), page.scalar("eps2"), page.lr(), t);
        page.name("α", alpha);
        let u = by(shorten(alpha, page.scalar("rms(u)"), page.scalar("d")), page.each("u"));
        if self.beta1 == 0.0 {
            return u;
        }
        let (beta1, m) = (page.scalar("beta1"), page.slot("m"));
        let new = mixed(beta1, m, one - beta1, u);
        page.assign("m", m, new);
        new
    }

    fn slots(&self, tensor: &Tensor) -> Vec<(String, usize)> {
        let n = tensor.len();
        let mut slots = match sides(tensor) {
            Some((rows, cols)) => vec![("row".into(), n / cols.max(1)), ("column".into(), n / rows.max(1))],
            None => vec![("v".into(), n)],
        };
        if self.beta1 > 0.0 {
            slots.push(("m".into(), n));
        }
        slots
    }

    fn update(&mut self, now: Now<'_>, One { tensor, theta, g, memory }: One<'_, F>) -> bool {
        let t = now.t as f64;
        let share = libm::pow(t, self.beta2_decay);
        let rms = |x: &[F]| norm(&[x], f64::INFINITY, now.threads) / (x.len() as f64).sqrt();
        let alpha = size(rms(theta), self.eps2, now.lr, t);
        let m: Option<&mut Buffer<F>> = match (sides(tensor), memory) {
            (Some((rows, cols)), [r, c, m @ ..]) => {
                let matrices = g.chunks_mut(rows * cols).zip(r.chunks_mut(rows)).zip(c.chunks_mut(cols));
                for ((g, r), c) in matrices {
                    self.divide(now, share, cols, g, r, c);
                }
                m.first_mut()
            }
            (None, [v, m @ ..]) => {
                let (old, new) = (F::from_f64(1.0 - share), F::from_f64(share));
                let eps = F::from_f64(self.eps1);
                each(now.threads, g, v, |g, v| {
                    for (g, v) in g.iter_mut().zip(v) {
                        *v = mixed_square(old, *v, new, *g);
                        *g = single(*g, *v, eps);
                    }
                });
                m.first_mut()
            }
            _ => unreachable!("the slots of this shape"),
        };
        let rate = F::from_f64(shorten(alpha, rms(g), self.d));
        crate::vector::each_at(now.threads, g, |_, g| g.iter_mut().for_each(|g| *g = by(rate, *g)));
        if let Some(m) = m {
            lean(now.threads, self.beta1, m, g);
            g.copy_from_slice(m);
        }
        true
    }
}
