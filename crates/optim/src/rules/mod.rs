//! One file for each rule, and [`ALL`], the registry that everything else reads.

mod adabelief;
mod adabound;
mod adadelta;
mod adafactor;
mod adagrad;
mod adam;
mod adamax;
mod adan;
mod amsgrad;
mod armijo;
mod asgd;
mod dadapt_adagrad;
mod dadapt_adam;
mod dadapt_sgd;
mod ftrl;
mod lamb;
mod lars;
mod lbfgs;
mod lion;
mod momentum;
mod muon;
mod nadam;
mod nesterov;
mod novograd;
mod polyak;
mod prodigy;
mod radam;
mod rmsprop;
mod rprop;
mod saga;
mod schedulefree;
mod schedulefree_adamw;
mod schedulefree_radam;
mod schedulefree_sgd;
mod sgd;
mod shampoo;
mod signsgd;
mod sm3;
mod soap;
mod sophia;
mod svrg;
mod yogi;

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Float, Tensor};

pub use adabelief::AdaBelief;
pub use adabound::{AdaBound, AmsBound};
pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub use adam::Adam;
pub use adamax::Adamax;
pub use adan::Adan;
pub use amsgrad::AmsGrad;
pub use asgd::Asgd;
pub use ftrl::{Ftrl, FtrlPower};
pub use lion::Lion;
pub use momentum::Momentum;
pub use nadam::Nadam;
pub use nesterov::Nesterov;
pub use radam::Radam;
pub use rmsprop::{RmsProp, RmsPropCentered, RmsPropCenteredMomentum, RmsPropMomentum};
pub use rprop::Rprop;
pub use sgd::Sgd;
pub use signsgd::{SignSgd, Signum};
pub use yogi::Yogi;

use adafactor::ADAFACTOR;
use armijo::ARMIJO;
use dadapt_adagrad::DADAPT_ADAGRAD;
use dadapt_adam::DADAPT_ADAM;
use dadapt_sgd::DADAPT_SGD;
use lamb::LAMB;
use lars::LARS;
use lbfgs::LBFGS;
use muon::MUON;
use novograd::NOVOGRAD;
use polyak::POLYAK;
use prodigy::PRODIGY;
use saga::SAGA;
use schedulefree_adamw::SCHEDULEFREE_ADAMW;
use schedulefree_radam::SCHEDULEFREE_RADAM;
use schedulefree_sgd::SCHEDULEFREE_SGD;
use shampoo::SHAMPOO;
use sm3::SM3;
use soap::SOAP;
use sophia::SOPHIA;
use svrg::SVRG;

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
pub static ALL: [&Entry; 43] = [
    &SGD,
    &ADAGRAD,
    &RMSPROP,
    &ADAM,
    &AMSGRAD,
    &ADAMW,
    &ADADELTA,
    &ADAMAX,
    &NADAM,
    &NADAMW,
    &RADAM,
    &ADABELIEF,
    &ADABOUND,
    &AMSBOUND,
    &YOGI,
    &ADAN,
    &LION,
    &SIGNSGD,
    &SIGNUM,
    &RPROP,
    &ASGD,
    &FTRL,
    &NOVOGRAD,
    &SM3,
    &LARS,
    &LAMB,
    &ADAFACTOR,
    &MUON,
    &SHAMPOO,
    &SOAP,
    &SCHEDULEFREE_SGD,
    &SCHEDULEFREE_ADAMW,
    &SCHEDULEFREE_RADAM,
    &PRODIGY,
    &DADAPT_SGD,
    &DADAPT_ADAM,
    &DADAPT_ADAGRAD,
    &POLYAK,
    &LBFGS,
    &ARMIJO,
    &SVRG,
    &SAGA,
    &SOPHIA,
];

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

static ADADELTA: Entry = Entry {
    name: "adadelta",
    summary: "steps in units of earlier steps: nothing to choose, but a slow start",
    source: "Zeiler 2012, Algorithm 1",
    lr: 1.0,
    hyper: &[adadelta::RHO, adadelta::EPS, COUPLED],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    rest: None,
    conflict: no_conflict,
    make: both!(make_adadelta),
};

fn make_adadelta<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(Adadelta { rho: v.get("rho"), eps: v.get("eps") }, room)
}

static ADAMAX: Entry = Entry {
    name: "adamax",
    summary: "Adam divided by the largest gradient of late",
    source: "Kingma & Ba 2015, Algorithm 2",
    lr: 2e-3,
    hyper: &[adam::BETA1, adam::BETA2, adam::EPS, COUPLED],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    rest: None,
    conflict: no_conflict,
    make: both!(make_adamax),
};

fn make_adamax<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(Adamax { beta1: v.get("beta1"), beta2: v.get("beta2"), eps: v.get("eps") }, room)
}

static NADAM: Entry = Entry {
    name: "nadam",
    summary: "Adam with Nesterov's look-ahead",
    source: "Dozat 2016, Algorithm 2",
    lr: 2e-3,
    hyper: &[adam::BETA1, adam::BETA2, adam::EPS, COUPLED, nadam::MOMENTUM_DECAY],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    rest: None,
    conflict: no_conflict,
    make: both!(make_nadam),
};

fn make_nadam<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(
        Nadam {
            beta1: v.get("beta1"),
            beta2: v.get("beta2"),
            eps: v.get("eps"),
            momentum_decay: v.get("momentum_decay"),
        },
        room,
    )
}

static NADAMW: Entry = Entry {
    name: "nadamw",
    summary: "NAdam with weight decay that does not pass through the moments",
    source: "Dozat 2016; Loshchilov & Hutter 2019",
    lr: 2e-3,
    hyper: &[adam::BETA1, adam::BETA2, adam::EPS, DECOUPLED, nadam::MOMENTUM_DECAY],
    decay: Decay::Decoupled,
    kind: Kind::Elementwise,
    rest: None,
    conflict: no_conflict,
    make: both!(make_nadam),
};

static RADAM: Entry = Entry {
    name: "radam",
    summary: "Adam that divides only once it has seen enough: warm-up without a schedule",
    source: "Liu et al. 2020, Algorithm 2",
    lr: 1e-3,
    hyper: &[adam::BETA1, adam::BETA2, adam::EPS, COUPLED],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    rest: None,
    conflict: no_conflict,
    make: both!(make_radam),
};

fn make_radam<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(Radam { beta1: v.get("beta1"), beta2: v.get("beta2"), eps: v.get("eps") }, room)
}

static ADABELIEF: Entry = Entry {
    name: "adabelief",
    summary: "Adam divided by how far gradients are from their mean",
    source: "Zhuang et al. 2020, Algorithm 2",
    lr: 1e-3,
    hyper: &[adam::BETA1, adam::BETA2, adabelief::EPS, Hyper { default: 0.0, ..DECOUPLED }],
    decay: Decay::Decoupled,
    kind: Kind::Elementwise,
    rest: None,
    conflict: no_conflict,
    make: both!(make_adabelief),
};

fn make_adabelief<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(AdaBelief { beta1: v.get("beta1"), beta2: v.get("beta2"), eps: v.get("eps") }, room)
}

static ADABOUND: Entry = Entry {
    name: "adabound",
    summary: "begins as Adam, ends as SGD with momentum",
    source: "Luo et al. 2019, Algorithm 2",
    lr: 1e-3,
    hyper: &[
        adabound::FINAL_LR,
        adam::BETA1,
        adam::BETA2,
        adam::EPS,
        adabound::GAMMA,
        Hyper { default: 0.0, ..DECOUPLED },
    ],
    decay: Decay::Decoupled,
    kind: Kind::Elementwise,
    rest: None,
    conflict: no_conflict,
    make: both!(make_adabound),
};

fn make_adabound<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(
        AdaBound {
            final_lr: v.get("final_lr"),
            beta1: v.get("beta1"),
            beta2: v.get("beta2"),
            eps: v.get("eps"),
            gamma: v.get("gamma"),
        },
        room,
    )
}

static AMSBOUND: Entry = Entry {
    name: "amsbound",
    summary: "AdaBound with the largest mean square so far",
    source: "Luo et al. 2019, Algorithm 3",
    lr: 1e-3,
    hyper: &[
        adabound::FINAL_LR,
        adam::BETA1,
        adam::BETA2,
        adam::EPS,
        adabound::GAMMA,
        Hyper { default: 0.0, ..DECOUPLED },
    ],
    decay: Decay::Decoupled,
    kind: Kind::Elementwise,
    rest: None,
    conflict: no_conflict,
    make: both!(make_amsbound),
};

fn make_amsbound<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(
        AmsBound {
            final_lr: v.get("final_lr"),
            beta1: v.get("beta1"),
            beta2: v.get("beta2"),
            eps: v.get("eps"),
            gamma: v.get("gamma"),
        },
        room,
    )
}

static YOGI: Entry = Entry {
    name: "yogi",
    summary: "Adam whose mean square changes slowly both ways",
    source: "Zaheer et al. 2018, Algorithm 2",
    lr: 1e-2,
    hyper: &[adam::BETA1, adam::BETA2, yogi::EPS, yogi::START, Hyper { default: 0.0, ..DECOUPLED }],
    decay: Decay::Decoupled,
    kind: Kind::Elementwise,
    rest: None,
    conflict: no_conflict,
    make: both!(make_yogi),
};

fn make_yogi<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(
        Yogi {
            beta1: v.get("beta1"),
            beta2: v.get("beta2"),
            eps: v.get("eps"),
            initial_accumulator_value: v.get("initial_accumulator_value"),
        },
        room,
    )
}

static ADAN: Entry = Entry {
    name: "adan",
    summary: "Adam with Nesterov's look-ahead from differences of gradients",
    source: "Xie et al. 2022, Algorithm 1",
    lr: 1e-3,
    hyper: &[
        adan::BETA1,
        adan::BETA2,
        adan::BETA3,
        adam::EPS,
        Hyper { default: 0.0, ..DECOUPLED },
        Hyper::new("no_prox", 0.0, Range::SWITCH, "decay before the step, as AdamW, in place of after it"),
    ],
    decay: Decay::DecoupledOrProximal,
    kind: Kind::Elementwise,
    rest: None,
    conflict: no_conflict,
    make: both!(make_adan),
};

fn make_adan<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(
        Adan { beta1: v.get("beta1"), beta2: v.get("beta2"), beta3: v.get("beta3"), eps: v.get("eps") },
        room,
    )
}

static LION: Entry = Entry {
    name: "lion",
    summary: "moves every coordinate by the rate; for large batches, with little memory",
    source: "Chen et al. 2023, Algorithm 2",
    lr: 1e-4,
    hyper: &[lion::BETA1, lion::BETA2, Hyper { default: 1e-3, ..DECOUPLED }],
    decay: Decay::Decoupled,
    kind: Kind::Elementwise,
    rest: None,
    conflict: no_conflict,
    make: both!(make_lion),
};

fn make_lion<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(Lion { beta1: v.get("beta1"), beta2: v.get("beta2") }, room)
}

static SIGNSGD: Entry = Entry {
    name: "signsgd",
    summary: "moves every coordinate by the rate, after the sign of its gradient",
    source: "Bernstein et al. 2018, Algorithm 1",
    lr: 1e-3,
    hyper: &[Hyper { default: 0.0, ..DECOUPLED }],
    decay: Decay::Decoupled,
    kind: Kind::Elementwise,
    rest: None,
    conflict: no_conflict,
    make: both!(make_signsgd),
};

fn make_signsgd<F: Float>(_: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(SignSgd, room)
}

static SIGNUM: Entry = Entry {
    name: "signum",
    summary: "signSGD on a mean gradient",
    source: "Bernstein et al. 2018, Algorithm 2",
    lr: 1e-3,
    hyper: &[momentum::MOMENTUM, Hyper { default: 0.0, ..DECOUPLED }],
    decay: Decay::Decoupled,
    kind: Kind::Elementwise,
    rest: None,
    conflict: no_conflict,
    make: both!(make_signum),
};

fn make_signum<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(Signum { momentum: v.get("momentum") }, room)
}

static RPROP: Entry = Entry {
    name: "rprop",
    summary: "a step for each coordinate from signs alone; full batch only",
    source: "Riedmiller & Braun 1993; Igel & Hüsken 2000",
    lr: 1e-2,
    hyper: &[rprop::ETAMINUS, rprop::ETAPLUS, rprop::MIN, rprop::MAX],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    rest: None,
    conflict: |v| {
        (v.get("step_size_min") > v.get("step_size_max"))
            .then_some(("step_size_min", "step_size_min is above step_size_max"))
    },
    make: both!(make_rprop),
};

fn make_rprop<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(
        Rprop {
            etaminus: v.get("etaminus"),
            etaplus: v.get("etaplus"),
            step_size_min: v.get("step_size_min"),
            step_size_max: v.get("step_size_max"),
        },
        room,
    )
}

static ASGD: Entry = Entry {
    name: "asgd",
    summary: "gradient descent whose late iterates are averaged",
    source: "Polyak & Juditsky 1992",
    lr: 1e-2,
    hyper: &[asgd::LAMBD, asgd::ALPHA, asgd::T0, COUPLED],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    rest: None,
    conflict: no_conflict,
    make: both!(make_asgd),
};

fn make_asgd<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(Asgd { lambd: v.get("lambd"), alpha: v.get("alpha"), t0: v.get("t0") }, room)
}

static FTRL: Entry = Entry {
    name: "ftrl",
    summary: "sparse linear models on streams: exact zeros from its own l1",
    source: "McMahan et al. 2013, Algorithm 1",
    lr: 1e-3,
    hyper: &[ftrl::POWER, ftrl::START, ftrl::L1, ftrl::L2, ftrl::SHRINKAGE, ftrl::BETA],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    rest: None,
    conflict: no_conflict,
    make: both!(make_ftrl),
};

fn make_ftrl<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let [initial_accumulator_value, l1, l2, l2_shrinkage, beta] =
        ["initial_accumulator_value", "l1", "l2", "l2_shrinkage", "beta"].map(|name| v.get(name));
    match v.get("learning_rate_power") {
        -0.5 => elementwise(Ftrl { initial_accumulator_value, l1, l2, l2_shrinkage, beta }, room),
        learning_rate_power => elementwise(
            FtrlPower { learning_rate_power, initial_accumulator_value, l1, l2, l2_shrinkage, beta },
            room,
        ),
    }
}
