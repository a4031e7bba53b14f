//! Slices of one's own: the same bits as one flat buffer, and what is refused.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use proptest::prelude::*;
use thalweg_core::{Float, Grads, Kind, Layout, Oracle, Params, Penalty, Report, StepError, Threads, Total};
use thalweg_optim::format::{from_bf16, to_bf16};
use thalweg_optim::rules::{ALL, Build, Kind as RuleKind};
use thalweg_optim::state::Stateful;
use thalweg_optim::{Gradient, Horizon, Setup, Stepper, StepperError, TensorMut, View};

use crate::common::{Run, all_settings, both, kinds, layout, numbers, penalty, settings, setup, write};

/// Parameters in allocations of their own, each `offset` numbers into it.
struct Scattered<F: Build> {
    stepper: Stepper<F>,
    theta: Vec<Vec<F>>,
    grad: Vec<Vec<F>>,
}

/// As `common::layout` names and shapes them.
fn stepper<F: Build>(expression: &str, sizes: &[isize], setup: &Setup, penalty: Penalty) -> Stepper<F> {
    let mut builder = Stepper::builder(expression).setup(setup.clone()).penalty(penalty);
    for (i, &size) in sizes.iter().enumerate() {
        let kind = if size < 0 { Kind::Bias } else { Kind::Weight };
        builder = builder.tensor(&format!("t{i}"), &[size.unsigned_abs()], &["out"], kind);
    }
    builder.build().unwrap_or_else(|e| panic!("{e}"))
}

fn scatter<F: Float>(sizes: &[isize], numbers: &[f64], skew: usize) -> Vec<Vec<F>> {
    let mut rest = numbers;
    let cut = |(i, size): (usize, &isize)| {
        let (now, after) = rest.split_at(size.unsigned_abs());
        rest = after;
        // Every start is another one modulo a vector's length.
        std::iter::repeat_n(F::NAN, i * skew).chain(now.iter().map(|&x| F::from_f64(x))).collect()
    };
    sizes.iter().enumerate().map(cut).collect()
}

impl<F: Build> Scattered<F> {
    fn new(expression: &str, sizes: &[isize], setup: &Setup, penalty: Penalty, theta: &[f64]) -> Self {
        let stepper = stepper(expression, sizes, setup, penalty);
        Self { stepper, theta: scatter(sizes, theta, 1), grad: vec![] }
    }

    /// A step in which every second gradient is kept.
    fn step(&mut self, sizes: &[isize], gradient: &[f64], weight: f64) -> Report {
        self.grad = scatter(sizes, gradient, 1);
        let before = self.grad.clone();
        let pairs = self.theta.iter_mut().zip(&mut self.grad).enumerate();
        let tensors = pairs.map(|(i, (theta, grad))| TensorMut {
            theta: View::Own(&mut theta[i..]),
            grad: if i % 2 == 0 { Gradient::Clear(&mut grad[i..]) } else { Gradient::Keep(&grad[i..]) },
        });
        let report = self.stepper.step_tensors(tensors, Total { loss: 0.5, weight }).unwrap();
        for (i, (now, before)) in self.grad.iter().zip(&before).enumerate() {
            let left = now[i..].iter().zip(&before[i..]).all(|(a, b)| a.bits() == b.bits());
            assert!(if i % 2 == 0 { now[i..].iter().all(|&g| g == F::zero()) } else { left });
        }
        report
    }

    fn theta_bits(&self) -> Vec<u64> {
        self.theta.iter().enumerate().flat_map(|(i, t)| t[i..].iter().map(|x| x.bits())).collect()
    }

    fn memory(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        self.stepper.visit_state(&mut |name, memory| all.push((name.to_string(), memory.to_bytes())));
        all.retain(|(name, _)| name != "stepper.steps");
        all
    }
}

/// Both runs side by side, three steps; the whole of both is compared.
fn side_by_side<F: Build>(expression: &str, sizes: &[isize], setup: &Setup, weight: f64) {
    let n: usize = sizes.iter().map(|s| s.unsigned_abs()).sum();
    let mut flat = Run::<F>::new(expression, &layout(sizes), setup, &numbers(1, n));
    flat.penalty = penalty(expression);
    let mut ours = Scattered::<F>::new(expression, sizes, setup, penalty(expression), &numbers(1, n));
    for seed in 2..7 {
        let mut gradient = numbers(seed, n);
        if seed == 4 {
            gradient[n / 2] = f64::NAN;
        }
        let (a, b) = (flat.step_of_sum(&gradient, weight), ours.step(sizes, &gradient, weight));
        assert_eq!(format!("{a:?}"), format!("{b:?}"), "{expression}");
        let theta: Vec<u64> = flat.theta.values().map(Float::bits).collect();
        assert!(ours.theta_bits() == theta, "{expression} in {sizes:?}: θ after gradient {seed}");
    }
    assert!(ours.memory() == flat.memory(), "{expression} in {sizes:?}: memory");
    let theta: Vec<&[F]> = ours.theta.iter().enumerate().map(|(i, t)| &t[i..]).collect();
    let evaluated = ours.stepper.evaluation_weights(&theta).unwrap();
    let evaluated = evaluated.map(|all| all.iter().flat_map(|t| t.iter().map(|x| x.to_f64())).collect());
    assert_eq!(evaluated, flat.evaluated(), "{expression}");
    assert_eq!(ours.stepper.expression(), flat.optimizer.expression());
}

both! {
    fn slices_of_ones_own_give_the_bits_of_a_flat_buffer<F>() {
        let sizes = [33, -7, 1, 0, 64, -16];
        for rule in all_settings() {
            for around in ["RULE", "clip(50) | clip_value(20) | RULE | ema(0.9)"] {
                let text = around.replace("RULE", &rule);
                side_by_side::<F>(&text, &sizes, &setup(), 7.0);
            }
            side_by_side::<F>(&rule, &sizes, &Setup { check: false, ..setup() }, 1.0);
        }
    }

    fn stages_that_keep_or_look_give_the_bits_of_a_flat_buffer<F>() {
        let sizes = [33, -7, 1, 64];
        for text in [
            "accumulate(2) | adam(lr=0.01)",
            "agc | adam(lr=0.01)",
            "centralize | sgd(lr=0.01)",
            "clip_tensor(1) | sgd(lr=0.01)",
            "noise(0.1) | sgd(lr=0.01)",
            "adam(lr=0.01) | lookahead(2) | ema(0.9)",
            "adam(lr=0.01) | swa(start=2, every=1)",
            "skip_nonfinite | adam(lr=0.01)",
            "loss_scale | adam(lr=0.01)",
            "rollback(2) | adam(lr=0.01)",
            "{ weights: adam(lr=0.01); biases: sgd(lr=0.1) }",
            "{ t0: adam(lr=0.01) | lookahead(2); rest: sgd(lr=0.1) }",
            "adam(lr=0.01) until 2 steps then accumulate(2) | sgd(lr=cosine(0.1))",
        ] {
            // Kept gradients are copied for them: penalties but no l1.
            side_by_side::<F>(text, &sizes, &setup(), 7.0);
        }
    }

    /// At all their settings, and wherever tensors start.
    fn rules_that_look_at_more_than_a_coordinate_give_the_bits_of_a_flat_buffer<F>() {
        for entry in ALL.iter().filter(|e| e.kind != RuleKind::Elementwise) {
            for (nth, text) in settings(entry).into_iter().chain([entry.name.into()]).enumerate() {
                shaped::<F>(&text, [1, 3, 5, 8, 13][nth % 5]);
            }
        }
        shaped::<F>("sam(rho=0.1) | adam(lr=0.01)", 7);
    }
}

/// Checks, clipping and the sweep take one norm; where nobody asks for it there is none, and the weights are the same.
#[test]
fn the_norm_is_one_whoever_takes_it() {
    let (start, grad) = (numbers(1, 70_000), numbers(2, 70_000));
    let (start, grad): (Vec<f32>, Vec<f32>) =
        (start.iter().map(|&x| x as f32).collect(), grad.iter().map(|&x| x as f32).collect());
    let wanted = grad.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt() / 4.0;
    for (text, unasked) in [
        ("adam", false),
        ("clip(1) | adam", true),
        ("clip_value(9) | clip(1) | adam", false),
        ("lamb", false),
    ] {
        let mut weights: Vec<Vec<u32>> = Vec::new();
        for (check, norm) in [(true, true), (true, false), (false, true), (false, false)] {
            let setup = Setup { check, norm, ..setup() };
            let mut stepper = stepper::<f32>(text, &[70_000], &setup, Penalty::default());
            let mut theta = start.clone();
            let tensors = [TensorMut::new(&mut theta[..], &grad[..])];
            let report = stepper.step_tensors(tensors, Total { loss: 0.0, weight: 4.0 }).unwrap();
            if check || norm || unasked {
                assert!((report.grad_norm / wanted - 1.0).abs() < 1e-12, "{text}: {report:?}");
            } else {
                assert!(report.grad_norm.is_nan(), "{text}: {report:?}");
            }
            weights.push(theta.iter().map(|x| x.to_bits()).collect());
        }
        assert!(weights.iter().all(|bits| *bits == weights[0]), "{text}");
    }
}

/// ½·Σ dᵢ(xᵢ − 1)², as sums of weight 2.
fn bowl<F: Float>(x: &[F], g: &mut [F], from: usize) -> f64 {
    let mut loss = 0.0;
    for (i, (x, g)) in x.iter().zip(g).enumerate() {
        let (d, off) = (1.0 + ((from + i) % 5) as f64, x.to_f64() - 1.0);
        loss += d * off * off;
        *g = F::from_f64(2.0 * d * off);
    }
    loss
}

struct Bowl;

impl<F: Float> Oracle<F> for Bowl {
    fn loss(&mut self, theta: &Params<F>) -> Total {
        self.gradient(theta, &mut Grads::zeros(theta.layout()))
    }
    fn gradient(&mut self, theta: &Params<F>, grads: &mut Grads<F>) -> Total {
        grads.clear();
        let mut loss = 0.0;
        for (i, t) in theta.layout().tensors().iter().enumerate() {
            loss += bowl(&theta.flat()[t.range()], &mut grads.flat_mut()[t.range()], i);
        }
        grads.total = Total { loss, weight: 2.0 };
        grads.total
    }
}

/// Five steps of an expression over three tensors, the i-th of which starts i·`skew` numbers into its allocation, beside a flat buffer.
fn shaped<F: Build>(text: &str, skew: usize) {
    let shapes: [&[usize]; 3] = [&[6, 5], &[6], &[4, 6]];
    let axes = ["out", "in"];
    let names = ["w", "b", "v"];
    let (mut builder, mut flat_layout) = (Stepper::<F>::builder(text).setup(setup()), Layout::builder());
    for (name, shape) in names.iter().zip(shapes) {
        let kind = if shape.len() == 2 { Kind::Weight } else { Kind::Bias };
        builder = builder.tensor(name, shape, &axes[..shape.len()], kind);
        flat_layout = flat_layout.tensor(name, shape, &axes[..shape.len()], kind);
    }
    let (mut stepper, flat_layout) = (builder.build().unwrap(), Arc::new(flat_layout.build()));
    let n = flat_layout.count();
    let start: Vec<f64> = numbers(1, n).iter().map(|x| x * 1e-2).collect();
    let mut run = Run::<F>::new(text, &flat_layout, &setup(), &start);
    let sizes: Vec<isize> = flat_layout.tensors().iter().map(|t| t.len() as isize).collect();
    let mut theta: Vec<Vec<F>> = scatter(&sizes, &start, skew);
    for t in 1..=5 {
        let mut grads = Grads::zeros(&flat_layout);
        let total = Bowl.gradient(&run.theta, &mut grads);
        let at = thalweg_core::At { step: t, penalty: Penalty::default() };
        let a = run.optimizer.step(at, &mut run.theta, &mut grads, &mut Bowl);
        let mut gradient: Vec<Vec<F>> = scatter(&sizes, &vec![0.0; n], skew);
        for (i, (theta, grad)) in theta.iter().zip(&mut gradient).enumerate() {
            bowl(&theta[i * skew..], &mut grad[i * skew..], i);
        }
        let tensors = theta.iter_mut().zip(&gradient).enumerate();
        let tensors = tensors.map(|(i, (theta, grad))| TensorMut {
            theta: View::Own(&mut theta[i * skew..]),
            grad: Gradient::Keep(&grad[i * skew..]),
        });
        let b = stepper.step_with(tensors.collect::<Vec<_>>(), total, &mut |theta, grad| {
            theta.iter().zip(grad).enumerate().map(|(i, (x, g))| bowl(x, g, i)).sum()
        });
        assert_eq!(format!("{a:?}"), format!("{b:?}"), "{text}");
        let ours: Vec<u64> =
            theta.iter().enumerate().flat_map(|(i, t)| t[i * skew..].iter().map(|x| x.bits())).collect();
        assert_eq!(ours, run.theta.values().map(Float::bits).collect::<Vec<_>>(), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// A sum over all coordinates depends on the cut in its last digits, so nothing here clips by a norm.
    #[test]
    fn random_cuts_change_no_bit(n in 1usize..3000, cuts in proptest::collection::vec(0.0..1.0f64, 0..6), seed: u32) {
        let mut cuts: Vec<usize> = cuts.iter().map(|x| (x * n as f64) as usize).collect();
        cuts.sort_unstable();
        cuts.push(n);
        let mut from = 0;
        let sizes: Vec<isize> = cuts.iter().map(|&to| { let size = to - from; from = to; size as isize }).collect();
        for rule in kinds() {
            let text = format!("clip_value(20) | {rule} | ema(0.9)");
            let go = |sizes: &[isize]| {
                let mut run = Scattered::<f32>::new(&text, sizes, &setup(), penalty(&text), &numbers(u64::from(seed), n));
                (1..4).for_each(|t| {
                    run.step(sizes, &numbers(u64::from(seed) + t, n), 2.0);
                });
                run.theta_bits()
            };
            prop_assert_eq!(go(&sizes), go(&[n as isize]), "{} in {:?}", text, sizes);
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let sizes = [70_001, -65_537, 100_003];
    let n = sizes.iter().map(|s: &isize| s.unsigned_abs()).sum();
    let go = |threads: Threads| {
        let setup = Setup { threads, ..setup() };
        let text = "clip(1) | adamw(lr=0.01) | ema(0.9)";
        let mut run = Scattered::<f32>::new(text, &sizes, &setup, penalty(text), &numbers(1, n));
        let report = run.step(&sizes, &numbers(2, n), 3.0);
        (run.theta_bits(), report)
    };
    let alone = go(Threads::serial());
    for n in [2, 3] {
        assert!(go(Threads::new(n)) == alone, "{n} threads");
    }
}

/// The first step tells the length; the gradient stays.
#[test]
fn a_vector_needs_no_layout() {
    let mut theta = vec![1.0f64, -2.0, 3.0];
    let mut stepper = Stepper::<f64>::new("momentum(lr=0.1)").unwrap();
    assert!(stepper.expression().starts_with("sgd(lr=0.1, momentum=0.9"));
    let mut run = Run::<f64>::new("momentum(lr=0.1)", &layout(&[3]), &setup(), &theta);
    for seed in 1..4 {
        let grad = numbers(seed, 3);
        let report = stepper.step(&mut theta, &grad).unwrap();
        assert_eq!(report, run.step(&grad));
        assert_eq!((theta.clone(), stepper.steps()), (run.values(), seed));
    }
    for n in [0, 2, 4] {
        let error = stepper.step(&mut vec![0.0; n], &vec![0.0; n]).unwrap_err();
        assert_eq!(error, StepError::Length { what: "a tensor", expected: 3, found: n });
    }
    let error = stepper.step(&mut theta, &[0.0; 2]).unwrap_err();
    assert_eq!(error, StepError::Length { what: "the gradient of a tensor", expected: 3, found: 2 });
    assert_eq!((theta, stepper.steps()), (run.values(), 3));
    // No numbers at all are a vector too.
    let mut none = Stepper::<f32>::new("adam").unwrap();
    none.step(&mut [], &[]).unwrap();
}

/// Rules that go by the loss are told it, or say that they are not; where it is told, one that is not finite meets the policy.
#[test]
fn a_rule_that_goes_by_the_loss_is_told_it() {
    let text = "polyak(lr=10, f_min=-1)";
    let mut theta = numbers(1, 9);
    let mut run = Run::<f64>::new(text, &layout(&[9]), &setup(), &theta);
    let mut polyak = Stepper::<f64>::new(text).unwrap();
    let refused = polyak.step(&mut theta, &numbers(2, 9)).unwrap_err();
    assert_eq!(refused, StepError::NoLoss { rule: "polyak" });
    let says = "polyak goes by the loss of the batch beside its gradient, and the loss was not given (it is NaN); \
                a Stepper takes it by step_with_loss, or in the total of step_tensors";
    assert_eq!(refused.to_string(), says);
    let grad = numbers(2, 9);
    let total = Total { loss: f64::NAN, weight: 2.0 };
    assert_eq!(polyak.step_tensors([TensorMut::new(&mut theta[..], &grad[..])], total), Err(refused));
    assert_eq!((theta.clone(), polyak.steps()), (run.values(), 0));
    for t in 0..5 {
        let (grad, loss) = (numbers(3 + t, 9), 0.5 + t as f64);
        write(&layout(&[9]), run.grads.flat_mut(), &grad);
        run.grads.total = Total { loss, weight: 1.0 };
        assert_eq!(polyak.step_with_loss(&mut theta, &grad, loss).unwrap(), run.go());
        assert_eq!(theta, run.values(), "step {t}");
    }
    // Nobody's policy, then one.
    for loss in [f64::NAN, f64::INFINITY] {
        assert_eq!(polyak.step_with_loss(&mut theta, &grad, loss).unwrap().non_finite, Some(0));
        assert_eq!(theta, run.values());
        for policy in ["skip_nonfinite", "rollback", "loss_scale(init=1)"] {
            let mut polyak = Stepper::<f64>::new(&format!("{policy} | {text}")).unwrap();
            assert_eq!(polyak.step(&mut theta, &grad), Err(StepError::NoLoss { rule: "polyak" }), "{policy}");
            let report = polyak.step_with_loss(&mut theta, &grad, loss).unwrap();
            assert!(report.skipped && theta == run.values(), "{policy}");
            polyak.step_with_loss(&mut theta.clone(), &grad, 1.0).unwrap();
            // What looks at gradients alone goes on without a loss.
            let mut adam = Stepper::<f64>::new(&format!("{policy} | adam")).unwrap();
            let mut moved = theta.clone();
            assert!(!adam.step(&mut moved, &grad).unwrap().skipped && moved != theta, "{policy}");
            assert!(adam.step_with_loss(&mut moved, &grad, loss).unwrap().skipped, "{policy}");
        }
    }
    for text in ["lbfgs", "armijo"] {
        let mut stepper = Stepper::<f64>::new(text).unwrap();
        assert_eq!(stepper.step(&mut theta, &grad), Err(StepError::NoLoss { rule: text }));
        let told = stepper.step_with_loss(&mut theta, &grad, 1.0).unwrap_err();
        assert!(told.to_string().starts_with(&format!("{text} needs")), "{told}");
    }
    // Each phase asks for itself.
    let mut late = Stepper::<f64>::new("adam until 2 steps then polyak").unwrap();
    assert!(late.step(&mut theta, &grad).is_ok() && late.step(&mut theta, &grad).is_ok());
    assert_eq!(late.step(&mut theta, &grad), Err(StepError::NoLoss { rule: "polyak" }));
    late.step_with_loss(&mut theta, &grad, 1.0).unwrap();
}

/// In bf16 with a master copy: the copy moves as numbers in full precision do, and θ is its nearest bf16.
#[test]
fn a_master_copy_moves_in_full_precision() {
    let n = 5000;
    for rule in kinds() {
        let mut theta: Vec<u16> = numbers(1, n).iter().map(|&x| to_bf16(x as f32)).collect();
        let start: Vec<f64> = theta.iter().map(|&b| f64::from(from_bf16(b))).collect();
        let text = format!("clip(50) | {rule} | ema(0.9)");
        let mut run = Run::<f32>::new(&text, &layout(&[n as isize]), &setup(), &start);
        let mut stepper = Stepper::<f32>::builder(&text)
            .setup(setup())
            .tensor_with_master("t0", &[n], &["out"], Kind::Weight)
            .build()
            .unwrap();
        for seed in 2..5 {
            // bf16 gradients as well: they are the numbers that they stand for.
            let bits: Vec<u16> = numbers(seed, n).iter().map(|&x| to_bf16(x as f32)).collect();
            let gradient: Vec<f64> = bits.iter().map(|&b| f64::from(from_bf16(b))).collect();
            let report = run.step_of_sum(&gradient, 2.0);
            let tensor = TensorMut::new(&mut theta[..], &bits[..]);
            assert_eq!(stepper.step_tensors([tensor], Total { loss: 0.5, weight: 2.0 }).unwrap(), report);
        }
        let mut master = vec![];
        stepper.visit_state(&mut |name, memory| {
            if name == "t0/master" {
                master =
                    memory.to_bytes().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            }
        });
        assert_eq!(master, run.theta.values().collect::<Vec<f32>>(), "{rule}");
        assert_eq!(theta, master.iter().map(|&x| to_bf16(x)).collect::<Vec<_>>(), "{rule}");
    }
}

/// A roll back takes the copy in full precision with it; without one, bf16 goes back to its own bits.
#[test]
fn a_roll_back_returns_master_copies_too() {
    let n = 500;
    let start: Vec<u16> = numbers(1, n).iter().map(|&x| to_bf16(x as f32)).collect();
    let wide = |bits: &[u16]| bits.iter().map(|&b| f64::from(from_bf16(b))).collect::<Vec<f64>>();
    for text in ["rollback(2) | adam(lr=0.1)", "rollback(3) | sgd(lr=1e-3, momentum=0.9) | ema(0.9)"] {
        let build = |master: bool| {
            let builder = Stepper::<f32>::builder(text).setup(setup());
            let (shape, axes) = ([n], ["out"]);
            match master {
                true => builder.tensor_with_master("t0", &shape, &axes, Kind::Weight),
                false => builder.tensor("t0", &shape, &axes, Kind::Weight),
            }
            .build()
            .unwrap()
        };
        let mut run = Run::<f32>::new(text, &layout(&[n as isize]), &setup(), &wide(&start));
        let (mut whole, mut half, mut alone) = (build(true), build(true), build(false));
        let mut theta: Vec<f32> = start.iter().map(|&b| from_bf16(b)).collect();
        let (mut bits, mut own) = (start.clone(), vec![start.clone()]);
        let mut copies = vec![];
        for t in 1..=10 {
            let mut gradient: Vec<f32> = numbers(t, n).iter().map(|&x| x as f32).collect();
            if t == 6 || t == 7 {
                gradient[17] = f32::NAN;
            }
            copies.push(run.values());
            let report = run.step(&gradient.iter().map(|&g| f64::from(g)).collect::<Vec<_>>());
            assert_eq!(report.skipped, t == 6 || t == 7);
            let total = Total { loss: 0.5, weight: 1.0 };
            let go = |stepper: &mut Stepper<f32>, theta: View<'_, f32>| {
                let tensor = TensorMut { theta, grad: Gradient::Keep(&gradient) };
                format!("{:?}", stepper.step_tensors([tensor], total).unwrap())
            };
            let report = format!("{report:?}");
            assert_eq!(go(&mut whole, View::Own(&mut theta)), report);
            assert_eq!(go(&mut half, View::Bf16(&mut bits)), report);
            let mut next = own.last().unwrap().clone();
            go(&mut alone, View::Bf16(&mut next));
            own.push(next);
            let wanted: Vec<f32> = run.theta.values().collect();
            assert_eq!(theta, wanted, "{text}, step {t}");
            assert_eq!(bits, wanted.iter().map(|&x| to_bf16(x)).collect::<Vec<_>>(), "{text}, step {t}");
            for stepper in [&mut whole, &mut half] {
                let mut master = vec![];
                stepper.visit_state(&mut |name, memory| {
                    if name == "t0/master" {
                        master = memory.to_bytes();
                    }
                });
                assert_eq!(master, wanted.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>(), "{text}");
            }
        }
        // Back after the sixth gradient to before the fifth (every second step is kept) or the fourth.
        let kept = if text.contains("(2)") { 4 } else { 3 };
        assert_eq!(own[6], own[kept], "{text}");
        assert_ne!(own[6], own[5], "{text}");
        assert_ne!(own[8], own[7], "{text}: it goes on");
        assert_ne!(copies[kept], copies[5]);
    }
}

/// Without one each new number is one of its two neighbours in bf16, with the odds that make its expected value exact.
#[test]
fn bf16_parameters_are_rounded_to_a_neighbour() {
    let n = 5000;
    for (rule, check) in kinds().into_iter().flat_map(|r| [(r.clone(), true), (r, false)]) {
        let setup = Setup { check, ..setup() };
        let mut theta: Vec<u16> = numbers(1, n).iter().map(|&x| to_bf16(x as f32)).collect();
        let start: Vec<f64> = theta.iter().map(|&b| f64::from(from_bf16(b))).collect();
        let bits: Vec<u16> = numbers(2, n).iter().map(|&x| to_bf16(x as f32)).collect();
        let gradient: Vec<f64> = bits.iter().map(|&b| f64::from(from_bf16(b))).collect();
        let mut run = Run::<f32>::new(&rule, &layout(&[n as isize]), &setup, &start);
        run.step(&gradient);
        let mut stepper = stepper::<f32>(&rule, &[n as isize], &setup, Penalty::default());
        let tensor = TensorMut::new(&mut theta[..], &bits[..]);
        stepper.step_tensors([tensor], Total { loss: 0.5, weight: 1.0 }).unwrap();
        let (mut up, mut expected, mut variance) = (0.0, 0.0, 0.0);
        for (&now, exact) in theta.iter().zip(run.values()) {
            let exact = exact as f32;
            let (now, low) = (from_bf16(now), f32::from_bits(exact.to_bits() & 0xFFFF_0000));
            let high = f32::from_bits((exact.to_bits() & 0xFFFF_0000).wrapping_add(0x1_0000));
            assert!(now == low || now == high, "{rule}: {exact} became {now}");
            let odds = f64::from(exact - low) / f64::from(high - low);
            up += f64::from(u8::from(now == high));
            (expected, variance) = (expected + odds, variance + odds * (1.0 - odds));
        }
        // Five standard deviations of a sum of so many throws.
        let off: f64 = up - expected;
        assert!(
            off.abs() <= 5.0 * variance.sqrt(),
            "{rule}: {up} of {n} went up, not {expected} ± {}",
            variance.sqrt()
        );
    }
}

#[test]
fn compressed_parameters_are_refused_where_a_stage_looks_at_weights() {
    for text in ["adam | lookahead(2)", "accumulate(2) | sgd", "agc | sgd", "lamb"] {
        let mut stepper = Stepper::<f32>::new(text).unwrap();
        let (mut theta, grad) = ([0u16; 3], [1.0f32; 3]);
        let tensor = TensorMut::new(&mut theta[..], &grad[..]);
        let error = stepper.step_tensors([tensor], Total { loss: 0.5, weight: 1.0 }).unwrap_err();
        assert!(
            error.to_string().starts_with("this optimizer works on parameters in full precision only"),
            "{error}"
        );
        assert_eq!((theta, stepper.steps()), ([0; 3], 0));
    }
    // A later phase may be of that kind.
    let mut stepper = Stepper::<f32>::new("adam until 1 steps then adam | lookahead(2)").unwrap();
    let (mut theta, grad) = ([0u16; 3], [1.0f32; 3]);
    let mut go = || {
        let tensor = TensorMut::new(&mut theta[..], &grad[..]);
        stepper.step_tensors([tensor], Total { loss: 0.5, weight: 1.0 })
    };
    assert!(go().is_ok() && go().is_err());
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let mut stepper = stepper::<f32>("adam(lr=0.1)", &[3, -2], &setup(), Penalty::default());
    let mut try_lengths = |lengths: &[(usize, usize)], weight: f64| {
        let mut theta: Vec<Vec<f32>> = lengths.iter().map(|l| vec![1.0; l.0]).collect();
        let grad: Vec<Vec<f32>> = lengths.iter().map(|l| vec![1.0; l.1]).collect();
        let tensors = theta.iter_mut().zip(&grad).map(|(t, g)| TensorMut::new(&mut t[..], &g[..]));
        let result = stepper.step_tensors(tensors.collect::<Vec<_>>(), Total { loss: 0.5, weight });
        assert!(result.is_ok() || theta.iter().flatten().all(|&x| x == 1.0));
        result
    };
    assert_eq!(try_lengths(&[], 1.0), Err(StepError::Tensors { expected: 2, found: 0 }));
    assert_eq!(try_lengths(&[(3, 3)], 1.0), Err(StepError::Tensors { expected: 2, found: 1 }));
    assert_eq!(try_lengths(&[(3, 3); 3], 1.0), Err(StepError::Tensors { expected: 2, found: 3 }));
    let length = |what, expected, found| Err(StepError::Length { what, expected, found });
    assert_eq!(try_lengths(&[(2, 2), (3, 3)], 1.0), length("a tensor", 3, 2));
    assert_eq!(try_lengths(&[(3, 3), (2, 1)], 1.0), length("the gradient of a tensor", 2, 1));
    for weight in [0.0, -1.0, f64::NAN] {
        assert_eq!(try_lengths(&[(3, 3), (2, 2)], weight), Err(StepError::NoWeight));
    }
    assert_eq!(try_lengths(&[(3, 3), (2, 2)], 1.0).unwrap().non_finite, None);
    assert_eq!(stepper.steps(), 1);
    let (theta, short) = ([0.0f32; 3], [0.0f32; 1]);
    assert_eq!(
        stepper.evaluation_weights(&[&theta]).unwrap_err(),
        StepError::Tensors { expected: 2, found: 1 }
    );
    let error = stepper.evaluation_weights(&[&theta, &short]).unwrap_err();
    assert_eq!(error, StepError::Length { what: "a tensor", expected: 2, found: 1 });
    let error = stepper.flush([]).unwrap_err();
    assert_eq!(error, StepError::Tensors { expected: 2, found: 0 });
}

#[test]
fn mistakes_are_named_when_it_is_built() {
    let message = |e: StepperError| e.to_string();
    assert!(message(Stepper::<f32>::new("adma").unwrap_err()).contains("did you mean \"adam\"?"));
    assert!(
        message(Stepper::<f32>::new("{ biases: sgd; rest: adam }").unwrap_err()).contains("holds no tensor")
    );
    for text in ["adam(lr=cosine(0.1))", "adam until 60% then sgd", "adam | swa", "sgd(lr=step(0.1))"] {
        assert!(
            message(Stepper::<f32>::new(text).unwrap_err()).contains("depends on the length of the run"),
            "{text}"
        );
        let horizon = Horizon { steps: 100, per_epoch: 10 };
        Stepper::<f32>::builder(text).horizon(horizon).build().unwrap();
    }
    for text in ["adam until 5 steps then sgd", "adam(lr=cosine(0.1, over=9 steps))"] {
        Stepper::<f32>::new(text).unwrap();
    }
    let two = Stepper::<f32>::builder("adam").tensor("a", &[1], &["out"], Kind::Weight);
    assert_eq!(
        message(two.tensor("a", &[2], &["out"], Kind::Weight).build().unwrap_err()),
        "two tensors are named \"a\""
    );
    for (shape, axes) in [(&[1, 2][..], &["out"][..]), (&[usize::MAX, 3], &["out", "in"])] {
        let error =
            Stepper::<f32>::builder("adam").tensor("a", shape, axes, Kind::Weight).build().unwrap_err();
        assert!(matches!(error, StepperError::Shape { .. }), "{error}");
    }
}

#[test]
fn callbacks_see_each_report_and_flush_takes_what_waits() {
    static STEPS: AtomicU64 = AtomicU64::new(0);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let also = Arc::clone(&seen);
    let mut stepper = Stepper::<f64>::builder("accumulate(3) | sgd(lr=1)")
        .on_step(move |r| also.lock().unwrap_or_else(PoisonError::into_inner).push(*r))
        .build()
        .unwrap();
    stepper.on_step(|_| {
        STEPS.fetch_add(1, Ordering::Relaxed);
    });
    let mut theta = [0.0];
    assert_eq!(stepper.flush([TensorMut::new(&mut theta[..], &[0.0][..])]).unwrap(), None);
    for _ in 0..2 {
        assert!(stepper.step(&mut theta, &[1.0]).unwrap().waiting);
    }
    let mut grad = [0.0];
    let report = stepper.flush([TensorMut::new(&mut theta[..], &mut grad[..])]).unwrap().unwrap();
    assert_eq!((theta, report.waiting, stepper.steps()), ([-1.0], false, 2));
    let seen = seen.lock().unwrap();
    assert_eq!((seen.len(), seen[2], STEPS.load(Ordering::Relaxed)), (3, report, 3));
}

/// One state for all that can be stepped.
#[test]
fn a_stepper_has_a_state() {
    fn names(optimizer: &mut impl Stateful) -> Vec<String> {
        let mut all = vec![];
        optimizer.visit_state(&mut |name, _| all.push(name.to_string()));
        all
    }
    assert!(names(&mut Stepper::<f32>::new("adam").unwrap()).is_empty());
    let mut stepper = Stepper::<f32>::with_len("adam", 4).unwrap();
    assert_eq!(names(&mut stepper), ["phase", "step", "theta/m", "theta/v", "stepper.steps"]);
}
