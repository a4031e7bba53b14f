//! Schedule-free RAdam: schedule-free AdamW with the rectified rate in the place of a warm-up. Defazio et al. 2024,
//! <https://arxiv.org/abs/2405.15682>; Liu, Jiang, He, Chen, Liu, Gao & Han 2020, <https://arxiv.org/abs/1908.03265>.
//! ```text
//! ρ = ρ_∞ − 2 t β₂ᵗ/(1 − β₂ᵗ)        ρ_∞ = 2/(1 − β₂) − 1
//! ρ > 4:  η ← η √((ρ − 4)(ρ − 2) ρ_∞ / ((ρ_∞ − 4)(ρ_∞ − 2) ρ)), then as schedulefree_adamw
//! else:   the gradient itself, at a rate of 0 if `silent_sgd_phase`
//! ```
//! For runs of unknown length with nothing to choose but the rate. 2 numbers of memory a parameter (z, v). Step by step as the
//! authors' `schedulefree.RAdamScheduleFree`; PyTorch, optax and Keras do not have it.

use thalweg_core::Float;
use thalweg_core::hyper::{Hyper, Range};

use super::schedulefree::{BETA1, DECAY, Direction, POWER, R, ScheduleFree};
use super::{Decay, Entry, Kind, Rate, Room, USUAL, Values, adam};
use crate::about::about;
use crate::method::Method;

/// The entry.
pub(super) static SCHEDULEFREE_RADAM: Entry = Entry {
    name: "schedulefree_radam",
    summary: "schedule-free AdamW with RAdam's rectified rate: neither schedule nor warm-up",
    source: "Defazio et al. 2024; Liu et al. 2020",
    about: about!("schedulefree_radam.rs", "schedulefree.rs"),
    lr: 2.5e-3,
    hyper: &[
        BETA1,
        adam::BETA2,
        adam::EPS,
        DECAY,
        R,
        POWER,
        Hyper::new("silent_sgd_phase", 1.0, Range::SWITCH, "stand still until the rate can be rectified"),
    ],
    decay: Decay::Coupled,
    kind: Kind::Tensor,
    make: (make::<f32>, make::<f64>),
    rate: Rate::Number(0.05),
    falls: false,
    undecoupled: Some(
        "evaluates a mean of weights that a decoupled step does not reach; its own weight_decay does",
    ),
    ..USUAL
};

fn make<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let direction =
        Direction::Rectified { beta2: v.get("beta2"), eps: v.get("eps"), silent: v.is("silent_sgd_phase") };
    let mean = [0.0, v.get("r"), v.get("weight_lr_power")];
    Box::new(ScheduleFree::new(SCHEDULEFREE_RADAM.name, v.get("beta1"), direction, mean, room.tensors))
}
