//! Linear models against their formula written naively in f64, against differences, and against themselves: cut, ordered,
//! weighted and threaded otherwise.

use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{Batch, Float, Grads, Layout, Objective, Params, Penalty, Threads, Total, isa};
use thalweg_models::linear::{Linear, LinearError, Shape};
use thalweg_models::losses::{Loss, Task};

const LOSSES: [&str; 8] =
    ["squared", "absolute", "huber(1.35)", "quantile(0.8)", "poisson", "logistic", "softmax", "hinge"];

/// Rows of made-up data.
#[derive(Clone)]
struct Data<F> {
    shape: Shape,
    dense: Vec<F>,
    codes: Vec<u32>,
    code_width: usize,
    target: Vec<F>,
    weight: Vec<F>,
}

impl<F: Float> Data<F> {
    /// `n` rows of `dense` numbers and `code_width` codes of 5 levels each (some unseen), with weights in quarters.
    fn new(loss: Loss, n: usize, dense: usize, code_width: usize, seed: u64) -> Self {
        let outputs = loss.outputs(3);
        let mut s = Stream::new(seed, Purpose::Data, 0);
        // Numbers that f32 holds too, so that both types see the same data.
        let mut number = |scale: f64| F::from_f64(f64::from((scale * s.normal()) as f32));
        let x = (0..n * dense).map(|_| number(0.7)).collect();
        let mut s = Stream::new(seed, Purpose::Data, 1);
        let codes = (0..n * code_width).map(|i| match s.below(6) {
            5 => Batch::<F>::UNSEEN,
            level => (i % code_width) as u32 * 5 + level,
        });
        let codes = codes.collect();
        let target = (0..n).map(|_| match loss.task() {
            Task::Number => F::from_f64(f64::from((2.0 * s.normal()) as f32)),
            Task::Count => F::from_f64(f64::from(s.below(5))),
            Task::TwoClasses => F::from_f64(f64::from(s.below(2))),
            Task::Classes => F::from_f64(f64::from(s.below(outputs as u32))),
        });
        let target = target.collect();
        let weight = (0..n).map(|_| F::from_f64(0.25 * f64::from(1 + s.below(8)))).collect();
        let shape = Shape { dense, one_hot: 5 * code_width, outputs, intercept: true };
        Self { shape, dense: x, codes, code_width, target, weight }
    }

    fn batch(&self) -> Batch<'_, F> {
        Batch {
            dense: &self.dense,
            width: self.shape.dense,
            codes: &self.codes,
            code_width: self.code_width,
            target: &self.target,
            weight: Some(&self.weight),
            index: None,
        }
    }

    fn len(&self) -> usize {
        self.target.len()
    }

    /// The same rows with their one-hot columns written down.
    fn expanded(&self) -> Self {
        let Shape { dense, one_hot, .. } = self.shape;
        let batch = self.batch();
        let mut x = Vec::new();
        for i in 0..self.len() {
            let at = x.len();
            x.extend_from_slice(batch.dense_row(i));
            x.resize(at + dense + one_hot, F::zero());
            for &code in batch.code_row(i).iter().filter(|&&c| c != Batch::<F>::UNSEEN) {
                x[at + dense + code as usize] = F::one();
            }
        }
        let shape = Shape { dense: dense + one_hot, one_hot: 0, ..self.shape };
        Self { shape, dense: x, codes: vec![], code_width: 0, ..self.clone() }
    }
}

fn params<F: Float>(layout: &std::sync::Arc<Layout>, seed: u64) -> Params<F> {
    let mut s = Stream::new(seed, Purpose::Init, 0);
    let mut theta = Params::zeros(layout);
    for tensor in layout.tensors() {
        for x in theta.tensor_mut(&tensor.name) {
            *x = F::from_f64(f64::from((0.4 * s.normal()) as f32));
        }
    }
    theta
}

fn gradient<F: Float>(model: &Linear<F>, theta: &Params<F>, batch: &Batch<'_, F>) -> (Total, Grads<F>) {
    let mut grads = Grads::zeros(model.layout());
    let total = model.gradient(theta, batch, &mut grads);
    assert_eq!(grads.total, total);
    assert_eq!(model.loss(theta, batch), total, "the loss alone has the same bits");
    (total, grads)
}

fn bits<F: Float>((total, grads): &(Total, Grads<F>)) -> Vec<u64> {
    let numbers = grads.flat().iter().map(|x| x.bits());
    [total.loss.to_bits(), total.weight.to_bits()].into_iter().chain(numbers).collect()
}

/// The gradient by its formula in f64, row after row, and how far rounding may carry another way of summing.
struct Naive {
    total: Total,
    loss_bound: f64,
    gradient: Vec<f64>,
    bounds: Vec<f64>,
}

/// The bound, in units of ε of the type that computes: an output z is a sum of p + 1 terms, off by (p + 3)·ε·Σ|terms|; the
/// derivative d moves by at most its curvature times that, plus its own rounding (the elementary functions and what is around
/// them: 8 ulp of numbers no larger than 1 + |d| + |y|); a sum over n rows is off by n·ε·Σ|d·x|, of which the blocks here
/// leave at most n = FLUSH + blocks in the working type. First order; the factor 1.01 pays for the rest.
fn naive<F: Float>(loss: Loss, data: &Data<F>, theta: &Params<F>) -> Naive {
    let Shape { dense, outputs, intercept, .. } = data.shape;
    let (p, inputs) = (dense + data.code_width, data.shape.inputs());
    let epsilon = F::EPSILON.to_f64();
    let wide: Vec<f64> = theta.tensor("weight").iter().map(|w| w.to_f64()).collect();
    let bias: Vec<f64> = match intercept {
        true => theta.tensor("bias").iter().map(|b| b.to_f64()).collect(),
        false => vec![0.0; outputs],
    };
    let batch = data.batch();
    let count = outputs * inputs + if intercept { outputs } else { 0 };
    let mut out = Naive {
        total: Total::default(),
        loss_bound: 0.0,
        gradient: vec![0.0; count],
        bounds: vec![0.0; count],
    };
    let n = (data.len() as f64).min(1024.0 + 64.0 + 8.0);
    for i in 0..data.len() {
        let w = batch.weight_at(i).to_f64();
        if w == 0.0 {
            continue;
        }
        let x: Vec<(usize, f64)> = batch
            .dense_row(i)
            .iter()
            .map(|x| x.to_f64())
            .enumerate()
            .chain(
                batch
                    .code_row(i)
                    .iter()
                    .filter(|&&c| c != Batch::<F>::UNSEEN)
                    .map(|&c| (dense + c as usize, 1.0)),
            )
            .collect();
        let y = data.target[i].to_f64();
        let dot = |o: usize, f: fn(f64) -> f64| {
            x.iter().map(|&(j, x)| f(wide[o * inputs + j] * x)).sum::<f64>() + f(bias[o])
        };
        let mut z: Vec<f64> = (0..outputs).map(|o| dot(o, |x| x)).collect();
        let z_bound = (0..outputs).map(|o| (p as f64 + 3.0) * epsilon * dot(o, f64::abs)).fold(0.0, f64::max);
        let curvature =
            loss.entry().bound.unwrap_or(if loss == Loss::POISSON { 2.0 * libm::exp(z[0]) } else { 0.0 });
        let mut value = [0.0];
        loss.tile(&mut z, &[y], &mut value);
        let steepest = z.iter().fold(0.0f64, |m, d| m.max(d.abs()));
        out.total += Total { loss: w * value[0], weight: w };
        let own = epsilon * 8.0 * (1.0 + steepest + y.abs());
        out.loss_bound += w * ((steepest + 1.0) * z_bound * 2.0 + own * (1.0 + value[0].abs()) * 2.0);
        for (o, d) in z.iter().enumerate() {
            let d_bound = curvature * z_bound + own;
            let bias = intercept.then_some((outputs * inputs + o, 1.0));
            for (at, x) in x.iter().map(|&(j, x)| (o * inputs + j, x)).chain(bias) {
                out.gradient[at] += w * d * x;
                out.bounds[at] += 1.01 * w * x.abs() * (d_bound + (n + 2.0) * epsilon * d.abs());
            }
        }
    }
    out
}

fn numbers<F: Float>(grads: &Grads<F>) -> Vec<f64> {
    grads.layout().tensors().iter().flat_map(|t| &grads.flat()[t.range()]).map(|x| x.to_f64()).collect()
}

fn equals_the_formula<F: Float>(precise: bool) {
    for text in LOSSES {
        let loss: Loss = text.parse().unwrap();
        for (n, dense, code_width, intercept) in [
            (1, 1, 0, true),
            (7, 3, 2, true),
            (333, 8, 0, false),
            (700, 13, 1, true),
            (5000, 0, 3, true),
            (5000, 21, 2, true),
        ] {
            let mut data = Data::<F>::new(loss, n, dense, code_width, 5);
            data.shape.intercept = intercept;
            let model = Linear::new(data.shape, loss, Threads::new(2));
            let theta = params(model.layout(), 6);
            let (total, grads) = gradient(&model, &theta, &data.batch());
            let expected = naive(loss, &data, &theta);
            assert!(
                (total.loss - expected.total.loss).abs() <= expected.loss_bound,
                "{text} {n}: {total:?} {:?}",
                expected.total
            );
            assert_eq!(total.weight, expected.total.weight, "quarters add exactly");
            let size = expected.gradient.iter().fold(0.0f64, |m, g| m.max(g.abs()));
            for ((g, e), bound) in numbers(&grads).iter().zip(&expected.gradient).zip(&expected.bounds) {
                assert!((g - e).abs() <= *bound, "{text} {n}×{dense}: {g} {e} ± {bound}");
                // The bound could not hide a wrong number.
                assert!(!precise || *bound < 1e-8 * size.max(1.0) * n as f64, "{bound} {size}");
            }
        }
    }
}

#[test]
fn the_gradient_is_the_formula() {
    equals_the_formula::<f64>(true);
    equals_the_formula::<f32>(false);
}

#[test]
fn the_gradient_equals_central_differences() {
    for text in LOSSES {
        let loss: Loss = text.parse().unwrap();
        let data = Data::<f64>::new(loss, 40, 5, 2, 9);
        let model = Linear::new(data.shape, loss, Threads::serial());
        let theta = params(model.layout(), 4);
        let (_, grads) = gradient(&model, &theta, &data.batch());
        // h = ε^⅓. Truncation h²/6·Σ w·|f‴|·|x|³ and rounding ε·f/h, with Σ w ≈ 45, |x| < 3, f‴ and losses below 100.
        let (h, bound) = (6.055e-6, 1e-6);
        for tensor in model.layout().tensors() {
            for place in tensor.range() {
                let at = |by: f64| {
                    let mut theta = theta.clone();
                    theta.flat_mut()[place] += by;
                    model.loss(&theta, &data.batch()).loss
                };
                let slope = (at(h) - at(-h)) / (2.0 * h);
                let g = grads.flat()[place];
                assert!(
                    (slope - g).abs() <= bound * (1.0 + g.abs()),
                    "{text} {}[{place}]: {slope} {g}",
                    tensor.name
                );
            }
        }
    }
}

#[test]
fn hessian_vector_products_equal_differences_of_gradients() {
    for text in LOSSES {
        let loss: Loss = text.parse().unwrap();
        let data = Data::<f64>::new(loss, 60, 6, 1, 11);
        let model = Linear::new(data.shape, loss, Threads::serial());
        let (theta, v) = (params::<f64>(model.layout(), 4), params::<f64>(model.layout(), 8));
        let mut out = Grads::zeros(model.layout());
        let done = model.hessian_vector(&theta, &data.batch(), &v, &mut out);
        if !loss.entry().smooth {
            assert_eq!(done, Err(LinearError::NotSmooth { loss: loss.entry().name }));
            continue;
        }
        assert_eq!(done, Ok(data.weight.iter().sum()));
        let h = 6.055e-6;
        let at = |by: f64| {
            let mut theta = theta.clone();
            theta.flat_mut().iter_mut().zip(v.flat()).for_each(|(t, v)| *t += by * v);
            numbers(&gradient(&model, &theta, &data.batch()).1)
        };
        for ((up, down), hv) in at(h).iter().zip(at(-h)).zip(numbers(&out)) {
            let slope = (up - down) / (2.0 * h);
            assert!((slope - hv).abs() <= 1e-6 * (1.0 + hv.abs()), "{text}: {slope} {hv}");
        }
        // It adds.
        let once = numbers(&out);
        model.hessian_vector(&theta, &data.batch(), &v, &mut out).unwrap();
        assert!(numbers(&out).iter().zip(once).all(|(two, one)| *two == one + one));
    }
}

#[test]
fn the_gradient_adds_to_what_is_there() {
    let data = Data::<f64>::new(Loss::SQUARED, 50, 4, 1, 1);
    let model = Linear::new(data.shape, Loss::SQUARED, Threads::serial());
    let theta = params(model.layout(), 2);
    let (total, mut grads) = gradient(&model, &theta, &data.batch());
    let once = numbers(&grads);
    model.gradient(&theta, &data.batch(), &mut grads);
    assert_eq!(grads.total, total + total);
    assert!(numbers(&grads).iter().zip(once).all(|(two, one)| *two == one + one));
}

#[test]
fn weight_two_is_the_row_twice() {
    for text in LOSSES {
        let loss: Loss = text.parse().unwrap();
        let mut data = Data::<f64>::new(loss, 300, 7, 1, 3);
        data.weight.iter_mut().enumerate().for_each(|(i, w)| *w = f64::from(1 + (i % 2 == 0) as u8));
        let model = Linear::new(data.shape, loss, Threads::serial());
        let theta = params(model.layout(), 2);
        let weighted = gradient(&model, &theta, &data.batch());
        let twice: Vec<u32> =
            (0..300).flat_map(|i| std::iter::repeat_n(i, if i % 2 == 0 { 2 } else { 1 })).collect();
        let batch = Batch { weight: None, index: Some(&twice), ..data.batch() };
        let repeated = gradient(&model, &theta, &batch);
        let bound = naive(loss, &data, &theta);
        assert_eq!(weighted.0.weight, repeated.0.weight);
        assert!((weighted.0.loss - repeated.0.loss).abs() <= bound.loss_bound);
        for ((a, b), bound) in numbers(&weighted.1).iter().zip(numbers(&repeated.1)).zip(bound.bounds) {
            assert!((a - b).abs() <= bound, "{text}: {a} {b} ± {bound}");
        }
    }
}

#[test]
fn weight_zero_is_the_row_absent_to_the_bit() {
    for (text, n) in [("squared", 90), ("logistic", 20_000), ("softmax", 20_000), ("poisson", 1)] {
        let loss: Loss = text.parse().unwrap();
        let mut data = Data::<f64>::new(loss, n, 9, 1, 3);
        let mut s = Stream::new(1, Purpose::Data, 7);
        let mut kept = Vec::new();
        for i in 0..n {
            // Long stretches and single rows, at the ends as well.
            let absent = i < 17 || i + 5 > n || s.below(3) == 0 || (n / 3..n / 2).contains(&i);
            if absent {
                data.weight[i] = if i % 2 == 0 { 0.0 } else { -0.0 };
                let poison = [f64::NAN, 1e300, f64::INFINITY][i % 3];
                data.dense[i * 9..(i + 1) * 9].fill(poison);
                data.target[i] = f64::NAN;
            } else {
                kept.push(i as u32);
            }
        }
        let model = Linear::new(data.shape, loss, Threads::new(2));
        let theta = params(model.layout(), 2);
        let with = gradient(&model, &theta, &data.batch());
        let without = gradient(&model, &theta, &data.batch().rows(&kept));
        assert_eq!(bits(&with), bits(&without), "{text}");
        assert!(numbers(&with.1).iter().all(|g| g.is_finite()));
        let all: Vec<u32> = (0..n as u32).collect();
        assert_eq!(bits(&with), bits(&gradient(&model, &theta, &data.batch().rows(&all))), "{text}");
    }
}

#[test]
fn no_rows_and_no_weight_add_nothing() {
    let mut data = Data::<f64>::new(Loss::SQUARED, 20, 3, 1, 1);
    data.weight.fill(0.0);
    let model = Linear::new(data.shape, Loss::SQUARED, Threads::serial());
    let theta = params(model.layout(), 2);
    for batch in [data.batch(), data.batch().rows(&[]), Batch::NONE] {
        let (total, grads) = gradient(&model, &theta, &batch);
        assert_eq!(total, Total::default());
        assert!(grads.flat().iter().all(|&g| g == 0.0));
        assert_eq!(model.extremes(&theta, &batch, Penalty::default(), 1), Err(LinearError::NoWeight));
    }
}

#[test]
fn weights_of_one_are_no_weights_to_the_bit() {
    let mut data = Data::<f32>::new(Loss::LOGISTIC, 3000, 20, 1, 3);
    data.weight.fill(1.0);
    let model = Linear::new(data.shape, Loss::LOGISTIC, Threads::serial());
    let theta = params(model.layout(), 2);
    let without = Batch { weight: None, ..data.batch() };
    assert_eq!(bits(&gradient(&model, &theta, &data.batch())), bits(&gradient(&model, &theta, &without)));
}

#[test]
fn codes_equal_their_columns_written_down() {
    for text in LOSSES {
        let loss: Loss = text.parse().unwrap();
        let data = Data::<f64>::new(loss, 900, 6, 3, 21);
        let expanded = data.expanded();
        let model = Linear::new(data.shape, loss, Threads::serial());
        let other = Linear::new(expanded.shape, loss, Threads::serial());
        assert_eq!(model.layout().get("weight").unwrap().shape, other.layout().get("weight").unwrap().shape);
        let theta = params(model.layout(), 2);
        let (total, grads) = gradient(&model, &theta, &data.batch());
        let (total2, grads2) = gradient(&other, &theta, &expanded.batch());
        // Both are within the bound of the formula's value; terms that are zero add none.
        let bound = naive(loss, &data, &theta);
        assert!((total.loss - total2.loss).abs() <= 2.0 * bound.loss_bound);
        for ((a, b), bound) in numbers(&grads).iter().zip(numbers(&grads2)).zip(bound.bounds) {
            assert!((a - b).abs() <= 2.0 * bound, "{text}: {a} {b} ± {bound}");
        }
        let (mut p, mut p2) = (vec![0.0; 900 * data.shape.outputs], vec![0.0; 900 * data.shape.outputs]);
        model.scores(&theta, &data.batch(), &mut p);
        other.scores(&theta, &expanded.batch(), &mut p2);
        assert!(p.iter().zip(&p2).all(|(a, b)| (a - b).abs() < 1e-13));
    }
}

#[test]
fn many_levels_and_few_rows() {
    let mut data = Data::<f64>::new(Loss::SOFTMAX, 300, 3, 2, 21);
    data.shape.one_hot = 70_000;
    let spread = |c: &mut u32| *c = if *c == u32::MAX { *c } else { *c * 7000 - *c % 7 };
    data.codes.iter_mut().for_each(spread);
    let model = Linear::new(data.shape, Loss::SOFTMAX, Threads::new(2));
    let theta = params(model.layout(), 2);
    let first = gradient(&model, &theta, &data.batch());
    let expected = naive(Loss::SOFTMAX, &data, &theta);
    for ((a, b), bound) in numbers(&first.1).iter().zip(&expected.gradient).zip(&expected.bounds) {
        assert!((a - b).abs() <= *bound, "{a} {b} ± {bound}");
    }
    // Nothing of one pass is left for the next, whichever rows that has.
    let some: Vec<u32> = (0..150).collect();
    let part = gradient(&model, &theta, &data.batch().rows(&some));
    assert_eq!(bits(&gradient(&model, &theta, &data.batch())), bits(&first));
    assert_eq!(bits(&gradient(&model, &theta, &data.batch().rows(&some))), bits(&part));
}

/// Everything that a model computes, as bits.
fn everything<F: Float>(data: &Data<F>, loss: Loss, threads: &Threads, order: Option<&[u32]>) -> Vec<u64> {
    let model = Linear::new(data.shape, loss, threads.clone());
    let (theta, v) = (params(model.layout(), 2), params(model.layout(), 3));
    let batch = Batch { index: order, ..data.batch() };
    let mut all = bits(&gradient(&model, &theta, &batch));
    let mut product = Grads::zeros(model.layout());
    if model.hessian_vector(&theta, &batch, &v, &mut product).is_ok() {
        all.extend(product.flat().iter().map(|x| x.bits()));
        let ends = model.extremes(&theta, &batch, Penalty { l1: 0.0, l2: 0.1 }, 1).unwrap();
        all.extend([ends.largest.to_bits(), ends.smallest.to_bits()]);
    }
    let mut out = vec![F::zero(); batch.len() * data.shape.outputs];
    model.scores(&theta, &batch, &mut out);
    all.extend(out.iter().map(|x| x.bits()));
    let mut out = vec![F::zero(); batch.len() * loss.responses(data.shape.outputs)];
    model.responses(&theta, &batch, &mut out);
    all.extend(out.iter().map(|x| x.bits()));
    all
}

fn same_bits_everywhere<F: Float>() {
    let counts: Vec<Threads> = [1, 2, 3, 16].into_iter().map(Threads::new).collect();
    for (text, n, dense, code_width) in [
        ("squared", 3000, 30, 0),
        ("huber(0.5)", 2000, 7, 2),
        ("poisson", 5000, 1, 0),
        ("logistic", 9000, 100, 1),
        ("softmax", 2500, 33, 1),
        ("logistic", 9000, 0, 3),
        ("absolute", 11, 8, 0),
    ] {
        let loss: Loss = text.parse().unwrap();
        let data = Data::<F>::new(loss, n, dense, code_width, 13);
        let reference = everything(&data, loss, &counts[0], None);
        for set in isa::available() {
            isa::limit(Some(set));
            for threads in &counts {
                let same = everything(&data, loss, threads, None) == reference;
                assert!(same, "{text} {n}×{dense} {} on {} threads", set.name(), threads.count());
            }
            isa::limit(None);
        }
        let all: Vec<u32> = (0..n as u32).collect();
        assert!(everything(&data, loss, &counts[1], Some(&all)) == reference, "{text} through an index");
    }
}

#[test]
fn threads_instruction_sets_and_an_index_change_no_bit() {
    same_bits_everywhere::<f64>();
    same_bits_everywhere::<f32>();
}

#[test]
fn a_batch_of_an_index_is_the_batch_of_those_rows() {
    let data = Data::<f32>::new(Loss::SOFTMAX, 4000, 11, 2, 13);
    let mut order: Vec<u32> = (0..4000).collect();
    Stream::new(1, Purpose::Shuffle, 0).shuffle(&mut order);
    order.truncate(1500);
    let batch = data.batch().rows(&order);
    let mut copy = Data { dense: vec![], codes: vec![], target: vec![], weight: vec![], ..data.clone() };
    for i in 0..batch.len() {
        let at = batch.at(i);
        copy.dense.extend_from_slice(batch.dense_row(at));
        copy.codes.extend_from_slice(batch.code_row(at));
        copy.target.push(batch.target[at]);
        copy.weight.push(batch.weight_at(at));
    }
    let threads = Threads::new(2);
    let a = everything(&data, Loss::SOFTMAX, &threads, Some(&order));
    assert!(a == everything(&copy, Loss::SOFTMAX, &threads, None));
}

#[test]
fn a_model_is_used_from_several_threads_at_once() {
    let data = Data::<f64>::new(Loss::LOGISTIC, 6000, 20, 1, 13);
    let model = Linear::new(data.shape, Loss::LOGISTIC, Threads::new(2));
    let theta = params(model.layout(), 2);
    let reference = bits(&gradient(&model, &theta, &data.batch()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(bits(&gradient(&model, &theta, &data.batch())), reference);
                }
            });
        }
    });
}

#[test]
fn padding_is_neither_read_nor_written() {
    for text in ["squared", "softmax"] {
        let loss: Loss = text.parse().unwrap();
        let data = Data::<f64>::new(loss, 400, 5, 1, 13);
        let model = Linear::new(data.shape, loss, Threads::serial());
        let (theta, v) = (params::<f64>(model.layout(), 2), params::<f64>(model.layout(), 3));
        let clean = gradient(&model, &theta, &data.batch());
        let spoil = |flat: &mut [f64]| {
            let tensors = model.layout().tensors();
            for (i, x) in flat.iter_mut().enumerate() {
                if !tensors.iter().any(|t| t.range().contains(&i)) {
                    *x = f64::NAN;
                }
            }
        };
        let (mut dirty_theta, mut dirty_v) = (theta.clone(), v.clone());
        spoil(dirty_theta.flat_mut());
        spoil(dirty_v.flat_mut());
        let mut grads = Grads::zeros(model.layout());
        spoil(grads.flat_mut());
        assert!(grads.flat().iter().any(|g| g.is_nan()));
        let total = model.gradient(&dirty_theta, &data.batch(), &mut grads);
        assert_eq!(total, clean.0);
        assert_eq!(numbers(&grads), numbers(&clean.1));
        let (mut a, mut b) = (Grads::zeros(model.layout()), Grads::zeros(model.layout()));
        model.hessian_vector(&theta, &data.batch(), &v, &mut a).unwrap();
        model.hessian_vector(&dirty_theta, &data.batch(), &dirty_v, &mut b).unwrap();
        assert_eq!(a.flat(), b.flat());
    }
}

#[test]
fn predictions_are_the_inverse_link_of_the_scores() {
    for text in LOSSES {
        let loss: Loss = text.parse().unwrap();
        // More rows than one task works on; weights and targets play no part.
        let mut data = Data::<f64>::new(loss, 9001, 4, 1, 17);
        data.weight.fill(0.0);
        data.target.fill(f64::NAN);
        let model = Linear::new(data.shape, loss, Threads::new(2));
        let theta = params(model.layout(), 2);
        let (outputs, columns) = (data.shape.outputs, loss.responses(data.shape.outputs));
        let mut z = vec![0.0; 9001 * outputs];
        let mut p = vec![0.0; 9001 * columns];
        model.scores(&theta, &data.batch(), &mut z);
        model.responses(&theta, &data.batch(), &mut p);
        let mut classes = vec![9; 9001];
        if loss.task().is_classes() {
            model.classes(&theta, &data.batch(), &mut classes);
        }
        let weight = theta.tensor("weight");
        for (i, (z, p)) in z.chunks_exact(outputs).zip(p.chunks_exact(columns)).enumerate() {
            for (o, z) in z.iter().enumerate() {
                let x = data.batch().dense_row(i).iter().enumerate().map(|(j, x)| x * weight[o * 9 + j]);
                let code = data.codes[i];
                let level = if code == u32::MAX { 0.0 } else { weight[o * 9 + 4 + code as usize] };
                assert!((x.sum::<f64>() + level + theta.tensor("bias")[o] - z).abs() < 1e-14);
            }
            let expected: Vec<f64> = match loss.task() {
                Task::Number => z.to_vec(),
                Task::Count => vec![libm::exp(z[0])],
                Task::TwoClasses => vec![1.0 / (1.0 + libm::exp(z[0])), 1.0 / (1.0 + libm::exp(-z[0]))],
                Task::Classes => {
                    let sum: f64 = z.iter().map(|&z| libm::exp(z)).sum();
                    z.iter().map(|&z| libm::exp(z) / sum).collect()
                }
            };
            assert!(
                p.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-14 * (1.0 + b.abs())),
                "{text}: {p:?} {expected:?}"
            );
            if loss.task().is_classes() {
                let top = (0..columns).max_by(|&a, &b| p[a].total_cmp(&p[b]).then(b.cmp(&a))).unwrap();
                assert_eq!(classes[i] as usize, top);
            }
        }
    }
}

/// The eigenvalues of a symmetric matrix by Jacobi's rotations: slow and plain.
fn eigenvalues(mut a: Vec<Vec<f64>>) -> Vec<f64> {
    let n = a.len();
    for _ in 0..100 {
        for p in 0..n {
            for q in p + 1..n {
                if a[p][q].abs() < 1e-300 {
                    continue;
                }
                let t = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
                let t = t.signum() / (t.abs() + (t * t + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for row in &mut a {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
                let (x, y) = (a[p].clone(), a[q].clone());
                a[p] = x.iter().zip(&y).map(|(x, y)| c * x - s * y).collect();
                a[q] = x.iter().zip(&y).map(|(x, y)| s * x + c * y).collect();
            }
        }
    }
    let mut all: Vec<f64> = (0..n).map(|i| a[i][i]).collect();
    all.sort_by(f64::total_cmp);
    all
}

#[test]
fn extremes_of_a_known_matrix() {
    // Rows (3, 0) and (0, 1), no intercept: the Hessian of the mean is diag(9, 1)/2.
    let shape = Shape { dense: 2, one_hot: 0, outputs: 1, intercept: false };
    let batch = Batch { dense: &[3.0, 0.0, 0.0, 1.0], width: 2, target: &[0.0, 1.0], ..Batch::NONE };
    for (text, factor) in [("squared", 1.0), ("huber", 1.0), ("logistic", 0.25)] {
        let model = Linear::<f64>::new(shape, text.parse().unwrap(), Threads::serial());
        let theta = params(model.layout(), 1);
        let ends = model.extremes(&theta, &batch, Penalty { l1: 5.0, l2: 0.25 }, 3).unwrap();
        assert!((ends.largest - (4.5 * factor + 0.25)).abs() < 1e-14, "{ends:?}");
        assert!((ends.smallest - (0.5 * factor + 0.25)).abs() < 1e-14, "{ends:?}");
        assert!(ends.products == 2 && (ends.condition() - ends.largest / ends.smallest).abs() < 1e-15);
    }
    for text in ["absolute", "quantile(0.5)"] {
        let model = Linear::<f64>::new(shape, text.parse().unwrap(), Threads::serial());
        let error = model.extremes(&params(model.layout(), 1), &batch, Penalty::default(), 3).unwrap_err();
        assert!(error.to_string().contains("kink"), "{error}");
    }
    let model = Linear::<f64>::new(shape, Loss::SQUARED, Threads::serial());
    let theta = params(model.layout(), 1);
    let huge = Batch { dense: &[1e200, 0.0, 0.0, 1.0], ..batch };
    assert!(matches!(
        model.extremes(&theta, &huge, Penalty::default(), 3),
        Err(LinearError::NotFinite { .. })
    ));
}

#[test]
fn extremes_equal_a_dense_eigen_solve() {
    for text in ["squared", "huber(1)", "logistic", "softmax", "poisson"] {
        let loss: Loss = text.parse().unwrap();
        let data = Data::<f64>::new(loss, 200, 4, 1, 23);
        let model = Linear::new(data.shape, loss, Threads::serial());
        let theta = params(model.layout(), 2);
        let expanded = data.expanded();
        let columns = data.shape.inputs() + 1;
        let total: f64 = data.weight.iter().sum();
        let mut a = vec![vec![0.0; columns]; columns];
        let mut z = vec![0.0; 200 * data.shape.outputs];
        model.scores(&theta, &data.batch(), &mut z);
        for (i, z) in z.iter().enumerate().take(200) {
            let mut x = expanded.batch().dense_row(i).to_vec();
            x.push(1.0);
            let curvature = loss.entry().bound.unwrap_or_else(|| libm::exp(*z));
            for (row, p) in a.iter_mut().zip(&x) {
                row.iter_mut().zip(&x).for_each(|(a, q)| *a += data.weight[i] * curvature * p * q / total);
            }
        }
        let l2 = 0.01;
        (0..columns - 1).for_each(|j| a[j][j] += l2);
        let all = eigenvalues(a);
        let ends = model.extremes(&theta, &data.batch(), Penalty { l1: 0.0, l2 }, 1).unwrap();
        assert!((ends.largest / all[columns - 1] - 1.0).abs() < 1e-6, "{text}: {ends:?} {all:?}");
        assert!((ends.smallest / all[0] - 1.0).abs() < 1e-3, "{text}: {ends:?} {all:?}");
    }
}

#[test]
#[should_panic(expected = "a batch of 3 numeric columns for a model of 2")]
fn another_width_is_a_mistake() {
    let model = Linear::<f64>::new(
        Shape { dense: 2, one_hot: 0, outputs: 1, intercept: true },
        Loss::SQUARED,
        Threads::serial(),
    );
    let theta = Params::zeros(model.layout());
    model.loss(&theta, &Batch { dense: &[0.0; 3], width: 3, target: &[0.0], ..Batch::NONE });
}

#[test]
#[should_panic(expected = "cannot have 3 outputs")]
fn outputs_suit_the_loss() {
    let _ = Linear::<f64>::new(
        Shape { dense: 2, one_hot: 0, outputs: 3, intercept: true },
        Loss::LOGISTIC,
        Threads::serial(),
    );
}
