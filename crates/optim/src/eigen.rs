//! Eigen-decompositions and QR of dense matrices in f64, for the rules that turn a gradient into the basis of its statistics.
//!
//! Written here because the one crate that would be faster (faer) takes minutes to build. Both are the textbook algorithms (Golub &
//! Van Loan, *Matrix Computations*, 5.2 and 8.3): Householder reflections and implicit shifts. Rows are worked on whole, so the
//! loops vectorise; each row's result rests on that row alone, so the bits do not depend on threads. Without fused multiply-add:
//! the same bits on every instruction set.

use std::sync::Mutex;

use thalweg_core::math::dot;
use thalweg_core::{Threads, isa};

/// Runs `f` over the rows of a matrix with `n` columns, those from `first` on, in parallel.
fn rows(threads: &Threads, a: &mut [f64], n: usize, first: usize, f: impl Fn(usize, &mut [f64]) + Sync) {
    let per = (16_384 / n).max(1);
    let tasks = (a.len() / n - first).div_ceil(per);
    let run = |nth: usize, rows: &mut [f64]| {
        isa::run(
            #[inline(always)]
            || {
                for (i, row) in rows.chunks_mut(n).enumerate() {
                    f(first + nth * per + i, row);
                }
            },
        );
    };
    let chunks = a[first * n..].chunks_mut(per * n);
    if tasks < 2 || threads.count() == 1 {
        return chunks.enumerate().for_each(|(nth, rows)| run(nth, rows));
    }
    let chunks: Vec<Mutex<&mut [f64]>> = chunks.map(Mutex::new).collect();
    threads.run(tasks, |nth| {
        run(nth, &mut chunks[nth].lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    });
}

/// The reflection I − τ v vᵀ that takes `x` to (β, 0, …, 0): `x` becomes v, and τ and β are returned.
fn reflect(x: &mut [f64]) -> (f64, f64) {
    let top = x.iter().fold(0.0f64, |top, x| top.max(x.abs()));
    if x.len() < 2 || x[1..].iter().all(|&x| x == 0.0) {
        let first = x.first().copied().unwrap_or(0.0);
        return (0.0, first);
    }
    // Divided by the largest, so that squares neither overflow nor vanish.
    x.iter_mut().for_each(|x| *x /= top);
    let size = dot(x, x).sqrt();
    let beta = if x[0] > 0.0 { -size } else { size };
    x[0] -= beta;
    (2.0 / dot(x, x), beta * top)
}

/// x ← x + c·v.
#[inline(always)]
fn add(x: &mut [f64], c: f64, v: &[f64]) {
    x.iter_mut().zip(v).for_each(|(x, &v)| *x += c * v);
}

/// The orthogonal factor Q of A = Q R. `at` holds Aᵀ [n, n] (a row is a column of A) and becomes Qᵀ. Where A has not full rank,
/// Q is orthogonal all the same.
pub(crate) fn qr(threads: &Threads, at: &mut [f64], n: usize) {
    let mut tau = vec![0.0; n];
    for k in 0..n {
        let (head, rest) = at.split_at_mut((k + 1) * n);
        let v = &mut head[k * n + k..];
        tau[k] = reflect(v).0;
        let (v, tau) = (&*v, tau[k]);
        if tau != 0.0 && !rest.is_empty() {
            rows(threads, rest, n, 0, |_, row| {
                let row = &mut row[k..];
                add(row, -tau * dot(v, row), v);
            });
        }
    }
    // Q = H₀ H₁ … I, from the last: columns before k are still those of I.
    let mut q = vec![0.0; n * n];
    for k in (0..n).rev() {
        q[k * n + k] = 1.0;
        let (v, tau) = (&at[k * n + k..(k + 1) * n], tau[k]);
        if tau != 0.0 {
            rows(threads, &mut q, n, k, |_, row| {
                let row = &mut row[k..];
                add(row, -tau * dot(v, row), v);
            });
        }
    }
    at.copy_from_slice(&q);
}

/// Eigenvalues, in falling order, and eigenvectors of a symmetric matrix `a` [n, n]. `a` becomes the vectors, one in each row.
///
/// `None` where a number is not finite.
pub(crate) fn symmetric(threads: &Threads, a: &mut [f64], n: usize) -> Option<Vec<f64>> {
    let top = a.iter().fold(0.0f64, |top, x| top.max(x.abs()));
    if !a.iter().all(|x| x.is_finite()) {
        return None;
    }
    if n == 0 || top == 0.0 {
        a.fill(0.0);
        (0..n).for_each(|i| a[i * n + i] = 1.0);
        return Some(vec![0.0; n]);
    }
    // A power of two, so that nothing is rounded.
    let unit = libm::ldexp(1.0, libm::frexp(top).1.clamp(-1000, 1000));
    a.iter_mut().for_each(|x| *x /= unit);
    let (mut d, mut e) = tridiagonal(threads, a, n);
    implicit_ql(threads, &mut d, &mut e, a, n)?;
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| d[j].total_cmp(&d[i]));
    let sorted: Vec<f64> = order.iter().flat_map(|&i| &a[i * n..(i + 1) * n]).copied().collect();
    a.copy_from_slice(&sorted);
    Some(order.into_iter().map(|i| d[i] * unit).collect())
}

/// Qᵀ A Q = T by reflections. Returns T's diagonal and what is beside it (e[i] beside d[i] and d[i + 1]); `a` becomes Qᵀ.
fn tridiagonal(threads: &Threads, a: &mut [f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut d, mut e, mut tau) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    let (mut v, mut p) = (vec![0.0; n], vec![0.0; n]);
    for k in 0..n {
        d[k] = a[k * n + k];
        if k + 1 == n {
            break;
        }
        let from = k + 1;
        (tau[k], e[k]) = reflect(&mut a[k * n + from..(k + 1) * n]);
        if tau[k] == 0.0 {
            continue;
        }
        let m = n - from;
        v[..m].copy_from_slice(&a[k * n + from..(k + 1) * n]);
        let v = &v[..m];
        // p = τ A v, w = p − ½ τ (pᵀv) v;  A ← A − v wᵀ − w vᵀ.
        rows(threads, &mut p[..m], 1, 0, |i, p| {
            let row = (from + i) * n;
            p[0] = tau[k] * dot(&a[row + from..row + n], v);
        });
        let half = 0.5 * tau[k] * dot(&p[..m], v);
        add(&mut p[..m], -half, v);
        let w = &p[..m];
        rows(threads, a, n, from, |i, row| {
            let (vi, wi) = (v[i - from], w[i - from]);
            for ((x, &v), &w) in row[from..].iter_mut().zip(v).zip(w) {
                *x -= vi * w + wi * v;
            }
        });
    }
    // Row j of Qᵀ is column j of Q = H₀ H₁ … I, from the last reflection on.
    let mut q = vec![0.0; n * n];
    q[n * n - 1] = 1.0;
    for k in (0..n.saturating_sub(1)).rev() {
        let from = k + 1;
        q[k * n + k] = 1.0;
        let (v, tau) = (&a[k * n + from..(k + 1) * n], tau[k]);
        if tau != 0.0 {
            rows(threads, &mut q, n, from, |_, row| {
                let row = &mut row[from..];
                add(row, -tau * dot(v, row), v);
            });
        }
    }
    a.copy_from_slice(&q);
    (d, e)
}

/// Eigenvalues of a tridiagonal matrix into `d`; every rotation turns the rows of `z` too. `None` where 60 sweeps for one value
/// are not enough, which no finite matrix is known to need.
fn implicit_ql(threads: &Threads, d: &mut [f64], e: &mut [f64], z: &mut [f64], n: usize) -> Option<()> {
    let mut turns: Vec<(usize, f64, f64)> = Vec::with_capacity(n);
    for l in 0..n {
        let mut sweeps = 0;
        loop {
            let small = |i: usize| e[i].abs() <= f64::EPSILON * (d[i].abs() + d[i + 1].abs());
            let m = (l..n - 1).find(|&i| small(i)).unwrap_or(n - 1);
            if m == l {
                break;
            }
            sweeps += 1;
            if sweeps > 60 {
                return None;
            }
            // Wilkinson's shift.
            let slope = (d[l + 1] - d[l]) / (2.0 * e[l]);
            let root = libm::hypot(slope, 1.0);
            let mut g = d[m] - d[l] + e[l] / (slope + if slope < 0.0 { -root } else { root });
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            turns.clear();
            let mut whole = true;
            for i in (l..m).rev() {
                let (f, b) = (s * e[i], c * e[i]);
                let r = libm::hypot(f, g);
                e[i + 1] = r;
                if r == 0.0 {
                    d[i + 1] -= p;
                    e[m] = 0.0;
                    whole = false;
                    break;
                }
                (s, c) = (f / r, g / r);
                g = d[i + 1] - p;
                let r = (d[i] - g) * s + 2.0 * c * b;
                p = s * r;
                d[i + 1] = g + p;
                g = c * r - b;
                turns.push((i, s, c));
            }
            if whole {
                d[l] -= p;
                e[l] = g;
                e[m] = 0.0;
            }
            turn(threads, &turns, z, n);
        }
    }
    Some(())
}

/// Turns pairs of rows (i, i + 1) of `z`, one after the other; columns in stretches, so that these stay in cache.
fn turn(threads: &Threads, turns: &[(usize, f64, f64)], z: &mut [f64], n: usize) {
    let Some(&(last, ..)) = turns.last() else { return };
    let first = turns[0].0 + 1;
    // The rows that turn, cut into stretches of columns.
    let mut stretches: Vec<Mutex<Vec<&mut [f64]>>> =
        (0..n.div_ceil(STRETCH)).map(|_| Mutex::new(vec![])).collect();
    for row in z[last * n..(first + 1) * n].chunks_mut(n) {
        for (stretch, piece) in stretches.iter_mut().zip(row.chunks_mut(STRETCH)) {
            stretch.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).push(piece);
        }
    }
    threads.run(stretches.len(), |nth| {
        let mut rows = stretches[nth].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        isa::run(
            #[inline(always)]
            || {
                for &(i, s, c) in turns {
                    let (low, high) = rows.split_at_mut(i - last + 1);
                    for (a, b) in low[i - last].iter_mut().zip(high[0].iter_mut()) {
                        let f = *b;
                        *b = s * *a + c * f;
                        *a = c * *a - s * f;
                    }
                }
            },
        );
    });
}

/// Columns in a stretch.
const STRETCH: usize = 128;

#[cfg(test)]
mod tests {
    use thalweg_core::random::{Purpose, Stream};

    use super::*;

    fn random(n: usize, seed: u64) -> Vec<f64> {
        let mut stream = Stream::new(seed, Purpose::Data, 0);
        (0..n * n).map(|_| stream.normal()).collect()
    }

    /// The largest |Z Zᵀ − 1|.
    fn skew(z: &[f64], n: usize) -> f64 {
        let row = |i: usize| &z[i * n..(i + 1) * n];
        let pairs = (0..n).flat_map(|i| (0..n).map(move |j| (i, j)));
        pairs.fold(0.0, |worst: f64, (i, j)| {
            worst.max((dot(row(i), row(j)) - f64::from(u8::from(i == j))).abs())
        })
    }

    /// A matrix of this rank: a random one of unit scale, times its transpose.
    fn gram(n: usize, rank: usize, seed: u64) -> Vec<f64> {
        let x = random(n, seed);
        let entry = |i: usize, j: usize| dot(&x[i * n..i * n + rank], &x[j * n..j * n + rank]);
        (0..n * n).map(|at| entry(at / n, at % n)).collect()
    }

    #[test]
    fn vectors_turn_the_matrix_into_its_values() {
        for (n, rank) in [(1, 1), (2, 2), (3, 1), (7, 7), (20, 5), (64, 64), (65, 3), (150, 150)] {
            for unit in [1.0, 1e-300, 1e300, 1e-320] {
                let mut a = gram(n, rank, n as u64);
                a.iter_mut().for_each(|x| *x *= unit);
                let mut z = a.clone();
                let values = symmetric(&Threads::serial(), &mut z, n).unwrap();
                // A few n roundings of orthogonal steps.
                let tolerance = 20.0 * n as f64 * f64::EPSILON;
                assert!(skew(&z, n) < tolerance, "{n}: {}", skew(&z, n));
                assert!(values.windows(2).all(|w| w[0] >= w[1]));
                for (value, z) in values.iter().zip(z.chunks(n)) {
                    for (i, row) in a.chunks(n).enumerate() {
                        let apart = (dot(row, z) - value * z[i]).abs();
                        assert!(apart <= tolerance * values[0] + 1e-321 * n as f64, "{n}, {unit}: {apart}");
                    }
                }
                assert!(
                    values[rank.min(n - 1)..]
                        .iter()
                        .skip(usize::from(rank == n))
                        .all(|v| v.abs() <= tolerance * values[0] + 1e-321)
                );
            }
        }
    }

    #[test]
    fn equal_values_and_diagonal_matrices_are_no_trouble() {
        let n = 9;
        let mut a = vec![0.0; n * n];
        (0..n).for_each(|i| a[i * n + i] = [2.0, -1.0, 2.0][i % 3]);
        let values = symmetric(&Threads::serial(), &mut a, n).unwrap();
        assert_eq!(values, [2.0, 2.0, 2.0, 2.0, 2.0, 2.0, -1.0, -1.0, -1.0]);
        assert_eq!(skew(&a, n), 0.0);
        assert_eq!(symmetric(&Threads::serial(), &mut [f64::NAN], 1), None);
        assert_eq!(symmetric(&Threads::serial(), &mut [], 0), Some(vec![]));
    }

    #[test]
    fn the_factor_is_orthogonal_and_leaves_a_triangle() {
        for n in [1, 2, 5, 33, 100] {
            for rank in [0, 1, n] {
                let mut a = random(n, 5);
                // Rows of Aᵀ beyond the rank repeat the first, or vanish.
                (rank..n)
                    .for_each(|j| (0..n).for_each(|i| a[j * n + i] = if rank == 0 { 0.0 } else { a[i] }));
                let mut q = a.clone();
                qr(&Threads::serial(), &mut q, n);
                let tolerance = 20.0 * n as f64 * f64::EPSILON;
                assert!(skew(&q, n) < tolerance);
                for j in 0..n {
                    for i in j + 1..n {
                        let below = dot(&q[i * n..(i + 1) * n], &a[j * n..(j + 1) * n]);
                        assert!(below.abs() < tolerance * n as f64, "{n}: R[{i}, {j}] is {below}");
                    }
                }
            }
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let n = 200;
        let on = |threads: Threads| {
            let (mut z, mut q) = (gram(n, n, 3), random(n, 4));
            let values = symmetric(&threads, &mut z, n).unwrap();
            qr(&threads, &mut q, n);
            (values, z, q)
        };
        let one = on(Threads::serial());
        assert!(on(Threads::new(2)) == one && on(Threads::new(3)) == one);
    }
}
