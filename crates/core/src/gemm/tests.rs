use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::isa;
use crate::random::{Purpose, Stream};

/// The instruction set's limit is the process's: one test at a time sets it.
static LIMIT: Mutex<()> = Mutex::new(());

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
        let scale = [(1.0, 0.0), (1.0, 1.0), (-0.5, 2.0), (0.0, 0.5)][scale];
        let serial = Threads::serial();
        holds::<f32>((m, n, k), (a, b, c), scale, &serial);
        holds::<f64>((m, n, k), (a, b, c), scale, &serial);
    }
}

#[test]
fn every_instruction_set_and_number_of_threads() {
    let _guard = LIMIT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
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
    for (m, n, k) in [(1, 1, 0), (5, 7, 3), (25, 65, 513), (40, 2100, 30)] {
        let (a, b) = (numbers::<f64>(1, m * k), numbers::<f64>(2, k * n));
        let threads = Threads::new(2);
        let mut plain = vec![0.0; m * n];
        gemm(&threads, 1.0, Mat::new(&a, m, k), Mat::new(&b, k, n), 0.0, MatMut::new(&mut plain, m, n));
        let mut packed = Packed::default();
        packed.pack(&threads, &Mat::new(&b, k, n));
        let mut c = vec![f64::NAN; m * n];
        let operand = Operand::Packed(&packed);
        gemm_with(&threads, 1.0, Mat::new(&a, m, k), operand, 0.0, MatMut::new(&mut c, m, n), &Keep);
        assert_eq!(c, plain);
        let operand = Operand::Source(&Mat::new(&b, k, n));
        gemm_with(&threads, 1.0, Mat::new(&a, m, k), operand, 0.0, MatMut::new(&mut c, m, n), &Place);
        for (nth, (c, plain)) in c.iter().zip(&plain).enumerate() {
            assert_eq!(*c, plain + (1000 * (nth / n) + nth % n) as f64);
        }
    }
}

#[test]
#[should_panic(expected = "matmul: 2×3 times 2×2 into 2×2")]
fn shapes_that_do_not_fit() {
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
