//! Muon: momentum, orthogonalised. Jordan et al. 2024, <https://kellerjordan.github.io/posts/muon/>; Liu et al. 2025,
//! <https://arxiv.org/abs/2502.16982>.
//! ```text
//! m ← μ m + (1 − μ) g
//! u = m                                           nesterov:  u = μ m + (1 − μ) g
//! X = u / ‖u‖                                     five times:  A = X Xᵀ;  X ← a X + (b A + c A²) X
//! θ ← (1 − η λ) θ − η s X                         s = √max(1, out/in),  or ρ √max(out, in)
//! ```
//! a = 3.4445, b = −4.7750, c = 2.0315: the iteration drives every singular value of u to between 0.7 and 1.2, so that all
//! directions of a matrix move alike: steepest descent in the spectral norm. For the hidden matrices of deep networks,
//! transformers above all. The head (what maps to the model's outputs), vectors, single numbers and tables that are looked up by
//! row (an axis named `row`, `code`, `token` or `level`) go to [`adamw`](super::adam) with the same rate where `muon` stands
//! alone; a linear model is nothing but a head. In a group of its own, as in `{ matrices: muon; rest: adamw }`, it takes heads
//! too. optax's alone takes every tensor of two axes, heads and tables included, Keras leaves tables out, and the head where it
//! is named; PyTorch's takes what it is given.
//!
//! The axis named `out` counts the outputs, wherever it stands (the first one where none is named so); all others together are the
//! inputs, so a convolution's kernel is flattened to out × (in · height · width), as in Jordan's code. PyTorch and optax take
//! tensors of two axes only, unless told; PyTorch takes axis 0 for the outputs, optax axis 1.
//!
//! Memory: one number per parameter; at a step, scratch for one tensor: twice its own size, and twice the square of its shorter side; in
//! bfloat16 12 bytes for each of its numbers and 6 for each of the square, both sides rounded up to multiples of 32.
//!
//! `bias_correction=true` is optax: m is divided by 1 − μᵗ⁺¹ and g by 1 − μᵗ in Nesterov's mix (m by 1 − μᵗ without it), and ε is
//! added to ‖u‖. `false` is PyTorch, whose defaults these are: no correction, and ‖u‖ is at least ε. `consistent_rms=0.2` is
//! PyTorch's `match_rms_adamw`: steps of AdamW's size, so that its rates carry over. The iteration is in the
//! parameters' own type; with `bf16=true` it is in bfloat16 with sums in f32, as PyTorch's and Jordan's. That has the same bits on every
//! machine, and pays on those with AMX (Intel's Xeons since 2023), where it takes a sixth of the time of f32; elsewhere it takes more
//! than twice as long. Keras's Muon sums m without 1 − μ, always scales by 0.2 √max(rows, columns) unless told, adds 1e-7 to the norm, and
//! gives AdamW what is not a matrix, the embeddings, and the layers that are named to it.

use thalweg_core::gemm::bf16::{self, Forms, Squares};
use thalweg_core::gemm::{Mat, MatMut, gemm, gram};
use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Float, Real, Tensor, Threads};

use super::{Decay, Entry, Kind, Rest, Room, USUAL, Values, momentum};
use crate::about::about;
use crate::arithmetic::mixed;
use crate::chain::outputs;
use crate::groups::is_matrix;
use crate::method::Method;
use crate::norm::norm;
use crate::rule::Scalar;
use crate::tensorwise::{Now, One, TensorRule, Tensorwise};
use crate::trace::{Symbol, Tracer};
use crate::vector::{each, each_at};

pub(super) static MUON: Entry = Entry {
    name: "muon",
    summary: "momentum made orthogonal, for hidden matrices; the rest gets AdamW",
    source: "Jordan et al. 2024; Liu et al. 2025",
    about: about!("muon.rs"),
    lr: 1e-3,
    hyper: &[
        Hyper { default: 0.95, doc: "decay μ of the mean gradient m per step", ..momentum::MOMENTUM },
        Hyper { default: 0.1, doc: "λ: θ shrinks by ηλθ (decoupled)", ..super::DECOUPLED },
        Hyper::new("nesterov", 1.0, Range::SWITCH, "mix the gradient into m once more before the iteration"),
        Hyper::new("ns_steps", 5.0, Range::COUNT, "steps of the Newton–Schulz iteration"),
        Hyper::new(
            "eps",
            1e-7,
            Range::NON_NEGATIVE,
            "ε, the least norm that u is divided by; gradient units",
        ),
        Hyper::new(
            "consistent_rms",
            0.0,
            Range::NON_NEGATIVE,
            "ρ: root mean square of a step per η; 0: √max(1, out/in) scales it",
        ),
        Hyper::new(
            "bias_correction",
            0.0,
            Range::SWITCH,
            "correct m and g for their start at 0, and add ε to the norm, as optax",
        ),
        Hyper::new("bf16", 0.0, Range::SWITCH, "iterate in bfloat16, as PyTorch: faster where there is AMX"),
    ],
    decay: Decay::Decoupled,
    kind: Kind::Tensor,
    rest: Some(Rest { works, takes: hidden, expression: "adamw", lr: 1.0 }),
    make: (make, make),
    ..USUAL
};

/// Names of axes along which a table is looked up.
const LOOKED_UP: [&str; 4] = ["row", "code", "token", "level"];

fn works(tensor: &Tensor) -> bool {
    is_matrix(tensor) && !tensor.axes.iter().any(|axis| LOOKED_UP.contains(axis))
}

/// What it is made for: a head has one row for each output, and those do not move alike.
fn hidden(tensor: &Tensor) -> bool {
    works(tensor) && !tensor.head
}

/// a, b, c.
const COEFFICIENTS: [f64; 3] = [3.4445, -4.7750, 2.0315];

struct Muon<F> {
    momentum: f64,
    nesterov: bool,
    ns_steps: u64,
    eps: f64,
    consistent_rms: f64,
    bias_correction: bool,
    scratch: Scratch<F>,
}

/// Room for the iteration over the largest tensor.
enum Scratch<F> {
    /// X, the next X, A, B.
    Own([Vec<F>; 4]),
    /// X where its numbers are not a matrix as they lie; then as above.
    Bf16(Vec<F>, Box<[Squares; 4]>),
}

fn make<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let most = |size: &dyn Fn(&Tensor) -> usize| room.tensors.iter().map(|t| size(t)).max().unwrap_or(0);
    let whole = most(&Tensor::len);
    let square = most(&|t| {
        let (outer, out, inner) = outputs(t);
        let side = out.min(outer * inner);
        side * side
    });
    let zeros = |n: usize| vec![F::zero(); n];
    let scratch = if v.is("bf16") {
        let x = Forms { right: true, turned: true };
        let forms = [x, x, Forms { turned: true, ..Forms::default() }, Forms::default()];
        let gathered = most(&|t| if lies(outputs(t)) { 0 } else { t.len() });
        Scratch::Bf16(zeros(gathered), Box::new(forms.map(|forms| Squares::zeros(0, 0, forms))))
    } else {
        Scratch::Own([whole, whole, square, square].map(zeros))
    };
    let rule = Muon {
        momentum: v.get("momentum"),
        nesterov: v.is("nesterov"),
        ns_steps: v.get("ns_steps") as u64,
        eps: v.get("eps"),
        consistent_rms: v.get("consistent_rms"),
        bias_correction: v.is("bias_correction"),
        scratch,
    };
    Box::new(Tensorwise::new(rule, room.tensors))
}

/// The iteration, on X [rows, cols] with rows ≤ cols or, `tall`, on the transpose of what is stored. X is in `x` in the end.
fn orthogonalise<F: Float>(
    threads: &Threads,
    steps: u64,
    (rows, cols): (usize, usize),
    [x, y, a, b]: &mut [Vec<F>; 4],
) {
    let [first, second, third] = COEFFICIENTS.map(F::from_f64);
    let (one, zero, n, tall) = (F::one(), F::zero(), rows * cols, rows > cols);
    let side = rows.min(cols);
    let (a, b) = (&mut a[..side * side], &mut b[..side * side]);
    for _ in 0..steps {
        let (from, to) = (&x[..n], &mut y[..n]);
        let whole = Mat::new(from, rows, cols);
        let wide = if tall { whole.t() } else { whole };
        // A and A·A are symmetric: half of each is computed.
        gram(threads, one, wide, zero, MatMut::new(a, side, side));
        b.copy_from_slice(a);
        gram(threads, third, Mat::new(a, side, side), second, MatMut::new(b, side, side));
        to.copy_from_slice(from);
        let whole = MatMut::new(to, rows, cols);
        let whole = if tall { whole.t() } else { whole };
        gemm(threads, one, Mat::new(b, side, side), wide, first, whole);
        std::mem::swap(x, y);
    }
}

/// As [`orthogonalise`], in bfloat16, on X of the squares, which is wide.
fn orthogonalise_bf16(
    threads: &Threads,
    steps: u64,
    (rows, cols): (usize, usize),
    squares: &mut [Squares; 4],
) {
    let [x, y, a, b] = squares;
    let [first, second, third] = COEFFICIENTS.map(|c| c as f32);
    y.resize(rows, cols);
    a.resize(rows, rows);
    b.resize(rows, rows);
    for _ in 0..steps {
        bf16::gram(threads, 1.0, x, None, a);
        bf16::gram(threads, third, a, Some((second, a)), b);
        bf16::multiply(threads, 1.0, b, x, Some((first, x)), y);
        std::mem::swap(x, y);
    }
}

/// Whether the numbers lie as a matrix: the outputs stand first or last.
fn lies((outer, _, inner): (usize, usize, usize)) -> bool {
    outer == 1 || inner == 1
}

/// The new m, and u: of_m·m + of_g·g.
#[inline(always)]
fn leaning<F: Real>([old, new, of_m, of_g]: [F; 4], m: F, g: F) -> (F, F) {
    let m = mixed(old, m, new, g);
    (m, mixed(of_m, m, of_g, g))
}

/// The shares of m and g in u.
fn shares<X: Scalar>(mu: X, t: X, nesterov: bool, bias_correction: bool) -> (X, X) {
    let one = X::one();
    let correct = |t: X| if bias_correction { one / (one - mu.pow(t)) } else { one };
    if nesterov { (mu * correct(t + one), (one - mu) * correct(t)) } else { (correct(t), X::zero()) }
}

impl<F: Float> TensorRule<F> for Muon<F> {
    const NAME: &'static str = "muon";
    const DECAY: Decay = Decay::Decoupled;

    fn trace(&self, page: &mut Tracer) -> Symbol {
        let (mu, t, m) = (page.scalar("momentum"), page.scalar("t"), page.slot("m"));
        let (of_m, of_g) = shares(mu, t, self.nesterov, self.bias_correction);
        let (new, u) = leaning([mu, Symbol::one() - mu, of_m, of_g], m, page.g());
        page.assign("m", m, new);
        page.name("u", u);
        let size = if self.bias_correction { "‖u‖ + eps" } else { "max(‖u‖, eps)" };
        page.say(format!("X ← u as a matrix [out, in], divided by {size}, ‖u‖ being its norm"));
        let [a, b, c] = COEFFICIENTS;
        let short = if matches!(self.scratch, Scratch::Bf16(..)) { ", in bfloat16" } else { "" };
        page.say(format!("ns_steps times: A ← X·Xᵀ, X ← {a}·X + (−{}·A + {c}·A·A)·X{short}", -b));
        page.say(match self.consistent_rms {
            0.0 => "s ← √max(1, out/in)",
            _ => "s ← consistent_rms·√max(out, in)",
        });
        -page.lr() * page.scalar("s") * page.each("X")
    }

    fn slots(&self, tensor: &Tensor) -> Vec<(String, usize)> {
        vec![("m".into(), tensor.len())]
    }

    fn update(&mut self, now: Now<'_>, One { tensor, g, memory, .. }: One<'_, F>) -> bool {
        let (mu, t) = (self.momentum, now.t as f64);
        let (of_m, of_g) = shares(mu, t, self.nesterov, self.bias_correction);
        let shares = [mu, 1.0 - mu, of_m, of_g].map(F::from_f64);
        each(now.threads, g, &mut memory[0], |g, m| {
            for (g, m) in g.iter_mut().zip(m) {
                (*m, *g) = leaning(shares, *m, *g);
            }
        });
        let size = norm(&[g], f64::INFINITY, now.threads);
        let size = if self.bias_correction { size + self.eps } else { size.max(self.eps) };
        if size == 0.0 || !size.is_finite() {
            // Nothing to turn, or (NaN) something that is left out.
            let fill = if size == 0.0 { F::zero() } else { F::NAN };
            g.fill(fill);
            return true;
        }
        let (outer, out, inner) = outputs(tensor);
        let input = outer * inner;
        // Where the outputs stand first or last the numbers lie as a matrix; otherwise they are gathered into [out, in].
        let lies = lies((outer, out, inner));
        let sides = if outer == 1 || !lies { (out, input) } else { (input, out) };
        let place = |i: usize| {
            if lies { i } else { (i % input / inner * out + i / input) * inner + i % inner }
        };
        let (high, wide) = (out as f64, input as f64);
        let scale = match self.consistent_rms {
            0.0 => (high / wide).max(1.0).sqrt(),
            rms => high.max(wide).sqrt() * rms,
        };
        let by = -now.lr * scale;
        let n = g.len();
        let normed = |x: F| x.to_f64() / size;
        match &mut self.scratch {
            Scratch::Own(room) => {
                let from: &[F] = g;
                each_at(now.threads, &mut room[0][..n], |start, x| {
                    for (i, x) in x.iter_mut().enumerate() {
                        *x = F::from_f64(normed(from[place(start + i)]));
                    }
                });
                orthogonalise(now.threads, self.ns_steps, sides, room);
                let (by, x) = (F::from_f64(by), &mut room[0][..n]);
                if lies {
                    each(now.threads, g, x, |g, x| g.iter_mut().zip(x).for_each(|(g, x)| *g = by * *x));
                } else {
                    x.iter().enumerate().for_each(|(i, &x)| g[place(i)] = by * x);
                }
            }
            Scratch::Bf16(gathered, squares) => {
                let (rows, cols) = sides;
                let tall = rows > cols;
                let sides = (rows.min(cols), rows.max(cols));
                if !lies {
                    each_at(now.threads, &mut gathered[..n], |start, x| {
                        x.iter_mut().enumerate().for_each(|(i, x)| *x = g[place(start + i)]);
                    });
                }
                squares[0].resize(sides.0, sides.1);
                squares[0].fill(now.threads, if lies { g } else { gathered }, tall, |x| normed(x) as f32);
                orthogonalise_bf16(now.threads, self.ns_steps, sides, squares);
                let moved = |x: f32| F::from_f64(by * f64::from(x));
                if lies {
                    squares[0].write(now.threads, g, tall, moved);
                } else {
                    squares[0].write(now.threads, gathered, tall, moved);
                    gathered[..n].iter().enumerate().for_each(|(i, &x)| g[place(i)] = x);
                }
            }
        }
        true
    }
}
