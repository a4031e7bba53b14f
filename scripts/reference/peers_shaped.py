#!/usr/bin/env python3
"""Record 50 float64 steps of the rules that need a tensor's shape, as PyTorch, optax and pytorch-optimizer take them.

    python scripts/reference/peers_shaped.py            writes the file
    python scripts/reference/peers_shaped.py --check    compares it with what is stored, writes nothing

`crates/optim/tests/data/shaped.json`. A gradient set has one list of numbers per step and tensor name; a case names
its `tensors`, and its `theta0` and `theta` are theirs, one after the other, row by row. `axes` says which axis of a
matrix is the input: "in,out" as in JAX, "out,in" as in PyTorch. `args` holds every hyperparameter by our name,
defaults included. Where a peer departs from the paper, or is changed here, or is left out:

- SM3: optax gives 0 where the accumulator is 0 and has eps = 1e-8 under the root; pytorch-optimizer has 1e-30 there.
- NovoGrad's first moment is b1 * m + u, without 1 - b1; pytorch-optimizer's `grad_averaging` has the factor from step
  2 on.
- LARS: optax divides by the norm of g + wd * w and not by the sum of norms as the paper does: recorded without decay
  only. pytorch-optimizer takes plain momentum steps, without decay, on vectors.
- LAMB: pytorch-optimizer's has no correction of v and clamps the norm of the weights to 10; only optax's is recorded.
- Adafactor: PyTorch's takes min(lr, 1/sqrt(t)), clamps where the paper adds eps1, has no momentum, and takes a
  machine epsilon for eps1. optax computes its decay rate in float32 (a float64 function is passed here), factors
  matrices with both sides >= 128 only (2 here), and does not multiply the decay by the rate. With small rates and
  rate * decay passed they agree.
- Muon: optax corrects m and g each for its own bias in the Nesterov mix, PyTorch neither (`bias_correction`); optax's
  vectors get AdamW with the same Nesterov mix. PyTorch's polynomial works in bfloat16; its source is run here with
  float64 in its place.
- Shampoo: pytorch-optimizer's momentum feeds the preconditioned update back into the statistics; recorded without
  momentum.
- SOAP: the first gradient moves nothing. pytorch-optimizer takes its QR in float32; its source is run here without
  that cast. One gradient of a tall matrix leaves eigenvectors arbitrary, so no run on such shapes can be compared.
- Adaptive clipping and centralisation: per output, taken as axis 1 by optax's clip and as axis 0 by the others.
"""

import math

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np
import optax
import pytorch_optimizer
import torch
from pytorch_optimizer.optimizer import agc, centralize_gradient, soap
from torch.optim import _muon

from common import finish
from optimizers import STEPS, expression
from peers import SEED, case, close, distinct, made_by, perturbed, with_source

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
FILE = "crates/optim/tests/data/shaped.json"
LISTED = [1, 2, 10, 50]
SHAPES = {"tall": [5, 3], "wide": [4, 6], "square": [4, 4], "vector": [7], "cube": [2, 3, 4]}
ALL, MATRICES, FLAT = ["tall", "wide", "vector", "cube"], ["tall", "wide"], ["tall", "wide", "vector"]
WELL = ["square", "vector", "cube"]


_muon._zeropower_via_newtonschulz = with_source(_muon._zeropower_via_newtonschulz, "torch.bfloat16", "torch.float64")
soap.SOAP.get_orthogonal_matrix_qr = with_source(
    soap.SOAP.get_orthogonal_matrix_qr, "power_iter.to(torch.float32)", "power_iter"
)


def sets():
    """For each set and tensor, one row per step: each on a scale of its own, or with a mean that moves slowly."""
    rng = np.random.default_rng(SEED + 1)
    scale = {"tall": 1e-2, "wide": 1.0, "square": 3.0, "vector": 1e3, "cube": 1e-3}
    made = {"scales": {}, "drift": {}}
    t = np.arange(STEPS)[:, None]
    for name, shape in SHAPES.items():
        n = math.prod(shape)
        made["scales"][name] = scale[name] * rng.standard_normal((STEPS, n)) * np.exp(rng.standard_normal(n))
        mean = rng.standard_normal(n) * np.cos(t / 17 + 6 * rng.random(n))
        made["drift"][name] = mean + 0.3 * rng.standard_normal((STEPS, n))
    # A tensor whose gradient comes late and pauses.
    made["drift"]["vector"][[*range(3), *range(20, 24)]] = 0.0
    return made


def starts():
    rng = np.random.default_rng(SEED + 2)
    scale = {"scales": {"tall": 0.3, "wide": 1.0, "square": 1.0, "vector": 20.0, "cube": 0.05}, "drift": {}}
    return {
        kind: {
            name: (scales.get(name, 1.0) * rng.standard_normal(math.prod(shape))).tolist()
            for name, shape in SHAPES.items()
        }
        for kind, scales in scale.items()
    }


def run_torch(make, before=None):
    """`make(tensors)` gives the optimizer; `before(tensors)` may change the gradients."""

    def run(gradients, theta0, names):
        tensors = [torch.tensor(theta0[name]).reshape(SHAPES[name]).requires_grad_() for name in names]
        rule, listed = make(tensors), []
        for t in range(1, STEPS + 1):
            for tensor, name in zip(tensors, names):
                tensor.grad = torch.tensor(gradients[name][t - 1]).reshape(SHAPES[name])
            if before:
                with torch.no_grad():
                    before(tensors)
            rule.step()
            if t in LISTED:
                listed.append(torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).tolist())
        return listed

    return run


def run_optax(rule):
    def run(gradients, theta0, names):
        theta = {name: jax.numpy.asarray(theta0[name]).reshape(SHAPES[name]) for name in names}
        state, listed = rule.init(theta), []
        update_of = jax.jit(rule.update)
        for t in range(1, STEPS + 1):
            gradient = {name: jax.numpy.asarray(gradients[name][t - 1]).reshape(SHAPES[name]) for name in names}
            update, state = update_of(gradient, state, theta)
            theta = optax.apply_updates(theta, update)
            assert all(u.dtype == "float64" for u in update.values())
            if t in LISTED:
                listed.append(np.concatenate([np.asarray(theta[name]).reshape(-1) for name in names]).tolist())
        return listed

    return run


def betas(a):
    return a["beta1"], a["beta2"]


def sm3_pto(a):
    return run_torch(
        lambda p: pytorch_optimizer.SM3(p, lr=a["lr"], momentum=a["momentum"], eps=a["eps"], foreach=False)
    )


def novograd_pto(averaging):
    def make(a):
        keep = dict(lr=a["lr"], betas=betas(a), eps=a["eps"], weight_decay=a["weight_decay"], grad_averaging=averaging)
        return run_torch(lambda p: pytorch_optimizer.NovoGrad(p, foreach=False, **keep))

    return make


def lars_optax(a):
    keep = dict(trust_coefficient=a["trust_coefficient"], eps=a["eps"], momentum=a["momentum"], nesterov=a["nesterov"])
    assert a["weight_decay"] == 0
    return run_optax(optax.lars(a["lr"], **keep))


def lars_pto(a):
    return run_torch(lambda p: pytorch_optimizer.LARS(p, foreach=False, **{k: v for k, v in a.items() if k != "eps"}))


def lamb(a):
    return run_optax(optax.lamb(a["lr"], b1=a["beta1"], b2=a["beta2"], eps=a["eps"], weight_decay=a["weight_decay"]))


def fromage(a):
    return run_optax(optax.fromage(a["lr"], min_norm=a["min_norm"]))


def adafactor_torch(a):
    keep = dict(lr=a["lr"], beta2_decay=a["beta2_decay"], d=a["d"], weight_decay=a["weight_decay"])
    return run_torch(lambda p: torch.optim.Adafactor(p, eps=(a["eps1"], a["eps2"]), foreach=False, **keep))


def adafactor_optax(a):
    def rate(step, exponent):
        return 1.0 - jax.numpy.asarray(step + 1, dtype="float64") ** -exponent

    scaled = optax.scale_by_factored_rms(decay_rate=-a["beta2_decay"], min_dim_size_to_factor=2, decay_rate_fn=rate)
    chain = [scaled, optax.clip_by_block_rms(a["d"]), optax.scale(a["lr"]), optax.scale_by_param_block_rms(a["eps2"])]
    if a["beta1"]:
        chain.append(optax.ema(a["beta1"], debias=False))
    chain += [optax.add_decayed_weights(a["lr"] * a["weight_decay"]), optax.scale(-1)]
    return run_optax(optax.chain(*chain))


def muon_optax(a):
    keep = dict(
        ns_steps=a["ns_steps"], beta=a["momentum"], eps=a["eps"], weight_decay=a["weight_decay"], nesterov=a["nesterov"]
    )
    return run_optax(optax.contrib.muon(a["lr"], consistent_rms=a["consistent_rms"] or None, **keep))


def muon_torch(a):
    assert a["consistent_rms"] in (0.0, 0.2)
    adjust = "match_rms_adamw" if a["consistent_rms"] else "original"
    keep = {key: a[key] for key in ["lr", "weight_decay", "momentum", "nesterov", "eps", "ns_steps"]}
    return run_torch(lambda p: torch.optim.Muon(p, adjust_lr_fn=adjust, **keep))


def shampoo(a):
    keep = dict(preconditioning_compute_steps=a["every"], matrix_eps=a["eps"], weight_decay=a["weight_decay"])
    return run_torch(lambda p: pytorch_optimizer.Shampoo(p, lr=a["lr"], **keep))


def soap_pto(a):
    keep = dict(
        shampoo_beta=a["shampoo_beta"], weight_decay=a["weight_decay"], precondition_frequency=a["every"], eps=a["eps"]
    )
    if "max_dim" in a:
        keep["max_precondition_dim"] = a["max_dim"]
    return run_torch(lambda p: pytorch_optimizer.SOAP(p, lr=a["lr"], betas=betas(a), **keep))


def before_sgd(change):
    """Plain gradient descent on gradients that `change(args, tensors)` has changed."""

    def make(a):
        return run_torch(lambda p: torch.optim.SGD(p, lr=0.1, foreach=False), lambda tensors: change(a, tensors))

    return make


def clip_pto(a, tensors):
    for p in tensors:
        p.grad = agc(p, p.grad, agc_eps=a["eps"], agc_clip_val=a["clipping"])


def centralize_pto(_, tensors):
    for p in tensors:
        centralize_gradient(p.grad)


TORCH, PTO, OPTAX = "torch", "pytorch-optimizer", "optax"
NOVO = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.25, "eps": 1e-6, "weight_decay": 0.0}
NOVO_PTO = {**NOVO, "beta1": 0.95, "beta2": 0.98, "eps": 1e-8}
LARS = {
    "lr": 1e-3,
    "momentum": 0.9,
    "dampening": 0.0,
    "weight_decay": 0.0,
    "trust_coefficient": 1e-3,
    "eps": 0.0,
    "nesterov": False,
}
FACTOR = {"lr": 1e-2, "beta2_decay": -0.8, "eps1": 2.0**-52, "eps2": 1e-3, "d": 1.0, "weight_decay": 0.0}
MUON = {
    "lr": 1e-3,
    "momentum": 0.95,
    "nesterov": True,
    "ns_steps": 5,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "consistent_rms": 0.0,
    "bias_correction": True,
}
MUON_TORCH = {**MUON, "weight_decay": 0.1, "eps": 1e-7, "bias_correction": False}

# Rule, peer, what is called, axes, tensors, how to run it, defaults (None: not the peer's), what each case changes.
TABLE = [
    (
        "sm3",
        OPTAX,
        "optax.chain(scale_by_sm3, scale)",
        None,
        ALL,
        lambda a: run_optax(optax.chain(optax.scale_by_sm3(a["momentum"], eps=a["eps"]), optax.scale(-a["lr"]))),
        {"lr": 0.1, "momentum": 0.9, "eps": 1e-8},
        [
            {},
            {"lr": 0.5, "momentum": 0.5},
            {"lr": 0.3, "momentum": 0.0, "eps": 1e-3},
            {"lr": 0.05, "momentum": 0.0, "eps": 1e-6},
        ],
    ),
    (
        "sm3",
        PTO,
        "pytorch_optimizer.SM3(beta=0)",
        None,
        ALL,
        sm3_pto,
        {"lr": 0.1, "momentum": 0.0, "eps": 1e-30},
        [{}, {"lr": 0.3, "momentum": 0.8}],
    ),
    (
        "novograd",
        OPTAX,
        "optax.novograd",
        None,
        ALL,
        lambda a: run_optax(
            optax.novograd(a["lr"], b1=a["beta1"], b2=a["beta2"], eps=a["eps"], weight_decay=a["weight_decay"])
        ),
        NOVO,
        [{}, {"lr": 0.1, "beta1": 0.5, "beta2": 0.9}, {"lr": 0.05, "eps": 1e-2, "weight_decay": 0.1}],
    ),
    (
        "novograd",
        PTO,
        "pytorch_optimizer.NovoGrad(weight_decouple=False)",
        None,
        ["tall", "wide", "cube"],
        novograd_pto(False),
        NOVO_PTO,
        [{}, {"lr": 0.02, "weight_decay": 0.2}],
    ),
    (
        "lars",
        OPTAX,
        "optax.lars(weight_decay=0)",
        None,
        ALL,
        lars_optax,
        LARS,
        [
            {"lr": 1.0},
            {"lr": 2.0, "momentum": 0.5, "trust_coefficient": 0.02},
            {"lr": 1.0, "nesterov": True, "eps": 0.1},
        ],
    ),
    (
        "lars",
        PTO,
        "pytorch_optimizer.LARS",
        None,
        ["tall", "wide", "cube"],
        lars_pto,
        LARS,
        [
            {"lr": 1.0, "weight_decay": 0.1},
            {"lr": 2.0, "trust_coefficient": 0.02, "weight_decay": 1.0, "nesterov": True},
            {"lr": 3.0, "momentum": 0.5, "dampening": 0.5, "trust_coefficient": 0.01, "weight_decay": 0.3},
            {"lr": 3.0, "momentum": 0.0, "trust_coefficient": 0.01, "weight_decay": 0.3},
            {"lr": 1.0, "momentum": 0.0, "trust_coefficient": 0.02, "weight_decay": 0.1},
            {"lr": 5.0, "momentum": 0.0, "weight_decay": 1.0},
            {"lr": 1.0, "momentum": 0.8, "trust_coefficient": 0.005, "weight_decay": 0.2, "nesterov": True},
        ],
    ),
    (
        "lamb",
        OPTAX,
        "optax.lamb",
        None,
        ALL,
        lamb,
        {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-6, "weight_decay": 0.0},
        [
            {},
            {"lr": 0.05, "beta1": 0.5, "beta2": 0.9},
            {"lr": 0.02, "weight_decay": 0.1},
            {"lr": 0.05, "eps": 1e-2, "weight_decay": 1.0},
        ],
    ),
    (
        "fromage",
        OPTAX,
        "optax.fromage",
        None,
        ALL,
        fromage,
        {"lr": 1e-2, "min_norm": 1e-6},
        [{}, {"lr": 0.3}, {"lr": 0.1, "min_norm": 2.0}],
    ),
    (
        "adafactor",
        TORCH,
        "torch.optim.Adafactor",
        None,
        ALL,
        adafactor_torch,
        FACTOR,
        [
            {},
            {"lr": 0.5, "beta2_decay": -0.5},
            {"lr": 0.3, "d": 2.0, "eps2": 0.5, "weight_decay": 0.1},
            {"lr": 0.1, "eps1": 1e-2},
        ],
    ),
    (
        "adafactor",
        OPTAX,
        "optax.chain(scale_by_factored_rms, clip_by_block_rms, scale, scale_by_param_block_rms, ema, ...)",
        None,
        ["tall", "wide"],
        adafactor_optax,
        None,
        [
            {**FACTOR, "eps1": 1e-30, "beta1": 0.0, "lr": 0.1},
            {**FACTOR, "eps1": 1e-30, "beta1": 0.9, "lr": 0.05, "weight_decay": 0.2, "d": 1.5},
            {**FACTOR, "eps1": 1e-30, "beta1": 0.5, "lr": 0.1, "beta2_decay": -0.5},
            {**FACTOR, "eps1": 1e-30, "beta1": 0.95, "lr": 0.02, "eps2": 0.1},
        ],
    ),
    (
        "muon",
        OPTAX,
        "optax.contrib.muon",
        "in,out",
        MATRICES,
        muon_optax,
        MUON,
        [
            {},
            {"lr": 0.02, "nesterov": False},
            {"lr": 0.05, "nesterov": False, "momentum": 0.8, "weight_decay": 0.2},
            {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.1},
            {"lr": 0.02, "ns_steps": 3, "eps": 1e-2},
            {"lr": 0.05, "consistent_rms": 0.2, "weight_decay": 0.3},
            {"lr": 0.1, "consistent_rms": 0.5, "momentum": 0.9},
            {"lr": 0.02, "ns_steps": 1, "momentum": 0.5},
        ],
    ),
    (
        "muon",
        TORCH,
        "torch.optim.Muon, Newton-Schulz in float64",
        "out,in",
        MATRICES,
        muon_torch,
        MUON_TORCH,
        [
            {},
            {"lr": 0.05, "nesterov": False, "momentum": 0.9, "weight_decay": 0.0},
            {"lr": 0.05, "consistent_rms": 0.2, "momentum": 0.8},
            {"lr": 0.02, "ns_steps": 2, "weight_decay": 0.3},
        ],
    ),
    (
        "muon_or_adamw",
        OPTAX,
        "optax.contrib.muon: matrices by muon, the rest by AdamW (beta1 0.9, beta2 0.999, no decay)",
        "in,out",
        ALL,
        muon_optax,
        None,
        [{**MUON, "lr": 0.02}, {**MUON, "lr": 0.02, "nesterov": False}],
    ),
    (
        "shampoo",
        PTO,
        "pytorch_optimizer.Shampoo(momentum=0, preconditioning_compute_steps=every)",
        None,
        ALL,
        shampoo,
        {"lr": 1e-3, "eps": 1e-6, "every": 1, "weight_decay": 0.0},
        [
            {"eps": 1e-2, "lr": 0.1},
            {"eps": 10.0, "lr": 0.3, "every": 5},
            {"eps": 1.0, "lr": 0.1, "weight_decay": 0.1, "every": 2},
        ],
    ),
    (
        "shampoo",
        PTO,
        "pytorch_optimizer.Shampoo(momentum=0, preconditioning_compute_steps=every)",
        None,
        ["square", "cube"],
        shampoo,
        None,
        [{"lr": 0.1, "eps": 1e-6, "every": 1, "weight_decay": 0.0}],
    ),
    (
        "soap",
        PTO,
        "pytorch_optimizer.SOAP(precondition_frequency=every), with its QR in float64",
        None,
        WELL,
        soap_pto,
        {
            "lr": 3e-3,
            "beta1": 0.95,
            "beta2": 0.95,
            "shampoo_beta": 0.95,
            "eps": 1e-8,
            "weight_decay": 1e-2,
            "every": 10,
        },
        [
            {},
            {"lr": 0.02, "beta1": 0.8, "beta2": 0.9, "shampoo_beta": 0.5, "every": 1},
            {"lr": 0.05, "beta2": 0.99, "shampoo_beta": 0.9, "eps": 1e-2, "weight_decay": 0.2, "every": 3},
            *[
                {"lr": lr, "beta1": 0.9, "every": every, "weight_decay": 0.05, "max_dim": most}
                for lr, every in [(0.02, 1), (0.05, 3), (0.01, 10)]
                for most in [1, 2]
            ],
        ],
    ),
    (
        "agc",
        OPTAX,
        "optax.chain(adaptive_grad_clip, sgd(0.1))",
        "in,out",
        FLAT,
        lambda a: run_optax(optax.chain(optax.adaptive_grad_clip(a["clipping"], eps=a["eps"]), optax.sgd(0.1))),
        {"clipping": 0.01, "eps": 1e-3},
        [{}, {"clipping": 0.5}, {"clipping": 0.3, "eps": 3.0}],
    ),
    (
        "agc",
        PTO,
        "torch.optim.SGD(0.1) after pytorch_optimizer's agc",
        "out,in",
        FLAT,
        before_sgd(clip_pto),
        {"clipping": 0.01, "eps": 1e-3},
        [{}, {"clipping": 0.5}, {"clipping": 0.3, "eps": 3.0}],
    ),
    (
        "centralize",
        OPTAX,
        "optax.chain(centralize, sgd(0.1))",
        "out,in",
        ALL,
        lambda a: run_optax(optax.chain(optax.centralize(), optax.sgd(0.1))),
        {},
        [{}],
    ),
    (
        "centralize",
        PTO,
        "torch.optim.SGD(0.1) after pytorch_optimizer's centralize_gradient",
        "out,in",
        ALL,
        before_sgd(centralize_pto),
        {},
        [{}],
    ),
]


def main():
    gradients, theta0 = sets(), starts()
    cases, defaults = [], {}
    for rule, peer, call, axes, names, make, usual, changes in TABLE:
        if usual is not None:
            defaults.setdefault(rule, {})[peer] = usual
        for change in changes:
            args = {**(usual or {}), **change}
            for kind in ["scales", "drift"]:
                listed = make(args)(gradients[kind], theta0[kind], names)
                noisy = make(args)({k: perturbed(g) for k, g in gradients[kind].items()}, theta0[kind], names)
                start = sum((theta0[kind][name] for name in names), [])
                if not close(listed, noisy, start):
                    off = np.abs(np.array(listed) - noisy).max(axis=0) / np.abs(np.array(listed) - start).max(axis=0)
                    raise AssertionError((rule, peer, args, kind, off))
                more = {"tensors": names, "shapes": [SHAPES[name] for name in names]}
                if axes:
                    more["axes"] = axes
                made = case(rule, args, peer, call, kind, start, {"theta": listed}, steps=LISTED, **more)
                if rule in ("agc", "centralize"):
                    made["expression"] += " | " + expression("sgd", {"lr": 0.1})
                cases.append(made)
    document = {
        "made_by": made_by("peers_shaped.py", "torch", "optax", "jax", "pytorch-optimizer", "numpy"),
        "defaults": defaults,
        "shapes": SHAPES,
        "gradients": {kind: {name: rows.tolist() for name, rows in each.items()} for kind, each in gradients.items()},
        "cases": distinct(cases),
    }
    finish(__doc__.splitlines()[0], {FILE: document}, tolerance=1e-10)


if __name__ == "__main__":
    main()
