//! [`Trace`]: a rule's formula, read off the code that runs.
//!
//! [`Rule::coef`] and [`Rule::element`] are run once on symbols in place of numbers. What comes out is written down, its operations
//! and bytes are counted: documentation made from it cannot drift from the code.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::{Add, Div, Mul, Neg, Sub};

use thalweg_core::Real;

use crate::rule::{Rule, Scalar, When};

/// A rule's formula and what a step of one parameter costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// One assignment a line, in order: scalars, memory, θ. Names on the right of an assignment are the values so far.
    pub formula: Vec<String>,
    /// The rule's memory, by name.
    pub memory: Vec<&'static str>,
    /// Additions, subtractions, multiplications and negations of one parameter.
    pub simple: usize,
    /// Divisions.
    pub divisions: usize,
    /// Roots and other powers.
    pub roots: usize,
    /// Comparisons and choices.
    pub choices: usize,
}

impl Trace {
    /// The formula of a rule.
    pub fn of<R: Rule<S>, const S: usize>() -> Self {
        GRAPH.with_borrow_mut(Graph::clear);
        let hyper: Vec<Symbol> = R::HYPER.iter().map(|h| Symbol::variable(h.name)).collect();
        let scalars: Vec<Symbol> = R::SCALARS.iter().map(|s| Symbol::variable(s.0)).collect();
        let mut after = scalars.clone();
        let when = When { t: Symbol::variable("t"), lr: Symbol::variable("lr") };
        let coef = R::coef(&R::with(&hyper), when, &mut after);
        let (theta, g) = (Symbol::variable("θ"), Symbol::variable("g"));
        let slots: [Symbol; S] = std::array::from_fn(|k| Symbol::variable(R::STATE[k].name));
        let (u, new) = R::element(&coef, theta, g, slots);
        let next = theta + u;
        GRAPH.with_borrow(|graph| {
            let mut page = Page { graph, assigned: HashMap::new(), old: vec![], lines: vec![] };
            for ((&before, after), (name, _)) in scalars.iter().zip(after).zip(R::SCALARS) {
                page.assign(name, before, after);
            }
            for ((&before, after), slot) in slots.iter().zip(new).zip(R::STATE) {
                page.assign(slot.name, before, after);
            }
            page.assign("θ", theta, next);
            let roots: Vec<usize> = new.iter().chain([&next]).map(|s| s.0).collect();
            let leaves: Vec<usize> = slots.iter().chain([&theta, &g]).map(|s| s.0).collect();
            let mut trace = Self {
                formula: page.lines,
                memory: R::STATE.iter().map(|s| s.name).collect(),
                simple: 0,
                divisions: 0,
                roots: 0,
                choices: 0,
            };
            for node in graph.between(&roots, &leaves) {
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

    /// Bytes that a step of one parameter reads and writes, with numbers of `size` bytes: θ and the memory both ways, and the
    /// gradient, which is also written where it is zeroed.
    pub fn bytes(&self, size: usize, zeroed: bool) -> usize {
        size * (3 + usize::from(zeroed) + 2 * self.memory.len())
    }
}

/// A value of the formula: its place in the graph of this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Symbol(usize);

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
        add(Node::Less(self.0, other.0))
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

/// Writes values down.
struct Page<'a> {
    graph: &'a Graph,
    /// Values that a name stands for by now.
    assigned: HashMap<usize, &'static str>,
    /// Variables whose name stands for another value by now.
    old: Vec<usize>,
    lines: Vec<String>,
}

impl Page<'_> {
    fn assign(&mut self, name: &'static str, before: Symbol, after: Symbol) {
        if before == after {
            return;
        }
        let line = format!("{name} ← {}", self.write(after.0).0);
        self.lines.push(line);
        self.old.push(before.0);
        self.assigned.insert(after.0, name);
    }

    /// The text, and how tightly it holds together.
    fn write(&self, at: usize) -> (String, Tight) {
        if let Some(name) = self.assigned.get(&at) {
            return ((*name).into(), Tight::Atom);
        }
        let graph = self.graph;
        let zero = |at: usize| graph.nodes[at] == Node::Constant(0.0f64.to_bits());
        match graph.nodes[at] {
            Node::Variable(name) if self.old.contains(&at) => (format!("{name}ₜ₋₁"), Tight::Atom),
            Node::Variable(name) => (name.into(), Tight::Atom),
            Node::Constant(bits) => {
                let x = f64::from_bits(bits);
                let tight = if x < 0.0 { Tight::Sum } else { Tight::Atom };
                (thalweg_core::expr::number(x).replace('-', "−"), tight)
            }
            Node::Negative(a) => (format!("−{}", self.within(a, Tight::Product)), Tight::Sum),
            Node::Absolute(a) => (format!("|{}|", self.write(a).0), Tight::Atom),
            Node::Root(a) => {
                let (inner, tight) = self.write(a);
                (if tight == Tight::Atom { format!("√{inner}") } else { format!("√({inner})") }, Tight::Power)
            }
            Node::Two(Two::Plus, a, b) => match graph.nodes[b] {
                // a + (−b) is a − b.
                Node::Negative(b) => {
                    let left = self.within(a, Tight::Sum);
                    (format!("{left} − {}", self.within(b, Tight::Product)), Tight::Sum)
                }
                _ => (format!("{} + {}", self.within(a, Tight::Sum), self.within(b, Tight::Sum)), Tight::Sum),
            },
            Node::Two(Two::Minus, a, b) => {
                (format!("{} − {}", self.within(a, Tight::Sum), self.within(b, Tight::Product)), Tight::Sum)
            }
            Node::Two(Two::Times, a, b) => (
                format!("{}·{}", self.within(a, Tight::Product), self.within(b, Tight::Product)),
                Tight::Product,
            ),
            Node::Two(Two::Divide, a, b) => (
                format!("{}/{}", self.within(a, Tight::Product), self.within(b, Tight::Power)),
                Tight::Product,
            ),
            Node::Two(Two::Power, a, b) => {
                (format!("{}^{}", self.within(a, Tight::Atom), self.within(b, Tight::Atom)), Tight::Power)
            }
            Node::Less(a, b) => {
                (format!("{} < {}", self.within(a, Tight::Sum), self.within(b, Tight::Sum)), Tight::Choice)
            }
            Node::Select(mask, a, b) => {
                if let Node::Less(x, y) = graph.nodes[mask] {
                    // x/y where 0 < y, and 0 otherwise: a quotient that counts as 0 where it is not defined.
                    if zero(x) && matches!(graph.nodes[a], Node::Two(Two::Divide, _, d) if d == y) {
                        return self.write(a);
                    }
                    if x == b && y == a || x == a && y == b {
                        let larger = if x == b { "max" } else { "min" };
                        return (format!("{larger}({}, {})", self.write(a).0, self.write(b).0), Tight::Atom);
                    }
                }
                let (mask, a, b) = (self.write(mask).0, self.write(a).0, self.write(b).0);
                (format!("({a} if {mask} else {b})"), Tight::Atom)
            }
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
    use super::*;
    use crate::rules::{Adam, Momentum, RmsPropCentered, Sgd};

    #[test]
    fn formulas_are_those_of_the_papers() {
        assert_eq!(Trace::of::<Sgd, 0>().formula, ["θ ← θ − lr·g"]);
        assert_eq!(
            Trace::of::<Adam, 2>().formula,
            [
                "m ← beta1·m + (1 − beta1)·g",
                "v ← beta2·v + (1 − beta2)·g·g",
                "θ ← θ − lr/(1 − beta1^t)·m/(√(1/(1 − beta2^t)·v) + eps)"
            ]
        );
        assert_eq!(
            Trace::of::<Momentum, 1>().formula,
            [
                "momentum_buffer ← momentum·momentum_buffer + (1 − dampening if 1 < t else 1)·g",
                "θ ← θ − lr·momentum_buffer"
            ]
        );
        assert!(Trace::of::<RmsPropCentered, 2>().formula[2].contains("max(square − mean·mean, 0)"));
    }

    #[test]
    fn costs_are_counted_from_the_same_trace() {
        let adam = Trace::of::<Adam, 2>();
        // m: 2 products and a sum; v: 3 and a sum; then step·m, root·v, the sum with ε, the quotient's sign, θ + u; and 0·m, which
        // the quotient is where its divisor is 0.
        assert_eq!((adam.simple, adam.divisions, adam.roots), (3 + 4 + 5 + 1, 1, 1));
        assert_eq!((adam.bytes(4, false), adam.bytes(4, true)), (28, 32));
        assert_eq!(Trace::of::<Sgd, 0>().bytes(8, false), 24);
    }
}
