//! `batch_norm`: channels of mean 0 and variance 1, and the moments of channels.

use crate::op::{Backward, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::{Shape, misfit};
use crate::{Number, Tape, Var, parallel, sums};

/// `x [n, c, ..] → [2, c]`: mean and variance (divided by the count) of each channel. Without a gradient.
#[derive(Clone, Copy, Debug)]
struct ChannelMoments;

/// `[n, c, s]` of `x [n, c, ..]`.
#[track_caller]
fn sizes(name: &str, x: Shape) -> [usize; 3] {
    assert!(x.len() >= 2 && x.count() > 0, "{name}: {x} is not a batch of channels [n, c, ..]");
    [x[0], x[1], x[2..].iter().product()]
}

/// `to[c, k] ← Σ f(c, row, place)ₖ` over rows and places of each channel, in one order.
#[inline(always)]
fn over_channels<N: Number>(
    threads: &thalweg_core::Threads,
    [n, c, s]: [usize; 3],
    to: &mut [N],
    f: impl Fn(usize, usize) -> [N; 2] + Sync,
) {
    parallel::rows(
        threads,
        to,
        2,
        4 * n * s,
        #[inline(always)]
        |at, to| {
            to.fill(N::zero());
            let channels = to.len() / 2;
            for i in 0..n {
                for (k, to) in to.chunks_exact_mut(2).enumerate().take(channels) {
                    let start = (i * c + at + k) * s;
                    if s == 1 {
                        let [a, b] = f(at + k, start);
                        to[0] = to[0] + a;
                        to[1] = to[1] + b;
                    } else {
                        to[0] = to[0] + sums::sum_of(s, |j| f(at + k, start + j)[0]);
                        to[1] = to[1] + sums::sum_of(s, |j| f(at + k, start + j)[1]);
                    }
                }
            }
        },
    );
}

impl<N: Number> Op<N> for ChannelMoments {
    fn name(&self) -> &'static str {
        "channel_moments"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        [2, sizes("channel_moments", x.shape(0))[1]].into()
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (x, all) = (f.x(0), sizes("channel_moments", f.shape(0)));
        let [n, c, s] = all;
        let share = N::from_f64(1.0 / (n * s) as f64);
        let mut sums = f.take(2 * c);
        over_channels(
            f.work.threads,
            all,
            &mut sums,
            #[inline(always)]
            |_, i| [x[i], N::zero()],
        );
        let (means, variances) = y.split_at_mut(c);
        for (m, sum) in means.iter_mut().zip(sums.chunks_exact(2)) {
            *m = sum[0] * share;
        }
        over_channels(
            f.work.threads,
            all,
            &mut sums,
            #[inline(always)]
            |k, i| [(x[i] - means[k]) * (x[i] - means[k]), N::zero()],
        );
        for (v, sum) in variances.iter_mut().zip(sums.chunks_exact(2)) {
            *v = sum[0] * share;
        }
        f.give(sums);
    }
    fn backward(&self, _: &mut Backward<'_, N>, _: &mut Block<N>) {
        unreachable!("channel moments are only computed where nothing is recorded")
    }
}

/// `x [n, c, ..], moments [2, c], γ [c], β [c] → [n, c, ..]`: `r = 1/√(var + ε)`, `x̂ = (x − mean)·r`, `y = γ·x̂ + β` per channel.
/// Backward: `dγ += Σ dy∘x̂`, `dβ += Σ dy`; `dx += γr·(dy − mean dy − x̂·mean(dy∘x̂))` when the moments are those of `x` itself, else
/// `dx += γr·dy`; sums over rows and places.
#[derive(Clone, Copy, Debug)]
struct BatchNorm {
    eps: f64,
    own: bool,
    gamma: Option<usize>,
    beta: Option<usize>,
}

impl<N: Number> Op<N> for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        let [_, c, _] = sizes("batch_norm", x.shape(0));
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
        let [_, c, s] = sizes("batch_norm", f.shape(0));
        let (x, (means, variances)) = (f.x(0), f.x(1).split_at(c));
        let (gamma, beta) = (self.gamma.map(|i| f.x(i)), self.beta.map(|i| f.x(i)));
        // y = a·x + b with two numbers a channel: (x − mean)·(γr) + β.
        let mut scales = f.take(c);
        for (k, scale) in scales.iter_mut().enumerate() {
            let r = N::one() / (variances[k] + N::from_f64(self.eps)).sqrt();
            *scale = gamma.map_or(r, |g| g[k] * r);
        }
        let scale: &[N] = &scales;
        parallel::rows(
            f.work.threads,
            y,
            c * s,
            3 * c * s,
            #[inline(always)]
            |at, y| {
                for (y, x) in y.chunks_exact_mut(c * s).zip(x[at * c * s..].chunks_exact(c * s)) {
                    if s == 1 {
                        for k in 0..c {
                            y[k] = (x[k] - means[k]) * scale[k] + beta.map_or(N::zero(), |b| b[k]);
                        }
                        continue;
                    }
                    for (k, (y, x)) in y.chunks_exact_mut(s).zip(x.chunks_exact(s)).enumerate() {
                        let (m, a, b) = (means[k], scale[k], beta.map_or(N::zero(), |b| b[k]));
                        for (y, &x) in y.iter_mut().zip(x) {
                            *y = (x - m) * a + b;
                        }
                    }
                }
            },
        );
        f.give(scales);
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let all = sizes("batch_norm", b.shape(0));
        let [n, c, s] = all;
        let (x, (means, variances), threads) = (b.x(0), b.x(1).split_at(c), b.work.threads);
        let gamma = self.gamma.map(|i| b.x(i));
        let mut scales = b.take(c);
        for (r, &v) in scales.iter_mut().zip(variances) {
            *r = N::one() / (v + N::from_f64(self.eps)).sqrt();
        }
        // Σ dy∘x̂ and Σ dy of each channel.
        let mut sums = b.take(2 * c);
        {
            let (dy, scales): (&[N], &[N]) = (dy, &scales);
            over_channels(
                threads,
                all,
                &mut sums,
                #[inline(always)]
                |k, i| [dy[i] * ((x[i] - means[k]) * scales[k]), dy[i]],
            );
        }
        for (k, i) in [self.gamma, self.beta].into_iter().enumerate() {
            if let Some(slot) = i.and_then(|i| b.grad(i)) {
                let pairs = slot.zeroed().iter_mut().zip(sums.chunks_exact(2));
                for (dx, sum) in pairs {
                    *dx = *dx + sum[k];
                }
            }
        }
        if b.wants(0) {
            let share = N::from_f64(if self.own { 1.0 / (n * s) as f64 } else { 0.0 });
            let (sums, scales): (&[N], &[N]) = (&sums, &scales);
            parallel::rows(
                threads,
                dy,
                s,
                6 * s,
                #[inline(always)]
                |at, dy| {
                    for (i, dy) in dy.chunks_exact_mut(s).enumerate() {
                        let k = (at + i) % c;
                        let (m, r) = (means[k], scales[k]);
                        let g = gamma.map_or(r, |g| g[k] * r);
                        let (along, middle) = (sums[2 * k] * share, sums[2 * k + 1] * share);
                        for (dy, &x) in dy.iter_mut().zip(&x[(at + i) * s..]) {
                            *dy = g * ((*dy - middle) - (x - m) * r * along);
                        }
                    }
                },
            );
        }
        b.give(sums);
        b.give(scales);
        b.pass(0, dy);
    }
}

impl<N: Number> Tape<'_, N> {
    /// Mean and variance (divided by the count) of each channel of `x [n, c, ..]`, over rows and places: `[2, c]`, a constant.
    ///
    /// # Panics
    /// When `x` has fewer than two axes or no numbers.
    #[track_caller]
    pub fn channel_moments(&mut self, x: Var) -> Var {
        self.no_grad(|tape| tape.apply(ChannelMoments, &[x]))
    }
    /// `γ·(x − mean)/√(var + ε) + β` for each channel of `x [n, c, ..]`, with the channels' own moments: for training. Ioffe & Szegedy
    /// 2015, <https://arxiv.org/abs/1502.03167>. The second result is the [moments](Tape::channel_moments), from which the caller keeps
    /// running ones (PyTorch multiplies the variance by m/(m − 1) for that, m the numbers of a channel).
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn batch_norm(&mut self, x: Var, gamma: Option<Var>, beta: Option<Var>, eps: f64) -> [Var; 2] {
        let moments = self.channel_moments(x);
        // Kept, so that the caller may read them after the backward pass.
        self.keep(moments);
        [self.normalise(x, moments, true, gamma, beta, eps), moments]
    }
    /// The same with moments `[2, c]` that were found before: for evaluation.
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
        let moments = self.detach(moments);
        self.normalise(x, moments, false, gamma, beta, eps)
    }

    fn normalise(
        &mut self,
        x: Var,
        m: Var,
        own: bool,
        gamma: Option<Var>,
        beta: Option<Var>,
        eps: f64,
    ) -> Var {
        let op = |gamma, beta| BatchNorm { eps, own, gamma, beta };
        match (gamma, beta) {
            (None, None) => self.apply(op(None, None), &[x, m]),
            (Some(g), None) => self.apply(op(Some(2), None), &[x, m, g]),
            (None, Some(b)) => self.apply(op(None, Some(2)), &[x, m, b]),
            (Some(g), Some(b)) => self.apply(op(Some(2), Some(3)), &[x, m, g, b]),
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
        check!([[3, 2, 5], [2], [2]], |t, x| {
            let moments = some(t, [2, 2]);
            t.batch_norm_with(x[0], moments, Some(x[1]), Some(x[2]), 1e-5)
        });
    }
}
