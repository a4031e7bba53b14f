//! [`Trace`]: a rule's formula, read off the code that runs.
//!
//! The functions that move one parameter are run once on symbols in place of numbers: [`Rule::coef`] and [`Rule::element`], what
//! the driver does around them, and the loops of rules that look at more than a coordinate. What comes out is written down, its
//! operations and bytes are counted: documentation made from it cannot drift from the code. What such rules do to whole tensors
//! between those loops is said in words, which stand beside that code.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::{Add, Div, Mul, Neg, Sub};

use thalweg_core::Real;

use crate::arithmetic::{added, coupled, proximal};
use crate::chain::penalty::{Terms, beside, with_sign};
use crate::method::Decay;
use crate::rule::{Rule, Scalar, When};

/// A line of a formula.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// An assignment, or words.
    pub text: String,
    /// Whether it was traced from the code.
    pub traced: bool,
}

/// A rule's formula and what a step of one parameter costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// One assignment a line, in order: scalars, memory, θ. Names on the right of an assignment are the values so far.
    pub formula: Vec<Line>,
    /// The memory of which every parameter has a number, by name.
    pub memory: Vec<&'static str>,
    /// Additions, subtractions, multiplications and negations of one parameter, what the driver does around the rule included.
    pub simple: usize,
    /// Divisions.
    pub divisions: usize,
    /// Roots and other powers.
    pub roots: usize,
    /// Comparisons and choices.
    pub choices: usize,
}

impl Trace {
    /// The formula of a rule with nothing around it: θ ← θ + u.
    pub fn of<R: Rule<S>, const S: usize>() -> Self {
        let mut page = Tracer::new();
        let (_, u, _) = page.rule::<R, S>();
        let next = page.theta() + u;
        page.step_to(next);
        page.done()
    }

    /// The lines as text.
    pub fn lines(&self) -> Vec<&str> {
        self.formula.iter().map(|line| &line.text[..]).collect()
    }

    /// Whether every line was traced from the code.
    pub fn is_whole(&self) -> bool {
        self.formula.iter().all(|line| line.traced)
    }

    /// Whether no line was.
    pub fn is_words(&self) -> bool {
        self.formula.iter().all(|line| !line.traced)
    }

    /// Bytes that a step of one parameter reads and writes, with numbers of `size` bytes: θ and the memory both ways, and the
    /// gradient, which is also written where it is zeroed.
    pub fn bytes(&self, size: usize, zeroed: bool) -> usize {
        size * (3 + usize::from(zeroed) + 2 * self.memory.len())
    }
}

/// What decays θ around a rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// How the rule's own `weight_decay` acts, where it is not 0.
    pub decay: Option<Decay>,
    /// The penalties of the chain.
    pub terms: Terms,
}

impl Setting {
    /// λ of the rule's own decay, or 0.
    pub fn decay(&self) -> Symbol {
        if self.decay.is_some() { Symbol::variable("weight_decay") } else { Symbol::zero() }
    }

    /// λ of the rule's own decay if it acts that way, or 0.
    fn decay_if(&self, how: impl Fn(Decay) -> bool) -> Symbol {
        if self.decay.is_some_and(how) { self.decay() } else { Symbol::zero() }
    }
}

fn strength(name: &'static str, x: f64) -> Symbol {
    if x > 0.0 { Symbol::variable(name) } else { Symbol::zero() }
}

/// Runs code on symbols and writes down what it assigns.
pub(crate) struct Tracer {
    theta: Symbol,
    grad: Symbol,
    lr: Symbol,
    memory: Vec<&'static str>,
    /// What each parameter has its own of.
    leaves: Vec<usize>,
    /// What is computed of them.
    roots: Vec<usize>,
    /// Values that a name stands for by now.
    assigned: HashMap<usize, &'static str>,
    /// Variables whose name stands for another value by now.
    old: Vec<usize>,
    lines: Vec<Line>,
}

impl Tracer {
    /// A page with θ, g and the rate on it. There is one at a time on a thread.
    pub fn new() -> Self {
        GRAPH.with_borrow_mut(Graph::clear);
        let [theta, grad, lr] = ["θ", "g", "lr"].map(Symbol::variable);
        Self {
            theta,
            grad,
            lr,
            memory: vec![],
            leaves: vec![theta.0, grad.0],
            roots: vec![],
            assigned: HashMap::new(),
            old: vec![],
            lines: vec![],
        }
    }

    /// θ so far.
    pub fn theta(&self) -> Symbol {
        self.theta
    }

    /// The gradient so far.
    pub fn g(&self) -> Symbol {
        self.grad
    }

    /// The learning rate.
    pub fn lr(&self) -> Symbol {
        self.lr
    }

    /// A number that all parameters share: a hyperparameter, the step, a sum.
    pub fn scalar(&self, name: &'static str) -> Symbol {
        Symbol::variable(name)
    }

    /// A number of memory that each parameter has.
    pub fn slot(&mut self, name: &'static str) -> Symbol {
        let slot = self.each(name);
        self.memory.push(name);
        slot
    }

    /// Another number that each parameter has its own of.
    pub fn each(&mut self, name: &'static str) -> Symbol {
        let value = Symbol::variable(name);
        self.leaves.push(value.0);
        value
    }

    /// Words, as a line of their own.
    pub fn say(&mut self, text: impl Into<String>) {
        self.lines.push(Line { text: text.into(), traced: false });
    }

    /// `name` is another value from now on.
    pub fn assign(&mut self, name: &'static str, before: Symbol, after: Symbol) {
        if before == after {
            return;
        }
        let text = self.write(after);
        self.old.push(before.0);
        // What is written as the name itself is the same value: multiplied by 1, say.
        if text != name {
            self.lines.push(Line { text: format!("{name} ← {text}"), traced: true });
        }
        self.assigned.insert(after.0, name);
        self.roots.push(after.0);
    }

    /// Gives a value a name.
    pub fn name(&mut self, name: &'static str, value: Symbol) -> Symbol {
        self.lines.push(Line { text: format!("{name} ← {}", self.write(value)), traced: true });
        self.assigned.insert(value.0, name);
        self.roots.push(value.0);
        value
    }

    /// Names the sum of a term over all parameters.
    pub fn sum(&mut self, name: &'static str, term: Symbol) -> Symbol {
        let text = GRAPH.with_borrow(|graph| self.page(graph).within(term.0, Tight::Product));
        self.lines.push(Line { text: format!("{name} ← Σ {text}"), traced: true });
        self.roots.push(term.0);
        Symbol::variable(name)
    }

    /// θ is another value from now on.
    pub fn step_to(&mut self, theta: Symbol) {
        self.assign("θ", self.theta, theta);
        self.theta = theta;
    }

    /// g is another value from now on.
    pub fn change_g(&mut self, grad: Symbol) {
        self.assign("g", self.grad, grad);
        self.grad = grad;
    }

    /// The coefficients, the update and the new memory of a rule, scalars and memory written down.
    pub fn rule<R: Rule<S>, const S: usize>(&mut self) -> (R::Coef<Symbol>, Symbol, [Symbol; S]) {
        let when = When { t: self.scalar("t"), lr: self.lr };
        self.rule_at::<R, S>(when, &[])
    }

    /// The same at another rate, with some hyperparameters set.
    pub fn rule_at<R: Rule<S>, const S: usize>(
        &mut self,
        when: When<Symbol>,
        set: &[(&str, Symbol)],
    ) -> (R::Coef<Symbol>, Symbol, [Symbol; S]) {
        let value = |name: &'static str| match set.iter().find(|(set, _)| *set == name) {
            Some((_, value)) => *value,
            None => Symbol::variable(name),
        };
        let hyper: Vec<Symbol> = R::HYPER.iter().map(|h| value(h.name)).collect();
        let scalars: Vec<Symbol> = R::SCALARS.iter().map(|s| self.scalar(s.0)).collect();
        let mut after = scalars.clone();
        let coef = R::coef(&R::with(&hyper), when, &mut after);
        let slots: [Symbol; S] = std::array::from_fn(|k| self.slot(R::STATE[k].name));
        let (u, new) = R::element(&coef, self.theta, self.grad, slots);
        for ((before, after), (name, _)) in scalars.into_iter().zip(after).zip(R::SCALARS) {
            self.assign(name, before, after);
        }
        for ((before, after), slot) in slots.into_iter().zip(new).zip(R::STATE) {
            self.assign(slot.name, before, after);
        }
        (coef, u, new)
    }

    /// What the gradient of a penalty and coupled decay make of g; of the rule's own decay if `own`.
    pub fn couple(&mut self, setting: &Setting, own: bool) {
        if setting.terms.coupled.l1 > 0.0 {
            self.change_g(with_sign(self.grad, self.scalar("l1"), self.theta));
        }
        let own = if own { setting.decay_if(|how| how == Decay::Coupled) } else { Symbol::zero() };
        self.change_g(coupled(self.grad, strength("l2", setting.terms.coupled.l2) + own, self.theta));
    }

    /// θ ← θ + u with the driver's decay around it.
    pub fn move_by(&mut self, u: Symbol, setting: &Setting) {
        let how = setting.decay.unwrap_or(Decay::Coupled);
        let decay = setting.decay_if(|how| how != Decay::Coupled);
        let (keep, moved) = how.factors(self.lr, decay, strength("l2", setting.terms.decoupled.l2));
        self.step_to(added(self.theta, u, keep, moved));
    }

    /// The proximal step, at the coordinate's own step size.
    pub fn shrink(&mut self, metric: Symbol, terms: Terms) {
        let (l1, l2) = (strength("l1", terms.proximal.l1), strength("l2", terms.proximal.l2));
        if terms.proximal.l1 > 0.0 || terms.proximal.l2 > 0.0 {
            self.step_to(proximal(self.theta, metric, l1, l2));
        }
    }

    /// The decoupled penalty behind the rule; `l2` where the driver's sweep has not seen to it.
    pub fn shrink_beside(&mut self, terms: Terms, l2: bool) {
        let l2 = if l2 { terms.decoupled.l2 } else { 0.0 };
        if terms.decoupled.l1 > 0.0 || l2 > 0.0 {
            let stay = Symbol::one() - self.lr * strength("l2", l2);
            let by = self.lr * strength("l1", terms.decoupled.l1);
            self.step_to(beside(self.theta, stay, by));
        }
    }

    /// The formula and its cost.
    pub fn done(self) -> Trace {
        GRAPH.with_borrow(|graph| {
            let mut trace = Trace {
                formula: self.lines,
                memory: self.memory,
                simple: 0,
                divisions: 0,
                roots: 0,
                choices: 0,
            };
            for node in graph.between(&self.roots, &self.leaves) {
                match node {
                    Node::Two(Two::Divide, ..) => trace.divisions += 1,
                    Node::Root(_) | Node::Two(Two::Power, ..) => trace.roots += 1,
                    Node::Less(..) | Node::Select(..) => trace.choices += 1,
                    Node::Two(..) | Node::Negative(_) | Node::Absolute(_) => trace.simple += 1,
                    Node::Variable(_) | Node::Constant(_) => {}
                }
            }
            trace
        })
    }

    fn write(&self, value: Symbol) -> String {
        GRAPH.with_borrow(|graph| self.page(graph).write(value.0).0)
    }

    fn page<'a>(&'a self, graph: &'a Graph) -> Page<'a> {
        Page { graph, assigned: &self.assigned, old: &self.old }
    }
}

/// A value of the formula: its place in the graph of this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Symbol(usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Two {
    Plus,
    Minus,
    Times,
    Divide,
    Power,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Node {
    Variable(&'static str),
    /// By its bits.
    Constant(u64),
    Two(Two, usize, usize),
    Negative(usize),
    Absolute(usize),
    Root(usize),
    Less(usize, usize),
    Select(usize, usize, usize),
}

/// All values so far; equal ones are one.
#[derive(Debug, Default)]
struct Graph {
    nodes: Vec<Node>,
    known: HashMap<Node, usize>,
}

thread_local! {
    static GRAPH: RefCell<Graph> = RefCell::default();
}

impl Graph {
    fn clear(&mut self) {
        self.nodes.clear();
        self.known.clear();
    }

    fn add(&mut self, node: Node) -> usize {
        if let Some(&known) = self.known.get(&node) {
            return known;
        }
        self.nodes.push(node.clone());
        self.known.insert(node, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn inputs(&self, at: usize) -> Vec<usize> {
        match self.nodes[at] {
            Node::Variable(_) | Node::Constant(_) => vec![],
            Node::Negative(a) | Node::Absolute(a) | Node::Root(a) => vec![a],
            Node::Two(_, a, b) | Node::Less(a, b) => vec![a, b],
            Node::Select(m, a, b) => vec![m, a, b],
        }
    }

    /// The values that `roots` need and that depend on `leaves`: what is computed for each parameter.
    fn between(&self, roots: &[usize], leaves: &[usize]) -> Vec<&Node> {
        let mut depends = vec![false; self.nodes.len()];
        for at in 0..self.nodes.len() {
            depends[at] = leaves.contains(&at) || self.inputs(at).iter().any(|&i| depends[i]);
        }
        let mut needed = vec![false; self.nodes.len()];
        roots.iter().for_each(|&r| needed[r] = true);
        for at in (0..self.nodes.len()).rev().filter(|&at| depends[at]) {
            if needed[at] {
                self.inputs(at).into_iter().for_each(|i| needed[i] = true);
            }
        }
        (0..self.nodes.len()).filter(|&at| needed[at] && depends[at]).map(|at| &self.nodes[at]).collect()
    }
}

fn add(node: Node) -> Symbol {
    Symbol(GRAPH.with_borrow_mut(|graph| graph.add(node)))
}

impl Symbol {
    fn variable(name: &'static str) -> Self {
        add(Node::Variable(name))
    }

    /// The number that it is, if it is one.
    fn constant(self) -> Option<f64> {
        GRAPH.with_borrow(|graph| match graph.nodes[self.0] {
            Node::Constant(bits) => Some(f64::from_bits(bits)),
            _ => None,
        })
    }
}

macro_rules! operator {
    ($($trait:ident $method:ident $two:ident),*) => {$(
        impl $trait for Symbol {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                add(Node::Two(Two::$two, self.0, other.0))
            }
        }
    )*};
}

operator!(Add add Plus, Sub sub Minus, Mul mul Times, Div div Divide);

impl Neg for Symbol {
    type Output = Self;
    fn neg(self) -> Self {
        add(Node::Negative(self.0))
    }
}

impl Real for Symbol {
    type Mask = Self;
    fn from_f64(x: f64) -> Self {
        add(Node::Constant(x.to_bits()))
    }
    fn sqrt(self) -> Self {
        add(Node::Root(self.0))
    }
    fn pow(self, y: Self) -> Self {
        add(Node::Two(Two::Power, self.0, y.0))
    }
    fn abs(self) -> Self {
        add(Node::Absolute(self.0))
    }
    fn lt(self, other: Self) -> Self {
        match (self.constant(), other.constant()) {
            (Some(a), Some(b)) => Self::from_f64(f64::from(u8::from(a < b))),
            _ => add(Node::Less(self.0, other.0)),
        }
    }
    fn select(mask: Self, a: Self, b: Self) -> Self {
        match mask.constant() {
            Some(0.0) => b,
            Some(_) => a,
            None => add(Node::Select(mask.0, a.0, b.0)),
        }
    }
}

impl Scalar for Symbol {}

/// How tightly an expression holds together when it is written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tight {
    Choice,
    Sum,
    Product,
    Power,
    Atom,
}

/// Writes values down. What is multiplied by 1, or has 0 added to it, is written without.
struct Page<'a> {
    graph: &'a Graph,
    assigned: &'a HashMap<usize, &'static str>,
    old: &'a [usize],
}

impl Page<'_> {
    /// The number that a value is, whatever the variables are.
    fn number(&self, at: usize) -> Option<f64> {
        match self.graph.nodes[at] {
            Node::Constant(bits) => Some(f64::from_bits(bits)),
            Node::Negative(a) => self.number(a).map(|a| -a),
            Node::Two(two, a, b) => match (two, self.number(a), self.number(b)) {
                (Two::Times, Some(0.0), _) | (Two::Times, _, Some(0.0)) => Some(0.0),
                (Two::Plus, Some(a), Some(b)) => Some(a + b),
                (Two::Minus, Some(a), Some(b)) => Some(a - b),
                (Two::Times, Some(a), Some(b)) => Some(a * b),
                (Two::Divide, Some(a), Some(b)) => Some(a / b),
                _ => None,
            },
            _ => None,
        }
    }

    /// x where a value is x as long as a variable is not 0, and where it is (x times that variable, a quotient by it, x shrunk by it)
    /// the other choice is the same: what `select(0 < y, x, other)` is written as.
    fn guarded(&self, y: usize, x: usize, other: usize) -> bool {
        let nodes = &self.graph.nodes;
        match nodes[x] {
            Node::Two(Two::Divide, _, d) if d == y => true,
            Node::Two(Two::Times, a, b) if a == y || b == y => self.number(other) == Some(0.0),
            _ => self.sign_of(x).is_some_and(|(of, _)| of == other),
        }
    }

    /// (x, s) where a value is sign(x)·s by a choice.
    fn sign_of(&self, at: usize) -> Option<(usize, usize)> {
        let nodes = &self.graph.nodes;
        let Node::Select(mask, a, b) = nodes[at] else { return None };
        let Node::Less(x, y) = nodes[mask] else { return None };
        let zero = |at: usize| self.number(at) == Some(0.0);
        let negative = |at: usize, of: usize| nodes[at] == Node::Negative(of);
        if zero(y) && negative(a, b) {
            // −s where x < 0, else s.
            return Some((x, b));
        }
        // s where 0 < y, −s where y < 0, else 0.
        let Node::Select(inner, low, rest) = nodes[b] else { return None };
        let Node::Less(under, bound) = nodes[inner] else { return None };
        (zero(x) && zero(bound) && zero(rest) && under == y && negative(low, a)).then_some((y, a))
    }

    /// The text, and how tightly it holds together.
    fn write(&self, at: usize) -> (String, Tight) {
        if let Some(name) = self.assigned.get(&at) {
            return ((*name).into(), Tight::Atom);
        }
        if let Some(x) = self.number(at) {
            let tight = if x < 0.0 { Tight::Sum } else { Tight::Atom };
            // An exponent's sign stays as it is written in expressions.
            let text = thalweg_core::expr::number(x);
            return (text.strip_prefix('-').map(|size| format!("−{size}")).unwrap_or(text), tight);
        }
        let graph = self.graph;
        let is = |at: usize, x: f64| self.number(at) == Some(x);
        match graph.nodes[at] {
            Node::Variable(name) if self.old.contains(&at) => (format!("{name}ₜ₋₁"), Tight::Atom),
            Node::Variable(name) => (name.into(), Tight::Atom),
            Node::Constant(_) => unreachable!("a constant is a number"),
            Node::Negative(a) => (format!("−{}", self.within(a, Tight::Product)), Tight::Sum),
            Node::Absolute(a) => (format!("|{}|", self.write(a).0), Tight::Atom),
            Node::Root(a) => {
                let (inner, tight) = self.write(a);
                (if tight == Tight::Atom { format!("√{inner}") } else { format!("√({inner})") }, Tight::Power)
            }
            Node::Two(Two::Plus, a, b) if is(a, 0.0) => self.write(b),
            Node::Two(Two::Plus | Two::Minus, a, b) if is(b, 0.0) => self.write(a),
            Node::Two(Two::Times, a, b) if is(a, 1.0) => self.write(b),
            Node::Two(Two::Times | Two::Divide, a, b) if is(b, 1.0) => self.write(a),
            Node::Two(Two::Plus, a, b) => {
                let (left, right) = (self.within(a, Tight::Sum), self.within(b, Tight::Sum));
                // a + (−b) is a − b.
                match right.strip_prefix('−').filter(|_| self.is_negative(b)) {
                    Some(right) => (format!("{left} − {right}"), Tight::Sum),
                    None => (format!("{left} + {right}"), Tight::Sum),
                }
            }
            Node::Two(Two::Minus, a, b) => {
                (format!("{} − {}", self.within(a, Tight::Sum), self.within(b, Tight::Product)), Tight::Sum)
            }
            Node::Two(Two::Times, a, b) => {
                let bare = self.bare(b);
                match graph.nodes[bare] {
                    // a·(1/b) is a/b.
                    Node::Two(Two::Divide, one, b) if is(one, 1.0) && !self.assigned.contains_key(&bare) => {
                        self.product(a, '/', self.within(b, Tight::Power))
                    }
                    _ => self.product(a, '·', self.within(b, Tight::Product)),
                }
            }
            Node::Two(Two::Divide, a, b) => self.product(a, '/', self.within(b, Tight::Power)),
            Node::Two(Two::Power, a, b) => {
                (format!("{}^{}", self.within(a, Tight::Atom), self.within(b, Tight::Atom)), Tight::Power)
            }
            // The smallest number above 0: a number that is not negative is 0.
            Node::Less(a, b) if is(b, f64::from_bits(1)) => {
                (format!("{} = 0", self.within(a, Tight::Sum)), Tight::Choice)
            }
            Node::Less(a, b) => {
                (format!("{} < {}", self.within(a, Tight::Sum), self.within(b, Tight::Sum)), Tight::Choice)
            }
            Node::Select(mask, a, b) => {
                if let Some((x, s)) = self.sign_of(at) {
                    let sign = format!("sign({})", self.write(x).0);
                    let (size, minus) = match graph.nodes[s] {
                        Node::Negative(s) => (s, "−"),
                        _ => (s, ""),
                    };
                    if is(size, 1.0) {
                        return (
                            format!("{minus}{sign}"),
                            if minus.is_empty() { Tight::Atom } else { Tight::Sum },
                        );
                    }
                    let text = format!("{minus}{}·{sign}", self.within(size, Tight::Product));
                    return (text, if minus.is_empty() { Tight::Product } else { Tight::Sum });
                }
                if let Node::Less(x, y) = graph.nodes[mask] {
                    if is(x, 0.0) && self.guarded(y, a, b) {
                        return self.write(a);
                    }
                    if x == b && y == a || x == a && y == b {
                        // A bound that is infinite is none.
                        let infinite = |at: usize| self.number(at).is_some_and(f64::is_infinite);
                        if infinite(a) || infinite(b) {
                            return self.write(if infinite(a) { b } else { a });
                        }
                        let larger = if x == b { "max" } else { "min" };
                        return (format!("{larger}({}, {})", self.write(a).0, self.write(b).0), Tight::Atom);
                    }
                }
                let (mask, a, b) = (self.write(mask).0, self.write(a).0, self.write(b).0);
                (format!("({a} if {mask} else {b})"), Tight::Atom)
            }
        }
    }

    /// The value without factors of 1.
    fn bare(&self, at: usize) -> usize {
        match self.graph.nodes[at] {
            Node::Two(Two::Times, a, b) if self.number(b) == Some(1.0) => self.bare(a),
            Node::Two(Two::Times, a, b) if self.number(a) == Some(1.0) => self.bare(b),
            _ => at,
        }
    }

    /// A product or quotient; a minus of the first factor stands before all of it.
    fn product(&self, a: usize, by: char, b: String) -> (String, Tight) {
        if self.is_negative(a) {
            let a = self.write(a).0;
            return (format!("{a}{by}{b}"), Tight::Sum);
        }
        (format!("{}{by}{b}", self.within(a, Tight::Product)), Tight::Product)
    }

    /// Whether a value is written with a minus before it.
    fn is_negative(&self, at: usize) -> bool {
        if self.assigned.contains_key(&at) || self.number(at).is_some() {
            return false;
        }
        match self.graph.nodes[at] {
            Node::Negative(_) => true,
            Node::Two(Two::Times | Two::Divide, a, b) if self.number(b) == Some(1.0) => self.is_negative(a),
            Node::Two(Two::Times, a, b) if self.number(a) == Some(1.0) => self.is_negative(b),
            Node::Two(Two::Times | Two::Divide, a, _) => self.is_negative(a),
            Node::Select(..) => {
                self.sign_of(at).is_some_and(|(_, s)| matches!(self.graph.nodes[s], Node::Negative(_)))
            }
            _ => false,
        }
    }

    /// The text, in parentheses where it holds together less tightly than its place asks for.
    fn within(&self, at: usize, place: Tight) -> String {
        let (text, tight) = self.write(at);
        if tight < place { format!("({text})") } else { text }
    }
}

#[cfg(test)]
mod tests {
    use thalweg_core::Penalty;

    use super::*;
    use crate::rules::{Adam, Lion, Momentum, RmsPropCentered, Sgd};

    #[test]
    fn formulas_are_those_of_the_papers() {
        assert_eq!(Trace::of::<Sgd, 0>().lines(), ["θ ← θ − lr·g"]);
        assert_eq!(
            Trace::of::<Adam, 2>().lines(),
            [
                "m ← beta1·m + (1 − beta1)·g",
                "v ← beta2·v + (1 − beta2)·g·g",
                "θ ← θ − lr/(1 − beta1^t)·m/(√(1/(1 − beta2^t)·v) + eps)"
            ]
        );
        assert_eq!(
            Trace::of::<Momentum, 1>().lines(),
            [
                "momentum_buffer ← momentum·momentum_buffer + (1 − dampening if 1 < t else 1)·g",
                "θ ← θ − lr·momentum_buffer"
            ]
        );
        assert_eq!(Trace::of::<Lion, 1>().lines()[1], "θ ← θ − lr·sign(beta1·exp_avgₜ₋₁ + (1 − beta1)·g)");
        assert!(Trace::of::<RmsPropCentered, 2>().lines()[2].contains("max(square − mean·mean, 0)"));
    }

    #[test]
    fn costs_are_counted_from_the_same_trace() {
        let adam = Trace::of::<Adam, 2>();
        // m: 2 products and a sum; v: 3 and a sum; then step·m, root·v, the sum with ε, the quotient's sign, θ + u; and 0·m, which
        // the quotient is where its divisor is 0.
        assert_eq!((adam.simple, adam.divisions, adam.roots), (3 + 4 + 5 + 1, 1, 1));
        assert_eq!((adam.bytes(4, false), adam.bytes(4, true)), (28, 32));
        assert_eq!(Trace::of::<Sgd, 0>().bytes(8, false), 24);
        assert!(adam.is_whole() && !adam.is_words());
    }

    /// The same functions that the driver runs around a rule.
    #[test]
    fn what_stands_around_a_rule_is_traced() {
        let one = Penalty { l1: 1.0, l2: 1.0 };
        let none = Terms::default();
        let around = |decay: Option<Decay>, terms: Terms| {
            let mut page = Tracer::new();
            let setting = Setting { decay, terms };
            page.couple(&setting, true);
            let (lr, u, []) = page.rule::<Sgd, 0>();
            page.move_by(u, &setting);
            page.shrink(Sgd::metric(&lr, []), terms);
            page.shrink_beside(terms, false);
            let trace = page.done();
            assert!(trace.is_whole());
            trace.lines().join("; ")
        };
        assert_eq!(around(None, none), "θ ← θ − lr·g");
        assert_eq!(around(Some(Decay::Coupled), none), "g ← g + weight_decay·θ; θ ← θ − lr·g");
        assert_eq!(around(Some(Decay::Decoupled), none), "θ ← θ·(1 − lr·weight_decay) − lr·g");
        assert_eq!(
            around(Some(Decay::Proximal), none),
            "θ ← θ/(1 + lr·weight_decay) − lr·g/(1 + lr·weight_decay)"
        );
        assert_eq!(
            around(Some(Decay::Coupled), Terms { coupled: one, ..none }),
            "g ← g + l1·sign(θ); g ← g + (l2 + weight_decay)·θ; θ ← θ − lr·g"
        );
        assert_eq!(
            around(None, Terms { decoupled: one, ..none }),
            "θ ← θ·(1 − lr·l2) − lr·g; θ ← max(|θ| − lr·l1, 0)·sign(θ)"
        );
        assert_eq!(
            around(None, Terms { proximal: one, ..none }),
            "θ ← θ − lr·g; θ ← max(|θ| − lr·l1, 0)·sign(θ)/(1 + lr·l2)"
        );
    }
}
