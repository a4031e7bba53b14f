//! `dropout`: numbers that are left out at random.

use thalweg_core::random::{Purpose, Stream};

use crate::op::{Backward, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::Shape;
use crate::{Number, Tape, Var, parallel};

/// Numbers that share a random stream.
const BLOCK: usize = 1024;

/// `y = m∘x` with m = 1/(1 − p) or, with probability p, 0; backward `dx += m∘dy`. Saved: m.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropout {
    pub p: f64,
    pub seed: u64,
    /// The number of the call.
    pub draw: u64,
}

impl<N: Number> Op<N> for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        x.shape(0)
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (x, scale) = (f.x(0), N::from_f64(1.0 / (1.0 - self.p)));
        let mut mask = f.take(y.len());
        // Whole blocks, each with a stream of its own; the shorter last one by itself.
        let whole = y.len() / BLOCK * BLOCK;
        let fill = |block: usize, mask: &mut [N]| {
            let mut stream = Stream::new(self.seed, Purpose::Dropout, self.draw << 32 | block as u64);
            for m in mask {
                *m = if stream.uniform() < self.p { N::zero() } else { scale };
            }
        };
        parallel::rows(f.work.threads, &mut mask[..whole], BLOCK, 32 * BLOCK, |at, mask| {
            for (i, mask) in mask.chunks_exact_mut(BLOCK).enumerate() {
                fill(at + i, mask);
            }
        });
        fill(whole / BLOCK, &mut mask[whole..]);
        for ((y, &x), &m) in y.iter_mut().zip(x).zip(mask.iter()) {
            *y = m * x;
        }
        f.save(0, mask);
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        for (dy, &m) in dy.iter_mut().zip(b.saved(0)) {
            *dy = m * *dy;
        }
        b.pass(0, dy);
    }
}

impl<N: Number> Tape<'_, N> {
    /// Leaves numbers out with probability `p` and divides the others by 1 − p; on a tape for
    /// [evaluation](crate::Workspace::evaluation) does nothing. `seed` says which, together with the number of the call on this
    /// tape: give each step its own. Srivastava et al. 2014, <https://jmlr.org/papers/v15/srivastava14a.html>.
    ///
    /// # Panics
    /// When p is not in [0, 1).
    #[track_caller]
    pub fn dropout(&mut self, x: Var, p: f64, seed: u64) -> Var {
        assert!((0.0..1.0).contains(&p), "dropout: p must be in [0, 1), got {p}");
        if !self.is_training() || p == 0.0 {
            return x;
        }
        let draw = self.draw();
        self.apply(Dropout { p, seed, draw }, &[x])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Workspace;
    use crate::check::check;
    use thalweg_core::{Layout, Threads};

    #[test]
    fn gradient() {
        let op = Dropout { p: 0.3, seed: 1, draw: 1 };
        check!([[1, 5]], |t, x| t.apply(op, &[x[0]]));
        check!([[3, 400]], |t, x| t.apply(op, &[x[0]]));
    }

    #[test]
    fn the_share_that_is_kept_is_1_minus_p_and_calls_differ() {
        let n = 100_000;
        let layout = Layout::default();
        let x = vec![1.0f32; n];
        let run = |threads| {
            let mut workspace = Workspace::new(Threads::new(threads));
            let mut tape = workspace.tape(&layout, &[]);
            let x = tape.input(&x, [n]);
            let (a, b) = (tape.dropout(x, 0.2, 5), tape.dropout(x, 0.2, 5));
            (tape.value(a).to_vec(), tape.value(b).to_vec())
        };
        let (a, b) = run(1);
        assert_eq!((&a, &b), (&run(3).0, &run(3).1));
        assert!(a.iter().all(|&y| y == 0.0 || y == 1.25));
        let share = |y: &[f32]| y.iter().filter(|&&y| y > 0.0).count() as f64 / n as f64;
        // Four standard errors of a share: 4·√(0.8·0.2/n) = 0.00506; both at once: 4·√(0.64·0.36/n) = 0.0061.
        assert!((share(&a) - 0.8).abs() < 0.00506, "{}", share(&a));
        let both: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a * b).collect();
        assert!((share(&both) - 0.64).abs() < 0.0061, "{}", share(&both));
        let mut workspace = Workspace::new(Threads::serial());
        let mut tape = workspace.evaluation(&layout, &[]);
        let x = tape.input(&x, [n]);
        assert_eq!(tape.dropout(x, 0.2, 5), x);
    }
}
