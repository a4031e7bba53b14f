//! 50 recorded steps of other libraries for each setting, in f64.
//!
//! What may differ is measured: the run is repeated with every gradient moved by some 2⁻³⁶ of itself, up or down by chance; where it is
//! a sum of terms that cancel, of their sizes.
//! How far that moves θ, scaled down to a rounding, is how far one rounding at each step does; a rule has fewer than
//! [`ROUNDINGS`] operations a step. To that come [`OF_THETA`] roundings of θ itself a step.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::Deserialize;
use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{Grads, Layout, Memory, Oracle, Params, Total};
use thalweg_optim::Plan;
use thalweg_optim::chain::STAGES;
use thalweg_optim::rules::{ALL, Entry, Kind};

use crate::common::{Run, settings, setup};

/// Operations of a coordinate in a step, in both implementations together, at most.
const ROUNDINGS: f64 = 64.0;
/// Roundings of a number of the size of θ in a step, in both implementations together, at most: decay, the update that is added, and
/// as much again for rules that keep averages of θ and a point apart from it. Where gradients are taken at θ they feel these too, and there
/// are [`ROUNDINGS`] of them; and Shampoo's first step is not felt as it is.
const OF_THETA: f64 = 8.0;
/// The same as [`ROUNDINGS`] for Shampoo: at its first step the perturbation moves a gradient and its statistic together, and does not feel how
/// ill-conditioned the root of what one gradient leaves is. Half of it is used.
const ROOTS: f64 = 8.0 * ROUNDINGS;
/// The measuring perturbation.
const MOVED: f64 = 1.0 / (1u64 << 36) as f64;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    gradients: BTreeMap<String, Gradients>,
    #[serde(default)]
    objectives: BTreeMap<String, Quadratic>,
    /// Diagonals of Hessians, one for each step.
    #[serde(default)]
    hessians: BTreeMap<String, Vec<Vec<f64>>>,
    cases: Vec<Case>,
}

/// f(x) = xᵀAx/2 − bᵀx.
#[derive(Clone, Deserialize)]
pub struct Quadratic {
    pub a: Vec<Vec<f64>>,
    pub b: Vec<f64>,
}

impl Quadratic {
    /// f and its gradient.
    pub fn at(&self, x: &[f64]) -> (f64, Vec<f64>) {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let ax: Vec<f64> = self.a.iter().map(|row| dot(row, x)).collect();
        (dot(x, &ax) / 2.0 - dot(&self.b, x), ax.iter().zip(&self.b).map(|(ax, b)| ax - b).collect())
    }

    /// What f and its gradient round to parts of: the same sums, each term with its sign taken off.
    fn sizes(&self, x: &[f64]) -> (f64, Vec<f64>) {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a * b).abs()).sum::<f64>();
        let ax: Vec<f64> = self.a.iter().map(|row| dot(row, x)).collect();
        (dot(x, &ax) / 2.0 + dot(&self.b, x), ax.iter().zip(&self.b).map(|(ax, b)| ax + b.abs()).collect())
    }
}

/// Answers from the quadratic or from recorded diagonals; loss and gradients are moved by chance where there is a stream.
struct Answers {
    objective: Option<Quadratic>,
    diagonals: Vec<Vec<f64>>,
    /// Steps so far.
    t: Rc<Cell<usize>>,
    chance: Option<Rc<RefCell<Stream>>>,
}

impl Answers {
    fn moved(&self) -> f64 {
        let up = |s: &Rc<RefCell<Stream>>| if s.borrow_mut().below(2) == 0 { MOVED } else { -MOVED };
        1.0 + self.chance.as_ref().map_or(0.0, up)
    }
    fn at(&self, x: &[f64]) -> (f64, Vec<f64>) {
        let objective = self.objective.as_ref().expect("a case with an objective");
        let ((loss, gradient), (size, sizes)) = (objective.at(x), objective.sizes(x));
        let by = |size: f64| size * (self.moved() - 1.0);
        (loss + by(size), gradient.iter().zip(&sizes).map(|(g, &size)| g + by(size)).collect())
    }
}

impl Oracle<f64> for Answers {
    fn loss(&mut self, theta: &Params<f64>) -> Total {
        Total { loss: self.at(&theta.values().collect::<Vec<_>>()).0, weight: 1.0 }
    }
    fn gradient(&mut self, theta: &Params<f64>, grads: &mut Grads<f64>) -> Total {
        let (loss, gradient) = self.at(&theta.values().collect::<Vec<_>>());
        grads.clear();
        crate::common::write(theta.layout(), grads.flat_mut(), &gradient);
        Total { loss, weight: 1.0 }
    }
    /// The product whose u ∘ Hu is the recorded diagonal.
    fn hessian_vector(&mut self, _: &Params<f64>, u: &Params<f64>, out: &mut Grads<f64>) -> Option<Total> {
        let diagonal = self.diagonals.get(self.t.get())?;
        let product: Vec<f64> = diagonal.iter().zip(u.values()).map(|(h, u)| h * self.moved() / u).collect();
        crate::common::write(u.layout(), out.flat_mut(), &product);
        Some(Total { loss: 0.0, weight: 1.0 })
    }
}

/// 50 gradients of all parameters, or of each tensor by its name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Gradients {
    Flat(Vec<Vec<f64>>),
    Tensors(BTreeMap<String, Vec<Vec<f64>>>),
}

impl Gradients {
    fn of(&self, tensors: &[String]) -> Vec<Vec<f64>> {
        match self {
            Self::Flat(rows) => rows.clone(),
            Self::Tensors(by) => (0..50)
                .map(|t| tensors.iter().flat_map(|name| by[name][t].iter().copied()).collect())
                .collect(),
        }
    }
}

#[derive(Deserialize)]
struct Case {
    expression: String,
    #[serde(default)]
    call: String,
    /// Recorded gradients, or a function whose gradients are taken where the rule asks for them.
    #[serde(default)]
    gradients: String,
    objective: Option<String>,
    hessians: Option<String>,
    /// The rule, where what is recorded is a stage around it.
    base: Option<String>,
    /// The names of the tensors, and their shapes; one vector where nothing is said.
    #[serde(default)]
    tensors: Vec<String>,
    shapes: Option<Vec<Vec<usize>>>,
    /// The names of a matrix's axes, where they are not `out,in`.
    axes: Option<String>,
    theta0: Vec<f64>,
    steps: Vec<usize>,
    theta: Vec<Vec<f64>>,
    /// The weights to evaluate, where those are others.
    averaged: Option<Vec<Vec<f64>>>,
}

impl Case {
    fn layout(&self) -> std::sync::Arc<Layout> {
        let vector = vec![vec![self.theta0.len()]];
        let mut builder = Layout::builder();
        for (i, shape) in self.shapes.as_ref().unwrap_or(&vector).iter().enumerate() {
            let swapped = self.axes.as_deref() == Some("in,out") && shape.len() > 1;
            let axes = if swapped { ["in", "out", "a", "b", "c"] } else { ["out", "in", "a", "b", "c"] };
            let axes = &axes[..shape.len()];
            builder = builder.tensor(&format!("t{i}"), shape, axes, thalweg_core::Kind::Weight);
        }
        std::sync::Arc::new(builder.build())
    }

    /// θ and the weights to evaluate after each step; every gradient (and, if `memory`, all memory) is moved by chance where there
    /// is a stream.
    fn run(&self, file: &File, chance: Option<Stream>, memory: bool) -> Vec<(Vec<f64>, Vec<f64>)> {
        let mut run = Run::<f64>::new(&self.expression, &self.layout(), &setup(), &self.theta0);
        let gradients = file.gradients.get(&self.gradients).map(|g| g.of(&self.tensors));
        let objective = self.objective.as_ref().map(|name| file.objectives[name].clone());
        let t = Rc::new(Cell::new(0));
        let diagonals = self.hessians.as_ref().map(|name| file.hessians[name].clone());
        let answers = |diagonals| Answers {
            objective: objective.clone(),
            diagonals,
            t: Rc::clone(&t),
            chance: chance.clone().map(|s| Rc::new(RefCell::new(s))),
        };
        run.oracle = Box::new(answers(diagonals.unwrap_or_default()));
        let given = answers(vec![]);
        let mut path = vec![];
        for step in 0..50 {
            t.set(step);
            let (loss, gradient) = match &gradients {
                Some(rows) => (0.5, rows[step].iter().map(|g| g * given.moved()).collect()),
                None => given.at(&run.values()),
            };
            let layout = std::sync::Arc::clone(run.theta.layout());
            crate::common::write(&layout, run.grads.flat_mut(), &gradient);
            run.grads.total = Total { loss, weight: 1.0 };
            run.go();
            if memory {
                run.optimizer.visit_state(&mut |_, memory| {
                    if let Memory::F64(numbers) = memory {
                        numbers.iter_mut().for_each(|x| *x *= given.moved());
                    }
                });
            }
            let theta = run.values();
            let evaluated = run.evaluated().unwrap_or_else(|| theta.clone());
            path.push((theta, evaluated));
        }
        path
    }
}

/// Holds every rule of the registry that `file` has runs of to those runs; `skip` leaves out single ones, by expression and
/// the call that made them. Returns the rules that were held.
pub fn hold(file: &str, skip: impl Fn(&Entry, &str, &str) -> bool) -> BTreeSet<&'static str> {
    let file: File = serde_json::from_str(file).unwrap();
    let mut settings: BTreeMap<&'static str, BTreeSet<&str>> = BTreeMap::new();
    for case in &file.cases {
        // Of groups, the first one's rule.
        let first = case.expression.split_once(": ").map_or(&case.expression[..], |(_, rule)| rule);
        let calls: Vec<&str> = first.split('|').filter_map(|call| call.trim().split('(').next()).collect();
        let stage = calls.iter().find_map(|call| STAGES.iter().find(|s| s.name == *call));
        // Where a stage was recorded, of any rule; else of what stands alone.
        let looked = if case.base.is_some() { &calls[..] } else { &calls[..1] };
        let Some(entry) = looked.iter().find_map(|call| ALL.iter().find(|e| e.name == *call)) else {
            continue;
        };
        if skip(entry, &case.expression, &case.call) {
            continue;
        }
        let held = stage.filter(|_| case.base.is_some()).map_or(entry.name, |s| s.name);
        settings.entry(held).or_default().insert(&case.expression);
        assert!(case.steps.contains(&50));
        let roundings = if entry.name == "shampoo" { ROOTS } else { ROUNDINGS };
        let ours = case.run(&file, None, false);
        // A decomposition may be ill-conditioned in what it decomposes.
        let memory = entry.name == "shampoo";
        let moved: Vec<_> =
            (1..=4).map(|seed| case.run(&file, Some(Stream::new(seed, Purpose::Data, 3)), memory)).collect();
        for i in 0..case.theta0.len() {
            let start = case.theta0[i];
            let (mut felt, mut sizes, mut far) = (0.0f64, 0.0, 0.0f64);
            for t in 1..=50 {
                let (theta, evaluated) = &ours[t - 1];
                let apart =
                    |(a, b): &(Vec<f64>, Vec<f64>)| (a[i] - theta[i]).abs().max((b[i] - evaluated[i]).abs());
                felt = moved.iter().map(|path| apart(&path[t - 1])).fold(felt, f64::max);
                // A step that leaves θ where it is rounds nothing.
                if theta[i] != if t == 1 { start } else { ours[t - 2].0[i] } {
                    sizes += theta[i].abs() + start.abs();
                }
                far = far.max((theta[i] - start).abs());
                let Some(row) = case.steps.iter().position(|&s| s == t) else { continue };
                // RAdam's rate is a difference of two numbers near 2/(1 − β₂): a rounding of β₂ᵗ is 10⁻¹¹ of it.
                let rectified = if entry.name.ends_with("radam") { 1e-11 * far } else { 0.0 };
                let given = roundings * f64::EPSILON * felt / MOVED + rectified;
                let of_theta = match case.objective {
                    Some(_) => ROUNDINGS,
                    None if memory => roundings,
                    None => OF_THETA,
                };
                let bound = given + of_theta * f64::EPSILON * sizes;
                let on = case.objective.as_ref().unwrap_or(&case.gradients);
                let place = format!("{} on {on}, step {t}, coordinate {i}", case.expression);
                if far > 0.0 {
                    // RAdam's own bound is above.
                    let blind = if entry.name.ends_with("radam") { 1e-5 } else { 1e-6 };
                    // D-Adaptation starts with steps of 10⁻¹⁰, of which a θ around 1 keeps six digits; the runs that start at 0 keep
                    // them all. What the rule itself adds is far below the movement everywhere.
                    let small = entry.name.starts_with("dadapt") && start != 0.0 && t < 50;
                    let bound = if small { given } else { bound };
                    assert!(bound < blind * far, "{place}: {bound:e} hides a movement of {far:e}");
                }
                let same = |what: &str, ours: f64, recorded: f64| {
                    let apart = (ours - recorded).abs();
                    assert!(apart <= bound, "{place}: {what} is {ours}, not {recorded} ± {bound:e}");
                };
                same("θ", theta[i], case.theta[row][i]);
                if let Some(averaged) = &case.averaged {
                    same("the average", evaluated[i], averaged[row][i]);
                }
            }
        }
    }
    for (rule, settings) in &settings {
        assert!(settings.len() >= 3, "{rule} has fewer than three recorded settings");
    }
    settings.into_keys().collect()
}

const PYTORCH: &str = include_str!("../data/pytorch.json");
const ELEMENTWISE: &str = include_str!("../data/elementwise.json");
const SHAPED: &str = include_str!("../data/shaped.json");
const WHOLE: &str = include_str!("../data/whole.json");
const HEAVYBALL: &str = include_str!("../data/heavyball.json");
const LBFGS: &str = include_str!("../data/lbfgs.json");
const MUON_BF16: &str = include_str!("../data/muon_bf16.json");

/// Rules that look at the whole vector, the loss or several points, and what stands around rules.
#[test]
fn whole_rules() {
    let held = hold(WHOLE, |_, _, _| false);
    assert_eq!(held.len(), 15, "{held:?}");
}

/// PyTorch's own, once more: `trajectories` holds them to bounds that our reference derives, narrower ones.
#[test]
fn the_first_rules() {
    let held = hold(PYTORCH, |_, _, _| false);
    assert_eq!(held.len(), 6, "{held:?}");
}

/// PyTorch, optax, Keras and pytorch-optimizer.
#[test]
fn elementwise_rules() {
    let held = hold(ELEMENTWISE, |_, _, _| false);
    let all = crate::common::elementwise().map(|e| e.name);
    let torch = ["sgd", "adagrad", "rmsprop", "adam", "amsgrad", "adamw"];
    assert_eq!(held, all.filter(|name| !torch.contains(name)).collect());
}

/// optax, PyTorch and pytorch-optimizer: rules that look at a tensor's shape. Where optax's Muon leaves vectors and tensors of three
/// axes to AdamW, we flatten the latter: groups say who takes what. Its AdamW mixes as Nesterov does when Muon does, which ours
/// does not.
#[test]
fn rules_that_need_a_shape() {
    let grouped = |line: &str| match line.split_once("muon_or_adamw(") {
        Some((key, values)) if key.contains("expression") => {
            let values = values.trim_end_matches("\",");
            format!("{key}{{ t0 t1: muon({values}; rest: adamw(lr=0.02, weight_decay=0) }}\",")
        }
        _ => line.into(),
    };
    let file: Vec<String> = SHAPED.lines().map(grouped).collect();
    let mixed = |expression: &str| expression.starts_with('{') && expression.contains("nesterov=true");
    let held = hold(&file.join("\n"), |_, expression, _| mixed(expression));
    let wanted = ["adafactor", "fromage", "lamb", "lars", "muon", "novograd", "shampoo", "sm3", "soap"];
    assert!(held.iter().eq(&wanted), "{held:?}");
}

/// Those of heavyball that are ours too.
#[test]
fn heavyballs_rules() {
    let held = hold(HEAVYBALL, |_, _, _| false);
    assert!(held.iter().eq(&["adamw", "muon", "nadamw", "schedulefree_adamw", "sgd"]), "{held:?}");
}

/// PyTorch's Muon as it is, in bfloat16. Two implementations round three digits in another order, and five iterations make that larger. How far
/// PyTorch's comes to lie from the run in f64 (which [`rules_that_need_a_shape`] holds) says how much: ours lies as far from that, and from PyTorch's
/// as two do that err apart from each other.
#[test]
fn muon_in_bfloat16() {
    #[derive(Deserialize)]
    struct Recorded {
        shapes: Vec<[usize; 2]>,
        steps: Vec<usize>,
        cases: Vec<Setting>,
    }
    /// θ is kept divided by the rate.
    #[derive(Deserialize)]
    struct Setting {
        expression: String,
        theta: Vec<Vec<f64>>,
    }
    let drawn = |step: usize, count: usize| {
        let mut state = step as u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
        };
        (0..count).map(|_| next()).collect::<Vec<f64>>()
    };
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
    let Recorded { shapes, steps, cases } = serde_json::from_str(MUON_BF16).unwrap();
    let lr = |expression: &str| expression.split(['=', ',']).nth(1).unwrap().parse::<f64>().unwrap();
    let mut layout = Layout::builder();
    for (i, shape) in shapes.iter().enumerate() {
        layout = layout.tensor(&format!("t{i}"), shape, &["out", "in"], thalweg_core::Kind::Weight);
    }
    let layout = std::sync::Arc::new(layout.build());
    let n = layout.count();
    for Setting { expression, theta } in cases {
        let path = |expression: &str| {
            let mut run = Run::<f64>::new(expression, &layout, &setup(), &vec![0.0; n]);
            let mut all = vec![];
            for step in 1..=50 {
                run.step(&drawn(step, n));
                all.push(run.values());
            }
            all
        };
        let ours = path(&expression);
        let exact = path(&expression.replace("bf16=true", "bf16=false"));
        for (step, theirs) in steps.iter().zip(&theta) {
            let (ours, exact) = (&ours[step - 1], &exact[step - 1]);
            let theirs = &theirs.iter().map(|x| x * lr(&expression)).collect::<Vec<f64>>();
            let (moved, theirs_off) = (distance(exact, &vec![0.0; n]), distance(theirs, exact));
            assert!(theirs_off < 0.05 * moved, "{expression}, step {step}: {theirs_off} of {moved}");
            let ours_off = distance(ours, exact) / theirs_off;
            assert!((0.3..1.8).contains(&ours_off), "{expression}, step {step}, from f64: {ours_off}");
            let apart = distance(ours, theirs) / theirs_off;
            assert!(
                apart < 1.4 * libm::hypot(1.0, ours_off),
                "{expression}, step {step}, from PyTorch: {apart}"
            );
        }
    }
}

/// What an expression is a variant of: of rules that work coordinate by coordinate, the formula; of others, the memory; and of each rule
/// and stage every switch.
fn variants(expression: &str) -> Vec<String> {
    let Ok(mut plan) = Plan::parse(expression) else { panic!("{expression}") };
    let given = plan.to_string();
    // Whether there is decay is no variant: the driver has it.
    if plan.entry().kind == Kind::Elementwise {
        let rule = plan.entry();
        let own = rule.hyper.iter().filter(|h| h.name != "weight_decay");
        let value = |name: &str| {
            let (_, rest) = given.split_once(&format!("{name}="))?;
            rest.split([',', ')']).next().map(|value| format!("{name}={value}"))
        };
        let own: Vec<String> = own.filter_map(|h| value(h.name)).collect();
        plan = Plan::parse(&format!("{}({})", rule.name, own.join(", "))).unwrap();
    }
    let layout = Layout::builder().tensor("w", &[2, 3], &["out", "in"], thalweg_core::Kind::Weight);
    let layout = layout.tensor("b", &[2], &["out"], thalweg_core::Kind::Bias).build();
    let mut run = Run::<f64>::new(expression, &std::sync::Arc::new(layout), &setup(), &[0.5; 8]);
    let rule = plan.entry().name;
    let mut all = match plan.entry().kind {
        Kind::Elementwise => vec![format!("{rule}: {:?}", plan.trace().formula)],
        _ => vec![format!("{rule}: {}", run.names().join(" "))],
    };
    for call in given.split(" | ") {
        let (name, values) = call.split_once('(').unwrap_or((call, ""));
        let switches = values.trim_end_matches(')').split(", ");
        let switches = switches.filter(|v| v.ends_with("=true") || v.ends_with("=false"));
        all.extend(switches.map(|switch| format!("{name}({switch})")));
    }
    all
}

/// Not only every rule: every formula, every set of memory and every switch that its settings reach, at three settings of others' runs at
/// least. Nobody else has SVRG and SAGA: `slow` has them.
#[test]
fn every_variant_has_three_recorded_settings() {
    #[derive(Deserialize)]
    struct Expressions {
        cases: Vec<Expression>,
    }
    #[derive(Deserialize)]
    struct Expression {
        expression: String,
    }
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in [PYTORCH, ELEMENTWISE, SHAPED, WHOLE, HEAVYBALL, LBFGS, MUON_BF16] {
        let Expressions { cases } = serde_json::from_str(file).unwrap();
        for Expression { expression } in cases.into_iter().filter(|c| !c.expression.starts_with("muon_or")) {
            for variant in variants(&expression) {
                seen.entry(variant).or_default().insert(expression.clone());
            }
        }
    }
    let rules = ALL.iter().filter(|e| !["svrg", "saga"].contains(&e.name)).flat_map(|e| settings(e));
    // No Shampoo but ours leaves long axes alone: `tensors` has it.
    let rules = rules.filter(|text| !text.starts_with("shampoo") || text.contains("max_dim=4096"));
    let mut wanted: BTreeSet<String> = rules.flat_map(|text| variants(&text)).collect();
    for stage in STAGES {
        let switches = stage.hyper.iter().filter(|h| h.range.is_switch());
        wanted.extend(
            switches.flat_map(|h| [false, true].map(|on| format!("{}({}={on})", stage.name, h.name))),
        );
    }
    let few: Vec<String> = wanted
        .into_iter()
        .map(|variant| (seen.get(&variant).map_or(0, BTreeSet::len), variant))
        .filter(|(recorded, _)| *recorded < 3)
        .map(|(recorded, variant)| format!("{recorded} of {variant}"))
        .collect();
    assert!(few.is_empty(), "{few:#?}");
}

/// Where a default of ours is not that of a peer, and whose or which it is.
const OTHER_DEFAULTS: [(&str, &str, &str, &str); 17] = [
    ("adamaxw", "optax", "weight_decay", "AdamW's"),
    ("nadamw", "torch", "weight_decay", "a rule of its own for the sake of the decay has some: AdamW's"),
    ("lion", "pytorch-optimizer", "weight_decay", "optax's"),
    ("sm3", "pytorch-optimizer", "momentum", "optax's"),
    ("sm3", "pytorch-optimizer", "eps", "optax's"),
    ("novograd", "pytorch-optimizer", "beta1", "optax's"),
    ("novograd", "pytorch-optimizer", "beta2", "optax's"),
    ("novograd", "pytorch-optimizer", "eps", "optax's"),
    (
        "lars",
        "optax",
        "lr",
        "of the paper's order, 1 to 10, which κ = 0.001 multiplies; optax has no default",
    ),
    ("lars", "pytorch-optimizer", "lr", "as above"),
    ("adafactor", "torch", "eps1", "the paper's; PyTorch takes the type's epsilon"),
    ("muon", "optax", "eps", "PyTorch's"),
    ("muon", "optax", "weight_decay", "PyTorch's"),
    ("muon", "optax", "bias_correction", "PyTorch's"),
    ("sophia", "pytorch-optimizer", "eps", "the paper's 10⁻¹² beside m; pytorch-optimizer's is beside h"),
    ("lbfgs", "torch", "tolerance_grad", "the loop has its own"),
    ("lbfgs", "torch", "tolerance_change", "the loop has its own"),
];

/// Every default that a peer has is ours, or stands in the list above; and what stands there differs.
#[test]
fn defaults_are_the_peers() {
    type Values = BTreeMap<String, serde_json::Value>;
    #[derive(Deserialize)]
    struct File {
        defaults: BTreeMap<String, BTreeMap<String, Values>>,
    }
    let mut differ: BTreeSet<(String, String, String)> = BTreeSet::new();
    let mut compared = 0;
    for file in [ELEMENTWISE, SHAPED, WHOLE, LBFGS] {
        let File { defaults } = serde_json::from_str(file).unwrap();
        for (rule, peers) in defaults {
            let Some(entry) = ALL.iter().find(|e| e.name == rule) else {
                assert!(STAGES.iter().any(|s| s.name == rule), "{rule}");
                continue;
            };
            for (peer, values) in peers {
                for (name, value) in values {
                    let theirs =
                        value.as_f64().unwrap_or_else(|| f64::from(u8::from(value.as_bool().unwrap())));
                    let ours = match entry.hyper.iter().find(|h| h.name == name) {
                        Some(hyper) => hyper.default,
                        None if name == "lr" => entry.lr,
                        None => panic!("{rule} has no {name}"),
                    };
                    compared += 1;
                    // The scripts multiply some of them out.
                    if (ours - theirs).abs() > 4.0 * f64::EPSILON * theirs.abs() {
                        differ.insert((rule.clone(), peer.clone(), name));
                    }
                }
            }
        }
    }
    let listed = OTHER_DEFAULTS.map(|(rule, peer, name, _)| (rule.into(), peer.into(), name.into()));
    assert_eq!(differ, BTreeSet::from(listed));
    assert!(compared > 150, "{compared} defaults");
}
