//! The test that every operation passes: `check!([[2, 3].into(), …], |tape, x| result)`.

use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{Kind, Layout, Threads};

use crate::{Dual, Number, Shape, Tape, Var, Workspace};

/// The result of `$body` is contracted with a random vector to φ(θ), θ the inputs of the given shapes, drawn away from 0. Checked
/// are: ∇φ against central differences; the same bits on 1, 2 and 3 threads; that a gradient is added to what is there, whether inputs
/// are parameters, results or parts of larger tensors; that inputs nobody asked about get none and change no other; the tangent of φ and the Hessian-vector product on dual numbers.
macro_rules! check {
    ([$($shape:expr),* $(,)?], |$t:ident, $x:ident| $body:expr) => {
        $crate::check::check_all(
            &[$($crate::Shape::from($shape)),*],
            &|$t: &mut $crate::Tape<'_, f64>, $x: &[$crate::Var]| $body,
            &|$t: &mut $crate::Tape<'_, $crate::Dual<f64>>, $x: &[$crate::Var]| $body,
        )
    };
}
pub(crate) use check;

/// Numbers between 0.2 and 1.2 of that shape, without a gradient: weights, say.
pub(crate) fn some<N: Number>(tape: &mut Tape<'_, N>, shape: impl Into<Shape>) -> Var {
    let shape = shape.into();
    let mut stream = Stream::new(7, Purpose::Data, 2);
    let numbers: Vec<N> = (0..shape.count()).map(|_| N::from_f64(0.2 + stream.uniform())).collect();
    tape.constant(&numbers, shape)
}

/// How the inputs reach the operation.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// As parameters.
    Straight,
    /// As results of another operation.
    Wrapped,
    /// As parts of larger tensors, from the second place of their first axis on.
    Inside,
    /// The same, into the operation twice.
    Twice,
    /// All but this one.
    Without(usize),
}

/// What makes the result; not a type of its own for each check, of which there are hundreds to compile.
type Made<'f, N> = &'f dyn Fn(&mut Tape<'_, N>, &[Var]) -> Var;

/// φ(θ), the numbers of the result, and ∇φ added to ones where `ones`.
fn run<N: Number>(
    threads: usize,
    layout: &Layout,
    theta: &[N],
    way: Way,
    start: f64,
    f: Made<'_, N>,
) -> (N, Vec<N>, Vec<N>) {
    let mut workspace = Workspace::new(Threads::new(threads));
    let mut grads = vec![N::from_f64(start); theta.len()];
    let mut tape = workspace.tape(layout, theta);
    let mut x: Vec<Var> = (0..layout.tensors().len()).map(|i| tape.param_at(i)).collect();
    if let Way::Without(i) = way {
        x[i] = tape.detach(x[i]);
    }
    if matches!(way, Way::Wrapped | Way::Twice) {
        for x in x.iter_mut() {
            *x = tape.neg(*x);
        }
        for x in x.iter_mut() {
            *x = tape.neg(*x);
        }
    }
    if way == Way::Inside {
        for x in x.iter_mut() {
            if let Some(&size) = tape.shape(*x).first() {
                let wide = tape.pad(*x, 0, 1, 2, f64::NAN);
                *x = tape.slice(wide, 0, 1..1 + size);
            }
        }
    }
    let mut y = f(&mut tape, &x);
    if way == Way::Twice {
        let again = f(&mut tape, &x);
        y = tape.add(y, again);
    }
    let values = tape.value(y).to_vec();
    let mut stream = Stream::new(7, Purpose::Data, 1);
    let dy: Vec<N> = values.iter().map(|_| N::from_f64(stream.uniform() * 2.0 - 1.0)).collect();
    let phi = values.iter().zip(&dy).fold(N::zero(), |sum, (&y, &dy)| sum + y * dy);
    tape.backward_from(y, &dy, &mut grads);
    (phi, values, grads)
}

pub(crate) fn check_all(shapes: &[Shape], f: Made<'_, f64>, dual: Made<'_, Dual<f64>>) {
    const AXES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let layout = shapes.iter().enumerate().fold(Layout::builder(), |layout, (i, shape)| {
        layout.tensor(&format!("x{i}"), shape, &AXES[..shape.len()], Kind::Weight)
    });
    let layout = layout.build();
    let mut stream = Stream::new(7, Purpose::Data, 0);
    let mut theta = vec![0.0; layout.buffer_len()];
    let mut direction = theta.clone();
    let places: Vec<usize> = layout.tensors().iter().flat_map(|t| t.range()).collect();
    for &i in &places {
        let size = 0.1 + 1.1 * stream.uniform();
        theta[i] = if stream.uniform() < 0.5 { -size } else { size };
        direction[i] = 2.0 * stream.uniform() - 1.0;
    }
    let (phi, y, g) = run(1, &layout, &theta, Way::Straight, 0.0, f);
    assert!(y.iter().all(|y| y.is_finite()), "{shapes:?}: {y:?}");
    let bits = |x: &[f64]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for threads in [2, 3] {
        let (_, other_y, other_g) = run(threads, &layout, &theta, Way::Straight, 0.0, f);
        assert!(bits(&y) == bits(&other_y), "{shapes:?}: {threads} threads give other results");
        assert!(bits(&g) == bits(&other_g), "{shapes:?}: {threads} threads give another gradient");
    }

    // Differences: the truncation is h²/6·φ‴ ≈ 6e−12·φ‴, the rounding n·ε·|φ|/h ≈ 4e−11·n·|φ|.
    let top = |g: &[f64]| g.iter().fold(1.0f64, |top, g| top.max(g.abs()));
    let size = top(&g) + y.iter().map(|y| y.abs()).sum::<f64>();
    let moved = |theta: &[f64], i: usize, by: f64| {
        let mut theta = theta.to_vec();
        theta[i] += by;
        theta
    };
    for &i in &places {
        let h = 6.06e-6 * theta[i].abs().max(1.0);
        let up = run(1, &layout, &moved(&theta, i, h), Way::Straight, 0.0, f).0;
        let down = run(1, &layout, &moved(&theta, i, -h), Way::Straight, 0.0, f).0;
        let slope = (up - down) / (2.0 * h);
        assert!(
            (slope - g[i]).abs() < 1e-8 * size,
            "{shapes:?}: ∂φ/∂θ{i} is {slope}, the gradient says {}",
            g[i]
        );
    }
    assert!(shapes.is_empty() || g.iter().any(|&g| g != 0.0), "{shapes:?}: nothing was checked");

    // The ways differ in the order of sums alone.
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-12 * size * y.len().max(10) as f64;
    let (_, _, added) = run(1, &layout, &theta, Way::Straight, 1.0, f);
    let (_, _, wrapped) = run(2, &layout, &theta, Way::Wrapped, 1.0, f);
    let (_, _, inside) = run(2, &layout, &theta, Way::Inside, 1.0, f);
    let (_, _, twice) = run(2, &layout, &theta, Way::Twice, 1.0, f);
    for &i in &places {
        assert!(near(added[i], 1.0 + g[i]), "{shapes:?}: at {i} 1 + {} became {}", g[i], added[i]);
        assert!(near(wrapped[i], 1.0 + g[i]), "{shapes:?}: at {i} 1 + {} became {}", g[i], wrapped[i]);
        assert!(near(inside[i], 1.0 + g[i]), "{shapes:?}: at {i} 1 + {} became {}", g[i], inside[i]);
        assert!(near(twice[i], 1.0 + 2.0 * g[i]), "{shapes:?}: at {i} 1 + 2·{} became {}", g[i], twice[i]);
    }
    for (k, tensor) in layout.tensors().iter().enumerate() {
        let (_, _, without) = run(1, &layout, &theta, Way::Without(k), 0.0, f);
        for &i in &places {
            let expected = if tensor.range().contains(&i) { 0.0 } else { g[i] };
            assert_eq!(without[i].to_bits(), expected.to_bits(), "{shapes:?}: at {i} without tensor {k}");
        }
    }

    // Dual numbers: φ's tangent is ∇φ·v; the gradient's is ∇²φ·v.
    let duals: Vec<Dual<f64>> = theta.iter().zip(&direction).map(|(&x, &v)| Dual::new(x, v)).collect();
    let (dual_phi, _, hv) = run(1, &layout, &duals, Way::Straight, 0.0, dual);
    let along: f64 = g.iter().zip(&direction).map(|(g, v)| g * v).sum();
    assert!((dual_phi.value - phi).abs() < 1e-11 * size, "{shapes:?}: {} and {phi}", dual_phi.value);
    assert!((dual_phi.tangent - along).abs() < 1e-11 * size * places.len() as f64, "{shapes:?}: tangent");
    let h = 6.06e-6;
    let shifted = |by: f64| {
        let theta: Vec<f64> = theta.iter().zip(&direction).map(|(&x, &v)| x + by * v).collect();
        run(1, &layout, &theta, Way::Straight, 0.0, f).2
    };
    let (up, down) = (shifted(h), shifted(-h));
    let size = size + hv.iter().fold(0.0f64, |top, g| top.max(g.tangent.abs()));
    for &i in &places {
        let slope = (up[i] - down[i]) / (2.0 * h);
        let tangent = hv[i].tangent;
        assert!(
            (slope - tangent).abs() < 1e-7 * size,
            "{shapes:?}: at {i} ∇²φ·v is {slope}, duals say {tangent}"
        );
        assert!((hv[i].value - g[i]).abs() < 1e-11 * size, "{shapes:?}: at {i} duals have another gradient");
    }
}
