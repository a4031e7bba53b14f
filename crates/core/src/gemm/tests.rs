use proptest::prelude::*;

use super::*;
use crate::isa;
use crate::random::{Purpose, Stream};

fn numbers<F: Float>(seed: u64, n: usize) -> Vec<F> {
    let mut stream = Stream::new(seed, Purpose::Data, 0);
    (0..n).map(|_| F::from_f64(stream.normal())).collect()
}

/// A matrix of numbers in one of four orders, with room between its rows.
struct Case<F> {
    data: Vec<F>,
    rows: usize,
    cols: usize,
    order: u8,
}

impl<F: Float> Case<F> {
    fn new(seed: u64, rows: usize, cols: usize, order: u8) -> Self {
        Self { data: numbers(seed, (rows + 2) * (cols + 2) * 3), rows, cols, order }
    }
    fn strides(&self) -> (usize, usize) {
        match self.order {
            0 => (self.cols.max(1), 1),
            1 => (1, self.rows.max(1)),
            2 => (self.cols + 2, 1),
            _ => (3 * (self.cols + 1), 3),
        }
    }
    fn mat(&self) -> Mat<'_, F> {
        let (row, col) = self.strides();
        Mat::strided(&self.data, self.rows, self.cols, row, col)
    }
    fn at(&self, i: usize, j: usize) -> f64 {
        let (row, col) = self.strides();
        self.data[i * row + j * col].to_f64()
    }
}

/// The product holds a bound that roundings give: k + 3 of them a term, on the sum of sizes.
fn holds<F: Float>(
    shape: (usize, usize, usize),
    orders: (u8, u8, u8),
    (alpha, beta): (f64, f64),
    threads: &Threads,
) -> Vec<u64> {
    let (m, n, k) = shape;
    let (a, b) = (Case::<F>::new(1, m, k, orders.0), Case::<F>::new(2, k, n, orders.1));
    let mut c = Case::<F>::new(3, m, n, orders.2);
    let before = Case { data: c.data.clone(), ..Case::new(3, m, n, orders.2) };
    if beta == 0.0 {
        c.data.fill(F::NAN);
    }
    let (row, col) = c.strides();
    let untouched = c.data.clone();
    gemm(
        threads,
        F::from_f64(alpha),
        a.mat(),
        b.mat(),
        F::from_f64(beta),
        MatMut::strided(&mut c.data, m, n, row, col),
    );
    let mut seen = vec![false; c.data.len()];
    for i in 0..m {
        for j in 0..n {
            let terms = (0..k).map(|p| a.at(i, p) * b.at(p, j));
            let (sum, sizes) = terms.fold((0.0, 0.0), |(s, z), x| (s + x, z + x.abs()));
            let wanted = alpha * sum + beta * before.at(i, j);
            let sizes = alpha.abs() * sizes + (beta * before.at(i, j)).abs();
            let bound = (k as f64 + 3.0) * F::EPSILON.to_f64() * sizes;
            let found = c.at(i, j);
            assert!(
                (found - wanted).abs() <= bound,
                "{shape:?} {orders:?}: ({i}, {j}) is {found}, not {wanted}"
            );
            seen[i * row + j * col] = true;
        }
    }
    for ((new, old), seen) in c.data.iter().zip(&untouched).zip(seen) {
        assert!(seen || new.bits() == old.bits(), "what lies between C's numbers is not C's");
    }
    c.data.iter().map(|x| x.bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn products_of_any_shape_and_order(
        m in 0usize..70, n in 0usize..90, k in 0usize..300, a in 0u8..4, b in 0u8..4, c in 0u8..4, scale in 0usize..4,
    ) {
        let _alone = isa::alone();
        let scale = [(1.0, 0.0), (1.0, 1.0), (-0.5, 2.0), (0.0, 0.5)][scale];
        let serial = Threads::serial();
        holds::<f32>((m, n, k), (a, b, c), scale, &serial);
        holds::<f64>((m, n, k), (a, b, c), scale, &serial);
    }
}

#[test]
fn every_instruction_set_and_number_of_threads() {
    let _alone = isa::alone();
    let threads = [1, 2, 3].map(Threads::new);
    for set in isa::available() {
        isa::limit(Some(set));
        // Within a block, over its borders, more rows than are packed at a time, more columns.
        for shape in [
            (1, 1, 1),
            (12, 32, 256),
            (13, 33, 257),
            (70, 300, 600),
            (800, 40, 300),
            (9, 2100, 40),
            (130, 130, 130),
        ] {
            let one = holds::<f32>(shape, (0, 1, 0), (1.0, 1.0), &threads[0]);
            assert!(
                threads[1..].iter().all(|t| holds::<f32>(shape, (0, 1, 0), (1.0, 1.0), t) == one),
                "{shape:?}"
            );
            let one = holds::<f64>(shape, (1, 0, 2), (1.0, 0.0), &threads[0]);
            assert!(
                threads[1..].iter().all(|t| holds::<f64>(shape, (1, 0, 2), (1.0, 0.0), t) == one),
                "{shape:?}"
            );
        }
        isa::limit(None);
    }
}

/// Adds `1000·i + j` to each element, so that one which is seen twice or at the wrong place shows.
struct Place;

impl Epilogue<f64> for Place {
    fn apply(&self, i: usize, j: usize, c: &mut [f64]) {
        c.iter_mut().enumerate().for_each(|(nth, c)| *c += (1000 * i + j + nth) as f64);
    }
}

#[test]
fn packed_is_the_same_and_an_epilogue_sees_each_element_once() {
    let _alone = isa::alone();
    for (m, n, k) in [(1, 1, 0), (5, 7, 3), (25, 65, 513), (40, 2100, 30), (130, 300, 1100), (96, 64, 40)] {
        let (a, b) = (numbers::<f64>(1, m * k), numbers::<f64>(2, k * n));
        let threads = Threads::new(2);
        let mut plain = vec![0.0; m * n];
        gemm(&threads, 1.0, Mat::new(&a, m, k), Mat::new(&b, k, n), 0.0, MatMut::new(&mut plain, m, n));
        let mut room = vec![f64::NAN; Packed::<f64>::room(k, n)];
        let packed = Packed::new(&threads, &Mat::new(&b, k, n), &mut room);
        let mut c = vec![f64::NAN; m * n];
        let operand = Operand::Packed(packed);
        gemm_with(&threads, 1.0, Mat::new(&a, m, k), operand, 0.0, MatMut::new(&mut c, m, n), &Keep);
        assert_eq!(c, plain);
        let operand = Operand::Source(&Mat::new(&b, k, n));
        gemm_with(&threads, 1.0, Mat::new(&a, m, k), operand, 0.0, MatMut::new(&mut c, m, n), &Place);
        for (nth, (c, plain)) in c.iter().zip(&plain).enumerate() {
            assert_eq!(*c, plain + (1000 * (nth / n) + nth % n) as f64);
        }
    }
}

/// B as a source that exists nowhere whole.
struct Written<'a>(Mat<'a, f64>);

impl Source<f64> for Written<'_> {
    fn rows(&self) -> usize {
        self.0.rows()
    }
    fn cols(&self) -> usize {
        self.0.cols()
    }
    fn pack(&self, p: std::ops::Range<usize>, j: std::ops::Range<usize>, width: usize, out: &mut [f64]) {
        self.0.pack(p, j, width, out);
    }
}

#[test]
fn operands_in_place_turned_over_or_packed_give_the_same_bits() {
    let _alone = isa::alone();
    let threads = Threads::new(2);
    for (m, n, k) in [(1, 128, 784), (3, 37, 530), (32, 10, 20), (32, 128, 128), (48, 300, 33), (70, 20, 9)] {
        for (a_order, b_order) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 3)] {
            let (a, b) = (Case::<f64>::new(1, m, k, a_order), Case::<f64>::new(2, k, n, b_order));
            let mut c = vec![vec![0.25; m * n]; 4];
            let written = Written(b.mat());
            let mut room = vec![f64::NAN; Packed::<f64>::room(k, n)];
            let packed = Packed::new(&threads, &b.mat(), &mut room);
            gemm(&threads, 1.5, a.mat(), b.mat(), 0.5, MatMut::new(&mut c[0], m, n));
            let operands = [Operand::Source(&b.mat()), Operand::Source(&written), Operand::Packed(packed)];
            for (operand, c) in operands.into_iter().zip(&mut c[1..]) {
                gemm_with(&threads, 1.5, a.mat(), operand, 0.5, MatMut::new(c, m, n), &Place);
            }
            for (nth, plain) in c[0].iter().enumerate() {
                let wanted = plain + (1000 * (nth / n) + nth % n) as f64;
                assert_eq!([c[1][nth], c[2][nth], c[3][nth]], [wanted; 3], "{m}×{n}×{k} {a_order}{b_order}");
            }
        }
    }
}

#[test]
fn a_stack_is_its_products() {
    let _alone = isa::alone();
    // Heads of attention: scores from rows that lie between those of other heads, and sums back between them.
    for (heads, n, d) in [(1, 5, 3), (3, 40, 17), (8, 33, 16), (2, 0, 4)] {
        let (q, v) = (numbers::<f32>(1, n * heads * d), numbers::<f32>(2, n * heads * d));
        let head = |x: &'static [f32], h: usize| Mat::strided(&x[(h * d).min(x.len())..], n, d, heads * d, 1);
        let (q, v): (&'static [f32], &'static [f32]) = (q.leak(), v.leak());
        for threads in [1, 2, 3].map(Threads::new) {
            let (mut scores, mut mixed) = (vec![f32::NAN; heads * n * n], vec![1.0; n * heads * d]);
            let (queries, keys) = (Stack::new(head(q, 0), heads, d), Stack::new(head(v, 0).t(), heads, d));
            let to = StackMut::new(&mut scores, (heads, n * n), (n, n), (n, 1));
            gemm_batch(&threads, 0.5, queries, keys, 0.0, to);
            let weights = Stack::new(Mat::new(&scores, n, n), heads, n * n);
            let to = StackMut::new(&mut mixed, (heads, d), (n, d), (heads * d, 1));
            gemm_batch(&threads, 1.0, weights, Stack::new(head(v, 0), heads, d), 1.0, to);
            for h in 0..heads {
                let (mut one, mut sum) = (vec![0.0; n * n], vec![1.0; n * d]);
                gemm(&threads, 0.5, head(q, h), head(v, h).t(), 0.0, MatMut::new(&mut one, n, n));
                assert_eq!(&scores[h * n * n..(h + 1) * n * n], one);
                gemm(&threads, 1.0, Mat::new(&one, n, n), head(v, h), 1.0, MatMut::new(&mut sum, n, d));
                for (i, sum) in sum.chunks_exact(d).enumerate() {
                    assert_eq!(&mixed[(i * heads + h) * d..][..d], sum);
                }
            }
        }
    }
}

#[test]
fn a_gram_matrix_is_the_product_and_symmetric() {
    let _alone = isa::alone();
    for (m, k) in [(0, 3), (1, 1), (13, 40), (100, 600), (150, 64)] {
        for order in 0..4 {
            let a = Case::<f32>::new(1, m, k, order);
            for threads in [1, 2].map(Threads::new) {
                for beta in [0.0, 0.5] {
                    // Symmetric before.
                    let old = |i: usize, j: usize| (i.min(j) * 31 + i.max(j)) as f32;
                    let mut whole: Vec<f32> = (0..m * m).map(|at| old(at / m, at % m)).collect();
                    let mut half = whole.clone();
                    gemm(&threads, 2.0, a.mat(), a.mat().t(), beta, MatMut::new(&mut whole, m, m));
                    gram(&threads, 2.0, a.mat(), beta, MatMut::new(&mut half, m, m));
                    assert_eq!(whole, half);
                    assert!((0..m * m).all(|at| half[at].to_bits() == half[at % m * m + at / m].to_bits()));
                }
            }
        }
    }
}

#[test]
fn elements_of_c_never_coincide() {
    let _alone = isa::alone();
    assert!(
        apart([(3, 1), (4, 3), (1, 0)]) && apart([(3, 8), (4, 2), (2, 1)]) && apart([(0, 0), (4, 0), (1, 0)])
    );
    assert!(!apart([(3, 1), (4, 2), (1, 0)]) && !apart([(2, 0), (1, 1), (1, 1)]));
    // Two heads would overlap.
    assert!(!apart([(2, 3), (5, 8), (4, 1)]));
}

#[test]
#[should_panic(expected = "elements of C coincide")]
fn overlapping_rows_of_c_are_refused() {
    let _alone = isa::alone();
    MatMut::strided(&mut [0.0f32; 8], 3, 3, 2, 1);
}

#[test]
#[should_panic(expected = "does not fit its data")]
fn strides_beyond_the_largest_number_are_refused() {
    let _alone = isa::alone();
    Mat::strided(&[0.0f32; 8], 3, 1, usize::MAX / 2 + 1, 1);
}

#[test]
#[should_panic(expected = "matmul: 2×3 times 2×2 into 2×2")]
fn shapes_that_do_not_fit() {
    let _alone = isa::alone();
    let x = [0.0f32; 6];
    gemm(
        &Threads::serial(),
        1.0,
        Mat::new(&x, 2, 3),
        Mat::new(&x, 2, 2),
        0.0,
        MatMut::new(&mut [0.0; 4], 2, 2),
    );
}

/// A convolution's product against the same matrix written out: one run over the inner axis, in the same order, so the same bits where
/// that is no longer than a block, else to rounding.
#[test]
fn a_gathered_matrix_is_the_one_that_it_stands_for() {
    let _alone = isa::alone();
    fn test<F: Float>() {
        let cases =
            [(1, 1, 1, 1, 1), (13, 70, 3, 5, 2), (24, 64, 1, 40, 1), (37, 33, 4, 7, 3), (12, 5, 9, 64, 1)];
        for (m, n, segments, len, step) in cases {
            let k = segments * len;
            let data = numbers::<F>(1, 40 * m + 90 * segments + len * step);
            let rows: Vec<u32> = (0..m as u32).map(|i| i * 7 % 40 * m as u32 / 2).collect();
            let starts: Vec<u32> = (0..m as u32).map(|i| (m as u32 - 1 - i) * (n as u32 + 3)).collect();
            let offsets: Vec<u32> = (0..segments as u32).map(|s| s * 90).collect();
            let a: Vec<F> = rows
                .iter()
                .flat_map(|&r| (0..k).map(move |p| (r, p)))
                .map(|(r, p)| data[r as usize + offsets[p / len] as usize + p % len * step])
                .collect();
            let (b, bias) = (numbers::<F>(2, k * n), numbers::<F>(3, n));
            let mut room = vec![F::NAN; Packed::<F>::room(k, n)];
            let threads = Threads::serial();
            let packed = Packed::whole(&threads, &Mat::new(&b, k, n), &mut room);
            let gathered = Gather { data: &data, rows: &rows, segments: &offsets, len, step };
            for beta in [0.0, 1.0] {
                let old = numbers::<F>(4, m * (n + 3));
                let mut plain: Vec<F> =
                    starts.iter().flat_map(|&s| old[s as usize..][..n].iter().copied()).collect();
                let beta = F::from_f64(beta);
                gemm(
                    &threads,
                    F::one(),
                    Mat::new(&a, m, k),
                    Mat::new(&b, k, n),
                    beta,
                    MatMut::new(&mut plain, m, n),
                );
                for operand in [Operand::Packed(packed), Operand::Source(&Mat::new(&b, k, n))] {
                    let mut c = old.clone();
                    let finish = Finish { beta, bias: Some(&bias), relu: true };
                    gather(gathered, &operand, &mut c, &starts, finish);
                    for (i, &start) in starts.iter().enumerate() {
                        for j in 0..n {
                            let wanted = (plain[i * n + j] + bias[j]).at_least(F::zero()).to_f64();
                            let found = c[start as usize + j].to_f64();
                            let bound = if k <= 256 { 0.0 } else { 1e3 * k as f64 * F::EPSILON.to_f64() };
                            assert!(
                                (wanted - found).abs() <= bound,
                                "{m}×{n}×{k} at {i}, {j}: {found}, not {wanted}"
                            );
                        }
                        // Nothing beside the columns is touched.
                        assert!(c[start as usize + n..][..3] == old[start as usize + n..][..3]);
                    }
                }
            }
        }
    }
    test::<f32>();
    test::<f64>();
}

/// In whole tiles as in those at the edge, so that it does not matter with which others a row is worked on.
#[test]
fn a_gathered_product_that_is_too_small_keeps_its_sign() {
    let _alone = isa::alone();
    let (m, n) = (37, 75);
    let (data, b) = ([-1e-30f32], vec![1e-30f32; n]);
    let starts: Vec<u32> = (0..m).map(|i| i * n as u32).collect();
    let a = Gather { data: &data, rows: &vec![0; m as usize], segments: &[0], len: 1, step: 1 };
    let mut c = vec![1.0; m as usize * n];
    let finish = Finish { beta: 0.0, bias: None, relu: false };
    gather(a, &Operand::Source(&Mat::new(&b, 1, n)), &mut c, &starts, finish);
    assert!(c.iter().all(|c| c.to_bits() == (-0.0f32).to_bits()));
}

#[test]
#[should_panic(expected = "an element lies outside A")]
fn a_gathered_element_outside_its_slice_is_refused() {
    let _alone = isa::alone();
    let (b, mut c) = ([1.0; 4], [0.0; 2]);
    let a = Gather { data: &[1.0; 5], rows: &[0, 3], segments: &[0], len: 4, step: 1 };
    let finish = Finish { beta: 0.0, bias: None, relu: false };
    gather(a, &Operand::Source(&Mat::new(&b, 4, 1)), &mut c, &[0, 1], finish);
}
