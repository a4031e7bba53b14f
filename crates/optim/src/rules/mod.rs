//! One file for each rule, and [`ALL`], the registry that everything else reads.

pub mod adabelief;
pub mod adabound;
pub mod adadelta;
pub mod adafactor;
pub mod adagrad;
pub mod adam;
pub mod adamax;
pub mod adan;
pub mod ademamix;
pub mod adopt;
pub mod amsgrad;
pub mod armijo;
pub mod asgd;
mod coordinates;
pub mod dadapt_adagrad;
pub mod dadapt_adam;
pub mod dadapt_sgd;
pub mod dog;
pub mod fromage;
pub mod ftrl;
pub mod lamb;
pub mod lars;
pub mod lbfgs;
pub mod lion;
pub mod momentum;
pub mod muon;
pub mod nadam;
pub mod nesterov;
pub mod novograd;
pub mod optimistic;
pub mod polyak;
pub mod prodigy;
pub mod radam;
pub mod rmsprop;
pub mod rprop;
pub mod saga;
pub mod schedulefree;
pub mod schedulefree_adamw;
pub mod schedulefree_radam;
pub mod schedulefree_sgd;
pub mod sgd;
pub mod shampoo;
pub mod signsgd;
pub mod sm3;
pub mod soap;
pub mod sophia;
pub mod svrg;
pub mod yogi;

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Float, Tensor};

pub use adabelief::AdaBelief;
pub use adabound::{AdaBound, AmsBound};
pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub use adam::Adam;
pub use adamax::Adamax;
pub use adan::Adan;
pub use ademamix::AdEmaMix;
pub use adopt::Adopt;
pub use amsgrad::AmsGrad;
pub use asgd::Asgd;
pub use ftrl::{Ftrl, FtrlPower};
pub use lion::Lion;
pub use momentum::Momentum;
pub use nadam::Nadam;
pub use nesterov::Nesterov;
pub use optimistic::{OptimisticAdam, OptimisticSgd};
pub use radam::Radam;
pub use rmsprop::{RmsProp, RmsPropCentered, RmsPropCenteredMomentum, RmsPropMomentum};
pub use rprop::Rprop;
pub use sgd::Sgd;
pub use signsgd::{SignSgd, Signum};
pub use yogi::Yogi;

use adafactor::ADAFACTOR;
use armijo::ARMIJO;
use coordinates::{
    ADABELIEF, ADABOUND, ADADELTA, ADAGRAD, ADAM, ADAMAX, ADAMAXW, ADAMW, ADAN, ADEMAMIX, ADOPT, AMSBOUND,
    AMSGRAD, ASGD, FTRL, LION, NADAM, NADAMW, OPTIMISTIC_ADAM, OPTIMISTIC_SGD, RADAM, RMSPROP, RPROP, SGD,
    SIGNSGD, SIGNUM, YOGI,
};
use dadapt_adagrad::DADAPT_ADAGRAD;
use dadapt_adam::DADAPT_ADAM;
use dadapt_sgd::DADAPT_SGD;
use dog::{DOG, DOWG};
use fromage::FROMAGE;
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

use crate::about::about;
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
    /// The paper.
    pub source: &'static str,
    /// What stands above its code, in Markdown: the formula, what it is for, its memory, and where PyTorch, optax and Keras differ.
    pub about: &'static str,
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
    /// The memory at these values, where it is not all there from the start.
    pub memory: Option<fn(&Values<'_>) -> Grown>,
    /// The rate that suits a linear model when nothing is said.
    pub rate: Rate,
    /// Whether a linear model's rate is to fall to 0 over the run when nothing is said.
    pub falls: bool,
    /// Why nothing but the rule may shrink θ (a decoupled penalty), as a verb phrase; `None` where it may.
    pub undecoupled: Option<&'static str>,
    /// Why sign(θ) may be no part of the gradient (coupled l1), as a verb phrase; `None` where it may.
    pub unsigned: Option<&'static str>,
    pub(crate) make: (Make<f32>, Make<f64>),
}

/// Memory that grows with the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grown {
    /// Numbers a parameter in the end; `None` where that depends on the data.
    pub numbers: Option<f64>,
    /// The same in words.
    pub text: &'static str,
}

/// Which learning rate suits a linear model when nothing is said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// 1/L, L being the objective's largest curvature: gradient descent in all its forms.
    Curvature,
    /// 1/(3L), L being the largest curvature of a batch: rules without noise at the optimum.
    RowCurvature,
    /// This one.
    Number(f64),
    /// 50 times the default, which is made for networks, where that is below 0.005.
    Scaled,
}

/// What goes with a rule that works on some tensors only.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    /// Whether the rule works on a tensor.
    pub works: fn(&Tensor) -> bool,
    /// Whether it takes that tensor where it stands alone.
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

/// What most entries have in common.
const USUAL: Entry = Entry {
    name: "",
    summary: "",
    source: "",
    about: "",
    lr: 1e-3,
    hyper: &[],
    decay: Decay::Coupled,
    conflict: |_| None,
    kind: Kind::Elementwise,
    rest: None,
    memory: None,
    rate: Rate::Scaled,
    falls: true,
    undecoupled: None,
    unsigned: None,
    make: (|_, _| unreachable!("an entry has its makers"), |_, _| unreachable!("an entry has its makers")),
};

/// Every rule.
pub static ALL: [&Entry; 51] = [
    &SGD,
    &ADAGRAD,
    &RMSPROP,
    &ADAM,
    &AMSGRAD,
    &ADAMW,
    &ADADELTA,
    &ADAMAX,
    &ADAMAXW,
    &NADAM,
    &NADAMW,
    &RADAM,
    &ADABELIEF,
    &ADABOUND,
    &AMSBOUND,
    &YOGI,
    &ADAN,
    &ADEMAMIX,
    &ADOPT,
    &LION,
    &SIGNSGD,
    &SIGNUM,
    &RPROP,
    &ASGD,
    &FTRL,
    &OPTIMISTIC_SGD,
    &OPTIMISTIC_ADAM,
    &NOVOGRAD,
    &SM3,
    &LARS,
    &LAMB,
    &FROMAGE,
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
    &DOG,
    &DOWG,
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
