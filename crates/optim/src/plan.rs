//! [`Plan`]: what an optimizer expression asks for, checked and with every value filled in.

use std::fmt;
use std::sync::Arc;

use thalweg_core::expr::{self, Branch, Call, ExprError, Span};
use thalweg_core::hyper::{self, Hyper};
use thalweg_core::suggest::nearest;
use thalweg_core::{Layout, Optimizer, Threads};

use crate::chain::{STAGES, Stage, clip, ema};
use crate::flat::Wrap;
use crate::rules::{ALIASES, ALL, Build, Decay, Entry, Values};
use crate::schedule::{Horizon, Schedule};

/// What a [`Plan`] is built with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The length of the run.
    pub horizon: Horizon,
    /// Who works on a sweep.
    pub threads: Threads,
    /// Whether a rule's `weight_decay` reaches biases and intercepts too, as PyTorch's does.
    pub decay_biases: bool,
}

/// An optimizer expression, checked: stages before the rule, the rule, stages after it.
///
/// ```
/// use thalweg_optim::Plan;
/// let plan = Plan::parse("clip(1) | momentum(lr=0.1)").unwrap();
/// assert_eq!(plan.to_string(), "clip(max_norm=1) | sgd(lr=0.1, momentum=0.9, dampening=0, weight_decay=0, nesterov=false)");
/// let error = Plan::parse("adma(lr=0.1)").unwrap_err().to_string();
/// assert!(error.ends_with("^^^^ did you mean \"adam\"?"));
/// ```
#[derive(Clone, Debug)]
pub struct Plan {
    entry: &'static Entry,
    values: Vec<f64>,
    /// The learning rate; open until someone fills it.
    pub lr: Option<Schedule>,
    stages: Vec<(&'static Stage, Vec<f64>)>,
}

impl Plan {
    /// Reads an optimizer expression.
    ///
    /// # Errors
    /// What is wrong and where, with a caret under the place and the nearest known name.
    pub fn parse(source: &str) -> Result<Self, ExprError> {
        let spec = expr::parse(source)?;
        let chain = match (&spec.branch, &spec.then) {
            (Branch::Chain(chain), None) => chain,
            (Branch::Groups(_), _) => {
                return Err(ExprError::new(source, whole(source), "groups of parameters are not built yet"));
            }
            (_, Some(_)) => {
                return Err(ExprError::new(source, whole(source), "\"until … then\" is not built yet"));
            }
        };
        let mut plan: Option<Self> = None;
        let mut stages: Vec<(&'static Stage, Vec<f64>)> = Vec::new();
        for call in &chain.0 {
            if let Some(stage) = STAGES.iter().find(|s| s.name == call.name) {
                let misplaced = match (stage.before, plan.is_some()) {
                    (true, true) => Some("before"),
                    (false, false) => Some("after"),
                    _ => None,
                };
                if let Some(place) = misplaced {
                    let message = format!("{} stands {place} the rule", stage.name);
                    return Err(ExprError::new(source, call.span, message));
                }
                if stages.iter().any(|(s, _)| s.name == stage.name) {
                    return Err(ExprError::new(
                        source,
                        call.span,
                        format!("{} stands here twice", stage.name),
                    ));
                }
                stages.push((stage, hyper::resolve(call, stage.hyper, source)?));
            } else if plan.is_some() {
                let known = rule_of(call, source).is_ok();
                let message = if known { "a chain has one rule" } else { "there is no such rule or stage" };
                return Err(ExprError::new(source, call.span, message).help(suggest(&call.name)));
            } else {
                plan = Some(Self::rule(call, source)?);
            }
        }
        match plan {
            Some(plan) => Ok(Self { stages, ..plan }),
            None => Err(ExprError::new(source, whole(source), "a chain needs a rule, as in clip(1) | adam")),
        }
    }

    fn rule(call: &Call, source: &str) -> Result<Self, ExprError> {
        let (entry, preset) = rule_of(call, source)?;
        let mut declared: Vec<Hyper> = entry.hyper.to_vec();
        for (name, x) in preset {
            declared.iter_mut().filter(|h| h.name == name).for_each(|h| h.default = x);
        }
        let mut lr = None;
        let mut rest = Vec::new();
        for (nth, arg) in call.args.iter().enumerate() {
            let names = ["lr"].into_iter().chain(entry.hyper.iter().map(|h| h.name));
            let place = hyper::place_of(call, arg, nth, names.clone(), source)?;
            if place > 0 {
                // Named, so that the places after lr count on from it.
                let name = names.clone().nth(place).map(str::to_string);
                rest.push(expr::Arg { name, ..arg.clone() });
            } else if lr.replace(Schedule::from_value(&arg.value, arg.value_span, source)?).is_some() {
                return Err(ExprError::new(source, arg.span, "lr is given twice"));
            }
        }
        let values = hyper::resolve(&Call { args: rest, ..call.clone() }, &declared, source)?;
        if let Some((name, why)) = (entry.conflict)(&Values { hyper: entry.hyper, values: &values }) {
            let at = call.args.iter().find(|a| a.name.as_deref() == Some(name)).map_or(call.span, |a| a.span);
            return Err(ExprError::new(source, at, why));
        }
        Ok(Self { entry, values, lr, stages: vec![] })
    }

    /// The registry's entry of the rule.
    pub fn entry(&self) -> &'static Entry {
        self.entry
    }

    /// Whether the rule is gradient descent without memory, whatever stands around it.
    pub fn is_plain_descent(&self) -> bool {
        self.entry.name == "sgd" && self.values[0] == 0.0
    }

    /// The rule's name as a person would say it: `sgd`, `momentum`, `nesterov`, `adam`, …
    pub fn short_name(&self) -> &'static str {
        match self.entry.name {
            "sgd" if self.values[0] > 0.0 && self.values[3] != 0.0 => "nesterov",
            "sgd" if self.values[0] > 0.0 => "momentum",
            "sgd" => "gd",
            name => name,
        }
    }

    /// Fills an open learning rate, or an open `lr` of a given schedule, with `lr`.
    pub fn fill_lr(&mut self, lr: f64) {
        match &mut self.lr {
            Some(schedule) => {
                schedule.lr.get_or_insert(lr);
            }
            None => self.lr = Some(Schedule::constant(lr)),
        }
    }

    /// Whether a number is still missing for the learning rate.
    pub fn lr_is_open(&self) -> bool {
        self.lr.as_ref().is_none_or(|s| s.lr.is_none())
    }

    /// The optimizer over parameters of this layout. An open learning rate is filled with the rule's default.
    pub fn build<F: Build>(&self, layout: &Arc<Layout>, setup: &Setup) -> Box<dyn Optimizer<F>> {
        let mut plan = self.clone();
        plan.fill_lr(self.entry.lr);
        let of = |stage: &Stage| self.stages.iter().find(|(s, _)| s.name == stage.name).map(|(_, v)| v[0]);
        let decay = self.entry.hyper.iter().position(|h| h.name == "weight_decay");
        let wrap = Wrap {
            expression: plan.to_string(),
            lr: plan.lr.unwrap_or_else(|| Schedule::constant(self.entry.lr)),
            horizon: setup.horizon,
            weight_decay: decay.map_or(0.0, |i| self.values[i]),
            decoupled: self.entry.decay == Decay::Decoupled,
            decay_biases: setup.decay_biases,
            clip: of(&clip::CLIP),
            clip_value: of(&clip::CLIP_VALUE),
            value_first: self.stages.first().is_some_and(|(s, _)| s.name == clip::CLIP_VALUE.name),
            ema: of(&ema::EMA),
            threads: setup.threads.clone(),
        };
        self.entry.build(&self.values, wrap, layout)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = |(stage, values): &(&Stage, Vec<f64>)| {
            let values: Vec<_> =
                stage.hyper.iter().zip(values).map(|(h, x)| format!("{}={}", h.name, h.print(*x))).collect();
            format!("{}({})", stage.name, values.join(", "))
        };
        for s in self.stages.iter().filter(|(s, _)| s.before) {
            write!(f, "{} | ", stage(s))?;
        }
        let lr = self.lr.iter().map(|lr| format!("lr={lr}"));
        let values =
            self.entry.hyper.iter().zip(&self.values).map(|(h, x)| format!("{}={}", h.name, h.print(*x)));
        write!(f, "{}({})", self.entry.name, lr.chain(values).collect::<Vec<_>>().join(", "))?;
        for s in self.stages.iter().filter(|(s, _)| !s.before) {
            write!(f, " | {}", stage(s))?;
        }
        Ok(())
    }
}

/// Values that an alias sets, by name.
type Preset = Vec<(String, f64)>;

/// The entry that a call names, and the values that an alias presets.
fn rule_of(call: &Call, source: &str) -> Result<(&'static Entry, Preset), ExprError> {
    if let Some((_, stands_for, _)) = ALIASES.iter().find(|(name, ..)| *name == call.name) {
        let inner = expr::parse_call(stands_for)?;
        let (entry, _) = rule_of(&inner, stands_for)?;
        let values = hyper::resolve(&inner, entry.hyper, stands_for)?;
        let named = entry.hyper.iter().map(|h| h.name.to_string()).zip(values);
        return Ok((entry, named.collect()));
    }
    match ALL.iter().find(|e| e.name == call.name) {
        Some(entry) => Ok((entry, vec![])),
        None => {
            let message = format!("there is no optimizer {:?}", call.name);
            Err(ExprError::new(source, call.span, message).help(suggest(&call.name)))
        }
    }
}

fn suggest(name: &str) -> String {
    let names =
        || ALL.iter().map(|e| e.name).chain(ALIASES.iter().map(|a| a.0)).chain(STAGES.iter().map(|s| s.name));
    match nearest(name, names()) {
        Some(near) if near != name => format!("did you mean {near:?}?"),
        _ => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
    }
}

fn whole(source: &str) -> Span {
    Span { start: 0, end: source.len() }
}
