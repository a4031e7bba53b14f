//! One file for each rule, and [`ALL`], the registry that everything else reads.

mod adagrad;
mod adam;
mod amsgrad;
mod momentum;
mod nesterov;
mod rmsprop;
mod sgd;

use std::sync::Arc;

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Float, Layout, Optimizer};

pub use adagrad::Adagrad;
pub use adam::Adam;
pub use amsgrad::AmsGrad;
pub use momentum::Momentum;
pub use nesterov::Nesterov;
pub use rmsprop::{RmsProp, RmsPropCentered, RmsPropCenteredMomentum, RmsPropMomentum};
pub use sgd::Sgd;

use crate::flat::{Flat, Wrap};
use crate::rule::Rule;

/// How a rule applies its `weight_decay`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decay {
    /// λθ is added to the gradient.
    Coupled,
    /// θ shrinks by ηλθ beside the rule.
    Decoupled,
}

/// What the registry knows of a rule.
#[derive(Debug)]
pub struct Entry {
    /// The name in expressions.
    pub name: &'static str,
    /// What it is for, in a line.
    pub summary: &'static str,
    /// Paper and address.
    pub source: &'static str,
    /// The learning rate when nothing is said.
    pub lr: f64,
    /// The hyperparameters besides `lr`, in the order in which they can be given.
    pub hyper: &'static [Hyper],
    /// How `weight_decay` acts.
    pub decay: Decay,
    /// Values that cannot go together: the name to point at, and why.
    pub conflict: fn(&Values<'_>) -> Option<(&'static str, &'static str)>,
    make: (Make<f32>, Make<f64>),
}

/// Makes the optimizer of an [`Entry`]; picks the type by what has to be remembered.
pub(crate) type Make<F> = fn(&Values<'_>, Wrap, &Arc<Layout>) -> Box<dyn Optimizer<F>>;

impl Entry {
    pub(crate) fn build<F: Build>(
        &self,
        values: &[f64],
        wrap: Wrap,
        layout: &Arc<Layout>,
    ) -> Box<dyn Optimizer<F>> {
        F::maker(self)(&Values { hyper: self.hyper, values }, wrap, layout)
    }
}

/// The types that optimizers are built for: `f32` and `f64`.
#[allow(private_bounds, reason = "sealed: rules are compiled for these two types")]
pub trait Build: Float + Maker {}

impl Build for f32 {}
impl Build for f64 {}

/// Takes the maker of its type from an [`Entry`].
pub(crate) trait Maker: Sized {
    fn maker(entry: &Entry) -> Make<Self>;
}

impl Maker for f32 {
    fn maker(entry: &Entry) -> Make<f32> {
        entry.make.0
    }
}

impl Maker for f64 {
    fn maker(entry: &Entry) -> Make<f64> {
        entry.make.1
    }
}

/// Values by the names of their declarations.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    pub(crate) hyper: &'static [Hyper],
    pub(crate) values: &'a [f64],
}

impl Values<'_> {
    /// The value of `name`.
    ///
    /// # Panics
    /// When nothing of that name is declared: a mistake in a rule's file.
    pub fn get(&self, name: &str) -> f64 {
        let place = self.hyper.iter().position(|h| h.name == name);
        self.values[place.unwrap_or_else(|| panic!("no hyperparameter {name:?} is declared"))]
    }
    /// Whether a `true or false` value is `true`.
    pub fn is(&self, name: &str) -> bool {
        self.get(name) != 0.0
    }
}

fn flat<R: Rule<S>, F: Float, const S: usize>(
    rule: R,
    wrap: Wrap,
    layout: &Arc<Layout>,
) -> Box<dyn Optimizer<F>> {
    Box::new(Flat::new(rule, wrap, layout))
}

const COUPLED: Hyper =
    Hyper::new("weight_decay", 0.0, Range::NON_NEGATIVE, "λ: λθ is added to the gradient (coupled)");
const DECOUPLED: Hyper = Hyper::new(
    "weight_decay",
    0.01,
    Range::NON_NEGATIVE,
    "λ: θ shrinks by ηλθ, outside the moments (decoupled)",
);
/// Momentum in rules that run without it by default.
const NO_MOMENTUM: Hyper = Hyper { default: 0.0, ..momentum::MOMENTUM };

fn no_conflict(_: &Values<'_>) -> Option<(&'static str, &'static str)> {
    None
}

macro_rules! both {
    ($make:ident) => {
        ($make::<f32>, $make::<f64>)
    };
}

/// Every rule.
pub static ALL: [&Entry; 6] = [&SGD, &ADAGRAD, &RMSPROP, &ADAM, &AMSGRAD, &ADAMW];

/// Short names for settings that have a name of their own: name, the expression it stands for, summary.
pub static ALIASES: [(&str, &str, &str); 3] = [
    ("gd", "sgd", "gradient descent; full batch, mini-batch or one sample is --batch's doing"),
    ("momentum", "sgd(momentum=0.9)", "the heavy ball"),
    ("nesterov", "sgd(momentum=0.9, nesterov=true)", "Nesterov's accelerated gradient"),
];

static SGD: Entry = Entry {
    name: "sgd",
    summary: "gradient descent, with momentum (heavy ball) or Nesterov's look-ahead if asked for",
    source: "Robbins & Monro 1951; Polyak 1964; Nesterov 1983",
    lr: 1e-3,
    hyper: &[
        NO_MOMENTUM,
        momentum::DAMPENING,
        COUPLED,
        Hyper::new("nesterov", 0.0, Range::SWITCH, "take the gradient's look-ahead form"),
    ],
    decay: Decay::Coupled,
    conflict: |v| {
        let momentum = v.get("momentum");
        if v.is("nesterov") && momentum == 0.0 {
            Some(("nesterov", "nesterov=true needs a momentum above 0"))
        } else if v.is("nesterov") && v.get("dampening") != 0.0 {
            Some(("dampening", "nesterov=true has no dampening"))
        } else if momentum == 0.0 && v.get("dampening") != 0.0 {
            Some(("dampening", "dampening acts on momentum, and momentum is 0"))
        } else {
            None
        }
    },
    make: both!(make_sgd),
};

fn make_sgd<F: Float>(v: &Values<'_>, wrap: Wrap, layout: &Arc<Layout>) -> Box<dyn Optimizer<F>> {
    let momentum = v.get("momentum");
    if momentum == 0.0 {
        flat(Sgd {}, wrap, layout)
    } else if v.is("nesterov") {
        flat(Nesterov { momentum }, wrap, layout)
    } else {
        flat(Momentum { momentum, dampening: v.get("dampening") }, wrap, layout)
    }
}

static ADAGRAD: Entry = Entry {
    name: "adagrad",
    summary: "each coordinate's rate falls with the root of its summed squares; for sparse features",
    source: "Duchi, Hazan & Singer 2011",
    lr: 1e-2,
    hyper: &[Adagrad::HYPER[0], COUPLED, Adagrad::HYPER[1], Adagrad::HYPER[2]],
    decay: Decay::Coupled,
    conflict: no_conflict,
    make: both!(make_adagrad),
};

fn make_adagrad<F: Float>(v: &Values<'_>, wrap: Wrap, layout: &Arc<Layout>) -> Box<dyn Optimizer<F>> {
    let initial_accumulator_value = v.get("initial_accumulator_value");
    flat(Adagrad { lr_decay: v.get("lr_decay"), initial_accumulator_value, eps: v.get("eps") }, wrap, layout)
}

static RMSPROP: Entry = Entry {
    name: "rmsprop",
    summary: "divides by a running root mean square of the gradient, or its deviation (centered)",
    source: "Tieleman & Hinton 2012; Graves 2013",
    lr: 1e-2,
    hyper: &[
        rmsprop::ALPHA,
        rmsprop::EPS,
        COUPLED,
        NO_MOMENTUM,
        Hyper::new("centered", 0.0, Range::SWITCH, "divide by the standard deviation"),
    ],
    decay: Decay::Coupled,
    conflict: no_conflict,
    make: both!(make_rmsprop),
};

fn make_rmsprop<F: Float>(v: &Values<'_>, wrap: Wrap, layout: &Arc<Layout>) -> Box<dyn Optimizer<F>> {
    let (alpha, eps, momentum) = (v.get("alpha"), v.get("eps"), v.get("momentum"));
    match (v.is("centered"), momentum > 0.0) {
        (false, false) => flat(RmsProp { alpha, eps }, wrap, layout),
        (false, true) => flat(RmsPropMomentum { alpha, eps, momentum }, wrap, layout),
        (true, false) => flat(RmsPropCentered { alpha, eps }, wrap, layout),
        (true, true) => flat(RmsPropCenteredMomentum { alpha, eps, momentum }, wrap, layout),
    }
}

static ADAM: Entry = Entry {
    name: "adam",
    summary: "momentum divided by a running root mean square; works untuned on most problems",
    source: "Kingma & Ba 2015, Algorithm 1",
    lr: 1e-3,
    hyper: &[adam::BETA1, adam::BETA2, adam::EPS, COUPLED],
    decay: Decay::Coupled,
    conflict: no_conflict,
    make: both!(make_adam),
};

fn make_adam<F: Float>(v: &Values<'_>, wrap: Wrap, layout: &Arc<Layout>) -> Box<dyn Optimizer<F>> {
    flat(Adam { beta1: v.get("beta1"), beta2: v.get("beta2"), eps: v.get("eps") }, wrap, layout)
}

static ADAMW: Entry = Entry {
    name: "adamw",
    summary: "Adam with weight decay that does not pass through the moments",
    source: "Loshchilov & Hutter 2019, Algorithm 2",
    lr: 1e-3,
    hyper: &[adam::BETA1, adam::BETA2, adam::EPS, DECOUPLED],
    decay: Decay::Decoupled,
    conflict: no_conflict,
    make: both!(make_adam),
};

static AMSGRAD: Entry = Entry {
    name: "amsgrad",
    summary: "Adam divided by the largest mean square so far: converges where Adam need not",
    source: "Reddi, Kale & Kumar 2018, Algorithm 2",
    lr: 1e-3,
    hyper: &[adam::BETA1, adam::BETA2, adam::EPS, COUPLED],
    decay: Decay::Coupled,
    conflict: no_conflict,
    make: both!(make_amsgrad),
};

fn make_amsgrad<F: Float>(v: &Values<'_>, wrap: Wrap, layout: &Arc<Layout>) -> Box<dyn Optimizer<F>> {
    flat(AmsGrad { beta1: v.get("beta1"), beta2: v.get("beta2"), eps: v.get("eps") }, wrap, layout)
}
