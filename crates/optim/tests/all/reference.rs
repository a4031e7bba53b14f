//! Our own slow reference: each rule from its paper's formulas, one coordinate at a time, without the driver, in numbers
//! that carry a bound of their rounding errors. Where the papers and PyTorch differ it is PyTorch's form (the rules' files
//! say where that is).

use std::ops::{Add, Div, Mul, Neg, Sub};

use thalweg_core::expr::{self, Branch, Call, Value};
use thalweg_core::hyper;
use thalweg_optim::chain::STAGES;
use thalweg_optim::rules::ALL;

/// The rules that are written here a second time. The others are held to recorded runs alone.
pub const RULES: [&str; 6] = ["sgd", "adagrad", "rmsprop", "adam", "amsgrad", "adamw"];

/// What rounding does in a float type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// The distance from 1 to the next number: twice the largest relative error of a rounding.
    relative: f64,
    /// The smallest subnormal number.
    absolute: f64,
}

pub const F64: Unit = Unit { relative: f64::EPSILON, absolute: 5e-324 };
pub const F32: Unit = Unit { relative: f32::EPSILON as f64, absolute: 1.5e-45 };

/// What a step starts from: θ, three numbers of memory and the average.
const STATE: usize = 5;

/// A number on its way through one step: how far two implementations of its formula can be apart when both start the step
/// from the same state, and its derivatives by that state.
///
/// With u = ε/2 the largest relative error of one rounding, each operation charges 4u times the magnitude of its result, for
/// a sum that of its operands: one u for each of the two implementations, and as much again for the order of operations. (A
/// moment, for instance, is `β·m + (1 − β)·g` here and `m + (1 − β)·(g − m)` in PyTorch; both err by less than
/// 3u·(|β·m| + |(1 − β)·g|), while the two products and the sum charge 8u of it.) What the operands were off is passed on
/// by the operation's derivative, without assuming anything to cancel. Where a root or a divisor is not known to a quarter of
/// itself, derivatives say nothing, and a bound without them takes their place: √(x + off), and none for the quotient.
#[derive(Clone, Copy, Debug)]
pub struct Near {
    x: f64,
    off: f64,
    by: [f64; STATE],
    /// How far the state may be off.
    past: [f64; STATE],
    unit: Unit,
}

impl Near {
    /// A number that both implementations have exactly.
    pub fn exact(x: f64, unit: Unit) -> Self {
        Self { x, off: 0.0, by: [0.0; STATE], past: [0.0; STATE], unit }
    }
    /// A number that each implementation rounds once.
    pub fn rounded(x: f64, unit: Unit) -> Self {
        Self::exact(x, unit).charge(x)
    }
    /// The same number, rounded into another type.
    fn cast(self, unit: Unit) -> Self {
        Self { unit, ..self }.charge(self.x)
    }
    fn charge(self, magnitude: f64) -> Self {
        Self { off: self.off + 2.0 * self.unit.relative * magnitude.abs() + self.unit.absolute, ..self }
    }
    /// f(self, other) = x, with the derivatives p and q by the two.
    fn of(self, other: Self, x: f64, p: f64, q: f64) -> Self {
        let unit = if self.unit.relative > other.unit.relative { self.unit } else { other.unit };
        let by = std::array::from_fn(|k| p * self.by[k] + q * other.by[k]);
        let past = std::array::from_fn(|k| self.past[k].max(other.past[k]));
        Self { x, off: p.abs() * self.off + q.abs() * other.off, by, past, unit }
    }
    /// How far it may be off in all.
    fn doubt(self) -> f64 {
        self.off
            + self
                .by
                .iter()
                .zip(self.past)
                .map(|(d, off)| if *d == 0.0 { 0.0 } else { d.abs() * off })
                .sum::<f64>()
    }
    fn sqrt(self) -> Self {
        let (root, doubt) = (self.x.sqrt(), self.doubt());
        if doubt > 0.25 * self.x {
            return Self { x: root, off: (self.x + doubt).sqrt(), by: [0.0; STATE], ..self }.charge(root);
        }
        let slope = if root > 0.0 { 0.5 / root } else { 0.0 };
        Self { x: root, off: slope * self.off, by: self.by.map(|d| slope * d), ..self }.charge(root)
    }
    /// The larger of two.
    fn max(self, other: Self) -> Self {
        let larger = if self.x > other.x { self } else { other };
        Self { off: self.off.max(other.off), ..larger }
    }
    /// The smaller of two.
    fn min(self, other: Self) -> Self {
        -(-self).max(-other)
    }
    /// a/b, and 0 for 0/0: with ε = 0 a coordinate that has had no gradient stays where it is.
    fn over(self, other: Self) -> Self {
        if other.x != 0.0 {
            return self / other;
        }
        // Zeros all the way carry no more than their absolute charges.
        let dead = self.x == 0.0 && self.doubt() < 1e6 * self.unit.absolute;
        Self { x: 0.0, off: if dead { 0.0 } else { f64::INFINITY }, ..self }
    }
}

impl Neg for Near {
    type Output = Self;
    fn neg(self) -> Self {
        Self { x: -self.x, by: self.by.map(|d| -d), ..self }
    }
}

impl Add for Near {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.of(other, self.x + other.x, 1.0, 1.0).charge(self.x.abs() + other.x.abs())
    }
}

impl Sub for Near {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Near {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let x = self.x * other.x;
        self.of(other, x, other.x, self.x).charge(x)
    }
}

impl Div for Near {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let x = self.x / other.x;
        if other.doubt() > 0.25 * other.x.abs() {
            return self.of(other, x, 0.0, 0.0).charge(f64::INFINITY);
        }
        self.of(other, x, 1.0 / other.x, -x / other.x).charge(x)
    }
}

/// What one coordinate remembers.
#[derive(Clone, Copy)]
struct Memory {
    /// The mean or the sum of gradients.
    m: Near,
    /// The mean or the sum of their squares.
    v: Near,
    /// The largest v, or the mean gradient of centred RMSProp.
    w: Near,
}

/// A coordinate between two steps. To first order in u, what a step is off reaches the end of the run through the product of
/// the later steps' derivatives; the bound is the sum of those effects' magnitudes.
#[derive(Clone)]
struct Coordinate {
    /// θ, m, v, w, average.
    x: [f64; STATE],
    /// What each number of each step so far was off, as it is felt now.
    off: Vec<[f64; STATE]>,
}

impl Coordinate {
    /// The state as a step sees it.
    fn state(&self, unit: Unit) -> [Near; STATE] {
        let by = |k| std::array::from_fn(|j| f64::from(u8::from(j == k)));
        let past = std::array::from_fn(|k| self.bound(k));
        std::array::from_fn(|k| Near { x: self.x[k], off: 0.0, by: by(k), past, unit })
    }
    fn accept(&mut self, new: [Near; STATE]) {
        for off in &mut self.off {
            *off = new.map(|n| n.by.iter().zip(*off).map(|(d, o)| if *d == 0.0 { 0.0 } else { d * o }).sum());
        }
        for (k, n) in new.iter().enumerate() {
            self.x[k] = n.x;
            let mut off = [0.0; STATE];
            off[k] = n.off;
            self.off.push(off);
        }
    }
    fn bound(&self, k: usize) -> f64 {
        self.off.iter().map(|off| off[k].abs()).sum()
    }
}

/// A run of a chain by its formulas.
pub struct Reference {
    name: String,
    values: Vec<(&'static str, f64)>,
    lr: f64,
    clip: Option<f64>,
    clip_value: Option<f64>,
    value_first: bool,
    ema: Option<f64>,
    unit: Unit,
    coordinates: Vec<Coordinate>,
    t: u32,
    /// The objective's `l2/2·θ²`, for each coordinate.
    pub l2: Vec<f64>,
}

impl Reference {
    /// The chain at its start, read by the language's parser and the declarations alone.
    pub fn new(expression: &str, theta: &[f64], unit: Unit) -> Self {
        let spec = expr::parse(expression).unwrap();
        let Branch::Chain(chain) = spec.branch else { panic!("{expression} is not a chain") };
        let stages: Vec<(&str, f64)> = chain
            .0
            .iter()
            .filter_map(|call| {
                let stage = STAGES.iter().find(|s| s.name == call.name)?;
                Some((stage.name, *hyper::resolve(call, stage.hyper, expression).unwrap().first()?))
            })
            .collect();
        let of = |name: &str| stages.iter().find(|s| s.0 == name).map(|s| s.1);
        let call = chain.0.iter().find(|c| STAGES.iter().all(|s| s.name != c.name)).unwrap();
        let entry = ALL.iter().find(|e| e.name == call.name).unwrap();
        let (lr, rest): (Vec<_>, Vec<_>) =
            call.args.iter().cloned().partition(|a| a.name.as_deref() == Some("lr"));
        let lr = match lr.first().map(|a| &a.value) {
            Some(Value::Number(x)) => *x,
            None => entry.lr,
            _ => panic!("{expression}: the reference takes a number for lr"),
        };
        let values = hyper::resolve(&Call { args: rest, ..call.clone() }, entry.hyper, expression).unwrap();
        let mut reference = Self {
            name: call.name.clone(),
            values: entry.hyper.iter().map(|h| h.name).zip(values).collect(),
            lr,
            clip: of("clip"),
            clip_value: of("clip_value"),
            value_first: stages.first().is_some_and(|s| s.0 == "clip_value"),
            ema: of("ema"),
            unit,
            coordinates: vec![],
            t: 0,
            l2: vec![0.0; theta.len()],
        };
        let v = reference.try_get("initial_accumulator_value").unwrap_or(0.0);
        for &theta in theta {
            let mut coordinate = Coordinate { x: [0.0; STATE], off: vec![] };
            coordinate.accept([theta, 0.0, v, 0.0, 0.0].map(|x| reference.given(x)));
            reference.coordinates.push(coordinate);
        }
        reference
    }

    /// A number that comes from outside: exact in f64, rounded in f32.
    fn given(&self, x: f64) -> Near {
        if self.unit == F64 { Near::exact(x, F64) } else { Near::rounded(x, self.unit) }
    }

    /// θ of coordinate `i`, and how far an implementation may be from it.
    pub fn theta(&self, i: usize) -> (f64, f64) {
        (self.coordinates[i].x[0], self.coordinates[i].bound(0))
    }

    /// The average of coordinate `i`, likewise.
    pub fn average(&self, i: usize) -> (f64, f64) {
        (self.coordinates[i].x[4], self.coordinates[i].bound(4))
    }

    /// Whether some number may be beyond `limit`.
    pub fn beyond(&self, limit: f64) -> bool {
        let most = |c: &Coordinate, k: usize| c.x[k].abs() + c.bound(k);
        let far = |c: &Coordinate| (0..STATE).any(|k| most(c, k).is_nan() || most(c, k) >= limit);
        self.coordinates.iter().any(far)
    }

    fn try_get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|v| v.0 == name).map(|v| v.1)
    }

    fn get(&self, name: &str) -> f64 {
        self.try_get(name).unwrap()
    }

    /// A step with gradients that are exact in f64.
    pub fn step(&mut self, gradient: &[f64]) {
        let gradient: Vec<Near> = gradient.iter().map(|&g| self.given(g)).collect();
        self.step_near(&gradient);
    }

    pub fn step_near(&mut self, gradient: &[Near]) {
        self.t += 1;
        let mut gradient = gradient.to_vec();
        if self.value_first {
            self.cut(&mut gradient);
        }
        if let Some(max) = self.clip {
            let zero = Near::exact(0.0, self.unit);
            let norm = gradient.iter().fold(zero, |sum, &g| sum + g * g).sqrt();
            let max = Near::rounded(max, self.unit);
            let factor = (max / (norm + Near::rounded(1e-6, self.unit))).min(Near::exact(1.0, self.unit));
            gradient.iter_mut().for_each(|g| *g = *g * factor);
        }
        if !self.value_first {
            self.cut(&mut gradient);
        }
        for (i, &g) in gradient.iter().enumerate() {
            let [theta, m, v, w, average] = self.coordinates[i].state(self.unit);
            let (theta, Memory { m, v, w }) =
                self.coordinate(theta, g + Near::rounded(self.l2[i], self.unit) * theta, Memory { m, v, w });
            let average = match self.ema {
                Some(decay) if self.t > 1 => {
                    let (stays, moves) =
                        (Near::rounded(decay, self.unit), Near::rounded(1.0 - decay, self.unit));
                    stays * average + moves * theta
                }
                _ => theta,
            };
            self.coordinates[i].accept([theta, m, v, w, average]);
        }
    }

    fn cut(&self, gradient: &mut [Near]) {
        if let Some(limit) = self.clip_value {
            let limit = Near::rounded(limit, self.unit);
            gradient.iter_mut().for_each(|g| *g = g.min(limit).max(-limit));
        }
    }

    /// The new θ and memory of one coordinate.
    fn coordinate(&self, theta: Near, g: Near, old: Memory) -> (Near, Memory) {
        let unit = self.unit;
        let given = |x: f64| Near::rounded(x, unit);
        let lr = given(self.lr);
        match self.name.as_str() {
            "sgd" => {
                let g = g + given(self.get("weight_decay")) * theta;
                let mu = self.get("momentum");
                if mu == 0.0 {
                    return (theta - lr * g, old);
                }
                // b₁ = g₁;  bₜ = μ bₜ₋₁ + (1 − τ) gₜ
                let share = if self.t == 1 { 1.0 } else { 1.0 - self.get("dampening") };
                let m = given(mu) * old.m + given(share) * g;
                let u = if self.get("nesterov") == 1.0 { g + given(mu) * m } else { m };
                (theta - lr * u, Memory { m, ..old })
            }
            "adagrad" => {
                let g = g + given(self.get("weight_decay")) * theta;
                let v = old.v + g * g;
                let past = f64::from(self.t - 1) * self.get("lr_decay");
                let lr = (Near::exact(self.lr, F64) / Near::rounded(1.0 + past, F64)).cast(unit);
                (theta - lr * g.over(v.sqrt() + given(self.get("eps"))), Memory { v, ..old })
            }
            "rmsprop" => {
                let g = g + given(self.get("weight_decay")) * theta;
                let (stays, enters) = (given(self.get("alpha")), given(1.0 - self.get("alpha")));
                let v = stays * old.v + enters * g * g;
                let w = stays * old.w + enters * g;
                let variance =
                    if self.get("centered") == 1.0 { (v - w * w).max(Near::exact(0.0, unit)) } else { v };
                let d = g.over(variance.sqrt() + given(self.get("eps")));
                // bₜ = μ bₜ₋₁ + g/d
                let mu = self.get("momentum");
                let m = if mu == 0.0 { d } else { given(mu) * old.m + d };
                (theta - lr * m, Memory { m, v, w })
            }
            "adam" | "amsgrad" | "adamw" => {
                let decay = self.get("weight_decay");
                let (g, theta) = if self.name == "adamw" {
                    (g, given(1.0 - self.lr * decay) * theta)
                } else {
                    (g + given(decay) * theta, theta)
                };
                let (b1, b2) = (self.get("beta1"), self.get("beta2"));
                let m = given(b1) * old.m + given(1.0 - b1) * g;
                let v = given(b2) * old.v + given(1.0 - b2) * g * g;
                let w = old.w.max(v);
                // 1 − βᵗ; the power is within an ulp in any library.
                let start =
                    |b: f64| Near::exact(1.0, F64) - Near::rounded(libm::pow(b, f64::from(self.t)), F64);
                let mean = m * (Near::exact(self.lr, F64) / start(b1)).cast(unit);
                let square = (Near::exact(1.0, F64) / start(b2)).cast(unit)
                    * if self.name == "amsgrad" { w } else { v };
                let u = mean.over(square.sqrt() + given(self.get("eps")));
                (theta - u, Memory { m, v, w })
            }
            other => panic!("write the formulas of {other} here"),
        }
    }
}
