#!/usr/bin/env python3
"""Record 50 float64 steps of the rules that heavyball has as we have them.

    python scripts/reference/peers_heavyball.py            writes the file
    python scripts/reference/peers_heavyball.py --check    compares it with what is stored, writes nothing

`crates/optim/tests/data/heavyball.json`. Gradients and starts are those of the other files; `args` holds every hyperparameter by our
name. heavyball keeps what it sums in `storage_dtype`, float64 here, and compiles nothing here. Where it departs from the papers:

- Its eps is the least root, not added to it: 1e-30 here, which no root reaches, so `eps` is 0 in ours.
- Its moments are debiased as they are summed, the same numbers as m / (1 - beta1^t).
- Its NAdam with coupled decay takes the decay off the update again: recorded with decoupled decay.
- Its Muon has coefficients of its own for the iteration, and Jordan's (`legacy_newtonschulz`) on square matrices alone; its momentum is a
  sum, of which the iteration takes the length away.
- Its RMSprop corrects for the start, its SOAP orders and lifts eigenvalues and its SAM does not normalise: other rules, not recorded.
"""

import math

import heavyball
import numpy as np
import torch
from heavyball import utils

from common import finish
from optimizers import LISTED, STEPS, THETA0, gradient_sets
from peers import case, close, distinct, made_by, perturbed
from peers_shaped import SHAPES, sets, starts

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
utils.compile_mode = None
utils.zeroth_power_mode = "legacy_newtonschulz"
FILE = "crates/optim/tests/data/heavyball.json"
PLAIN = {"storage_dtype": "float64", "compile_step": False, "multi_tensor": False}


def shown(rule, theta):
    """What eval() shows, with the training weights put back."""
    kept = theta.detach().clone()
    rule.eval()
    weights = theta.detach().reshape(-1).tolist()
    rule.train()
    with torch.no_grad():
        theta.copy_(kept)
    return weights


def run(kind, shape, averages, **args):
    def go(gradients, theta0):
        theta = torch.nn.Parameter(torch.tensor(theta0).reshape(shape))
        rule = kind([theta], **PLAIN, **args)
        listed = {"theta": [], **({"averaged": []} if averages else {})}
        for t in range(1, STEPS + 1):
            theta.grad = torch.tensor(gradients[t - 1]).reshape(shape)
            rule.step()
            if t in LISTED:
                listed["theta"].append(theta.detach().reshape(-1).tolist())
                if averages:
                    listed["averaged"].append(shown(rule, theta))
        return listed

    return go


def adamlike(kind, **fixed):
    def make(a, shape):
        rest = {k: v for k, v in a.items() if k not in ("beta1", "beta2", "eps")}
        averages = kind is heavyball.SFAdamW
        return run(kind, shape, averages, betas=(a["beta1"], a["beta2"]), eps=1e-30, **rest, **fixed)

    return make


def sgd(a, shape):
    return run(heavyball.SGD, shape, False, lr=a["lr"], beta=a["momentum"])


def muon(a, shape):
    keep = dict(lr=a["lr"], betas=(a["momentum"], 0.99), weight_decay=a["weight_decay"], nesterov=a["nesterov"])
    return run(heavyball.Muon, shape, False, heavyball_momentum=True, **keep)


ADAM = {"beta1": 0.9, "beta2": 0.99, "eps": 0.0, "weight_decay": 0.0}
SF = {"lr": 2.5e-3, **ADAM, "warmup_steps": 0, "r": 0.0, "weight_lr_power": 2.0}
MUON = {
    "lr": 2.5e-3,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "nesterov": True,
    "ns_steps": 5,
    "eps": 1e-7,
    "consistent_rms": 0.0,
    "bias_correction": False,
}
# Rule, what is called, how to run it, what each case has beside its defaults.
TABLE = [
    (
        "sgd",
        "heavyball.SGD",
        sgd,
        {"lr": 2.5e-3, "momentum": 0.9},
        [{}, {"lr": 0.02, "momentum": 0.5}, {"lr": 0.01, "momentum": 0.97}],
    ),
    (
        "adamw",
        "heavyball.AdamW(eps=1e-30)",
        adamlike(heavyball.AdamW),
        {"lr": 2.5e-3, **ADAM},
        [{}, {"lr": 0.05, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.1}, {"lr": 0.02, "beta1": 0.0, "weight_decay": 0.5}],
    ),
    (
        "nadamw",
        "heavyball.NAdam(eps=1e-30, decoupled_weight_decay=True)",
        adamlike(heavyball.NAdam, decoupled_weight_decay=True),
        {"lr": 2e-3, **ADAM, "beta2": 0.999, "momentum_decay": 4e-3},
        [
            {"weight_decay": 0.01},
            {"lr": 0.05, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.2},
            {"lr": 0.02, "momentum_decay": 0.05, "weight_decay": 0.1},
        ],
    ),
    (
        "schedulefree_adamw",
        "heavyball.SFAdamW(eps=1e-30)",
        adamlike(heavyball.SFAdamW),
        SF,
        [
            {},
            {"lr": 0.05, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.1, "r": 1.0},
            {"lr": 0.02, "beta1": 0.95, "weight_lr_power": 1.0, "r": 0.5},
        ],
    ),
    (
        "muon",
        "heavyball.Muon(heavyball_momentum=True), legacy_newtonschulz",
        muon,
        MUON,
        [
            {},
            {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.1},
            {"lr": 0.02, "momentum": 0.95, "nesterov": False, "weight_decay": 0.3},
        ],
    ),
]


def main():
    flat, shaped, begun = gradient_sets(), sets(), starts()
    square = {f"square_{kind}": shaped[kind]["square"] for kind in ["scales", "drift"]}
    gradients = {"scales": flat["scales"], "signs": flat["signs"], **square}
    theta0 = {**{n: THETA0[n] for n in ["scales", "signs"]}, **{f"square_{k}": begun[k]["square"] for k in begun}}
    cases = []
    for rule, call, make, usual, changes in TABLE:
        names = [n for n in gradients if n.startswith("square") == (rule == "muon")]
        for change in changes:
            for name in names:
                args = {**usual, **change}
                shape = SHAPES["square"] if rule == "muon" else [len(theta0[name])]
                listed = make(args, shape)(gradients[name], theta0[name])
                noisy = make(args, shape)(perturbed(gradients[name]), theta0[name])
                for column in listed:
                    assert close(listed[column], noisy[column], theta0[name]), (rule, args, name, column)
                    assert all(map(math.isfinite, sum(listed[column], [])))
                more = {"shapes": [shape]} if rule == "muon" else {}
                cases.append(case(rule, args, "heavyball", call, name, theta0[name], listed, **more))
    document = {
        "made_by": made_by("peers_heavyball.py", "heavyball", "torch", "numpy"),
        "gradients": {name: np.asarray(rows).tolist() for name, rows in gradients.items()},
        "cases": distinct(cases),
    }
    finish(__doc__.splitlines()[0], {FILE: document}, tolerance=1e-10)


if __name__ == "__main__":
    main()
