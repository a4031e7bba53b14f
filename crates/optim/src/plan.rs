//! [`Plan`]: what an optimizer expression asks for, checked and with every value filled in.

use std::fmt;
use std::sync::Arc;

use thalweg_core::expr::{self, Branch, Call, Duration, ExprError, Span, Value};
use thalweg_core::hyper::{self, Hyper};
use thalweg_core::suggest::nearest;
use thalweg_core::{Layout, Needs, Optimizer, Real, Tensor, Threads};

use crate::arithmetic::limited;
use crate::assembled::{self, Assembled, Early};
use crate::chain::accumulate::Accumulate;
use crate::chain::clip;
use crate::chain::penalty::{Terms, is_some};
use crate::chain::swa::Swa;
use crate::chain::{Make, STAGES, Stage};
use crate::format::Format;
use crate::groups::{self, GroupError};
use crate::guard::Wishes;
use crate::method::{After, Decay};
use crate::rules::{ALIASES, ALL, Build, Entry, Grown, Kind, Rest, Room, Values};
use crate::schedule::{Horizon, Schedule};
use crate::trace::{Setting, Symbol, Trace, Tracer};

/// What a [`Plan`] is built with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The length of the run.
    pub horizon: Horizon,
    /// Who works on a sweep.
    pub threads: Threads,
    /// Whether a rule's `weight_decay` reaches biases and intercepts too, as PyTorch's does.
    pub decay_biases: bool,
    /// Whether each gradient is read once before the step, so that one that is not finite writes nothing at all. Without it that
    /// pass over memory is saved, and only the coordinates that are not finite are left out.
    pub check: bool,
    /// Whether the norm of the gradient is reported where nothing else asks for it. A check, or clipping at the start of a chain, takes it
    /// anyway; else its sum goes along with the sweep, which costs arithmetic. Without it [`thalweg_core::Report::grad_norm`] is NaN there.
    pub norm: bool,
    /// Seed of noise and of rounding to compressed formats.
    pub seed: u64,
}

impl Default for Setup {
    /// One step on one thread, decay on all tensors, checked gradients and their norm, seed 0.
    fn default() -> Self {
        let horizon = Horizon { steps: 1, per_epoch: 1 };
        Self { horizon, threads: Threads::serial(), decay_biases: true, check: true, norm: true, seed: 0 }
    }
}

/// An optimizer expression, checked: chains for groups of tensors, one phase after the other.
///
/// A chain is stages before the rule, the rule, stages after it.
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
    phases: Vec<Phase>,
}

/// What runs for a part of the run.
#[derive(Clone, Debug)]
struct Phase {
    /// Chains by pattern; no pattern for the only one.
    groups: Vec<(Option<String>, ChainPlan)>,
    /// Where it ends; the last one has no end.
    until: Option<Duration>,
}

/// A rule with its values and what stands around it.
#[derive(Clone, Debug)]
struct ChainPlan {
    entry: &'static Entry,
    values: Vec<f64>,
    /// The learning rate; open until someone fills it.
    lr: Option<Schedule>,
    format: Format,
    stages: Vec<(&'static Stage, Vec<f64>)>,
}

impl Plan {
    /// Reads an optimizer expression.
    ///
    /// # Errors
    /// What is wrong and where, with a caret under the place and the nearest known name.
    pub fn parse(source: &str) -> Result<Self, ExprError> {
        let mut spec = Some(expr::parse(source)?);
        let mut phases = Vec::new();
        while let Some(now) = spec {
            let groups = match &now.branch {
                Branch::Chain(chain) => vec![(None, ChainPlan::read(&chain.0, source)?)],
                Branch::Groups(list) => {
                    let mut groups: Vec<(Option<String>, ChainPlan)> = Vec::new();
                    for (pattern, chain) in list {
                        if groups.iter().any(|(p, _)| p.as_ref() == Some(pattern)) {
                            let message = format!("the group {pattern:?} stands here twice");
                            return Err(ExprError::new(source, whole(source), message));
                        }
                        groups.push((Some(pattern.clone()), ChainPlan::read(&chain.0, source)?));
                    }
                    groups
                }
            };
            let (until, next) = match now.then {
                Some((until, then)) => (Some(until), Some(*then)),
                None => (None, None),
            };
            phases.push(Phase { groups, until });
            spec = next;
        }
        Ok(Self { phases })
    }

    fn first(&self) -> &ChainPlan {
        &self.phases[0].groups[0].1
    }

    fn all(&self) -> impl Iterator<Item = &ChainPlan> {
        self.phases.iter().flat_map(|p| p.groups.iter().map(|g| &g.1))
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut ChainPlan> {
        self.phases.iter_mut().flat_map(|p| p.groups.iter_mut().map(|g| &mut g.1))
    }

    /// Whether it is one chain for all parameters and all of the run.
    pub fn is_single(&self) -> bool {
        self.phases.len() == 1 && self.phases[0].groups.len() == 1
    }

    /// The registry's entry of the (first) rule.
    pub fn entry(&self) -> &'static Entry {
        self.first().entry
    }

    /// The learning rate of the (first) rule; open until someone fills it.
    pub fn lr(&self) -> Option<&Schedule> {
        self.first().lr.as_ref()
    }

    /// The learning rate of the (first) rule, to be changed.
    pub fn lr_mut(&mut self) -> &mut Option<Schedule> {
        &mut self.phases[0].groups[0].1.lr
    }

    /// Gives this schedule to every rule that has none.
    pub fn fill_schedule(&mut self, schedule: &Schedule) {
        self.all_mut().for_each(|chain| {
            chain.lr.get_or_insert_with(|| schedule.clone());
        });
    }

    /// Whether the rule is gradient descent without memory, whatever stands around it.
    pub fn is_plain_descent(&self) -> bool {
        self.is_single() && self.entry().name == "sgd" && self.first().values[0] == 0.0
    }

    /// The rule's name as a person would say it: `sgd`, `momentum`, `nesterov`, `adam`, …; of groups and phases, of the first.
    pub fn short_name(&self) -> &'static str {
        let values = &self.first().values;
        match self.entry().name {
            "sgd" if values[0] > 0.0 && values[3] != 0.0 => "nesterov",
            "sgd" if values[0] > 0.0 => "momentum",
            "sgd" => "gd",
            name => name,
        }
    }

    /// Fills every open learning rate, or open `lr` of a given schedule, with `lr`.
    pub fn fill_lr(&mut self, lr: f64) {
        self.all_mut().for_each(|chain| chain.fill_lr(lr));
    }

    /// Whether a number is still missing for a learning rate.
    pub fn lr_is_open(&self) -> bool {
        self.all().any(|chain| chain.lr.as_ref().is_none_or(|s| s.lr.is_none()))
    }

    /// The optimizer over parameters of this layout. An open learning rate is filled with the rule's default.
    ///
    /// # Errors
    /// Tensors that are in no group or in two, patterns that name nothing, and rules that do not work on a group.
    pub fn build<F: Build>(
        &self,
        layout: &Arc<Layout>,
        setup: &Setup,
    ) -> Result<Box<dyn Optimizer<F>>, GroupError> {
        Ok(Box::new(self.assemble(layout, setup)?))
    }

    /// Open learning rates filled with the rules' defaults.
    pub(crate) fn filled(&self) -> Self {
        let mut plan = self.clone();
        plan.all_mut().for_each(|chain| chain.fill_lr(chain.entry.lr));
        plan
    }

    /// [`Plan::build`], before it is boxed.
    pub(crate) fn assemble<F: Build>(
        &self,
        layout: &Arc<Layout>,
        setup: &Setup,
    ) -> Result<Assembled<F>, GroupError> {
        let plan = self.filled();
        for phase in 0..plan.phases.len() {
            plan.resolve(phase, layout)?;
        }
        Ok(Assembled::new(&plan, layout, setup))
    }

    /// Which chain runs over which tensors in a phase.
    fn resolve(&self, phase: usize, layout: &Layout) -> Result<Vec<Lot>, GroupError> {
        let groups = &self.phases[phase].groups;
        let patterns: Vec<Option<&str>> = groups.iter().map(|(p, _)| p.as_deref()).collect();
        let sets = groups::assign(&patterns, layout)?;
        let mut lots = Vec::new();
        for ((pattern, chain), mut tensors) in groups.iter().zip(sets) {
            let name = pattern.clone().unwrap_or_else(|| "all".into());
            if let Some(rest) = &chain.entry.rest {
                // A rule for some tensors only: the others get the rule that goes with it.
                let without = |takes: fn(&Tensor) -> bool| -> Vec<usize> {
                    tensors.iter().copied().filter(|&i| !takes(&layout.tensors()[i])).collect()
                };
                let others = without(if pattern.is_none() { rest.takes } else { rest.works });
                if pattern.is_none() {
                    tensors.retain(|i| !others.contains(i));
                    if !others.is_empty() {
                        let chain = chain.for_others(rest);
                        lots.push(Lot { group: format!("{name} others"), tensors: others, chain });
                    }
                } else if let Some(&i) = others.first() {
                    let tensor = layout.tensors()[i].name.clone();
                    return Err(GroupError::Unfit { rule: chain.entry.name, tensor, group: name });
                }
            }
            let whole =
                chain.stages.iter().find(|(s, _)| matches!(s.make, Make::Whole(..))).map(|(s, _)| s.name);
            let whole = whole.or((chain.entry.kind == Kind::Whole).then_some(chain.entry.name));
            if let Some(rule) = whole.filter(|_| tensors.len() != layout.trained().len()) {
                return Err(GroupError::NotAll { rule, group: name });
            }
            lots.push(Lot { group: name, tensors, chain: chain.clone() });
        }
        lots.retain(|lot| !lot.tensors.is_empty());
        Ok(lots)
    }

    /// The table of groups: for each phase and group the tensors, the number of parameters and the chain.
    ///
    /// # Errors
    /// As [`Plan::build`].
    pub fn groups(&self, layout: &Layout) -> Result<Vec<Group>, GroupError> {
        let mut all = Vec::new();
        for (nth, phase) in self.phases.iter().enumerate() {
            for lot in self.resolve(nth, layout)? {
                let tensors: Vec<&Tensor> = lot.tensors.iter().map(|&i| &layout.tensors()[i]).collect();
                all.push(Group {
                    until: phase.until,
                    name: lot.group,
                    tensors: tensors.iter().map(|t| t.name.clone()).collect(),
                    parameters: tensors.iter().map(|t| t.len()).sum(),
                    chain: lot.chain.to_string(),
                });
            }
        }
        Ok(all)
    }

    /// The formula of the (first) chain, traced from the code that runs.
    pub fn trace(&self) -> Trace {
        self.first().trace()
    }

    /// The formulas of all chains, in the order of phases and groups. A rule that leaves some tensors to another one is followed by
    /// that, as the group `others`.
    pub fn formulas(&self) -> Vec<Formula> {
        let mut all = Vec::new();
        for phase in &self.phases {
            for (pattern, chain) in &phase.groups {
                let one = |group: Option<String>, chain: &ChainPlan| Formula {
                    until: phase.until,
                    group,
                    chain: chain.to_string(),
                    trace: chain.trace(),
                };
                all.push(one(pattern.clone(), chain));
                if let (None, Some(rest)) = (pattern, &chain.entry.rest) {
                    all.push(one(Some("others".into()), &chain.for_others(rest)));
                }
            }
        }
        all
    }

    /// The memory of the (first) rule where it grows with the run.
    pub fn grown_memory(&self) -> Option<Grown> {
        let ChainPlan { entry, values, .. } = self.first();
        entry.memory.map(|of| of(&Values { hyper: entry.hyper, values }))
    }

    /// Whether every rule can take an l1 penalty by a proximal step.
    pub fn is_proximal(&self) -> bool {
        self.everything().all(|chain| chain.method.proximal())
    }

    /// What the optimizer will ask of the loop, over all of its rules and phases.
    pub fn needs(&self) -> Needs {
        self.everything().fold(Needs::default(), |needs, chain| needs.and(chain.needs()))
    }

    /// Whether the (first) rule finds its own step size, so that its rate is a factor of that and its default fits everywhere.
    pub fn finds_rate(&self) -> bool {
        self.everything().next().is_some_and(|chain| chain.method.finds_rate())
    }

    /// All chains, over no tensors.
    fn everything(&self) -> impl Iterator<Item = assembled::Chain<f64>> {
        self.all().map(ChainPlan::bare)
    }

    /// Bytes of memory that the optimizer keeps over this layout.
    ///
    /// # Errors
    /// As [`Plan::build`].
    pub fn memory<F: Build>(&self, layout: &Arc<Layout>) -> Result<usize, GroupError> {
        let mut optimizer = self.build::<F>(layout, &Setup::default())?;
        let mut bytes = 0;
        optimizer.visit_state(&mut |_, memory| bytes += memory.to_bytes().len());
        Ok(bytes)
    }

    /// Whether there is a phase of that number, from 0.
    pub(crate) fn has_phase(&self, phase: u64) -> bool {
        phase < self.phases.len() as u64
    }

    /// Whether what it does depends on the length of the run or of an epoch.
    pub(crate) fn needs_horizon(&self) -> bool {
        let horizons =
            [(1000, 10), (3000, 10), (1000, 70)].map(|(steps, per_epoch)| Horizon { steps, per_epoch });
        let differs = |of: &dyn Fn(Horizon) -> f64| horizons.iter().any(|&h| of(h) != of(horizons[0]));
        let ends = self.phases.iter().filter_map(|p| p.until);
        let mut rates = self.all().filter_map(|c| c.lr.clone());
        ends.into_iter().any(|end| differs(&|h| end.steps(h.steps, h.per_epoch) as f64))
            || self.all().any(|c| c.stages.iter().any(|(s, _)| matches!(s.make, Make::Swa)))
            || rates.any(|mut rate| {
                rate.lr.get_or_insert(1.0);
                [1, 2, 5, 10, 50, 100, 500, 900, 1000].iter().any(|&t| differs(&|h| rate.rate(t, h)))
            })
    }

    /// The last step of a phase; `None` for the last phase.
    pub(crate) fn end_of(&self, phase: usize, horizon: Horizon) -> Option<u64> {
        self.phases.get(phase)?.until.map(|until| until.steps(horizon.steps, horizon.per_epoch))
    }

    /// The chains of a phase. The layout has been found to fit.
    pub(crate) fn chains<F: Build>(
        &self,
        phase: usize,
        layout: &Arc<Layout>,
        setup: &Setup,
    ) -> Vec<assembled::Chain<F>> {
        self.lots(phase, layout, layout, setup).into_iter().map(|lot| lot.chain).collect()
    }

    /// The same where only the first tensors are dense, those of `dense`: the others are for somebody else.
    pub(crate) fn lots<F: Build>(
        &self,
        phase: usize,
        layout: &Layout,
        dense: &Arc<Layout>,
        setup: &Setup,
    ) -> Vec<Mixture<F>> {
        let from = if phase == 0 { 0 } else { self.end_of(phase - 1, setup.horizon).unwrap_or(0) };
        let end = self.end_of(phase, setup.horizon).unwrap_or(setup.horizon.steps);
        let horizon = Horizon { steps: end.saturating_sub(from).max(1), ..setup.horizon };
        let lots = self.resolve(phase, layout).expect("the layout fitted before");
        let several = lots.len() > 1;
        let border = dense.tensors().len();
        let chains = lots.into_iter().map(|lot| {
            let name =
                if several { format!("{}.", lot.group.replace(['/', ' '], "_")) } else { String::new() };
            let tensors: Vec<usize> = lot.tensors.iter().copied().filter(|&i| i < border).collect();
            let chain = lot.chain.build(name, &tensors, dense, horizon, from);
            Mixture { chain, text: lot.chain.to_string(), members: lot.tensors }
        });
        chains.collect()
    }
}

/// A group of a phase, of which some tensors are dense.
pub(crate) struct Mixture<F: Build> {
    /// The chain over these, by their numbers in the layout of the dense ones alone.
    pub chain: assembled::Chain<F>,
    /// Its expression.
    pub text: String,
    /// All tensors of the group.
    pub members: Vec<usize>,
}

/// A chain and the tensors it runs over.
struct Lot {
    group: String,
    tensors: Vec<usize>,
    chain: ChainPlan,
}

/// A row of [`Plan::groups`].
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The end of its phase, if it is not the last.
    pub until: Option<Duration>,
    /// The pattern, or `all`.
    pub name: String,
    /// The names of its tensors.
    pub tensors: Vec<String>,
    /// How many numbers they have.
    pub parameters: usize,
    /// The chain, all values filled in.
    pub chain: String,
}

/// A row of [`Plan::formulas`].
#[derive(Clone, Debug, PartialEq)]
pub struct Formula {
    /// The end of its phase, if it is not the last.
    pub until: Option<Duration>,
    /// The pattern; none for the only chain.
    pub group: Option<String>,
    /// The chain.
    pub chain: String,
    /// What it does in a step.
    pub trace: Trace,
}

impl ChainPlan {
    /// The chain for the tensors that its rule does not take.
    fn for_others(&self, rest: &Rest) -> Self {
        let mut other = Self::parse(rest.expression);
        other.lr = self.lr.clone().map(|lr| lr.scaled(rest.lr));
        other.stages.clone_from(&self.stages);
        other
    }

    /// What a step does, from the gradient to θ.
    fn trace(&self) -> Trace {
        let chain = self.bare();
        let (decay, how) = chain.decay;
        let setting = Setting { decay: (decay > 0.0).then_some(how), terms: chain.terms };
        let mut page = Tracer::new();
        let (mut scale, mut limit): (Symbol, Option<Symbol>) = (Symbol::one(), None);
        for (stage, _) in self.stages.iter().filter(|(s, _)| s.before) {
            match stage.make {
                Make::Clip => {
                    let factor = clip::factor(page.scalar("‖g‖"), page.scalar("max_norm"));
                    scale = page.name("c", factor);
                    limit = limit.map(|limit| limit * scale);
                }
                Make::ClipValue => limit = Some(page.scalar("clip_value")),
                Make::Penalty(_) => {}
                _ => page.say(format!("{}: {}", stage.name, stage.summary)),
            }
        }
        let limit = limit.unwrap_or(Symbol::from_f64(f64::INFINITY));
        page.change_g(limited(page.g(), scale, limit));
        chain.method.trace(&mut page, &setting);
        page.shrink_beside(setting.terms, !chain.method.elementwise());
        for (stage, _) in self.stages.iter().filter(|(s, _)| !s.before) {
            page.say(format!("{}: {}", stage.name, stage.summary));
        }
        page.done()
    }

    /// The chain over no tensors.
    fn bare(&self) -> assembled::Chain<f64> {
        let layout = Arc::new(Layout::builder().build());
        self.build(String::new(), &[], &layout, Setup::default().horizon, 0)
    }

    fn read(calls: &[Call], source: &str) -> Result<Self, ExprError> {
        let mut plan: Option<Self> = None;
        let mut stages: Vec<(&'static Stage, Vec<f64>)> = Vec::new();
        for call in calls {
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
            Some(plan) => {
                let plan = Self { stages, ..plan };
                plan.check_penalties(calls, source)?;
                Ok(plan)
            }
            None => Err(ExprError::new(source, whole(source), "a chain needs a rule, as in clip(1) | adam")),
        }
    }

    /// Refuses penalties that act in a way that the rule does not bear.
    fn check_penalties(&self, calls: &[Call], source: &str) -> Result<(), ExprError> {
        let rule = self.entry.name;
        for (stage, values) in &self.stages {
            let Make::Penalty(of) = &stage.make else { continue };
            let terms = of(&Values { hyper: stage.hyper, values });
            let why = match self.entry {
                Entry { undecoupled: Some(why), .. } if is_some(terms.decoupled) => *why,
                Entry { unsigned: Some(why), .. } if terms.coupled.l1 > 0.0 => *why,
                _ if is_some(terms.proximal) && !self.is_proximal() => {
                    "has no proximal step, which takes a rule whose step size each coordinate knows, as sgd or adam"
                }
                _ => continue,
            };
            let at = calls.iter().find(|c| c.name == stage.name).map_or(whole(source), |c| c.span);
            let others: Vec<&str> = ["coupled", "decoupled"]
                .into_iter()
                .filter(|&way| match way {
                    "coupled" => self.entry.unsigned.is_none() || stage.name == "l2",
                    _ => self.entry.undecoupled.is_none(),
                })
                .collect();
            let error = ExprError::new(source, at, format!("{rule} {why}"));
            return Err(match &others[..] {
                [] => error,
                ways => error.help(format!("it takes by={}", ways.join(" or by="))),
            });
        }
        Ok(())
    }

    /// Whether the rule can take a penalty by a proximal step.
    fn is_proximal(&self) -> bool {
        self.bare().method.proximal()
    }

    /// A chain that stands in the registry.
    fn parse(source: &'static str) -> Self {
        let plan = Plan::parse(source).unwrap_or_else(|e| panic!("{e}"));
        plan.first().clone()
    }

    fn rule(call: &Call, source: &str) -> Result<Self, ExprError> {
        let (entry, preset) = rule_of(call, source)?;
        let mut declared: Vec<Hyper> = entry.hyper.to_vec();
        for (name, x) in preset {
            declared.iter_mut().filter(|h| h.name == name).for_each(|h| h.default = x);
        }
        let mut lr = None;
        let mut format = None;
        let mut rest = Vec::new();
        for (nth, arg) in call.args.iter().enumerate() {
            let names = ["lr"].into_iter().chain(entry.hyper.iter().map(|h| h.name));
            if arg.name.as_deref() == Some("memory") {
                if format.replace(read_format(entry, arg, source)?).is_some() {
                    return Err(ExprError::new(source, arg.span, "memory is given twice"));
                }
                continue;
            }
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
        Ok(Self { entry, values, lr, format: format.unwrap_or_default(), stages: vec![] })
    }

    /// How its `weight_decay` acts.
    fn decay(&self) -> Decay {
        let no_prox = || Values { hyper: self.entry.hyper, values: &self.values }.is("no_prox");
        match self.entry.decay {
            Decay::DecoupledOrProximal if no_prox() => Decay::Decoupled,
            Decay::DecoupledOrProximal => Decay::Proximal,
            decay => decay,
        }
    }

    fn fill_lr(&mut self, lr: f64) {
        match &mut self.lr {
            Some(schedule) => {
                schedule.lr.get_or_insert(lr);
            }
            None => self.lr = Some(Schedule::constant(lr)),
        }
    }

    fn build<F: Build>(
        &self,
        name: String,
        tensors: &[usize],
        layout: &Arc<Layout>,
        horizon: Horizon,
        from: u64,
    ) -> assembled::Chain<F> {
        let list: Vec<&Tensor> = tensors.iter().map(|&i| &layout.tensors()[i]).collect();
        let decay = self.entry.hyper.iter().position(|h| h.name == "weight_decay");
        let (mut early, mut late, mut ema) = (Vec::<Early<F>>::new(), Vec::<Box<dyn After<F>>>::new(), None);
        let (mut terms, mut wishes) = (Terms::default(), Wishes::default());
        let waits =
            self.stages.iter().find(|(s, _)| matches!(s.make, Make::Accumulate)).map(|(_, v)| v[0] as u64);
        let rare = |steps: u64| steps.div_ceil(waits.unwrap_or(1));
        for (stage, values) in &self.stages {
            let named = Values { hyper: stage.hyper, values };
            match &stage.make {
                Make::Clip => early.push(Early::Clip(values[0])),
                Make::ClipValue => early.push(Early::ClipValue(values[0])),
                Make::Ema => ema = Some(values[0]),
                Make::Accumulate => {}
                Make::Penalty(of) => terms = terms.and(of(&named)),
                Make::LossScale => wishes.scale = Some([values[0], values[1], values[2], values[3]]),
                Make::Skip => wishes.skip = Some(values[0] as u64),
                Make::Rollback => wishes.rollback = Some((values[0] as u64, values[1])),
                Make::Swa => {
                    let (steps, per_epoch) = (rare(horizon.steps), rare(horizon.per_epoch));
                    late.push(Box::new(Swa::new(values[0], values[1], steps, per_epoch, &list)));
                }
                Make::Before(single, double) | Make::Whole(single, double) => {
                    early.push(Early::Pass(F::pick_before(*single, *double)(&named, &list)))
                }
                Make::After(single, double) => late.push(F::pick_after(*single, *double)(&named, &list)),
            }
        }
        assembled::Chain {
            name,
            rule: self.entry.name,
            tensors: tensors.to_vec(),
            lr: self.lr.clone().unwrap_or_else(|| Schedule::constant(self.entry.lr)),
            horizon,
            from,
            decay: (decay.map_or(0.0, |i| self.values[i]), self.decay()),
            accumulate: waits.map(|n| Accumulate::new(n, &list)),
            terms,
            wishes,
            early,
            method: self.entry.build(&self.values, &Room { tensors: &list, format: self.format }),
            late,
            ema,
            average: None,
            t: 0,
        }
    }
}

fn read_format(entry: &Entry, arg: &expr::Arg, source: &str) -> Result<Format, ExprError> {
    let names = || Format::ALL.iter().map(|(name, _)| *name);
    let wrong = |message: String| Err(ExprError::new(source, arg.value_span, message));
    let word = match &arg.value {
        Value::Call(call) if call.args.is_empty() => call.name.as_str(),
        other => {
            return wrong(format!(
                "memory takes one of {}, got {other}",
                names().collect::<Vec<_>>().join(", ")
            ));
        }
    };
    match Format::ALL.iter().find(|(name, _)| *name == word) {
        Some((_, format)) if entry.kind == Kind::Elementwise || *format == Format::Own => Ok(*format),
        Some(_) => wrong(format!("{} keeps its memory in full precision", entry.name)),
        None => wrong(format!("memory takes one of {}, got {word}", names().collect::<Vec<_>>().join(", "))),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, phase) in self.phases.iter().enumerate() {
            if nth > 0 {
                f.write_str(" then ")?;
            }
            for (i, (pattern, chain)) in phase.groups.iter().enumerate() {
                match pattern {
                    None => chain.fmt(f)?,
                    Some(pattern) => write!(f, "{}{pattern}: {chain}", if i == 0 { "{ " } else { "; " })?,
                }
            }
            if phase.groups[0].0.is_some() {
                f.write_str(" }")?;
            }
            if let Some(until) = phase.until {
                write!(f, " until {until}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for ChainPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = |(stage, values): &(&Stage, Vec<f64>)| {
            let values: Vec<_> =
                stage.hyper.iter().zip(values).map(|(h, x)| format!("{}={}", h.name, h.print(*x))).collect();
            if values.is_empty() {
                stage.name.into()
            } else {
                format!("{}({})", stage.name, values.join(", "))
            }
        };
        for s in self.stages.iter().filter(|(s, _)| s.before) {
            write!(f, "{} | ", stage(s))?;
        }
        let lr = self.lr.iter().map(|lr| format!("lr={lr}"));
        let values =
            self.entry.hyper.iter().zip(&self.values).map(|(h, x)| format!("{}={}", h.name, h.print(*x)));
        let memory = (self.format != Format::Own).then(|| format!("memory={}", self.format.name()));
        let values: Vec<String> = lr.chain(values).chain(memory).collect();
        let name = self.entry.name;
        if values.is_empty() {
            f.write_str(name)?
        } else {
            write!(f, "{name}({})", values.join(", "))?
        }
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
