//! Runs of an optimizer over flat parameters, and settings of every rule made from its declarations.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{
    At, Float, Grads, Layout, Memory, Optimizer, Oracle, Params, Penalty, Report, StepError, Total, isa,
};
use thalweg_optim::rules::{
    ALL, AdEmaMix, AdaBelief, AdaBound, Adadelta, Adagrad, Adam, Adamax, Adan, Adopt, AmsBound, AmsGrad,
    Asgd, Build, Entry, Ftrl, FtrlPower, Kind, Lion, Momentum, Nadam, Nesterov, OptimisticAdam,
    OptimisticSgd, Radam, RmsProp, RmsPropCentered, RmsPropCenteredMomentum, RmsPropMomentum, Rprop, Sgd,
    SignSgd, Signum, Yogi,
};
use thalweg_optim::{Horizon, Plan, Rule, Setup, When};

/// Tensors of these sizes: weights, but for those of a negative size, which are biases.
pub fn layout(sizes: &[isize]) -> Arc<Layout> {
    let mut builder = Layout::builder();
    for (i, &size) in sizes.iter().enumerate() {
        let kind = if size < 0 { thalweg_core::Kind::Bias } else { thalweg_core::Kind::Weight };
        builder = builder.tensor(&format!("t{i}"), &[size.unsigned_abs()], &["out"], kind);
    }
    Arc::new(builder.build())
}

/// A run of 100 steps on one thread; decay reaches biases, as in PyTorch.
pub fn setup() -> Setup {
    Setup { horizon: Horizon { steps: 100, per_epoch: 10 }, ..Setup::default() }
}

/// Σᵢ ½‖θ − cᵢ‖² over eight points with equal numbers 0, ¼, …: for rules that evaluate again, where nothing depends on what.
pub struct Bowl;

impl Bowl {
    const ROWS: usize = 8;

    fn sum<F: Float>(
        rows: std::ops::Range<usize>,
        theta: &Params<F>,
        mut each: impl FnMut(usize, f64),
    ) -> Total {
        let mut total = Total { loss: 0.0, weight: rows.len() as f64 };
        for tensor in theta.layout().tensors() {
            for i in tensor.range() {
                for row in rows.clone() {
                    let off = theta.flat()[i].to_f64() - row as f64 / 4.0;
                    total.loss += 0.5 * off * off;
                    each(i, off);
                }
            }
        }
        total
    }

    fn fill<F: Float>(rows: std::ops::Range<usize>, theta: &Params<F>, grads: &mut Grads<F>) -> Total {
        grads.clear();
        let to = grads.flat_mut();
        let total = Self::sum(rows, theta, |i, off| to[i] += F::from_f64(off));
        grads.total = total;
        total
    }
}

impl<F: Float> Oracle<F> for Bowl {
    fn loss(&mut self, theta: &Params<F>) -> Total {
        Self::sum(0..1, theta, |_, _| {})
    }
    fn gradient(&mut self, theta: &Params<F>, grads: &mut Grads<F>) -> Total {
        Self::fill(0..1, theta, grads)
    }
    fn rows(&self) -> Option<Vec<usize>> {
        Some(vec![0])
    }
    fn count(&self) -> Option<usize> {
        Some(Self::ROWS)
    }
    fn row_gradient(&mut self, row: usize, theta: &Params<F>, grads: &mut Grads<F>) -> Option<Total> {
        Some(Self::fill(row..row + 1, theta, grads))
    }
    fn full_gradient(&mut self, theta: &Params<F>, grads: &mut Grads<F>) -> Option<Total> {
        Some(Self::fill(0..Self::ROWS, theta, grads))
    }
    fn hessian_vector(&mut self, _: &Params<F>, v: &Params<F>, out: &mut Grads<F>) -> Option<Total> {
        out.clear();
        out.flat_mut().copy_from_slice(v.flat());
        Some(Total { loss: 0.0, weight: 1.0 })
    }
}

/// An optimizer and what it works on.
pub struct Run<F: Build> {
    /// What it may ask for beside the gradients that it is given.
    pub oracle: Box<dyn Oracle<F>>,
    pub optimizer: Box<dyn Optimizer<F>>,
    pub theta: Params<F>,
    pub grads: Grads<F>,
    pub penalty: Penalty,
    pub t: u64,
}

impl<F: Build> Run<F> {
    /// The expression's optimizer at the start of a run from `theta`.
    pub fn new(expression: &str, layout: &Arc<Layout>, setup: &Setup, theta: &[f64]) -> Self {
        let plan = Plan::parse(expression).unwrap_or_else(|e| panic!("{e}"));
        let mut run = Self {
            oracle: Box::new(Bowl),
            optimizer: plan.build(layout, setup).unwrap_or_else(|e| panic!("{e}")),
            theta: Params::zeros(layout),
            grads: Grads::zeros(layout),
            penalty: Penalty::default(),
            t: 0,
        };
        write(layout, run.theta.flat_mut(), theta);
        run
    }

    /// One step with this mean gradient.
    pub fn step(&mut self, gradient: &[f64]) -> Report {
        self.step_of_sum(gradient, 1.0)
    }

    /// One step with a gradient that was summed over rows of this weight.
    pub fn step_of_sum(&mut self, sum: &[f64], weight: f64) -> Report {
        let layout = Arc::clone(self.theta.layout());
        write(&layout, self.grads.flat_mut(), sum);
        self.grads.total = Total { loss: 0.5, weight };
        self.go()
    }

    /// One step with what stands in `grads`.
    pub fn go(&mut self) -> Report {
        self.try_go().unwrap()
    }

    /// The same, where the optimizer may refuse.
    pub fn try_go(&mut self) -> Result<Report, StepError> {
        self.t += 1;
        let at = At { step: self.t, penalty: self.penalty };
        self.optimizer.step(at, &mut self.theta, &mut self.grads, self.oracle.as_mut())
    }

    /// The parameters without padding, in f64.
    pub fn values(&self) -> Vec<f64> {
        self.theta.values().map(Float::to_f64).collect()
    }

    /// Every bit of parameters and tensors' memory (the average is memory), slot by slot.
    pub fn bits(&mut self) -> Vec<u64> {
        let mut all: Vec<u64> = self.theta.values().map(Float::bits).collect();
        self.optimizer.visit_state(&mut |_, memory| match memory {
            Memory::F32(x) => all.extend(x.iter().map(|x| x.bits())),
            Memory::F64(x) => all.extend(x.iter().map(|x| x.bits())),
            Memory::Bf16(x) => all.extend(x.iter().map(|&x| u64::from(x))),
            Memory::U8(x) => all.extend(x.iter().map(|&x| u64::from(x))),
            Memory::Scalar(_) | Memory::Count(_) | Memory::Counts(_) => {}
        });
        all
    }

    /// All memory by name, counts and scalars included.
    pub fn memory(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        self.optimizer.visit_state(&mut |name, memory| all.push((name.to_string(), memory.to_bytes())));
        all
    }

    /// Restores what [`Run::memory`] gave.
    pub fn restore(&mut self, memory: &[(String, Vec<u8>)]) {
        let mut left = memory.iter();
        self.optimizer.visit_state(&mut |name, mut memory| {
            let (saved, bytes) = left.next().expect("as many pieces as were saved");
            assert_eq!(saved, name);
            assert!(memory.copy_from(bytes), "{name} has another size");
        });
        assert!(left.next().is_none(), "nobody takes the rest");
    }

    /// The numbers of one slot over all tensors, in f64.
    pub fn slot(&mut self, slot: &str) -> Vec<f64> {
        let mut all = Vec::new();
        self.optimizer.visit_state(&mut |name, memory| {
            if name.split_once('/').is_some_and(|(_, s)| s == slot) {
                match memory {
                    Memory::F32(x) => all.extend(x.iter().map(|&x| f64::from(x))),
                    Memory::F64(x) => all.extend_from_slice(x),
                    other => panic!("{name} is {}", other.dtype()),
                }
            }
        });
        all
    }

    /// The names of the slots that tensors have memory in.
    pub fn names(&mut self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        self.optimizer.visit_state(&mut |name, _| {
            if let Some((_, slot)) = name.split_once('/')
                && !all.iter().any(|s| s == slot)
            {
                all.push(slot.to_string());
            }
        });
        all
    }

    /// The weights to evaluate, where they are not the parameters themselves.
    pub fn evaluated(&mut self) -> Option<Vec<f64>> {
        let layout = Arc::clone(self.theta.layout());
        let weights = self.optimizer.evaluation_weights(&self.theta)?;
        Some(read(&layout, weights).map(Float::to_f64).collect())
    }
}

/// The perturbation by which [`rounding`] is measured.
pub const MOVED: f64 = 1.0 / (1u64 << 36) as f64;

/// 1 ± [`MOVED`], up or down by chance.
pub fn moved(stream: &mut Stream) -> f64 {
    1.0 + if stream.below(2) == 0 { MOVED } else { -MOVED }
}

/// How far rounding may bring two implementations of a run apart, after each step. `path` is θ after each, `others` are runs in which each
/// number that is given was multiplied by [`moved`]: how far that moves θ, scaled down to a rounding, is how far one rounding a step does. A
/// step has `roundings` of those in both implementations together, and `of_theta` more of the size of θ.
pub fn rounding(
    path: &[Vec<f64>],
    others: &[Vec<Vec<f64>>],
    start: &[f64],
    (roundings, of_theta): (f64, f64),
) -> Vec<f64> {
    let (mut felt, mut sizes) = (0.0f64, 0.0);
    let step = |(t, theta): (usize, &Vec<f64>)| {
        felt = others.iter().map(|other| apart(&other[t], theta)).fold(felt, f64::max);
        sizes += apart(theta, &vec![0.0; theta.len()]) + apart(start, &vec![0.0; start.len()]);
        f64::EPSILON * (roundings * felt / MOVED + of_theta * sizes)
    };
    path.iter().enumerate().map(step).collect()
}

/// The largest difference of two vectors' coordinates.
pub fn apart(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// While this lives nobody's limit of instruction sets changes: for tests that compare bits of matrix products, which are promised for one set.
pub fn one_set() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `f` on every instruction set of this machine, one after the other; nobody else's limit comes between.
pub fn on_every_set<T>(mut f: impl FnMut() -> T) -> Vec<(&'static str, T)> {
    let _guard = one_set();
    let one = |set: isa::Isa| {
        isa::limit(Some(set));
        let found = f();
        isa::limit(None);
        (set.name(), found)
    };
    isa::available().into_iter().map(one).collect()
}

/// Writes numbers into the tensors, one after the other.
pub fn write<F: Float>(layout: &Layout, buffer: &mut [F], numbers: &[f64]) {
    let mut numbers = numbers.iter();
    for tensor in layout.tensors() {
        buffer[tensor.range()].iter_mut().zip(&mut numbers).for_each(|(x, &n)| *x = F::from_f64(n));
    }
    assert_eq!(numbers.len(), 0, "one number for each parameter");
}

/// The numbers of the tensors, one after the other.
pub fn read<'a, F: Float>(layout: &'a Layout, buffer: &'a [F]) -> impl Iterator<Item = F> + 'a {
    layout.tensors().iter().flat_map(|t| buffer[t.range()].iter().copied())
}

/// Numbers on scales from 1e-3 to 1e3 with some zeros, the same in `f32`.
pub fn numbers(seed: u64, n: usize) -> Vec<f64> {
    let mut stream = Stream::new(seed, Purpose::Data, 1);
    let mut draw = || {
        let scale = libm::pow(10.0, 6.0 * stream.uniform() - 3.0);
        let x = stream.normal() * scale;
        if stream.below(8) == 0 { 0.0 } else { f64::from(x as f32) }
    };
    (0..n).map(|_| draw()).collect()
}

/// Some values in a range, the ends that belong to it included.
pub fn inside(range: &Range) -> Vec<f64> {
    let mut all = vec![-0.5, -0.3, 0.0, 1e-8, 1e-3, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0, 2.0];
    all.retain(|&x| range.contains(x));
    all
}

/// `name(lr=0.01, …)` with these values.
fn expression(entry: &Entry, values: &[f64]) -> String {
    let rest = entry.hyper.iter().zip(values).map(|(h, &x)| format!(", {}={}", h.name, h.print(x)));
    format!("{}(lr=0.01{})", entry.name, rest.collect::<String>())
}

/// Many settings of a rule, made from its declarations: all defaults, each value alone at its extremes and between, and
/// random ones together. Combinations that the rule refuses as such are left out.
pub fn settings(entry: &Entry) -> Vec<String> {
    let defaults: Vec<f64> = entry.hyper.iter().map(|h| h.default).collect();
    let mut all = vec![defaults.clone()];
    for (i, hyper) in entry.hyper.iter().enumerate() {
        let values = inside(&hyper.range);
        for x in [values[0], values[values.len() / 2], values[values.len() - 1]] {
            let mut setting = defaults.clone();
            setting[i] = x;
            all.push(setting);
        }
    }
    let mut stream = Stream::new(7, Purpose::Data, 2);
    for _ in 0..24 {
        let draw = |h: &Hyper| {
            let values = inside(&h.range);
            values[stream.below(values.len() as u32) as usize]
        };
        all.push(entry.hyper.iter().map(draw).collect());
    }
    let mut texts: Vec<String> = all.iter().map(|values| expression(entry, values)).collect();
    texts.retain(|text| match Plan::parse(text) {
        Ok(_) => true,
        Err(e) => {
            assert!(!e.to_string().contains("must be"), "values from the ranges are in the ranges: {e}");
            false
        }
    });
    texts.sort();
    texts.dedup();
    assert!(texts.len() >= 6 || entry.hyper.is_empty(), "{}: {texts:?}", entry.name);
    texts
}

/// The rules that work coordinate by coordinate.
pub fn elementwise() -> impl Iterator<Item = &'static Entry> {
    ALL.iter().copied().filter(|entry| entry.kind == Kind::Elementwise)
}

/// [`settings`] of every elementwise rule.
pub fn all_settings() -> Vec<String> {
    elementwise().flat_map(settings).collect()
}

/// Two settings for each kind of memory that a rule can have, for tests that take long.
pub fn kinds() -> Vec<String> {
    let layout = layout(&[1]);
    let mut kept = Vec::new();
    for entry in elementwise() {
        let mut seen: Vec<Vec<String>> = Vec::new();
        for text in settings(entry) {
            let names = Run::<f64>::new(&text, &layout, &setup(), &[0.0]).names();
            if seen.iter().filter(|n| **n == names).count() < 2 {
                seen.push(names);
                kept.push(text);
            }
        }
    }
    kept
}

/// The coefficients of step `t` of a rule whose earlier steps were like it.
pub fn coef<R: Rule<S>, const S: usize>(rule: &R, t: f64, lr: f64) -> R::Coef<f64> {
    let mut scalars: Vec<f64> = R::SCALARS.iter().map(|s| s.1).collect();
    let mut at = |t: f64| R::coef(&R::with(&rule.values()), When { t, lr }, &mut scalars);
    (1..t as u64).for_each(|t| {
        at(t as f64);
    });
    at(t)
}

/// Both penalties of an objective, without l1 where the expression's rule has no proximal step.
pub fn penalty(expression: &str) -> Penalty {
    let proximal = Plan::parse(expression).unwrap_or_else(|e| panic!("{e}")).is_proximal();
    Penalty { l1: if proximal { 0.01 } else { 0.0 }, l2: 0.1 }
}

/// Something to do with every type of rule.
pub trait Visit {
    fn visit<R: Rule<S> + Default, const S: usize>(&mut self);
}

/// Every type of rule. `slices::every_rule_of_the_registry_is_visited` says when one is missing.
pub fn every_rule(visitor: &mut impl Visit) {
    visitor.visit::<Sgd, 0>();
    visitor.visit::<Momentum, 1>();
    visitor.visit::<Nesterov, 1>();
    visitor.visit::<Adagrad, 1>();
    visitor.visit::<RmsProp, 1>();
    visitor.visit::<RmsPropMomentum, 2>();
    visitor.visit::<RmsPropCentered, 2>();
    visitor.visit::<RmsPropCenteredMomentum, 3>();
    visitor.visit::<Adam, 2>();
    visitor.visit::<AmsGrad, 3>();
    visitor.visit::<Adadelta, 2>();
    visitor.visit::<Adamax, 2>();
    visitor.visit::<Nadam, 2>();
    visitor.visit::<Radam, 2>();
    visitor.visit::<AdaBelief, 2>();
    visitor.visit::<AdaBound, 2>();
    visitor.visit::<AmsBound, 3>();
    visitor.visit::<Yogi, 2>();
    visitor.visit::<Adan, 4>();
    visitor.visit::<AdEmaMix, 3>();
    visitor.visit::<Adopt, 2>();
    visitor.visit::<OptimisticSgd, 1>();
    visitor.visit::<OptimisticAdam, 3>();
    visitor.visit::<Lion, 1>();
    visitor.visit::<SignSgd, 0>();
    visitor.visit::<Signum, 1>();
    visitor.visit::<Rprop, 2>();
    visitor.visit::<Asgd, 1>();
    visitor.visit::<Ftrl, 2>();
    visitor.visit::<FtrlPower, 2>();
}

/// `test::<f32>` and `test::<f64>`, each in a test of its own.
macro_rules! both {
    ($($(#[$doc:meta])* fn $name:ident<$f:ident>() $body:block)*) => {$(
        $(#[$doc])*
        mod $name {
            #[allow(clippy::wildcard_imports)]
            use super::*;
            fn test<$f: thalweg_optim::rules::Build>() $body
            #[test]
            fn f32() {
                test::<f32>();
            }
            #[test]
            fn f64() {
                test::<f64>();
            }
        }
    )*};
}
pub(crate) use both;
