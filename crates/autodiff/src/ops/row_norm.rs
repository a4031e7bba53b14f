//! What layer, RMS and group normalisation have in common: each row is brought to a mean of 0 and a variance of 1.

use crate::op::{Backward, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::{Shape, misfit};
use crate::{Number, parallel, sums};

/// `x [rows, width]`, `γ, β [channels] → [rows, width]`:
/// ```text
/// μ = mean x (0 if not centred)    r = 1/√(mean (x − μ)² + ε)    x̂ = (x − μ)·r    y = γ∘x̂ + β
/// ```
/// Backward: `dx̂ = γ∘dy`, `dx += r·(dx̂ − mean dx̂ − x̂·mean(dx̂∘x̂))` (without the first mean if not centred), `dγ += Σ dy∘x̂`,
/// `dβ += Σ dy`. Saved: μ and r of each row. Number j of row i has the channel `(i mod groups)·per + j/span`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowNorm {
    pub name: &'static str,
    pub width: usize,
    pub groups: usize,
    pub per: usize,
    pub span: usize,
    pub centred: bool,
    pub eps: f64,
    /// Which inputs γ and β are.
    pub gamma: Option<usize>,
    pub beta: Option<usize>,
}

/// Rows whose γ and β gradients are summed together.
const ROWS: usize = 64;

impl RowNorm {
    /// The channel of the first number of row `i`.
    #[inline(always)]
    fn channel(&self, i: usize) -> usize {
        i % self.groups * self.per
    }
    /// Calls `f(channel, range)` for the runs of row `i` that share a channel.
    #[inline(always)]
    fn runs(&self, i: usize, mut f: impl FnMut(usize, std::ops::Range<usize>)) {
        let first = self.channel(i);
        for c in 0..self.per {
            f(first + c, c * self.span..(c + 1) * self.span);
        }
    }
    /// x̂ ← (x − μ)·r.
    #[inline(always)]
    fn standard<N: Number>(x: &[N], mean: N, scale: N, to: &mut [N]) {
        for (to, &x) in to.iter_mut().zip(x) {
            *to = (x - mean) * scale;
        }
    }
}

impl<N: Number> Op<N> for RowNorm {
    fn name(&self) -> &'static str {
        self.name
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        for i in [self.gamma, self.beta].into_iter().flatten() {
            if x.shape(i)[..] != [self.groups * self.per] {
                misfit(self.name, x.shape(0), x.shape(i), "one scale and shift for each channel");
            }
        }
        x.shape(0)
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        if y.is_empty() {
            return;
        }
        let (x, width) = (f.x(0), self.width);
        let rows = x.len() / width;
        let (gamma, beta) = (self.gamma.map(|i| f.x(i)), self.beta.map(|i| f.x(i)));
        let share = N::from_f64(1.0 / width as f64);
        let mut stats = f.take(2 * rows);
        let this = *self;
        parallel::rows2(
            f.work.threads,
            (y, width),
            (&mut stats, 2),
            8 * width,
            #[inline(always)]
            |at, y, stats| {
                let all = x[at * width..].chunks_exact(width).zip(stats.chunks_exact_mut(2));
                for (i, (y, (x, stats))) in y.chunks_exact_mut(width).zip(all).enumerate() {
                    let mean = if this.centred { sums::sum(x) * share } else { N::zero() };
                    let square = sums::sum_of(width, |j| (x[j] - mean) * (x[j] - mean)) * share;
                    let scale = N::one() / (square + N::from_f64(this.eps)).sqrt();
                    stats.copy_from_slice(&[mean, scale]);
                    Self::standard(x, mean, scale, y);
                    let first = this.channel(at + i);
                    if this.span == 1 {
                        if let Some(gamma) = gamma {
                            for (y, &g) in y.iter_mut().zip(&gamma[first..]) {
                                *y = g * *y;
                            }
                        }
                        if let Some(beta) = beta {
                            for (y, &b) in y.iter_mut().zip(&beta[first..]) {
                                *y = *y + b;
                            }
                        }
                    } else {
                        this.runs(at + i, |c, run| {
                            let (g, b) = (gamma.map_or(N::one(), |g| g[c]), beta.map_or(N::zero(), |b| b[c]));
                            for y in y[run].iter_mut() {
                                *y = g * *y + b;
                            }
                        });
                    }
                }
            },
        );
        f.save(0, stats);
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        if dy.is_empty() {
            return;
        }
        let (x, stats, width, this) = (b.x(0), b.saved(0), self.width, *self);
        let threads = b.work.threads;
        let channels = self.groups * self.per;
        let wanted = [self.gamma, self.beta].into_iter().flatten().any(|i| b.wants(i));
        if wanted {
            // [block][dγ, dβ][channel], joined in order.
            let rows = x.len() / width;
            let mut parts = b.take(rows.div_ceil(ROWS) * 2 * channels);
            let dy: &[N] = dy;
            parallel::rows(
                threads,
                &mut parts,
                2 * channels,
                8 * ROWS * width,
                #[inline(always)]
                |at, parts| {
                    parts.fill(N::zero());
                    for (block, part) in parts.chunks_exact_mut(2 * channels).enumerate() {
                        let (dg, db) = part.split_at_mut(channels);
                        let first = (at + block) * ROWS;
                        for i in first..(first + ROWS).min(rows) {
                            let (x, dy) = (&x[i * width..][..width], &dy[i * width..][..width]);
                            let (mean, scale) = (stats[2 * i], stats[2 * i + 1]);
                            let c = this.channel(i);
                            if this.span == 1 {
                                let (dg, db) = (&mut dg[c..c + width], &mut db[c..c + width]);
                                for j in 0..width {
                                    dg[j] = dg[j] + dy[j] * ((x[j] - mean) * scale);
                                    db[j] = db[j] + dy[j];
                                }
                            } else {
                                this.runs(i, |c, run| {
                                    let (x, dy) = (&x[run.clone()], &dy[run]);
                                    let g = sums::sum_of(x.len(), |j| dy[j] * ((x[j] - mean) * scale));
                                    dg[c] = dg[c] + g;
                                    db[c] = db[c] + sums::sum(dy);
                                });
                            }
                        }
                    }
                },
            );
            for (k, i) in [self.gamma, self.beta].into_iter().enumerate() {
                let Some(slot) = i.and_then(|i| b.grad(i)) else { continue };
                let dx = slot.zeroed();
                for part in parts.chunks_exact(2 * channels) {
                    let part = &part[k * channels..][..channels];
                    for (dx, &p) in dx.iter_mut().zip(part) {
                        *dx = *dx + p;
                    }
                }
            }
            b.give(parts);
        }
        if !b.wants(0) {
            return;
        }
        let gamma = self.gamma.map(|i| b.x(i));
        let share = N::from_f64(1.0 / width as f64);
        parallel::rows(
            threads,
            dy,
            width,
            12 * width,
            #[inline(always)]
            |at, dy| {
                for (k, dy) in dy.chunks_exact_mut(width).enumerate() {
                    let i = at + k;
                    let x = &x[i * width..][..width];
                    let (mean, scale) = (stats[2 * i], stats[2 * i + 1]);
                    if let Some(gamma) = gamma {
                        let first = this.channel(i);
                        if this.span == 1 {
                            for (dy, &g) in dy.iter_mut().zip(&gamma[first..]) {
                                *dy = g * *dy;
                            }
                        } else {
                            this.runs(i, |c, run| dy[run].iter_mut().for_each(|dy| *dy = gamma[c] * *dy));
                        }
                    }
                    let along = sums::sum_of(width, |j| dy[j] * ((x[j] - mean) * scale)) * share;
                    let middle = if this.centred { sums::sum(dy) * share } else { N::zero() };
                    for (dy, &x) in dy.iter_mut().zip(x) {
                        *dy = scale * ((*dy - middle) - (x - mean) * scale * along);
                    }
                }
            },
        );
        b.pass(0, dy);
    }
}
