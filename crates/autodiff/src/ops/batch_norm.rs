//! `batch_norm`: channels of mean 0 and variance 1, and the moments of channels.

use thalweg_core::isa;

use crate::op::{Backward, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::{Shape, misfit};
use crate::{Number, Tape, Var, parallel};

/// Numbers of a block of rows, which stays in the first cache while it is read twice.
const BLOCK: usize = 4096;

/// Rows of a block of `c` channels.
fn block_rows(c: usize) -> usize {
    (BLOCK / c.max(1)).clamp(8, 256)
}

/// `x [rows, c] → [2, c]`: mean and variance (divided by the count) of each channel. Without a gradient.
///
/// One pass over memory: mean and squares of blocks of rows, joined in order (Chan, Golub & LeVeque 1983,
/// <https://doi.org/10.1080/00031305.1983.10483115>).
#[derive(Clone, Copy, Debug)]
struct ChannelMoments;

/// `[rows, c]` of `x`.
#[track_caller]
fn sizes(name: &str, x: Shape) -> [usize; 2] {
    assert!(x.len() == 2 && x.count() > 0, "{name}: {x} is not rows of channels [rows, c]");
    [x[0], x[1]]
}

impl<N: Number> Op<N> for ChannelMoments {
    fn name(&self) -> &'static str {
        "channel_moments"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        [2, sizes("channel_moments", x.shape(0))[1]].into()
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (x, [rows, c]) = (f.x(0), sizes("channel_moments", f.shape(0)));
        let each = block_rows(c);
        let mut parts = f.take(rows.div_ceil(each) * 2 * c);
        parallel::rows(
            f.work.threads,
            &mut parts,
            2 * c,
            4 * c * each,
            #[inline(always)]
            |at, parts| {
                let blocks = x.chunks(each * c).skip(at);
                for (part, block) in parts.chunks_exact_mut(2 * c).zip(blocks) {
                    let (mean, squares) = part.split_at_mut(c);
                    part_moments(block, mean, squares);
                }
            },
        );
        let (mean, squares) = y.split_at_mut(c);
        isa::run(
            #[inline(always)]
            || {
                let mut seen = 0;
                for (nth, part) in parts.chunks_exact(2 * c).enumerate() {
                    let new = each.min(rows - nth * each);
                    let all = (seen + new) as f64;
                    let share = N::from_f64(new as f64 / all);
                    let between = N::from_f64(seen as f64 * new as f64 / all);
                    let (m, s) = part.split_at(c);
                    for k in 0..c {
                        if nth == 0 {
                            (mean[k], squares[k]) = (m[k], s[k]);
                            continue;
                        }
                        let apart = m[k] - mean[k];
                        mean[k] = mean[k] + apart * share;
                        squares[k] = squares[k] + (s[k] + apart * apart * between);
                    }
                    seen += new;
                }
                let share = N::from_f64(1.0 / rows as f64);
                squares.iter_mut().for_each(|s| *s = *s * share);
            },
        );
        f.give(parts);
    }
    fn backward(&self, _: &mut Backward<'_, N>, _: &mut Block<N>) {
        unreachable!("channel moments are only computed where nothing is recorded")
    }
}

/// Mean and Σ (x − mean)² of each channel over a block of rows.
#[inline(always)]
fn part_moments<N: Number>(block: &[N], mean: &mut [N], squares: &mut [N]) {
    let c = mean.len();
    mean.fill(N::zero());
    squares.fill(N::zero());
    for x in block.chunks_exact(c) {
        mean.iter_mut().zip(x).for_each(|(m, &x)| *m = *m + x);
    }
    let share = N::from_f64(c as f64 / block.len() as f64);
    mean.iter_mut().for_each(|m| *m = *m * share);
    for x in block.chunks_exact(c) {
        for ((s, &m), &x) in squares.iter_mut().zip(&*mean).zip(x) {
            *s = *s + (x - m) * (x - m);
        }
    }
}

/// `x [rows, c], moments [2, c], γ [c], β [c] → [rows, c]`: `r = 1/√(var + ε)`, `x̂ = (x − mean)·r`, `y = γ·x̂ + β` per channel, of which
/// the relu if asked for. Backward: `dγ += Σ dy∘x̂`, `dβ += Σ dy`; `dx += γr·(dy − mean dy − x̂·mean(dy∘x̂))` when the moments are those of
/// `x` itself, else `dx += γr·dy`; sums over rows.
#[derive(Clone, Copy, Debug)]
struct BatchNorm {
    eps: f64,
    own: bool,
    relu: bool,
    gamma: Option<usize>,
    beta: Option<usize>,
}

impl BatchNorm {
    /// `mean`, `r`, `γ·r` and `β` of each channel, behind each other.
    fn channels<N: Number>(&self, x: &Inputs<'_, N>, to: &mut [N]) {
        let c = to.len() / 4;
        let (means, variances) = x.x(1).split_at(c);
        for k in 0..c {
            let r = N::one() / (variances[k] + N::from_f64(self.eps)).sqrt();
            to[k] = means[k];
            to[c + k] = r;
            to[2 * c + k] = self.gamma.map_or(r, |i| x.x(i)[k] * r);
            to[3 * c + k] = self.beta.map_or(N::zero(), |i| x.x(i)[k]);
        }
    }
}

/// Four stretches of `c` numbers, of known length: loops over them need no checks.
#[inline(always)]
fn quarters<N>(of: &[N], c: usize) -> [&[N]; 4] {
    [0, 1, 2, 3].map(|i| &of[i * c..][..c])
}

/// The gradient behind the relu: 0 where it cut.
#[inline(always)]
fn passed<N: Number>(relu: bool, z: N, dy: N) -> N {
    if relu { N::select(N::zero().lt(z), dy, N::zero()) } else { dy }
}

impl<N: Number> Op<N> for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        let [_, c] = sizes("batch_norm", x.shape(0));
        if x.shape(1)[..] != [2, c] {
            misfit("batch_norm", x.shape(0), x.shape(1), "moments [2, c] of channels");
        }
        for i in [self.gamma, self.beta].into_iter().flatten() {
            if x.shape(i)[..] != [c] {
                misfit("batch_norm", x.shape(0), x.shape(i), "one scale and shift for each channel");
            }
        }
        x.shape(0)
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let [_, c] = sizes("batch_norm", f.shape(0));
        let (x, relu) = (f.x(0), self.relu);
        let mut channels = f.take(4 * c);
        self.channels(f, &mut channels);
        let of: &[N] = &channels;
        parallel::rows(
            f.work.threads,
            y,
            c,
            3 * c,
            #[inline(always)]
            |at, y| {
                let [mean, _, scale, shift] = quarters(of, c);
                for (y, x) in y.chunks_exact_mut(c).zip(x[at * c..].chunks_exact(c)) {
                    let (x, y) = (&x[..c], &mut y[..c]);
                    for k in 0..c {
                        let z = (x[k] - mean[k]) * scale[k] + shift[k];
                        y[k] = if relu { N::select(z.lt(N::zero()), N::zero(), z) } else { z };
                    }
                }
            },
        );
        f.give(channels);
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let [rows, c] = sizes("batch_norm", b.shape(0));
        let (x, threads, relu) = (b.x(0), b.work.threads, self.relu);
        let mut channels = b.take(4 * c);
        self.channels(b, &mut channels);
        let of: &[N] = &channels;
        // Σ dy∘x̂ and Σ dy of each channel: blocks of rows, joined in order.
        let each = block_rows(c);
        let mut parts = b.take(rows.div_ceil(each) * 2 * c);
        {
            let dy: &[N] = dy;
            parallel::rows(
                threads,
                &mut parts,
                2 * c,
                6 * c * each,
                #[inline(always)]
                |at, parts| {
                    let [mean, r, scale, shift] = quarters(of, c);
                    let blocks = x.chunks(each * c).zip(dy.chunks(each * c)).skip(at);
                    for (part, (x, dy)) in parts.chunks_exact_mut(2 * c).zip(blocks) {
                        part.fill(N::zero());
                        let (along, sum) = part.split_at_mut(c);
                        let sum = &mut sum[..c];
                        for (x, dy) in x.chunks_exact(c).zip(dy.chunks_exact(c)) {
                            let (x, dy) = (&x[..c], &dy[..c]);
                            for k in 0..c {
                                let dy = passed(relu, (x[k] - mean[k]) * scale[k] + shift[k], dy[k]);
                                along[k] = along[k] + dy * ((x[k] - mean[k]) * r[k]);
                                sum[k] = sum[k] + dy;
                            }
                        }
                    }
                },
            );
        }
        let (sums, others) = parts.split_at_mut(2 * c);
        isa::run(
            #[inline(always)]
            || {
                for part in others.chunks_exact(2 * c) {
                    sums.iter_mut().zip(part).for_each(|(sum, &x)| *sum = *sum + x);
                }
            },
        );
        let (along, sum) = sums.split_at_mut(c);
        for (i, sums) in [(self.gamma, &*along), (self.beta, &*sum)] {
            if let Some(slot) = i.and_then(|i| b.grad(i)) {
                slot.add(sums);
            }
        }
        if b.wants(0) {
            let share = N::from_f64(if self.own { 1.0 / rows as f64 } else { 0.0 });
            along.iter_mut().chain(&mut *sum).for_each(|x| *x = *x * share);
            let (along, middle) = (&*along, &*sum);
            parallel::rows(
                threads,
                dy,
                c,
                6 * c,
                #[inline(always)]
                |at, dy| {
                    let [mean, r, scale, shift] = quarters(of, c);
                    let (along, middle) = (&along[..c], &middle[..c]);
                    for (dy, x) in dy.chunks_exact_mut(c).zip(x[at * c..].chunks_exact(c)) {
                        let (x, dy) = (&x[..c], &mut dy[..c]);
                        for k in 0..c {
                            let own = passed(relu, (x[k] - mean[k]) * scale[k] + shift[k], dy[k]);
                            dy[k] = scale[k] * ((own - middle[k]) - (x[k] - mean[k]) * r[k] * along[k]);
                        }
                    }
                },
            );
        }
        b.give(parts);
        b.give(channels);
        b.pass(0, dy);
    }
}

impl<N: Number> Tape<'_, N> {
    /// Mean and variance (divided by the count) of each channel of `x [rows, c]` or `[n, c, ..]`: `[2, c]`, a constant.
    ///
    /// # Panics
    /// When `x` has fewer than two axes or no numbers.
    #[track_caller]
    pub fn channel_moments(&mut self, x: Var) -> Var {
        self.no_grad(|tape| {
            let (x, _) = tape.channel_rows_last(x);
            let shape = tape.shape(x);
            let x = tape.reshape(x, [shape.rows(), shape.last_size()]);
            tape.apply(ChannelMoments, &[x])
        })
    }
    /// `γ·(x − mean)/√(var + ε) + β` for each channel of `x [rows, c]` or `[n, c, ..]`, with the channels' own moments: for training.
    /// Ioffe & Szegedy 2015, <https://arxiv.org/abs/1502.03167>. The second result is the [moments](Tape::channel_moments), from which the
    /// caller keeps running ones (PyTorch multiplies the variance by m/(m − 1) for that, m the numbers of a channel).
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn batch_norm(&mut self, x: Var, gamma: Option<Var>, beta: Option<Var>, eps: f64) -> [Var; 2] {
        let (x, shape) = self.channel_rows_last(x);
        let [y, moments] = self.batch_norm_last(x, gamma, beta, eps, false);
        [self.channel_rows_back(y, shape), moments]
    }
    /// The same with channels last, `x [.., c]`; with `relu`, numbers below 0 become 0 in the same pass over memory.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn batch_norm_last(
        &mut self,
        x: Var,
        gamma: Option<Var>,
        beta: Option<Var>,
        eps: f64,
        relu: bool,
    ) -> [Var; 2] {
        let shape = self.shape(x);
        let x = self.reshape(x, [shape.rows(), shape.last_size()]);
        let moments = self.no_grad(|tape| tape.apply(ChannelMoments, &[x]));
        // Kept, so that the caller may read them after the backward pass.
        self.keep(moments);
        let y = self.normalise(
            x,
            moments,
            BatchNorm { eps, own: true, relu, gamma: None, beta: None },
            [gamma, beta],
        );
        [self.reshape(y, shape), moments]
    }
    /// As [`Tape::batch_norm`] with moments `[2, c]` that were found before: for evaluation.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn batch_norm_with(
        &mut self,
        x: Var,
        moments: Var,
        gamma: Option<Var>,
        beta: Option<Var>,
        eps: f64,
    ) -> Var {
        let (x, shape) = self.channel_rows_last(x);
        let y = self.batch_norm_last_with(x, moments, gamma, beta, eps, false);
        self.channel_rows_back(y, shape)
    }
    /// The same with channels last, `x [.., c]`.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn batch_norm_last_with(
        &mut self,
        x: Var,
        moments: Var,
        gamma: Option<Var>,
        beta: Option<Var>,
        eps: f64,
        relu: bool,
    ) -> Var {
        let shape = self.shape(x);
        let x = self.reshape(x, [shape.rows(), shape.last_size()]);
        let moments = self.detach(moments);
        let y = self.normalise(
            x,
            moments,
            BatchNorm { eps, own: false, relu, gamma: None, beta: None },
            [gamma, beta],
        );
        self.reshape(y, shape)
    }

    /// `x [n, c, ..]` with its channels last, and the shape it had in the middle if it had to be turned.
    #[track_caller]
    fn channel_rows_last(&mut self, x: Var) -> (Var, Option<Shape>) {
        let shape = self.shape(x);
        assert!(shape.len() >= 2, "batch_norm: {shape} is not a batch of channels [n, c, ..]");
        if shape.len() == 2 {
            return (x, None);
        }
        let x = self.reshape(x, [shape[0], shape[1], shape[2..].iter().product()]);
        (self.permute(x, &[0, 2, 1]), Some(shape))
    }
    fn channel_rows_back(&mut self, y: Var, shape: Option<Shape>) -> Var {
        match shape {
            Some(shape) => {
                let y = self.permute(y, &[0, 2, 1]);
                self.reshape(y, shape)
            }
            None => y,
        }
    }

    fn normalise(&mut self, x: Var, m: Var, op: BatchNorm, [gamma, beta]: [Option<Var>; 2]) -> Var {
        match (gamma, beta) {
            (None, None) => self.apply(op, &[x, m]),
            (Some(g), None) => self.apply(BatchNorm { gamma: Some(2), ..op }, &[x, m, g]),
            (None, Some(b)) => self.apply(BatchNorm { beta: Some(2), ..op }, &[x, m, b]),
            (Some(g), Some(b)) => {
                self.apply(BatchNorm { gamma: Some(2), beta: Some(3), ..op }, &[x, m, g, b])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::check::{check, some};

    #[test]
    fn gradient() {
        check!([[5, 3], [3], [3]], |t, x| t.batch_norm(x[0], Some(x[1]), Some(x[2]), 1e-5)[0]);
        check!([[3, 2, 3, 2], [2], [2]], |t, x| t.batch_norm(x[0], Some(x[1]), Some(x[2]), 1e-5)[0]);
        check!([[3, 2, 5]], |t, x| t.batch_norm(x[0], None, None, 1e-2)[0]);
        // More rows than a block, and the relu.
        check!([[270, 2], [2], [2]], |t, x| t.batch_norm_last(x[0], Some(x[1]), Some(x[2]), 1e-5, true)[0]);
        check!([[2, 2, 2, 3], [3]], |t, x| t.batch_norm_last(x[0], None, Some(x[1]), 1e-5, true)[0]);
        check!([[3, 2, 5], [2], [2]], |t, x| {
            let moments = some(t, [2, 2]);
            t.batch_norm_with(x[0], moments, Some(x[1]), Some(x[2]), 1e-5)
        });
    }
}
