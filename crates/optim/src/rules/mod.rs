//! One file for each rule, and [`ALL`], the registry that everything else reads.

mod adagrad;
mod adam;
mod amsgrad;
mod momentum;
mod nesterov;
mod rmsprop;
mod sgd;

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Float, Tensor};

pub use adagrad::Adagrad;
pub use adam::Adam;
pub use amsgrad::AmsGrad;
pub use momentum::Momentum;
pub use nesterov::Nesterov;
pub use rmsprop::{RmsProp, RmsPropCentered, RmsPropCenteredMomentum, RmsPropMomentum};
pub use sgd::Sgd;

use crate::chain::{MakeAfter, MakeBefore};
use crate::elementwise::Elementwise;
use crate::format::Format;
pub use crate::method::Decay;
use crate::method::Method;
use crate::rule::Rule;

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
    /// What kind of rule it is.
    pub kind: Kind,
    /// For a rule that works on some tensors only: which, and what the others get where the rule stands alone.
    pub rest: Option<Rest>,
    pub(crate) make: (Make<f32>, Make<f64>),
}

/// What goes with a rule that works on some tensors only.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    /// Whether the rule works on a tensor.
    pub takes: fn(&Tensor) -> bool,
    /// The rule for the others.
    pub expression: &'static str,
    /// Its learning rate as a multiple of the first rule's.
    pub lr: f64,
}

/// What a rule has to see to move a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The parameter, its gradient and its memory. Such rules take every memory format, parameters in bf16, row-sparse gradients,
    /// and an l1 penalty.
    Elementwise,
    /// The tensor that it is in.
    Tensor,
    /// All parameters of the model: its group has to hold all of them.
    Whole,
}

/// What a rule's memory is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room<'a> {
    /// The tensors of the chain.
    pub tensors: &'a [&'a Tensor],
    /// How memory is kept.
    pub format: Format,
}

/// Makes the method of an [`Entry`]; picks the type by what has to be remembered.
pub(crate) type Make<F> = fn(&Values<'_>, &Room<'_>) -> Box<dyn Method<F>>;

impl Entry {
    pub(crate) fn build<F: Build>(&self, values: &[f64], room: &Room<'_>) -> Box<dyn Method<F>> {
        F::maker(self)(&Values { hyper: self.hyper, values }, room)
    }
}

/// The types that optimizers are built for: `f32` and `f64`.
#[allow(private_bounds, reason = "sealed: rules are compiled for these two types")]
pub trait Build: Float + Maker {}

impl Build for f32 {}
impl Build for f64 {}

/// Takes the maker of its type from an [`Entry`].
pub(crate) trait Maker: Sized + Float {
    fn maker(entry: &Entry) -> Make<Self>;
    fn pick_before(single: MakeBefore<f32>, double: MakeBefore<f64>) -> MakeBefore<Self>;
    fn pick_after(single: MakeAfter<f32>, double: MakeAfter<f64>) -> MakeAfter<Self>;
}

impl Maker for f32 {
    fn maker(entry: &Entry) -> Make<f32> {
        entry.make.0
    }
    fn pick_before(single: MakeBefore<f32>, _double: MakeBefore<f64>) -> MakeBefore<f32> {
        single
    }
    fn pick_after(single: MakeAfter<f32>, _double: MakeAfter<f64>) -> MakeAfter<f32> {
        single
    }
}

impl Maker for f64 {
    fn maker(entry: &Entry) -> Make<f64> {
        entry.make.1
    }
    fn pick_before(_single: MakeBefore<f32>, double: MakeBefore<f64>) -> MakeBefore<f64> {
        double
    }
    fn pick_after(_single: MakeAfter<f32>, double: MakeAfter<f64>) -> MakeAfter<f64> {
        double
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

fn elementwise<R: Rule<S>, F: Float, const S: usize>(rule: R, room: &Room<'_>) -> Box<dyn Method<F>>
where
    R::With<f64>: Send,
{
    Box::new(Elementwise::new(rule, room.format, room.tensors))
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
    kind: Kind::Elementwise,
    rest: None,
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

fn make_sgd<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let momentum = v.get("momentum");
    if momentum == 0.0 {
        elementwise(Sgd, room)
    } else if v.is("nesterov") {
        elementwise(Nesterov { momentum }, room)
    } else {
        elementwise(Momentum { momentum, dampening: v.get("dampening") }, room)
    }
}

static ADAGRAD: Entry = Entry {
    name: "adagrad",
    summary: "each coordinate's rate falls with the root of its summed squares; for sparse features",
    source: "Duchi, Hazan & Singer 2011",
    lr: 1e-2,
    hyper: &[Adagrad::HYPER[0], COUPLED, Adagrad::HYPER[1], Adagrad::HYPER[2]],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    rest: None,
    conflict: no_conflict,
    make: both!(make_adagrad),
};

fn make_adagrad<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let initial_accumulator_value = v.get("initial_accumulator_value");
    elementwise(Adagrad { lr_decay: v.get("lr_decay"), initial_accumulator_value, eps: v.get("eps") }, room)
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
    kind: Kind::Elementwise,
    rest: None,
    conflict: no_conflict,
    make: both!(make_rmsprop),
};

fn make_rmsprop<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let (alpha, eps, momentum) = (v.get("alpha"), v.get("eps"), v.get("momentum"));
    match (v.is("centered"), momentum > 0.0) {
        (false, false) => elementwise(RmsProp { alpha, eps }, room),
        (false, true) => elementwise(RmsPropMomentum { alpha, eps, momentum }, room),
        (true, false) => elementwise(RmsPropCentered { alpha, eps }, room),
        (true, true) => elementwise(RmsPropCenteredMomentum { alpha, eps, momentum }, room),
    }
}

static ADAM: Entry = Entry {
    name: "adam",
    summary: "momentum divided by a running root mean square; works untuned on most problems",
    source: "Kingma & Ba 2015, Algorithm 1",
    lr: 1e-3,
    hyper: &[adam::BETA1, adam::BETA2, adam::EPS, COUPLED],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    rest: None,
    conflict: no_conflict,
    make: both!(make_adam),
};

fn make_adam<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(Adam { beta1: v.get("beta1"), beta2: v.get("beta2"), eps: v.get("eps") }, room)
}

static ADAMW: Entry = Entry {
    name: "adamw",
    summary: "Adam with weight decay that does not pass through the moments",
    source: "Loshchilov & Hutter 2019, Algorithm 2",
    lr: 1e-3,
    hyper: &[adam::BETA1, adam::BETA2, adam::EPS, DECOUPLED],
    decay: Decay::Decoupled,
    kind: Kind::Elementwise,
    rest: None,
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
    kind: Kind::Elementwise,
    rest: None,
    conflict: no_conflict,
    make: both!(make_amsgrad),
};

fn make_amsgrad<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(AmsGrad { beta1: v.get("beta1"), beta2: v.get("beta2"), eps: v.get("eps") }, room)
}
