//! The registry's entries of the rules that work coordinate by coordinate, each with what makes it from its values.

use super::*;

macro_rules! both {
    ($make:ident) => {
        ($make::<f32>, $make::<f64>)
    };
}

pub(super) static SGD: Entry = Entry {
    name: "sgd",
    summary: "gradient descent, with momentum (heavy ball) or Nesterov's look-ahead if asked for",
    source: "Robbins & Monro 1951; Polyak 1964; Nesterov 1983",
    about: about!("sgd.rs", "momentum.rs", "nesterov.rs"),
    lr: 1e-3,
    hyper: &[
        NO_MOMENTUM,
        momentum::DAMPENING,
        COUPLED,
        Hyper::new("nesterov", 0.0, Range::SWITCH, "take the gradient's look-ahead form"),
    ],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
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
    rate: Rate::Curvature,
    falls: false,
    ..USUAL
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

pub(super) static ADAGRAD: Entry = Entry {
    name: "adagrad",
    summary: "each coordinate's rate falls with the root of its summed squares; for sparse features",
    source: "Duchi, Hazan & Singer 2011",
    about: about!("adagrad.rs"),
    lr: 1e-2,
    hyper: &[Adagrad::HYPER[0], COUPLED, Adagrad::HYPER[1], Adagrad::HYPER[2]],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    make: both!(make_adagrad),
    rate: Rate::Number(0.5),
    falls: false,
    ..USUAL
};

fn make_adagrad<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let initial_accumulator_value = v.get("initial_accumulator_value");
    elementwise(Adagrad { lr_decay: v.get("lr_decay"), initial_accumulator_value, eps: v.get("eps") }, room)
}

pub(super) static RMSPROP: Entry = Entry {
    name: "rmsprop",
    summary: "divides by a running root mean square of the gradient, or its deviation (centered)",
    source: "Tieleman & Hinton 2012; Graves 2013",
    about: about!("rmsprop.rs"),
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
    make: both!(make_rmsprop),
    rate: Rate::Number(0.05),
    ..USUAL
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

pub(super) static ADAM: Entry = Entry {
    name: "adam",
    summary: "momentum divided by a running root mean square; works untuned on most problems",
    source: "Kingma & Ba 2015, Algorithm 1",
    about: about!("adam.rs"),
    lr: 1e-3,
    hyper: &[adam::BETA1, adam::BETA2, adam::EPS, COUPLED],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    make: both!(make_adam),
    ..USUAL
};

fn make_adam<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(Adam { beta1: v.get("beta1"), beta2: v.get("beta2"), eps: v.get("eps") }, room)
}

pub(super) static ADAMW: Entry = Entry {
    name: "adamw",
    summary: "Adam with weight decay that does not pass through the moments",
    source: "Loshchilov & Hutter 2019, Algorithm 2",
    about: about!("adam.rs"),
    lr: 1e-3,
    hyper: &[adam::BETA1, adam::BETA2, adam::EPS, DECOUPLED],
    decay: Decay::Decoupled,
    kind: Kind::Elementwise,
    make: both!(make_adam),
    ..USUAL
};

pub(super) static AMSGRAD: Entry = Entry {
    name: "amsgrad",
    summary: "Adam divided by the largest mean square so far: converges where Adam need not",
    source: "Reddi, Kale & Kumar 2018, Algorithm 2",
    about: about!("amsgrad.rs"),
    lr: 1e-3,
    hyper: &[adam::BETA1, adam::BETA2, adam::EPS, COUPLED],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    make: both!(make_amsgrad),
    ..USUAL
};

fn make_amsgrad<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(AmsGrad { beta1: v.get("beta1"), beta2: v.get("beta2"), eps: v.get("eps") }, room)
}

pub(super) static ADADELTA: Entry = Entry {
    name: "adadelta",
    summary: "steps in units of earlier steps: nothing to choose, but a slow start",
    source: "Zeiler 2012, Algorithm 1",
    about: about!("adadelta.rs"),
    lr: 1.0,
    hyper: &[adadelta::RHO, adadelta::EPS, COUPLED],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    make: both!(make_adadelta),
    falls: false,
    ..USUAL
};

fn make_adadelta<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(Adadelta { rho: v.get("rho"), eps: v.get("eps") }, room)
}

pub(super) static ADAMAX: Entry = Entry {
    name: "adamax",
    summary: "Adam divided by the largest gradient of late",
    source: "Kingma & Ba 2015, Algorithm 2",
    about: about!("adamax.rs"),
    lr: 2e-3,
    hyper: &[adam::BETA1, adam::BETA2, adam::EPS, COUPLED],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    make: both!(make_adamax),
    ..USUAL
};

fn make_adamax<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(Adamax { beta1: v.get("beta1"), beta2: v.get("beta2"), eps: v.get("eps") }, room)
}

pub(super) static ADAMAXW: Entry = Entry {
    name: "adamaxw",
    summary: "Adamax with weight decay that does not pass through the moments",
    source: "Kingma & Ba 2015, Algorithm 2; Loshchilov & Hutter 2019",
    about: about!("adamax.rs"),
    lr: 2e-3,
    hyper: &[adam::BETA1, adam::BETA2, adam::EPS, DECOUPLED],
    decay: Decay::Decoupled,
    kind: Kind::Elementwise,
    make: both!(make_adamax),
    ..USUAL
};

pub(super) static NADAM: Entry = Entry {
    name: "nadam",
    summary: "Adam with Nesterov's look-ahead",
    source: "Dozat 2016, Algorithm 2",
    about: about!("nadam.rs"),
    lr: 2e-3,
    hyper: &[adam::BETA1, adam::BETA2, adam::EPS, COUPLED, nadam::MOMENTUM_DECAY],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    make: both!(make_nadam),
    ..USUAL
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

pub(super) static NADAMW: Entry = Entry {
    name: "nadamw",
    summary: "NAdam with weight decay that does not pass through the moments",
    source: "Dozat 2016; Loshchilov & Hutter 2019",
    about: about!("nadam.rs"),
    lr: 2e-3,
    hyper: &[adam::BETA1, adam::BETA2, adam::EPS, DECOUPLED, nadam::MOMENTUM_DECAY],
    decay: Decay::Decoupled,
    kind: Kind::Elementwise,
    make: both!(make_nadam),
    ..USUAL
};

pub(super) static RADAM: Entry = Entry {
    name: "radam",
    summary: "Adam that divides only once it has seen enough: warm-up without a schedule",
    source: "Liu et al. 2020, Algorithm 2",
    about: about!("radam.rs"),
    lr: 1e-3,
    hyper: &[adam::BETA1, adam::BETA2, adam::EPS, COUPLED],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    make: both!(make_radam),
    ..USUAL
};

fn make_radam<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(Radam { beta1: v.get("beta1"), beta2: v.get("beta2"), eps: v.get("eps") }, room)
}

pub(super) static ADABELIEF: Entry = Entry {
    name: "adabelief",
    summary: "Adam divided by how far gradients are from their mean",
    source: "Zhuang et al. 2020, Algorithm 2",
    about: about!("adabelief.rs"),
    lr: 1e-3,
    hyper: &[adam::BETA1, adam::BETA2, adabelief::EPS, Hyper { default: 0.0, ..DECOUPLED }],
    decay: Decay::Decoupled,
    kind: Kind::Elementwise,
    make: both!(make_adabelief),
    ..USUAL
};

fn make_adabelief<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(AdaBelief { beta1: v.get("beta1"), beta2: v.get("beta2"), eps: v.get("eps") }, room)
}

pub(super) static ADABOUND: Entry = Entry {
    name: "adabound",
    summary: "begins as Adam, ends as SGD with momentum",
    source: "Luo et al. 2019, Algorithm 2",
    about: about!("adabound.rs"),
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
    make: both!(make_adabound),
    ..USUAL
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

pub(super) static AMSBOUND: Entry = Entry {
    name: "amsbound",
    summary: "AdaBound with the largest mean square so far",
    source: "Luo et al. 2019, Algorithm 3",
    about: about!("adabound.rs"),
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
    make: both!(make_amsbound),
    ..USUAL
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

pub(super) static YOGI: Entry = Entry {
    name: "yogi",
    summary: "Adam whose mean square changes slowly both ways",
    source: "Zaheer et al. 2018, Algorithm 2",
    about: about!("yogi.rs"),
    lr: 1e-2,
    hyper: &[adam::BETA1, adam::BETA2, yogi::EPS, yogi::START, Hyper { default: 0.0, ..DECOUPLED }],
    decay: Decay::Decoupled,
    kind: Kind::Elementwise,
    make: both!(make_yogi),
    rate: Rate::Number(0.05),
    ..USUAL
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

pub(super) static ADAN: Entry = Entry {
    name: "adan",
    summary: "Adam with Nesterov's look-ahead from differences of gradients",
    source: "Xie et al. 2022, Algorithm 1",
    about: about!("adan.rs"),
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
    make: both!(make_adan),
    ..USUAL
};

fn make_adan<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(
        Adan { beta1: v.get("beta1"), beta2: v.get("beta2"), beta3: v.get("beta3"), eps: v.get("eps") },
        room,
    )
}

pub(super) static ADEMAMIX: Entry = Entry {
    name: "ademamix",
    summary: "Adam with a second mean that remembers ten thousand gradients; for long runs",
    source: "Pagliardini, Ablin & Grangier 2024",
    about: about!("ademamix.rs"),
    lr: 1e-3,
    hyper: &[
        adam::BETA1,
        adam::BETA2,
        ademamix::BETA3,
        ademamix::ALPHA,
        adam::EPS,
        Hyper { default: 0.0, ..DECOUPLED },
    ],
    decay: Decay::Decoupled,
    kind: Kind::Elementwise,
    make: both!(make_ademamix),
    ..USUAL
};

fn make_ademamix<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(
        AdEmaMix {
            beta1: v.get("beta1"),
            beta2: v.get("beta2"),
            beta3: v.get("beta3"),
            alpha: v.get("alpha"),
            eps: v.get("eps"),
        },
        room,
    )
}

pub(super) static ADOPT: Entry = Entry {
    name: "adopt",
    summary: "Adam that divides by the mean square of earlier gradients: converges with any beta2",
    source: "Taniguchi et al. 2024, Algorithm 2",
    about: about!("adopt.rs"),
    lr: 1e-3,
    hyper: &[
        adam::BETA1,
        Hyper { default: 0.9999, ..adam::BETA2 },
        adopt::EPS,
        adopt::CLIPPING,
        Hyper { default: 0.0, ..DECOUPLED },
    ],
    decay: Decay::Decoupled,
    kind: Kind::Elementwise,
    make: both!(make_adopt),
    ..USUAL
};

fn make_adopt<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let (beta1, beta2) = (v.get("beta1"), v.get("beta2"));
    elementwise(Adopt { beta1, beta2, eps: v.get("eps"), clipping: v.get("clipping") }, room)
}

pub(super) static OPTIMISTIC_SGD: Entry = Entry {
    name: "optimistic_sgd",
    summary: "gradient descent that takes its last step back: for games and saddle points",
    source: "Daskalakis et al. 2018; Mokhtari, Ozdaglar & Pattathil 2020",
    about: about!("optimistic.rs"),
    lr: 1e-3,
    hyper: &[optimistic::ALPHA, optimistic::BETA, COUPLED],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    make: both!(make_optimistic_sgd),
    ..USUAL
};

fn make_optimistic_sgd<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(OptimisticSgd { alpha: v.get("alpha"), beta: v.get("beta") }, room)
}

pub(super) static OPTIMISTIC_ADAM: Entry = Entry {
    name: "optimistic_adam",
    summary: "Adam that takes its last direction back: for games and saddle points",
    source: "Daskalakis et al. 2018, Algorithm 1",
    about: about!("optimistic.rs"),
    lr: 1e-3,
    hyper: &[
        optimistic::ALPHA,
        optimistic::BETA,
        adam::BETA1,
        adam::BETA2,
        adam::EPS,
        optimistic::NESTEROV,
        COUPLED,
    ],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    make: both!(make_optimistic_adam),
    ..USUAL
};

fn make_optimistic_adam<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(
        OptimisticAdam {
            alpha: v.get("alpha"),
            beta: v.get("beta"),
            beta1: v.get("beta1"),
            beta2: v.get("beta2"),
            eps: v.get("eps"),
            nesterov: v.get("nesterov"),
        },
        room,
    )
}

pub(super) static LION: Entry = Entry {
    name: "lion",
    summary: "moves every coordinate by the rate; for large batches, with little memory",
    source: "Chen et al. 2023, Algorithm 2",
    about: about!("lion.rs"),
    lr: 1e-4,
    hyper: &[lion::BETA1, lion::BETA2, Hyper { default: 1e-3, ..DECOUPLED }],
    decay: Decay::Decoupled,
    kind: Kind::Elementwise,
    make: both!(make_lion),
    ..USUAL
};

fn make_lion<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(Lion { beta1: v.get("beta1"), beta2: v.get("beta2") }, room)
}

pub(super) static SIGNSGD: Entry = Entry {
    name: "signsgd",
    summary: "moves every coordinate by the rate, after the sign of its gradient",
    source: "Bernstein et al. 2018, Algorithm 1",
    about: about!("signsgd.rs"),
    lr: 1e-3,
    hyper: &[Hyper { default: 0.0, ..DECOUPLED }],
    decay: Decay::Decoupled,
    kind: Kind::Elementwise,
    make: both!(make_signsgd),
    ..USUAL
};

fn make_signsgd<F: Float>(_: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(SignSgd, room)
}

pub(super) static SIGNUM: Entry = Entry {
    name: "signum",
    summary: "signSGD on a mean gradient",
    source: "Bernstein et al. 2018, Algorithm 2",
    about: about!("signsgd.rs"),
    lr: 1e-3,
    hyper: &[momentum::MOMENTUM, Hyper { default: 0.0, ..DECOUPLED }],
    decay: Decay::Decoupled,
    kind: Kind::Elementwise,
    make: both!(make_signum),
    ..USUAL
};

fn make_signum<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(Signum { momentum: v.get("momentum") }, room)
}

pub(super) static RPROP: Entry = Entry {
    name: "rprop",
    summary: "a step for each coordinate from signs alone; full batch only",
    source: "Riedmiller & Braun 1993; Igel & Hüsken 2000",
    about: about!("rprop.rs"),
    lr: 1e-2,
    hyper: &[rprop::ETAMINUS, rprop::ETAPLUS, rprop::MIN, rprop::MAX],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    conflict: |v| {
        (v.get("step_size_min") > v.get("step_size_max"))
            .then_some(("step_size_min", "step_size_min is above step_size_max"))
    },
    make: both!(make_rprop),
    rate: Rate::Number(0.05),
    falls: false,
    ..USUAL
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

pub(super) static ASGD: Entry = Entry {
    name: "asgd",
    summary: "gradient descent whose late iterates are averaged",
    source: "Polyak & Juditsky 1992",
    about: about!("asgd.rs"),
    lr: 1e-2,
    hyper: &[asgd::LAMBD, asgd::ALPHA, asgd::T0, COUPLED],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    make: both!(make_asgd),
    rate: Rate::Curvature,
    falls: false,
    undecoupled: Some("evaluates a mean of weights that a decoupled step does not reach; its own lambd does"),
    ..USUAL
};

fn make_asgd<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    elementwise(Asgd { lambd: v.get("lambd"), alpha: v.get("alpha"), t0: v.get("t0") }, room)
}

pub(super) static FTRL: Entry = Entry {
    name: "ftrl",
    summary: "sparse linear models on streams: exact zeros from its own l1",
    source: "McMahan et al. 2013, Algorithm 1",
    about: about!("ftrl.rs"),
    lr: 1e-3,
    hyper: &[ftrl::POWER, ftrl::START, ftrl::L1, ftrl::L2, ftrl::SHRINKAGE, ftrl::BETA],
    decay: Decay::Coupled,
    kind: Kind::Elementwise,
    make: both!(make_ftrl),
    rate: Rate::Number(0.5),
    falls: false,
    undecoupled: Some(
        "makes θ anew from its memory at each step, which a decoupled step does not reach; its own l1 and l2 do",
    ),
    ..USUAL
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
