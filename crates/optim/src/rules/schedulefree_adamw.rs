//! Schedule-free AdamW: Adam's direction without its first moment, and a mean of the weights in the place of a falling rate.
//! Defazio et al. 2024, Algorithm 1, <https://arxiv.org/abs/2405.15682>.
//! ```text
//! v ← β₂ v + (1 − β₂) g(y)²        u = g(y)/(√(v/(1 − β₂ᵗ)) + ε) + λ y
//! y ← (1 − c) y + c z − η (1 − β₁ (1 − c)) u        z ← z − η u        x = y + (1 − 1/β₁) (z − y)
//! ```
//! For networks, where the length of the run is not known beforehand. 2 numbers of memory a parameter (z, v): Adam's, since y
//! takes the momentum's place. Step by step as the authors' `schedulefree.AdamWScheduleFree`; the decay is taken at y and not
//! outside the mean, as AdamW's would be. optax's `contrib.schedule_free_adamw` is the same with r = 0, but for a warm-up whose
//! first step has the rate 0. Keras's `ScheduleFreeAdamW` has c = 1/t, whatever the rates, shrinks y by its decay, and leaves y
//! in the model, whose x nobody computes. PyTorch does not have it.

use thalweg_core::Float;

use super::schedulefree::{BETA1, DECAY, Direction, POWER, R, ScheduleFree, WARMUP};
use super::{Decay, Entry, Kind, Rate, Room, USUAL, Values, adam};
use crate::about::about;
use crate::method::Method;

/// The entry.
pub(super) static SCHEDULEFREE_ADAMW: Entry = Entry {
    name: "schedulefree_adamw",
    summary: "AdamW whose averaged weights need no schedule; validates and saves the average",
    source: "Defazio et al. 2024, Algorithm 1",
    about: about!("schedulefree_adamw.rs", "schedulefree.rs"),
    lr: 2.5e-3,
    hyper: &[BETA1, adam::BETA2, adam::EPS, DECAY, WARMUP, R, POWER],
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
    let direction = Direction::Adam { beta2: v.get("beta2"), eps: v.get("eps") };
    let mean = [v.get("warmup_steps"), v.get("r"), v.get("weight_lr_power")];
    Box::new(ScheduleFree::new(SCHEDULEFREE_ADAMW.name, v.get("beta1"), direction, mean, room.tensors))
}
