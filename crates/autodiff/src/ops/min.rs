//! `min_axis`: the smallest along an axis.

use crate::op::Codes;
use crate::ops::max::Extreme;
use crate::{Number, Tape, Var};

impl<N: Number> Tape<'_, N> {
    /// The smallest along an axis, which goes away; NaN if any is. The gradient goes to the first of the smallest.
    ///
    /// # Panics
    /// When there is no such axis.
    #[track_caller]
    pub fn min_axis(&mut self, x: Var, axis: usize) -> Var {
        self.apply(Extreme { axis, largest: false, places: Codes::default() }, &[x])
    }
}

#[cfg(test)]
mod tests {
    use crate::Workspace;
    use crate::check::check;
    use thalweg_core::{Layout, Threads};

    #[test]
    fn gradient() {
        for axis in 0..3 {
            check!([[3, 4, 5]], |t, x| {
                let s = t.square(x[0]);
                t.min_axis(s, axis)
            });
        }
    }

    #[test]
    fn a_nan_is_the_smallest_and_the_largest() {
        let layout = Layout::default();
        let mut workspace = Workspace::new(Threads::serial());
        let mut tape = workspace.tape(&layout, &[]);
        let x = tape.constant(&[3.0, f64::NAN, 1.0, 4.0, 2.0, 2.0], [2, 3]);
        let (least, most) = (tape.min_axis(x, 1), tape.max_axis(x, 1));
        assert!(tape.value(least)[0].is_nan() && tape.value(most)[0].is_nan());
        assert_eq!((tape.value(least)[1], tape.value(most)[1]), (2.0, 4.0));
    }
}
