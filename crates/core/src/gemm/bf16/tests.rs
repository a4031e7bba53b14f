use super::*;
use crate::random::{Purpose, Stream};

const BOTH: Forms = Forms { right: true, turned: true };

/// Numbers of many sizes, some below what counts as 0.
fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut stream = Stream::new(seed, Purpose::Data, 0);
    (0..n).map(|_| (stream.normal() * libm::exp2(-60.0 * libm::pow(stream.uniform(), 4.0))) as f32).collect()
}

fn filled(threads: &Threads, rows: usize, cols: usize, from: &[f32]) -> Squares {
    let mut all = Squares::zeros(rows, cols, BOTH);
    all.fill(threads, from, false, |x| x);
    all
}

fn read(threads: &Threads, of: &Squares) -> Vec<f32> {
    let mut all = vec![f32::NAN; of.rows * of.cols];
    of.write(threads, &mut all, false, |x| x);
    all
}

fn near(x: f32) -> f32 {
    from_bf16(rounded(x) as u16)
}

/// The order of sums as it is documented, number by number.
fn slow(k: usize, a: impl Fn(usize) -> f32, b: impl Fn(usize) -> f32) -> f32 {
    let mut sum = 0.0;
    for from in (0..k).step_by(SIDE) {
        let mut parts = [0.0f32; 2];
        for p in from..k.min(from + SIDE) {
            parts[p % 2] += near(a(p)) * near(b(p));
        }
        sum += parts[0] + parts[1];
    }
    sum
}

/// The last two: sums that are put aside and taken up again, and several groups of columns.
const SHAPES: [(usize, usize, usize); 9] = [
    (1, 1, 1),
    (3, 2, 0),
    (32, 32, 32),
    (33, 31, 65),
    (5, 300, 40),
    (200, 64, 288),
    (64, 290, 600),
    (3, 2, SIDE * DEPTH + 40),
    (SIDE * COLUMNS + 34, 2, 33),
];

#[test]
fn sums_have_the_documented_bits_on_every_instruction_set_and_any_number_of_threads() {
    let _alone = isa::alone();
    for (m, n, k) in SHAPES {
        let (a, b, d) = (numbers(1, m * k), numbers(2, k * n), numbers(3, m * n));
        for plus in [None, Some(-0.75)] {
            let wanted: Vec<f32> = (0..m * n)
                .map(|at| {
                    let (i, j) = (at / n, at % n);
                    let sum = 1.5 * slow(k, |p| a[i * k + p], |p| b[p * n + j]);
                    let plus = plus.map_or(0.0, |beta: f32| beta * near(d[at]));
                    near(sum + plus)
                })
                .collect();
            for isa in isa::available() {
                isa::limit(Some(isa));
                for threads in [1, 2, 3].map(Threads::new) {
                    let (a, b) = (filled(&threads, m, k, &a), filled(&threads, k, n, &b));
                    let d = filled(&threads, m, n, &d);
                    let mut c = filled(&threads, m, n, &vec![f32::NAN; m * n]);
                    multiply(&threads, 1.5, &a, &b, plus.map(|beta| (beta, &d)), &mut c);
                    assert_eq!(read(&threads, &c), wanted, "{m} {n} {k} {isa:?}");
                }
            }
        }
    }
    isa::limit(None);
}

/// Where there are tiles, [`multiply`] does not come to the plain loops with AVX-512.
#[test]
fn plain_loops_have_these_bits_too() {
    let _alone = isa::alone();
    let threads = Threads::serial();
    let (m, n, k) = (SIDE, 2 * SIDE, SIDE * DEPTH + 40);
    let (a, b) = (numbers(1, m * k), numbers(2, k * n));
    let (left, right) = (filled(&threads, m, k, &a), filled(&threads, k, n, &b));
    for isa in isa::available() {
        isa::limit(Some(isa));
        let mut sums = [Sums([f32::NAN; SIDE * SIDE]); 2];
        add_up_plainly(&left.left, &right.right, &mut sums);
        for (at, sum) in (0..m * n).map(|at| (at, sums[at % n / SIDE].0[row(at / n) + at % SIDE])) {
            assert_eq!(sum, slow(k, |p| a[at / n * k + p], |p| b[p * n + at % n]), "{isa:?}");
        }
    }
    isa::limit(None);
}

#[test]
fn a_gram_matrix_is_the_product_with_the_transpose_and_may_be_multiplied_again() {
    let _alone = isa::alone();
    let threads = Threads::new(2);
    for (m, n, k) in SHAPES {
        let a = numbers(1, m * k);
        let whole = filled(&threads, m, k, &a);
        let mut turned = Squares::zeros(k, m, BOTH);
        turned.fill(&threads, &a, true, |x| x);
        let (mut gram_of, mut wanted) = (Squares::zeros(m, m, BOTH), Squares::zeros(m, m, BOTH));
        gram(&threads, 1.0, &whole, None, &mut gram_of);
        multiply(&threads, 1.0, &whole, &turned, None, &mut wanted);
        assert_eq!(read(&threads, &gram_of), read(&threads, &wanted));
        // A symmetric matrix times itself, plus itself.
        let (mut c, mut again) = (Squares::zeros(m, m, BOTH), Squares::zeros(m, m, BOTH));
        gram(&threads, 2.0, &gram_of, Some((-3.0, &gram_of)), &mut c);
        multiply(&threads, 2.0, &wanted, &wanted, Some((-3.0, &wanted)), &mut again);
        assert_eq!(read(&threads, &c), read(&threads, &again));
        // And every form of what a product wrote is that of the numbers it wrote.
        let b = filled(&threads, m, n, &numbers(2, m * n));
        let (mut first, mut second) = (Squares::zeros(m, n, BOTH), Squares::zeros(m, n, BOTH));
        multiply(&threads, 1.0, &c, &b, None, &mut first);
        multiply(&threads, 1.0, &filled(&threads, m, m, &read(&threads, &c)), &b, None, &mut second);
        assert_eq!(read(&threads, &first), read(&threads, &second));
    }
}

#[test]
fn what_is_turned_comes_back_turned() {
    let threads = Threads::new(2);
    let from = numbers(7, 70 * 45);
    let mut all = Squares::zeros(45, 70, Forms::default());
    all.fill(&threads, &from, true, |x| x);
    let mut back = vec![0.0f64; from.len()];
    all.write(&threads, &mut back, true, f64::from);
    assert!(back.iter().zip(&from).all(|(&x, &y)| x == f64::from(near(y))));
    // Of another size, and what is not finite stays so.
    all.resize(2, 33);
    let mut from = numbers(8, 66);
    from[40] = f32::NAN;
    from[50] = f32::INFINITY;
    all.fill(&threads, &from, false, |x| x);
    let back = read(&threads, &all);
    assert!(
        back[40].is_nan() && back[50] == f32::INFINITY && back.iter().filter(|x| !x.is_finite()).count() == 2
    );
}
