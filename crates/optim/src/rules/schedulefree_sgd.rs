//! Schedule-free SGD: a mean of the weights takes the place of a falling rate. Defazio et al. 2024, equations 3 to 5,
//! <https://arxiv.org/abs/2405.15682>.
//! ```text
//! u = g(y) + λ y
//! y ← (1 − c) y + c z − η (1 − β (1 − c)) u        z ← z − η u        x = y + (1 − 1/β) (z − y)
//! ```
//! For runs whose length is not known beforehand: x is as good at any time as a schedule that was made to end then. 1 number of
//! memory a parameter (z). Step by step as the authors' `schedulefree.SGDScheduleFree`. optax's `contrib.schedule_free_sgd` is
//! the same with r = 0, but for a warm-up whose first step has the rate 0; PyTorch and Keras do not have it. Here nobody switches
//! between training and evaluation: what validates and saves takes x. Other rates than PyTorch's SGD: some 10 to 50 times larger.

use thalweg_core::Float;

use super::schedulefree::{DECAY, Direction, MOMENTUM, POWER, R, ScheduleFree, WARMUP};
use super::{Decay, Entry, Kind, Rate, Room, USUAL, Values};
use crate::about::about;
use crate::method::Method;

/// The entry.
pub(super) static SCHEDULEFREE_SGD: Entry = Entry {
    name: "schedulefree_sgd",
    summary: "SGD whose averaged weights need no schedule; validates and saves the average",
    source: "Defazio et al. 2024, equations 3-5",
    about: about!("schedulefree_sgd.rs", "schedulefree.rs"),
    lr: 1.0,
    hyper: &[MOMENTUM, DECAY, WARMUP, R, POWER],
    decay: Decay::Coupled,
    kind: Kind::Tensor,
    make: (make::<f32>, make::<f64>),
    rate: Rate::Curvature,
    falls: false,
    undecoupled: Some(
        "evaluates a mean of weights that a decoupled step does not reach; its own weight_decay does",
    ),
    ..USUAL
};

fn make<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let mean = [v.get("warmup_steps"), v.get("r"), v.get("weight_lr_power")];
    Box::new(ScheduleFree::new(
        SCHEDULEFREE_SGD.name,
        v.get("momentum"),
        Direction::Plain,
        mean,
        room.tensors,
    ))
}
