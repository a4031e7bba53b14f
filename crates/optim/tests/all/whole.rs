//! Rules that need the whole vector, other weights, or extra evaluations.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use serde::Deserialize;
use std::collections::BTreeMap;
use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{
    Grads, Kind, Layout, Needs, NoOracle, Oracle, Params, Penalty, Report, StepError, Threads, Total,
};
use thalweg_optim::rules::{self, ALL, Build};
use thalweg_optim::{Plan, Setup, state};

use crate::common::{
    MOVED, Run, apart, both, layout, moved, numbers, on_every_set, rounding, settings, setup, write,
};
use crate::recorded::Quadratic;

/// The rules of this file.
const OURS: [&str; 15] = [
    "schedulefree_sgd",
    "schedulefree_adamw",
    "schedulefree_radam",
    "prodigy",
    "dadapt_sgd",
    "dadapt_adam",
    "dadapt_adagrad",
    "dog",
    "dowg",
    "polyak",
    "lbfgs",
    "armijo",
    "svrg",
    "saga",
    "sophia",
];

/// What rules ask for that go by the loss, and by nothing else than it and the gradient.
const LOSS: Needs =
    Needs { loss: true, reevaluation: false, full_batch: false, rows: false, curvature: false };

/// Each of them at several settings, and SAM before others.
fn all() -> Vec<String> {
    let entries = ALL.iter().filter(|e| OURS.contains(&e.name));
    let mut all: Vec<String> = entries.flat_map(|e| settings(e)).collect();
    all.extend(
        ["sam | adam(lr=0.01)", "sam(rho=2, adaptive=true) | sgd(lr=0.01, momentum=0.9) | ema(0.9)"]
            .map(String::from),
    );
    all
}

/// One setting of each.
fn each() -> Vec<String> {
    let mut each: Vec<String> = OURS.iter().map(|name| format!("{name}(lr=0.01)")).collect();
    each.push("sam(rho=2, adaptive=true) | sgd(lr=0.01)".into());
    each
}

#[test]
fn the_registry_knows_what_they_need() {
    assert!(OURS.iter().all(|name| ALL.iter().any(|e| e.name == *name)));
    let needs = |text: &str| Plan::parse(text).unwrap().needs();
    assert!(needs("lbfgs").full_batch && needs("lbfgs").reevaluation && !needs("lbfgs").rows);
    assert!(needs("armijo").full_batch && needs("svrg").rows && needs("saga").rows);
    assert!(needs("sophia").curvature && needs("sam | adam").reevaluation);
    assert_eq!(needs("polyak | ema"), LOSS);
    assert!(needs("lbfgs").loss && needs("armijo").loss && !needs("sam | svrg").loss);
    assert_eq!(needs("adam | ema"), Needs::default());
    assert!(needs("adam until 1 then lbfgs").full_batch);
    let finds = |text: &str| Plan::parse(text).unwrap().finds_rate();
    assert!(finds("prodigy") && finds("lbfgs") && !finds("svrg") && !finds("adam"));
}

both! {
    fn threads_change_no_bit<F>() {
        // Three tasks and a bit, in two tensors.
        let n = 200_000usize;
        for rule in each() {
            let go = |threads: usize| {
                let setup = Setup { threads: Threads::new(threads), ..setup() };
                let mut run = Run::<F>::new(&rule, &layout(&[n as isize - 7, -7]), &setup, &numbers(1, n));
                run.penalty = Penalty { l1: 0.0, l2: 0.1 };
                let reports: Vec<Report> = (2..5).map(|seed| run.step(&numbers(seed, n))).collect();
                (run.bits(), run.memory(), run.evaluated(), format!("{reports:?}"))
            };
            let one = go(1);
            assert!(go(2) == one && go(3) == one, "{rule}");
        }
    }

    /// None of them multiplies matrices: all is sums in fixed lanes.
    fn instruction_sets_change_no_bit<F>() {
        let n = 3000;
        for rule in all() {
            let all = on_every_set(|| {
                let mut run = Run::<F>::new(&rule, &layout(&[n as isize - 1007, -1007]), &setup(), &numbers(1, n));
                run.penalty = Penalty { l1: 0.0, l2: 0.1 };
                let reports: Vec<Report> = (2..5).map(|seed| run.step(&numbers(seed, n))).collect();
                (run.bits(), run.memory(), run.evaluated(), format!("{reports:?}"))
            });
            for (set, found) in &all {
                assert!(*found == all[0].1, "{rule} on {set}");
            }
        }
    }

    /// No gradient at all, gradients whose squares underflow, and the smallest that there are, whose inverse overflows: finite numbers, and an
    /// ordinary step afterwards. All but the last are taken, the last may be left out and said so. D-Adapted SGD divides by a first gradient
    /// that it measures without the decay: where there is one its steps have no bound, and what overflows is left out and said so.
    fn zero_and_tiny_gradients_are_taken<F>() {
        let n = 31;
        let scales = if F::BYTES == 4 { [0.0, 1e-25, 1e-44] } else { [0.0, 1e-170, 5e-324] };
        for rule in all() {
            let unbounded = rule.starts_with("dadapt_sgd") && !rule.contains("weight_decay=0,");
            for (nth, scale) in scales.into_iter().enumerate() {
                let mut run = Run::<F>::new(&rule, &layout(&[20, -11]), &setup(), &numbers(1, n));
                for seed in 2..5 {
                    let signs: Vec<f64> = numbers(seed, n).iter().map(|g| if *g < 0.0 { -scale } else { scale }).collect();
                    assert!(run.step(&signs).non_finite.is_none() || nth == 2 || unbounded, "{rule}: {scale:e}");
                    assert!(run.values().iter().all(|x| x.is_finite()), "{rule}: {scale:e}");
                    for slot in run.names() {
                        assert!(run.slot(&slot).iter().all(|x| x.is_finite()), "{rule}: {slot}, {scale:e}");
                    }
                }
                let after = run.step(&numbers(9, n)).non_finite;
                assert!(after.is_none() || unbounded, "{rule}: after {scale:e}");
                assert!(run.values().iter().all(|x| x.is_finite()), "{rule}: after {scale:e}");
            }
        }
    }

    fn a_rate_of_0_moves_nothing<F>() {
        for rule in all() {
            let mut run = Run::<F>::new(&rule.replace("lr=0.01", "lr=0"), &layout(&[20, -11]), &setup(), &numbers(1, 31));
            run.penalty = Penalty { l1: 0.0, l2: 0.1 };
            let before = run.values();
            for seed in 2..6 {
                let report = run.step(&numbers(seed, 31));
                assert_eq!((report.lr, report.non_finite), (0.0, None), "{rule}");
                assert_eq!(run.values(), before, "{rule}");
            }
            assert!(run.evaluated().is_none_or(|x| x == before), "{rule}");
        }
    }

    fn save_load_continue_is_never_stopped<F>() {
        let n = 41;
        for rule in all() {
            let text = rule.replace("lr=0.01", "lr=cosine(0.01, warmup=3 steps, over=9 steps)");
            for stop in [0, 1, 4] {
                let mut run = Run::<F>::new(&text, &layout(&[30, -11]), &setup(), &numbers(1, n));
                let mut saved = None;
                for t in 0..8 {
                    if t == stop {
                        saved = Some((run.theta.clone(), run.memory(), run.optimizer.expression()));
                    }
                    run.step(&numbers(2 + t, n));
                }
                let (theta, memory, expression) = saved.unwrap();
                let mut other = Run::<F>::new(&expression, run.theta.layout(), &setup(), &numbers(99, n));
                other.theta = theta;
                other.t = stop;
                other.restore(&memory);
                for t in stop..8 {
                    other.step(&numbers(2 + t, n));
                }
                assert_eq!(other.bits(), run.bits(), "{text} stopped after {stop}");
                assert_eq!(other.memory(), run.memory(), "{text} stopped after {stop}");
                assert_eq!(other.evaluated(), run.evaluated(), "{text} stopped after {stop}");
            }
        }
    }

    /// A gradient that is not finite writes nothing, with and without the look at it beforehand; it is consumed and told.
    fn what_is_not_finite_is_told_and_not_written<F>() {
        let n = 31;
        for rule in all() {
            for check in [true, false] {
                let mut run = Run::<F>::new(&rule, &layout(&[20, -11]), &Setup { check, ..setup() }, &numbers(1, n));
                (2..4).for_each(|seed| { run.step(&numbers(seed, n)); });
                let before = run.bits();
                let mut gradient = numbers(5, n);
                gradient[23] = f64::NAN;
                let report = run.step(&gradient);
                if check {
                    let place = run.theta.layout().tensors()[1].offset + 3;
                    assert_eq!(report.non_finite, Some(place), "{rule}");
                    assert_eq!(run.bits(), before, "{rule}");
                } else {
                    assert!(report.non_finite.is_some() || rule.contains("svrg") || rule.contains("saga"), "{rule}");
                }
                assert!(run.grads.flat().iter().all(|&g| g == F::zero()), "{rule}");
                assert!(run.values().iter().all(|x| x.is_finite()), "{rule}");
                for slot in run.names() {
                    assert!(run.slot(&slot).iter().all(|x| x.is_finite()), "{rule}: {slot}");
                }
                // It goes on from there.
                let report = run.step(&numbers(6, n));
                assert_eq!(report.non_finite, None, "{rule}");
            }
        }
    }

    /// Numbers whose squares overflow leave finite weights and memory.
    fn huge_gradients_leave_finite_numbers<F>() {
        let huge = if F::BYTES == 4 { 1e30 } else { 1e300 };
        for rule in all() {
            let mut run = Run::<F>::new(&rule, &layout(&[20, -11]), &setup(), &numbers(1, 31));
            for seed in 2..6 {
                let mut gradient = numbers(seed, 31);
                (gradient[3], gradient[25]) = (huge, -huge);
                run.step(&gradient);
                assert!(run.values().iter().all(|x| x.is_finite()), "{rule}");
                for slot in run.names() {
                    assert!(run.slot(&slot).iter().all(|x| x.is_finite()), "{rule}: {slot}");
                }
            }
        }
    }
}

/// Two tensors of this kind.
fn two(kind: Kind, sizes: [usize; 2]) -> Arc<Layout> {
    let layout = Layout::builder().tensor("a", &[sizes[0]], &["out"], kind);
    Arc::new(layout.tensor("b", &[sizes[1]], &["out"], kind).build())
}

/// Penalties reach tables that are looked up as they reach weights, wherever a rule takes them: bit for bit.
#[test]
fn tables_are_penalised_as_weights_are() {
    let _guard = crate::common::one_set();
    let mut felt = 0;
    let others = ALL.iter().filter(|e| e.rest.is_none()).map(|e| format!("{}(lr=0.01)", e.name));
    for rule in all().into_iter().chain(others) {
        let go = |kind, l2| {
            let mut run = Run::<f64>::new(&rule, &two(kind, [20, 11]), &setup(), &numbers(1, 31));
            run.penalty = Penalty { l1: 0.0, l2 };
            (2..6).for_each(|seed| {
                run.step(&numbers(seed, 31));
            });
            (run.bits(), run.values() != numbers(1, 31))
        };
        let (weights, moved) = go(Kind::Weight, 0.1);
        assert!(weights == go(Kind::Embedding, 0.1).0, "{rule}");
        // Some line searches find no lower point for a gradient that is not the function's.
        assert!(weights != go(Kind::Bias, 0.1).0 || !moved, "{rule}: l2 is not felt at all");
        felt += usize::from(moved);
    }
    assert!(felt > 200, "{felt} have moved");
}

/// The penalty is the same function as one that has it inside: on tables too, at every point that a search looks at.
#[test]
fn a_penalty_outside_is_the_penalty_inside() {
    let file = file();
    for (rule, name) in [("lbfgs", "condition_100"), ("armijo", "condition_10"), ("polyak", "condition_10")] {
        let (l2, f) = (0.3, file.function(name));
        let start = file.cases.iter().find(|c| c.objective == name).unwrap().theta0.clone();
        let within: Function = {
            let f = Rc::clone(&f);
            Rc::new(move |x| {
                let (value, g) = f(x);
                let squares: f64 = x.iter().map(|x| x * x).sum();
                (value + l2 / 2.0 * squares, g.iter().zip(x).map(|(g, x)| g + l2 * x).collect())
            })
        };
        let tables = two(Kind::Embedding, [start.len() - 1, 1]);
        let (mut inside, mut outside) =
            (On::over(rule, within, &tables, &start), On::over(rule, f, &tables, &start));
        outside.run.penalty = Penalty { l1: 0.0, l2 };
        for t in 0..20 {
            let (a, b) = (inside.step(), outside.step());
            // Two orders of the same sums: some hundred roundings of numbers below 10, which the searches of 20 steps pass on.
            assert!((a.lr - b.lr).abs() <= 1e-9 * (a.lr + 1.0), "{rule}, step {t}: {} and {}", a.lr, b.lr);
            for (a, b) in inside.run.values().iter().zip(outside.run.values()) {
                assert!((a - b).abs() <= 1e-10 * (1.0 + a.abs()), "{rule}, step {t}: {a} is not {b}");
            }
        }
        assert!(inside.run.values().iter().zip(&start).any(|(a, b)| (a - b).abs() > 0.1), "{rule} has moved");
    }
}

/// Coordinates in another order end in that order. Schedule-free rules do so to the bit; the others go by sums over all coordinates, whose
/// order is another then.
#[test]
fn permuting_elements_permutes_the_result() {
    let n = 31;
    let mut order: Vec<usize> = (0..n).collect();
    Stream::new(1, Purpose::Shuffle, 0).shuffle(&mut order);
    let permuted = |x: &[f64]| -> Vec<f64> { order.iter().map(|&i| x[i]).collect() };
    // Smooth, convex, each coordinate with curvatures of its own.
    let function = |weights: Vec<f64>| -> Function {
        Rc::new(move |x: &[f64]| {
            let off = |(x, w): (&f64, &f64)| x - 3.0 * w + 1.0;
            let f = x
                .iter()
                .zip(&weights)
                .map(|p| p.1 * off(p) * off(p) / 2.0 + libm::pow(off(p), 4.0) / 40.0)
                .sum();
            (f, x.iter().zip(&weights).map(|p| p.1 * off(p) + libm::pow(off(p), 3.0) / 10.0).collect())
        })
    };
    let weights: Vec<f64> = (0..n).map(|i| 0.2 + i as f64 / 20.0).collect();
    let mut stream = Stream::new(2, Purpose::Data, 0);
    let draw = |s: &mut Stream| (0..n).map(|_| s.normal()).collect::<Vec<f64>>();
    let start = draw(&mut stream);
    let gradients: Vec<Vec<f64>> = (0..8).map(|_| draw(&mut stream)).collect();
    // Of each rule, how many steps there were, and how many were told apart from other rules' steps.
    let mut told = BTreeMap::<String, (usize, usize)>::new();
    for rule in all() {
        let looks = Plan::parse(&rule).unwrap().needs();
        let own = looks.reevaluation && !looks.rows;
        let go = |permute: bool, seed: Option<u64>| -> Vec<Vec<f64>> {
            let by = |x: &[f64]| if permute { permuted(x) } else { x.to_vec() };
            let f = function(by(&weights));
            let f = seed.map_or(Rc::clone(&f), |seed| shaken(&f, seed));
            let mut on = On::over(&rule, f, &two(Kind::Weight, [n, 0]), &by(&start));
            let mut chance = seed.map(|seed| Stream::new(seed, Purpose::Data, 8));
            if !own {
                on.run.oracle = Box::new(crate::common::Bowl);
            }
            on.run.penalty = Penalty { l1: 0.0, l2: 0.1 };
            let step = |g: &Vec<f64>| {
                if own {
                    on.step();
                } else {
                    let shake = |g: f64| g * chance.as_mut().map_or(1.0, moved);
                    on.run.step(&by(g).into_iter().map(shake).collect::<Vec<_>>());
                }
                on.run.values()
            };
            gradients.iter().map(step).collect()
        };
        let (path, other) = (go(false, None), go(true, None));
        let others: Vec<_> = (1..=4).map(|seed| go(false, Some(seed))).collect();
        let bounds = rounding(&path, &others, &start, (64.0, 8.0));
        for (t, (a, b)) in path.iter().zip(&other).enumerate() {
            let (off, far) = (apart(&permuted(a), b), apart(a, &start));
            if rule.starts_with("schedulefree") {
                assert_eq!(off, 0.0, "{rule}, step {t}");
            }
            // A rate that is not found yet moves by next to nothing.
            let name = rule.split('(').next().unwrap_or("").to_string();
            let (steps, apart) = told.entry(name).or_default();
            (*steps, *apart) = (*steps + 1, *apart + usize::from(bounds[t] < 1e-6 * far));
            assert!(off <= bounds[t], "{rule}, step {t}: {off:e} > {:e}", bounds[t]);
        }
    }
    assert!(told.values().all(|&(steps, told)| 3 * told > steps), "{told:?}");
}

/// A loss that is not finite moves nothing where the loss counts.
#[test]
fn a_loss_that_is_not_finite_moves_nothing() {
    for rule in ["polyak", "lbfgs", "armijo"] {
        for loss in [f64::NAN, f64::INFINITY] {
            let mut run = Run::<f64>::new(rule, &layout(&[5, -2]), &setup(), &numbers(1, 7));
            let before = run.values();
            write(&layout(&[5, -2]), run.grads.flat_mut(), &numbers(2, 7));
            run.grads.total = Total { loss, weight: 1.0 };
            let report = run.go();
            assert_eq!(report.non_finite, Some(0), "{rule}");
            assert_eq!(run.values(), before, "{rule}");
        }
    }
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let step = |text: &str, penalty: Penalty, oracle: bool| {
        let mut run = Run::<f64>::new(text, &layout(&[5, -2]), &setup(), &numbers(1, 7));
        run.penalty = penalty;
        if !oracle {
            run.oracle = Box::new(NoOracle);
        }
        let before = run.values();
        write(&layout(&[5, -2]), run.grads.flat_mut(), &numbers(2, 7));
        run.grads.total = Total { loss: 1.0, weight: 1.0 };
        let result = run.try_go();
        if result.is_err() {
            assert_eq!(run.values(), before, "{text}");
        }
        result
    };
    for rule in OURS {
        let penalised = step(rule, Penalty { l1: 0.1, l2: 0.0 }, true);
        match Plan::parse(rule).unwrap().is_proximal() {
            true => drop(penalised.unwrap()),
            false => assert_eq!(penalised.unwrap_err(), StepError::NoProximal { rule }, "{rule}"),
        }
        let needs = Plan::parse(rule).unwrap().needs();
        let answered = step(rule, Penalty::default(), false);
        match needs.and(LOSS) == LOSS {
            true => drop(answered.unwrap()),
            false => {
                assert!(answered.unwrap_err().to_string().starts_with(&format!("{rule} needs ")), "{rule}")
            }
        }
    }
    for (text, says) in [
        ("clip(1) | lbfgs", "a stage before the rule changes the gradient"),
        ("sam | svrg", "a stage before the rule changes the gradient"),
        ("loss_scale | saga", "a stage before the rule changes the gradient"),
        ("accumulate(2) | lbfgs", "accumulate takes no rule that looks at its batch again"),
        ("accumulate(2) | sam | sgd", "accumulate takes no rule that looks at its batch again"),
    ] {
        let error = step(text, Penalty::default(), true).unwrap_err().to_string();
        assert!(error.starts_with(says), "{text}: {error}");
    }
    let error = step("sam | sgd", Penalty::default(), false).unwrap_err().to_string();
    assert_eq!(error, "sam needs gradients at other points, which is not available here");
    for text in ["{ weights: lbfgs; rest: sgd }", "{ weights: sam | sgd; rest: sgd }"] {
        let error = Plan::parse(text).unwrap().build::<f64>(&layout(&[5, -2]), &setup()).err().unwrap();
        assert!(error.to_string().contains("works on all parameters together"), "{error}");
    }
    // Groups of schedule-free rules are fine.
    step("{ weights: schedulefree_adamw; rest: sgd }", Penalty::default(), true).unwrap();
}

/// A function of the flat numbers.
type Function = Rc<dyn Fn(&[f64]) -> (f64, Vec<f64>)>;

/// Answers from a function, and counts.
struct Asked {
    f: Function,
    calls: Rc<Cell<usize>>,
    points: Rc<RefCell<Vec<Vec<f64>>>>,
}

impl Oracle<f64> for Asked {
    fn loss(&mut self, theta: &Params<f64>) -> Total {
        self.calls.set(self.calls.get() + 1);
        Total { loss: (self.f)(&theta.values().collect::<Vec<_>>()).0, weight: 1.0 }
    }
    fn gradient(&mut self, theta: &Params<f64>, grads: &mut Grads<f64>) -> Total {
        self.calls.set(self.calls.get() + 1);
        let x: Vec<f64> = theta.values().collect();
        let (loss, gradient) = (self.f)(&x);
        self.points.borrow_mut().push(x);
        grads.clear();
        write(theta.layout(), grads.flat_mut(), &gradient);
        Total { loss, weight: 1.0 }
    }
}

/// A run on a function, in two tensors.
struct On {
    run: Run<f64>,
    f: Function,
    calls: Rc<Cell<usize>>,
    points: Rc<RefCell<Vec<Vec<f64>>>>,
}

impl On {
    fn new(text: &str, f: Function, start: &[f64]) -> Self {
        Self::over(text, f, &layout(&[start.len() as isize - 1, 1]), start)
    }
    fn over(text: &str, f: Function, tensors: &Arc<Layout>, start: &[f64]) -> Self {
        let mut run = Run::<f64>::new(text, tensors, &setup(), start);
        let (calls, points) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(vec![])));
        run.oracle =
            Box::new(Asked { f: Rc::clone(&f), calls: Rc::clone(&calls), points: Rc::clone(&points) });
        Self { run, f, calls, points }
    }
    fn step(&mut self) -> Report {
        let (loss, gradient) = (self.f)(&self.run.values());
        let layout = Arc::clone(self.run.theta.layout());
        write(&layout, self.run.grads.flat_mut(), &gradient);
        self.run.grads.total = Total { loss, weight: 1.0 };
        self.run.go()
    }
    fn value(&self) -> f64 {
        (self.f)(&self.run.values()).0
    }
}

#[derive(Deserialize)]
struct File {
    objectives: BTreeMap<String, serde_json::Value>,
    optima: BTreeMap<String, Optimum>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Optimum {
    theta: Vec<f64>,
    loss: f64,
}

#[derive(Deserialize)]
struct Case {
    expression: String,
    objective: String,
    theta0: Vec<f64>,
    theta: Vec<Vec<f64>>,
    loss: Vec<f64>,
    step: Vec<f64>,
}

fn file() -> File {
    serde_json::from_str(include_str!("../data/lbfgs.json")).unwrap()
}

fn rosenbrock(x: &[f64]) -> (f64, Vec<f64>) {
    let (mut f, mut g) = (0.0, vec![0.0; x.len()]);
    for i in 0..x.len() - 1 {
        let (u, v) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
        f += 100.0 * u * u + v * v;
        g[i + 1] += 200.0 * u;
        g[i] -= 400.0 * x[i] * u + 2.0 * v;
    }
    (f, g)
}

impl File {
    fn function(&self, name: &str) -> Function {
        if name.starts_with("rosenbrock") {
            return Rc::new(rosenbrock);
        }
        let quadratic: Quadratic = serde_json::from_value(self.objectives[name].clone()).unwrap();
        Rc::new(move |x| quadratic.at(x))
    }
}

/// The same function, each number that it gives moved by chance.
fn shaken(f: &Function, seed: u64) -> Function {
    let (f, stream) = (Rc::clone(f), RefCell::new(Stream::new(seed, Purpose::Data, 3)));
    Rc::new(move |x| {
        let by = || moved(&mut stream.borrow_mut());
        let (value, g) = f(x);
        (value * by(), g.into_iter().map(|g| g * by()).collect())
    })
}

/// The first ten iterates are PyTorch's, to what rounding explains: 64 a step of what the function gives (two loops over the pairs add up 16
/// products each) and eight of θ.
#[test]
fn lbfgs_is_pytorchs_iterate_by_iterate() {
    let file = file();
    assert_eq!(file.cases.len(), 24);
    for case in &file.cases {
        let f = file.function(&case.objective);
        let go = |f: Function| {
            let mut on = On::new(&case.expression, f, &case.theta0);
            (0..10).map(|_| (on.step().lr, on.run.values())).unzip::<f64, Vec<f64>, Vec<_>, Vec<_>>()
        };
        let (rates, path) = go(Rc::clone(&f));
        let (other_rates, others): (Vec<_>, Vec<_>) = (1..=4).map(|seed| go(shaken(&f, seed))).unzip();
        let bounds = rounding(&path, &others, &case.theta0, (64.0, 8.0));
        let mut felt = 0.0f64;
        for k in 0..10 {
            let place = format!("{} on {}, iterate {}", case.expression, case.objective, k + 1);
            let (bound, way) = (bounds[k], apart(&case.theta[k], &case.theta0));
            assert!(bound < 1e-6 * way, "{place}: {bound:e} hides {way:e}");
            let off = apart(&path[k], &case.theta[k]);
            assert!(off <= bound, "{place}: {off:e} > {bound:e}");
            let rate = rates[k];
            felt = other_rates.iter().map(|other| (other[k] - rate).abs()).fold(felt, f64::max);
            let (bound, off) =
                (f64::EPSILON * (64.0 * felt / MOVED + 8.0 * rate), (rate - case.step[k]).abs());
            assert!(
                bound < 1e-6 * rate && off <= bound,
                "{place}: a rate of {rate}, not {} ± {bound:e}",
                case.step[k]
            );
            assert!((f(&path[k]).0 - case.loss[k]).abs() <= 1e-9 * (1.0 + case.loss[k].abs()), "{place}");
        }
    }
}

/// On conditions up to 10⁴ and in Rosenbrock's valley it ends where scipy's does, and all steps keep the conditions.
#[test]
fn lbfgs_reaches_the_optimum_under_the_wolfe_conditions() {
    let file = file();
    for (name, optimum) in &file.optima {
        for text in ["lbfgs", "lbfgs(history_size=5)"] {
            let start = &file.cases.iter().find(|c| &c.objective == name).unwrap().theta0;
            let mut on = On::new(text, file.function(name), start);
            let mut steps = 0;
            while steps < 1000 {
                let before = on.run.values();
                let (f, g) = (on.f)(&before);
                if g.iter().all(|g| g.abs() < 1e-9) {
                    break;
                }
                on.step();
                let after = on.run.values();
                let (f_new, g_new) = (on.f)(&after);
                let step: Vec<f64> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
                let along = |g: &[f64]| g.iter().zip(&step).map(|(g, s)| g * s).sum::<f64>();
                // Up to the rounding of f, as the search has it: where xᵀAx is summed from terms of 10⁶, it is far above ε·|f|.
                let noise = libm::pow(f64::EPSILON, 2.0 / 3.0) * f.abs();
                assert!(f_new <= f + 1e-4 * along(&g) + noise, "{name}, {text}, {steps}: {f_new} after {f}");
                // The slopes' own rounding: 16 sums of numbers of the size of g.
                let round =
                    1e-14 * step.iter().fold(0.0, |a: f64, s| a + s.abs()) * (1.0 + optimum.loss.abs());
                let (old, new) = (along(&g), along(&g_new));
                assert!(
                    new.abs() <= 0.9 * old.abs() + round,
                    "{name}, {text}, {steps}: {old} {new} {round} {}",
                    f_new - f
                );
                steps += 1;
            }
            assert!(steps < 1000, "{name} with {text}");
            let (f, _) = (on.f)(&on.run.values());
            assert!(f <= optimum.loss + 1e-12 * (1.0 + optimum.loss.abs()), "{name} with {text}: {f}");
            // Eight slopes below 10⁻⁹ on curvatures of 10⁻⁴ and more leave √8·10⁻⁵. A quadratic's minimum was solved for; scipy
            // ended with slopes below 10⁻¹⁰ in Rosenbrock's valley.
            // In six dimensions there are two minima, and either will do.
            if f < optimum.loss - 1.0 {
                continue;
            }
            let solved = file.objectives[name].get("optimum");
            let exact = solved.map_or(optimum.theta.clone(), |x| serde_json::from_value(x.clone()).unwrap());
            for (a, b) in on.run.values().iter().zip(&exact) {
                assert!((a - b).abs() <= 3e-5, "{name} with {text}: {a} is not {b}");
            }
            assert!(on.calls.get() <= 3 * steps + 10, "{name} with {text}: {} for {steps}", on.calls.get());
        }
    }
}

/// Every step goes down by what is asked for, and a condition of 100 is overcome.
#[test]
fn armijo_goes_down_at_every_step() {
    let file = file();
    for (name, steps) in [("condition_10", 300), ("condition_100", 3000), ("rosenbrock_2", 30_000)] {
        let start = &file.cases.iter().find(|c| c.objective == name).unwrap().theta0;
        let mut on = On::new("armijo", file.function(name), start);
        for _ in 0..steps {
            let (f, g) = (on.f)(&on.run.values());
            let report = on.step();
            let squares: f64 = g.iter().map(|g| g * g).sum();
            let noise = libm::pow(f64::EPSILON, 2.0 / 3.0) * f.abs();
            assert!(on.value() <= f - 1e-4 * report.lr * squares + noise, "{name}");
        }
        let optimum = file.optima[name].loss;
        assert!((on.value() - optimum).abs() <= 1e-8 * (1.0 + optimum.abs()), "{name}: {}", on.value());
    }
}

/// The second gradient is taken at θ + ρ g/‖g‖ (adaptive: + ρ θ²g/‖θg‖), and the rule steps by it from θ.
#[test]
fn sam_takes_the_gradient_of_the_worst_point() {
    let f: Function = Rc::new(rosenbrock);
    let start = [-1.2, 1.0, 0.5];
    for adaptive in [false, true] {
        let mut on =
            On::new(&format!("sam(rho=0.1, adaptive={adaptive}) | sgd(lr=1e-3)"), Rc::clone(&f), &start);
        let g = f(&start).1;
        on.step();
        let weigh = |x: f64, power: i32| if adaptive { libm::pow(x.abs(), f64::from(power)) } else { 1.0 };
        let norm =
            g.iter().zip(&start).map(|(g, x)| (g * weigh(*x, 1)) * (g * weigh(*x, 1))).sum::<f64>().sqrt();
        let worst: Vec<f64> = start.iter().zip(&g).map(|(x, g)| x + 0.1 * weigh(*x, 2) * g / norm).collect();
        let points = on.points.borrow();
        assert_eq!(points.len(), 1, "one more gradient");
        for (a, b) in points[0].iter().zip(&worst) {
            assert!((a - b).abs() <= 8.0 * f64::EPSILON, "{a} is not {b}");
        }
        for ((a, x), g) in on.run.values().iter().zip(&start).zip(&f(&points[0]).1) {
            assert!((a - (x - 1e-3 * g)).abs() <= 4.0 * f64::EPSILON, "{a}");
        }
    }
    // At a stationary point nothing is divided by 0.
    let mut on = On::new("sam | sgd(lr=0.1)", f, &[1.0, 1.0, 1.0]);
    on.step();
    assert_eq!(on.run.values(), [1.0, 1.0, 1.0]);
}

/// Least squares over rows of weights 1 and 2, with an l2 penalty: a strongly convex sum.
#[derive(Clone)]
struct Rows {
    x: Vec<Vec<f64>>,
    y: Vec<f64>,
    weight: Vec<f64>,
    batch: Rc<RefCell<Vec<usize>>>,
}

impl Rows {
    fn sum(&self, rows: &[usize], theta: &[f64]) -> (Total, Vec<f64>) {
        let (mut total, mut g) = (Total::default(), vec![0.0; theta.len()]);
        for &i in rows {
            let off = self.x[i].iter().zip(theta).map(|(x, t)| x * t).sum::<f64>() - self.y[i];
            total += Total { loss: self.weight[i] * off * off / 2.0, weight: self.weight[i] };
            g.iter_mut().zip(&self.x[i]).for_each(|(g, x)| *g += self.weight[i] * off * x);
        }
        (total, g)
    }
    fn answer(&self, rows: &[usize], theta: &Params<f64>, grads: &mut Grads<f64>) -> Total {
        let (total, g) = self.sum(rows, &theta.values().collect::<Vec<_>>());
        grads.clear();
        write(theta.layout(), grads.flat_mut(), &g);
        total
    }
    fn everything(&self) -> Vec<usize> {
        (0..self.y.len()).collect()
    }
}

impl Oracle<f64> for Rows {
    fn loss(&mut self, theta: &Params<f64>) -> Total {
        self.sum(&self.batch.borrow(), &theta.values().collect::<Vec<_>>()).0
    }
    fn gradient(&mut self, theta: &Params<f64>, grads: &mut Grads<f64>) -> Total {
        self.answer(&self.batch.borrow(), theta, grads)
    }
    fn rows(&self) -> Option<Vec<usize>> {
        Some(self.batch.borrow().clone())
    }
    fn count(&self) -> Option<usize> {
        Some(self.y.len())
    }
    fn row_gradient(&mut self, row: usize, theta: &Params<f64>, grads: &mut Grads<f64>) -> Option<Total> {
        Some(self.answer(&[row], theta, grads))
    }
    fn full_gradient(&mut self, theta: &Params<f64>, grads: &mut Grads<f64>) -> Option<Total> {
        Some(self.answer(&self.everything(), theta, grads))
    }
}

/// θ's distance² to the optimum after each pass of `passes`, rows drawn one by one; and μ and the largest curvature of a row.
fn converge(text: impl Fn(f64) -> String, passes: usize) -> (Vec<f64>, f64, f64) {
    let (n, d, l2) = (60, 5, 0.1);
    let mut stream = Stream::new(3, Purpose::Data, 0);
    let x: Vec<Vec<f64>> = (0..n).map(|_| (0..d).map(|_| stream.normal()).collect()).collect();
    let y: Vec<f64> = x.iter().map(|x| x.iter().sum::<f64>() + stream.normal()).collect();
    let weight: Vec<f64> = (0..n).map(|i| 1.0 + (i % 2) as f64).collect();
    let total: f64 = weight.iter().sum();
    // Rows count with N·wᵢ/W: the curvature of one is that times ‖x‖², and the penalty's.
    let largest =
        x.iter().zip(&weight).map(|(x, w)| n as f64 * w / total * x.iter().map(|x| x * x).sum::<f64>() + l2);
    let largest = largest.fold(0.0, f64::max);
    // H θ* = c by plain gradient descent with many steps: the reference is as slow as it is simple.
    let batch = Rc::new(RefCell::new(vec![]));
    let rows = Rows { x, y, weight, batch: Rc::clone(&batch) };
    let mut best = vec![0.0; d];
    for _ in 0..20_000 {
        let g = rows.sum(&rows.everything(), &best).1;
        best.iter_mut().zip(g).for_each(|(t, g)| *t -= 0.1 * (g / total + l2 * *t));
    }
    let tensors = layout(&[d as isize]);
    let mut run = Run::<f64>::new(&text(largest), &tensors, &setup(), &vec![0.0; d]);
    run.penalty = Penalty { l1: 0.0, l2 };
    let all = rows.everything();
    let own = rows.clone();
    run.oracle = Box::new(rows);
    let far = |theta: &[f64]| theta.iter().zip(&best).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    let mut way = vec![far(&run.values())];
    for _ in 0..passes {
        for _ in 0..all.len() {
            let row = stream.below(all.len() as u32) as usize;
            *batch.borrow_mut() = vec![row];
            let (total, g) = own.sum(&[row], &run.values());
            write(&tensors, run.grads.flat_mut(), &g);
            run.grads.total = total;
            run.go();
        }
        way.push(far(&run.values()));
    }
    (way, l2, largest)
}

/// The rate at which the distance² falls in a pass, measured over all passes down to 10⁻²⁰ of the start.
fn rate(way: &[f64]) -> f64 {
    let end = way.iter().position(|x| *x < 1e-20 * way[0]).unwrap_or(way.len() - 1);
    assert!(way[end] < 1e-12 * way[0], "it went from {:e} to {:e}", way[0], way[end]);
    libm::pow(way[end] / way[0], 1.0 / end as f64)
}

/// At 1/(3 L) the expected distance² falls by min(1/(4 N), μ/(3 L)) a step at least (Defazio et al. 2014, corollary 1): linear,
/// where SGD at the same rate stays at its noise.
#[test]
fn saga_converges_linearly() {
    let (way, mu, l) = converge(|l| format!("saga(lr={})", 1.0 / (3.0 * l)), 300);
    let bound = libm::pow(1.0 - (1.0 / 240.0f64).min(mu / (3.0 * l)), 60.0);
    let found = rate(&way);
    assert!(found < bound, "{found} a pass, not below {bound}");
    let (noisy, ..) = converge(|l| format!("sgd(lr={})", 1.0 / (3.0 * l)), 300);
    assert!(noisy[300] > 1e-6 * noisy[0], "the test tells them apart");
}

/// With η = 1/(10 L) and m steps between two full gradients, f − f* falls by 1/(μ η (1 − 2 L η) m) + 2 L η/(1 − 2 L η) from one
/// to the next at least (Johnson & Zhang 2013, theorem 1). What is measured is ‖θ − θ*‖², which is within L/μ of it at both ends.
#[test]
fn svrg_converges_linearly() {
    let every = 6000;
    let (way, mu, l) = converge(|l| format!("svrg(lr={}, every={every})", 0.1 / l), 1200);
    let eta = 0.1 / l;
    let bound = 1.0 / (mu * eta * (1.0 - 0.2) * f64::from(every)) + 0.2 / 0.8;
    assert!(bound < 1.0, "{bound}: the theory says something");
    let found = libm::pow(rate(&way), f64::from(every) / 60.0);
    assert!(found < bound, "{found} from one full gradient to the next, not below {bound}");
    // The usual choice: a pass between them, and a third of the rate's bound.
    let (way, ..) = converge(|l| format!("svrg(lr={})", 1.0 / (3.0 * l)), 300);
    assert!(rate(&way) < 1.0 - 0.1 * 60.0 * mu / (3.0 * l), "{}", rate(&way));
}

/// The mean direction of SVRG's and SAGA's steps is the gradient over all rows: rows counted by their weights.
#[test]
fn corrections_are_unbiased() {
    for rule in ["svrg(lr=1, every=100)", "saga(lr=1)"] {
        let weight = [1.0, 2.0, 0.5, 3.0];
        let rows = |batch: usize| Rows {
            x: vec![vec![1.0, 0.5], vec![-1.0, 2.0], vec![0.0, 1.0], vec![3.0, -1.0]],
            y: vec![1.0, -2.0, 0.5, 0.0],
            weight: weight.to_vec(),
            batch: Rc::new(RefCell::new(vec![batch])),
        };
        let mut mean = [0.0; 2];
        let elsewhere = [0.3, -0.8];
        for second in 0..4 {
            let mut run = Run::<f64>::new(rule, &layout(&[2]), &setup(), &[0.7, 0.1]);
            run.oracle = Box::new(rows(0));
            let (total, g) = rows(0).sum(&[0], &[0.7, 0.1]);
            run.step_of(&g, total);
            write(&layout(&[2]), run.theta.flat_mut(), &elsewhere);
            run.oracle = Box::new(rows(second));
            let (total, g) = rows(0).sum(&[second], &elsewhere);
            run.step_of(&g, total);
            run.values().iter().zip(elsewhere).zip(&mut mean).for_each(|((a, b), m)| *m += (b - a) / 4.0);
        }
        let (total, g) = rows(0).sum(&[0, 1, 2, 3], &elsewhere);
        for (m, g) in mean.iter().zip(&g) {
            assert!((m - g / total.weight).abs() < 1e-14, "{rule}: {m} is not {}", g / total.weight);
        }
    }
}

/// The weights that are evaluated lie between y and z, and are what a run that keeps x has.
#[test]
fn schedule_free_evaluates_the_mean() {
    let (lr, beta, n) = (0.1, 0.8, 9);
    let mut run = Run::<f64>::new(
        &format!("schedulefree_sgd(lr={lr}, momentum={beta})"),
        &layout(&[9]),
        &setup(),
        &numbers(1, n),
    );
    assert!(run.evaluated().is_none(), "before the first step θ is all there is");
    let (mut x, mut z) = (numbers(1, n), numbers(1, n));
    for t in 1..=30u64 {
        let g = numbers(t, n);
        run.step(&g);
        for i in 0..n {
            z[i] -= lr * g[i];
            x[i] += (z[i] - x[i]) / t as f64;
        }
        for (i, theta) in run.values().iter().enumerate() {
            // The largest gradient is 10³ in size: thirty sums of such numbers, ten roundings each.
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-10;
            assert!(close(*theta, (1.0 - beta) * z[i] + beta * x[i]), "step {t}: y");
            assert!(close(run.evaluated().unwrap()[i], x[i]), "step {t}: x");
        }
    }
}

/// Rules of no rate come from any first estimate to a rate that trains: |θ| summed over coordinates, from far away.
#[test]
fn rates_are_found_over_ten_orders_of_magnitude() {
    for rule in ["prodigy", "dadapt_sgd", "dadapt_adam", "dadapt_adagrad"] {
        for d0 in [1e-8, 1e-4, 1e-1] {
            let f: Function = Rc::new(|x: &[f64]| {
                let (f, g): (Vec<f64>, Vec<f64>) = x.iter().map(|x| (x * x / 2.0, *x)).unzip();
                (f.iter().sum(), g)
            });
            let mut on = On::new(&format!("{rule}(d0={d0})"), f, &[3.0, -2.0, 5.0]);
            let start = on.value();
            (0..3000).for_each(|_| {
                on.step();
            });
            assert!(on.value() < 1e-3 * start, "{rule} from {d0}: {}", on.value());
        }
    }
}

/// What the loop tells of epochs reaches a plateau, and is saved with the rest.
#[test]
fn observed_scores_lower_a_plateaus_rate() {
    let text = "sgd(lr=plateau(0.5, factor=0.1, patience=2))";
    let mut run = Run::<f64>::new(text, &layout(&[3]), &setup(), &[0.0; 3]);
    let rate = |run: &mut Run<f64>| run.step(&[0.0; 3]).lr;
    assert_eq!(rate(&mut run), 0.5);
    for score in [1.0, 1.0, 1.0] {
        run.optimizer.observe(score);
    }
    assert_eq!(rate(&mut run), 0.5);
    let mut other = Run::<f64>::new(text, &layout(&[3]), &setup(), &[0.0; 3]);
    other.restore(&run.memory());
    other.t = run.t;
    for run in [&mut run, &mut other] {
        run.optimizer.observe(1.0);
        assert_eq!(rate(run), 0.05);
    }
    assert_eq!(run.memory(), other.memory());
}

/// Memory that grows is saved and taken up by optimizers that have none yet, less or more; where the other cannot hold it, nothing
/// is written.
#[test]
fn memory_that_grows_is_restored_whatever_there_is() {
    let tensors = layout(&[5, -2]);
    for text in [
        "lbfgs(history_size=3)",
        "saga(lr=0.01)",
        "rollback(every=2) | saga(lr=0.01)",
        "adam(lr=0.1) until 3 steps then lbfgs(history_size=3)",
        "rollback(every=2) | adam(lr=0.1) until 3 steps then adam(lr=0.2)",
    ] {
        let go = |steps: u64, from: &mut Run<f64>| {
            for t in 0..steps {
                // Some stages do not go with some rules: such a run stays where it is.
                write(&tensors, from.grads.flat_mut(), &numbers(2 + t, 7));
                from.grads.total = Total { loss: 0.5, weight: 1.0 };
                let _ = from.try_go();
            }
        };
        for (steps, already) in [(0, 0), (1, 0), (6, 0), (1, 6), (0, 6), (6, 2)] {
            let mut run = Run::<f64>::new(text, &tensors, &setup(), &numbers(1, 7));
            go(steps, &mut run);
            let saved = state::save(&mut *run.optimizer, steps).unwrap();
            let mut other = Run::<f64>::new(text, &tensors, &setup(), &numbers(9, 7));
            go(already, &mut other);
            state::load(&mut *other.optimizer, &saved).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(other.memory(), run.memory(), "{text}: {steps} into {already}");
        }
    }
    let new = |text: &str| On::new(text, Rc::new(rosenbrock), &[-1.2, 1.0, 0.5]);
    let (mut run, mut small) = (new("lbfgs(history_size=3)"), new("lbfgs(history_size=1)"));
    for _ in 0..6 {
        run.step();
        small.step();
    }
    let (mut run, mut small) = (run.run, small.run);
    let (saved, before) = (state::save(&mut *run.optimizer, 6).unwrap(), small.memory());
    let error = state::load(&mut *small.optimizer, &saved).unwrap_err().to_string();
    assert!(error.contains("pairs.length"), "{error}");
    assert_eq!(small.memory(), before);
}

/// Masked coordinates are 0 after every step, whatever is evaluated, and the others move as if the masked ones were not there.
#[test]
fn a_mask_holds_wherever_a_rule_looks() {
    for text in each() {
        let text = text.replace("lr=0.01", "lr=0.1");
        let start = numbers(1, 7);
        let mut mask = Params::zeros(&layout(&[5, -2]));
        write(&layout(&[5, -2]), mask.flat_mut(), &[1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0]);
        let mut run = Run::<f64>::new(&text, &layout(&[5, -2]), &setup(), &start);
        run.optimizer.set_mask(Some(&mask)).unwrap();
        let fewer = [&start[..4], &start[5..]].concat();
        let mut other = Run::<f64>::new(&text, &layout(&[4, -2]), &setup(), &fewer);
        for seed in 2..6 {
            let g = numbers(seed, 7);
            run.step(&g);
            other.step(&[&g[..4], &g[5..]].concat());
            let seen = run.evaluated().unwrap_or_else(|| run.values());
            assert_eq!((run.values()[4], seen[4]), (0.0, 0.0), "{text}");
            // Sums over one more zero have other lanes; and the line searches see a loss with a constant in it.
            let left = [&run.values()[..4], &run.values()[5..]].concat();
            if !text.contains("sophia") {
                for (a, b) in left.iter().zip(other.values()) {
                    assert!((a - b).abs() <= 1e-9 * (1.0 + b.abs()), "{text}: {a} is not {b}");
                }
            }
        }
    }
}

#[test]
fn kinds_are_told() {
    for name in OURS {
        let entry = ALL.iter().find(|e| e.name == name).unwrap();
        assert_eq!(entry.kind == rules::Kind::Whole, !name.starts_with("schedulefree"), "{name}");
    }
}

impl<F: Build> Run<F> {
    /// A step with a sum and what it was summed over.
    fn step_of(&mut self, sum: &[f64], total: Total) -> Report {
        let layout: Arc<Layout> = Arc::clone(self.theta.layout());
        write(&layout, self.grads.flat_mut(), sum);
        self.grads.total = total;
        self.go()
    }
}
