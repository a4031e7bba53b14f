#!/usr/bin/env python3
"""Record 50 float64 steps of elementwise rules as PyTorch, optax, Keras and pytorch-optimizer take them.

    python scripts/reference/peers_elementwise.py            writes the file
    python scripts/reference/peers_elementwise.py --check    compares it with what is stored, writes nothing

`crates/optim/tests/data/elementwise.json`. Gradients as in `pytorch.json`: recorded, the same for every rule. `args`
holds every hyperparameter by our name, defaults included. Where a peer departs from the paper or had to be changed:

- PyTorch keeps NAdam's product of momenta and ASGD's eta and mu in the default dtype, float32, whatever the
  parameters'. The default dtype is set to float64 here.
- PyTorch's RAdam adds eps to the uncorrected root of v and takes the rectified branch where rho > 5; the paper's
  branch is rho > 4.
- PyTorch's Rprop leaves a coordinate where it is after a change of sign (its gradient becomes 0), as iRprop- does.
- Adamax adds eps to |g| inside the maximum; the paper has no eps.
- AdaBelief adds eps into the state at each step, as in the paper; optax has two, `eps` and `eps_root`, given the same
  value here.
- pytorch-optimizer's AdaBound takes the root of v + 1e-15; the constant is set to 0 here, as in the authors' code.
- Yogi has no bias correction in the paper; optax and pytorch-optimizer have, and start m as well as v at the initial
  accumulator.
- optax's Adan multiplies the difference by 1 - b2 where its own convention (b2 = 0.92) wants b2, as the authors' code
  has it. At b2 = 0.5 the two are the same; optax is recorded there only, with eps_root = 0.
- AdEMAMix: alpha and b3 are constants; the paper lets them rise.
- ADOPT's first step moves nothing; optax's has no decay.
- optax's optimistic Adam mixes the gradient into the mean once more (nesterov) when nothing is said.
- Keras' FTRL starts from z = 0 whatever the parameters are, and counts l2 twice: its quadratic term has 2 * l2.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax

jax.config.update("jax_enable_x64", True)

import keras
import numpy as np
import optax
import pytorch_optimizer
import torch

from common import finish
from optimizers import LISTED, STEPS, THETA0, gradient_sets
from peers import case, close, distinct, made_by, perturbed

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
keras.config.set_floatx("float64")
FILE = "crates/optim/tests/data/elementwise.json"


def on_torch(make, kept=None):
    """Runs a torch optimizer; `kept` names a state tensor to list as well, as (column, key)."""

    def run(gradients, theta0):
        theta = torch.tensor(theta0).requires_grad_()
        rule = make([theta])
        columns = {"theta": []}
        for t in range(1, STEPS + 1):
            theta.grad = torch.tensor(gradients[t - 1])
            rule.step()
            if t in LISTED:
                columns["theta"].append(theta.detach().tolist())
                for column, key in kept or []:
                    columns.setdefault(column, []).append(rule.state[theta][key].tolist())
        return columns

    return run


def on_optax(rule):
    def run(gradients, theta0):
        theta = jax.numpy.asarray(theta0, dtype="float64")
        state = rule.init(theta)
        listed = []
        for t in range(1, STEPS + 1):
            update, state = rule.update(jax.numpy.asarray(gradients[t - 1]), state, theta)
            theta = optax.apply_updates(theta, update)
            assert theta.dtype == update.dtype == "float64"
            if t in LISTED:
                listed.append(theta.tolist())
        return {"theta": listed}

    return run


def on_keras(make):
    def run(gradients, theta0):
        theta = keras.Variable(np.array(theta0), dtype="float64")
        rule = make()
        rule.build([theta])
        assert {str(v.dtype) for v in rule.variables} <= {"float64", "int32", "int64", "uint32"}
        listed = []
        for t in range(1, STEPS + 1):
            rule.apply([jax.numpy.asarray(gradients[t - 1])], [theta])
            if t in LISTED:
                listed.append(np.asarray(theta.value).tolist())
        return {"theta": listed}

    return run


def betas(args, n=2):
    return tuple(args[f"beta{i}"] for i in range(1, n + 1))


def but(args, *names):
    return {key: value for key, value in args.items() if key not in names}


class AdaBound(pytorch_optimizer.AdaBound):
    """Without the constant 1e-15 under the root."""

    @staticmethod
    def apply_ams_bound(ams_bound, exp_avg_sq, max_exp_avg_sq, eps, exp_avg_sq_eps=0.0):
        return pytorch_optimizer.AdaBound.__mro__[1].apply_ams_bound(
            ams_bound, exp_avg_sq, max_exp_avg_sq, eps, exp_avg_sq_eps
        )


def pto(kind, **fixed):
    """An optimizer of pytorch-optimizer, one tensor at a time."""

    def make(args):
        if "beta3" in args:
            fixed["betas"] = betas(args, 3)
        elif "beta1" in args:
            fixed["betas"] = betas(args)
        rest = but(args, "beta1", "beta2", "beta3")
        return on_torch(lambda parameters: kind(parameters, foreach=False, **fixed, **rest))

    return make


def torchs(kind, kept=None, **fixed):
    def make(args):
        both = {"betas": betas(args)} if "beta1" in args else {}
        rest = but(args, "beta1", "beta2")
        return on_torch(lambda parameters: kind(parameters, foreach=False, **fixed, **both, **rest), kept)

    return make


def rprop(args):
    etas, sizes = (args["etaminus"], args["etaplus"]), (args["step_size_min"], args["step_size_max"])
    return on_torch(lambda p: torch.optim.Rprop(p, lr=args["lr"], etas=etas, step_sizes=sizes, foreach=False))


def adan(args):
    keep = dict(weight_decay=args["weight_decay"], weight_decouple=args["no_prox"], eps=args["eps"], lr=args["lr"])
    return on_torch(lambda p: pytorch_optimizer.Adan(p, betas=betas(args, 3), foreach=False, **keep))


def yogi(args):
    kept = dict(b1=args["beta1"], b2=args["beta2"], eps=args["eps"])
    scaled = optax.scale_by_yogi(initial_accumulator_value=args["initial_accumulator_value"], **kept)
    return on_optax(optax.chain(scaled, optax.scale_by_learning_rate(args["lr"])))


def yogi_pto(args):
    more = dict(
        initial_accumulator=args["initial_accumulator_value"], eps=args["eps"], weight_decay=args["weight_decay"]
    )
    return on_torch(lambda p: pytorch_optimizer.Yogi(p, lr=args["lr"], betas=betas(args), foreach=False, **more))


def ftrl(args):
    return on_keras(
        lambda: keras.optimizers.Ftrl(
            learning_rate=args["lr"],
            learning_rate_power=args["learning_rate_power"],
            initial_accumulator_value=args["initial_accumulator_value"],
            l1_regularization_strength=args["l1"],
            l2_regularization_strength=args["l2"],
            l2_shrinkage_regularization_strength=args["l2_shrinkage"],
            beta=args["beta"],
        )
    )


def adamaxw(a):
    keep = dict(b1=a["beta1"], b2=a["beta2"], eps=a["eps"], weight_decay=a["weight_decay"])
    return on_optax(optax.adamaxw(a["lr"], **keep))


def ademamix(a):
    keep = dict(b1=a["beta1"], b2=a["beta2"], b3=a["beta3"], alpha=a["alpha"], eps=a["eps"])
    return on_optax(optax.contrib.ademamix(a["lr"], weight_decay=a["weight_decay"], **keep))


def adopt(a):
    keep = dict(b1=a["beta1"], b2=a["beta2"], eps=a["eps"], use_clipping=a["clipping"])
    return on_optax(optax.contrib.adopt(a["lr"], **keep))


def optimistic_adam(a):
    keep = dict(alpha=a["alpha"], beta=a["beta"], b1=a["beta1"], b2=a["beta2"], eps=a["eps"], nesterov=a["nesterov"])
    return on_optax(optax.optimistic_adam_v2(a["lr"], **keep))


ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
BOUND = {"lr": 1e-3, "final_lr": 0.1, **ADAM, "gamma": 1e-3, "weight_decay": 0.0}
TORCH, PTO, OPTAX, KERAS = "torch", "pytorch-optimizer", "optax", "keras"

# Rule, peer, what is called, how to run it, defaults (all our arguments), then what each case changes.
TABLE = [
    (
        "adadelta",
        TORCH,
        "torch.optim.Adadelta",
        torchs(torch.optim.Adadelta),
        {"lr": 1.0, "rho": 0.9, "eps": 1e-6, "weight_decay": 0.0},
        [{}, {"lr": 0.5, "rho": 0.5}, {"rho": 0.95, "eps": 1e-3}, {"lr": 2.0, "weight_decay": 0.1}],
    ),
    (
        "adamax",
        TORCH,
        "torch.optim.Adamax",
        torchs(torch.optim.Adamax),
        {"lr": 2e-3, **ADAM, "weight_decay": 0.0},
        [
            {},
            {"lr": 0.1, "beta1": 0.5, "beta2": 0.9},
            {"lr": 0.05, "eps": 1e-2},
            {"lr": 0.05, "beta1": 0.0, "weight_decay": 0.1},
        ],
    ),
    (
        "nadam",
        TORCH,
        "torch.optim.NAdam",
        torchs(torch.optim.NAdam),
        {"lr": 2e-3, **ADAM, "weight_decay": 0.0, "momentum_decay": 4e-3},
        [
            {},
            {"lr": 0.1, "beta1": 0.8, "beta2": 0.95},
            {"lr": 0.05, "momentum_decay": 0.1, "eps": 1e-3},
            {"lr": 0.05, "weight_decay": 0.1},
        ],
    ),
    (
        "nadamw",
        TORCH,
        "torch.optim.NAdam(decoupled_weight_decay=True)",
        torchs(torch.optim.NAdam, decoupled_weight_decay=True),
        {"lr": 2e-3, **ADAM, "weight_decay": 0.0, "momentum_decay": 4e-3},
        [
            {"weight_decay": 0.01},
            {"lr": 0.1, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.3},
            {"lr": 0.05, "momentum_decay": 0.05, "eps": 1e-3, "weight_decay": 0.1},
        ],
    ),
    (
        "radam",
        TORCH,
        "torch.optim.RAdam",
        torchs(torch.optim.RAdam),
        {"lr": 1e-3, **ADAM, "weight_decay": 0.0},
        [
            {},
            {"lr": 0.05, "beta1": 0.8, "beta2": 0.95},
            # rho stays below 5: momentum alone, never rectified.
            {"lr": 0.01, "beta2": 0.6},
            {"lr": 0.02, "beta2": 0.9, "eps": 1e-3, "weight_decay": 0.1},
        ],
    ),
    (
        "adabelief",
        OPTAX,
        "optax.adabelief(eps_root=eps)",
        lambda a: on_optax(optax.adabelief(a["lr"], b1=a["beta1"], b2=a["beta2"], eps=a["eps"], eps_root=a["eps"])),
        {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-16},
        [
            {},
            {"lr": 0.05, "beta1": 0.8, "beta2": 0.95},
            {"lr": 0.05, "eps": 1e-4},
            {"lr": 0.02, "beta2": 0.9, "eps": 1e-8},
        ],
    ),
    (
        "adabelief",
        PTO,
        "pytorch_optimizer.AdaBelief(weight_decouple=True)",
        pto(pytorch_optimizer.AdaBelief),
        {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-16, "weight_decay": 0.0},
        [{}, {"lr": 0.05, "weight_decay": 0.1, "eps": 1e-8}, {"lr": 0.05, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3}],
    ),
    (
        "adabound",
        PTO,
        "pytorch_optimizer.AdaBound, with sqrt(v) for sqrt(v + 1e-15)",
        pto(AdaBound),
        BOUND,
        [
            {},
            {"lr": 0.01, "final_lr": 0.05, "gamma": 0.1},
            {"lr": 0.1, "final_lr": 0.01, "gamma": 0.5, "beta1": 0.8, "beta2": 0.9},
            {"lr": 0.05, "final_lr": 0.2, "gamma": 0.02, "eps": 1e-3, "weight_decay": 0.1},
        ],
    ),
    (
        "amsbound",
        PTO,
        "pytorch_optimizer.AdaBound(ams_bound=True), with sqrt(v) for sqrt(v + 1e-15)",
        pto(AdaBound, ams_bound=True),
        BOUND,
        [
            {},
            {"lr": 0.01, "final_lr": 0.05, "gamma": 0.1, "beta2": 0.9},
            {"lr": 0.1, "final_lr": 0.01, "gamma": 0.5, "beta1": 0.8, "beta2": 0.9},
            {"lr": 0.05, "final_lr": 0.2, "gamma": 0.02, "beta2": 0.95, "eps": 1e-3, "weight_decay": 0.1},
        ],
    ),
    (
        "yogi",
        OPTAX,
        "optax.chain(scale_by_yogi, scale_by_learning_rate)",
        yogi,
        {"lr": 1e-2, "beta1": 0.9, "beta2": 0.999, "eps": 1e-3, "initial_accumulator_value": 1e-6},
        [
            {},
            {"lr": 0.1, "beta1": 0.8, "beta2": 0.9},
            {"lr": 0.05, "initial_accumulator_value": 0.1},
            {"lr": 0.05, "eps": 1e-8, "initial_accumulator_value": 0.0},
        ],
    ),
    (
        "yogi",
        PTO,
        "pytorch_optimizer.Yogi(weight_decouple=True)",
        yogi_pto,
        {"lr": 1e-2, "beta1": 0.9, "beta2": 0.999, "eps": 1e-3, "initial_accumulator_value": 1e-6, "weight_decay": 0.0},
        [{}, {"lr": 0.05, "beta2": 0.95, "weight_decay": 0.1}],
    ),
    (
        "adan",
        PTO,
        "pytorch_optimizer.Adan(weight_decouple=no_prox)",
        adan,
        {"lr": 1e-3, "beta1": 0.98, "beta2": 0.92, "beta3": 0.99, "eps": 1e-8, "weight_decay": 0.0, "no_prox": False},
        [
            {},
            {"lr": 0.05, "beta1": 0.9, "beta2": 0.8, "beta3": 0.95},
            {"lr": 0.02, "eps": 1e-3, "weight_decay": 0.2},
            {"lr": 0.02, "weight_decay": 0.2, "no_prox": True},
        ],
    ),
    (
        "adan",
        OPTAX,
        "optax.adan(b2=0.5, eps_root=0)",
        lambda a: on_optax(
            optax.adan(
                a["lr"],
                b1=a["beta1"],
                b2=a["beta2"],
                b3=a["beta3"],
                eps=a["eps"],
                eps_root=0.0,
                weight_decay=a["weight_decay"],
            )
        ),
        None,
        [
            {"lr": 0.01, "beta1": 0.98, "beta2": 0.5, "beta3": 0.99, "eps": 1e-8, "weight_decay": 0.0, "no_prox": True},
            {"lr": 0.05, "beta1": 0.8, "beta2": 0.5, "beta3": 0.9, "eps": 1e-3, "weight_decay": 0.1, "no_prox": True},
        ],
    ),
    (
        "lion",
        OPTAX,
        "optax.lion",
        lambda a: on_optax(optax.lion(a["lr"], b1=a["beta1"], b2=a["beta2"], weight_decay=a["weight_decay"])),
        {"lr": 1e-4, "beta1": 0.9, "beta2": 0.99, "weight_decay": 1e-3},
        [
            {},
            {"lr": 0.01, "beta1": 0.5, "beta2": 0.8, "weight_decay": 0.0},
            {"lr": 0.02, "beta1": 0.95, "beta2": 0.98, "weight_decay": 0.3},
        ],
    ),
    (
        "lion",
        PTO,
        "pytorch_optimizer.Lion(weight_decouple=True)",
        pto(pytorch_optimizer.Lion),
        {"lr": 1e-4, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0},
        [{}, {"lr": 0.05, "beta1": 0.7, "beta2": 0.9, "weight_decay": 0.1}],
    ),
    (
        "signsgd",
        PTO,
        "pytorch_optimizer.SignSGD(momentum=0)",
        pto(pytorch_optimizer.SignSGD, momentum=0.0),
        {"lr": 1e-3, "weight_decay": 0.0},
        [{}, {"lr": 0.1}, {"lr": 0.05, "weight_decay": 0.2}],
    ),
    (
        "signsgd",
        OPTAX,
        "optax.sign_sgd",
        lambda a: on_optax(optax.sign_sgd(a["lr"])),
        None,
        [{"lr": 0.02}],
    ),
    (
        "signum",
        PTO,
        "pytorch_optimizer.SignSGD(weight_decouple=True)",
        pto(pytorch_optimizer.SignSGD),
        {"lr": 1e-3, "momentum": 0.9, "weight_decay": 0.0},
        [{}, {"lr": 0.1, "momentum": 0.5}, {"lr": 0.05, "momentum": 0.95, "weight_decay": 0.2}],
    ),
    (
        "signum",
        OPTAX,
        "optax.signum",
        lambda a: on_optax(optax.signum(a["lr"], beta=a["momentum"])),
        None,
        [{"lr": 0.02, "momentum": 0.8}],
    ),
    (
        "rprop",
        TORCH,
        "torch.optim.Rprop",
        rprop,
        {"lr": 1e-2, "etaminus": 0.5, "etaplus": 1.2, "step_size_min": 1e-6, "step_size_max": 50.0},
        [
            {},
            {"lr": 0.1, "etaminus": 0.7, "etaplus": 1.5},
            {"lr": 0.05, "step_size_min": 0.03, "step_size_max": 0.07},
            {"lr": 1.0, "step_size_min": 1e-3, "step_size_max": 0.5},
        ],
    ),
    (
        "asgd",
        TORCH,
        "torch.optim.ASGD",
        torchs(torch.optim.ASGD, kept=[("averaged", "ax")]),
        {"lr": 1e-2, "lambd": 1e-4, "alpha": 0.75, "t0": 1e6, "weight_decay": 0.0},
        [
            {},
            {"lr": 0.05, "t0": 0.0},
            {"lr": 0.05, "lambd": 0.1, "alpha": 1.0, "t0": 10.0},
            {"lr": 0.02, "lambd": 0.5, "alpha": 0.5, "t0": 24.0, "weight_decay": 0.1},
        ],
    ),
    (
        "adamaxw",
        OPTAX,
        "optax.adamaxw",
        adamaxw,
        {"lr": 2e-3, **ADAM, "weight_decay": 1e-4},
        [
            {},
            {"lr": 0.1, "beta1": 0.5, "beta2": 0.9, "weight_decay": 0.1},
            {"lr": 0.05, "eps": 1e-2, "weight_decay": 0.3},
        ],
    ),
    (
        "ademamix",
        OPTAX,
        "optax.contrib.ademamix",
        ademamix,
        {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "beta3": 0.9999, "alpha": 5.0, "eps": 1e-8, "weight_decay": 0.0},
        [
            {},
            {"lr": 0.05, "beta1": 0.8, "beta2": 0.95, "beta3": 0.99, "alpha": 2.0},
            {"lr": 0.02, "beta3": 0.9, "alpha": 8.0, "eps": 1e-3, "weight_decay": 0.1},
            {"lr": 0.05, "beta1": 0.0, "alpha": 0.0, "weight_decay": 0.3},
        ],
    ),
    (
        "adopt",
        OPTAX,
        "optax.contrib.adopt",
        adopt,
        {"lr": 1e-3, "beta1": 0.9, "beta2": 0.9999, "eps": 1e-6, "clipping": True},
        [
            {},
            {"lr": 0.05, "beta1": 0.5, "beta2": 0.9},
            {"lr": 0.1, "beta2": 0.95, "eps": 0.1},
            {"lr": 0.01, "beta1": 0.8, "beta2": 0.99, "eps": 1e-2, "clipping": False},
            {"lr": 0.02, "beta2": 0.9, "eps": 1e-3, "clipping": False},
            {"lr": 0.05, "beta1": 0.6, "beta2": 0.99, "eps": 0.1, "clipping": False},
        ],
    ),
    (
        "optimistic_sgd",
        OPTAX,
        "optax.optimistic_gradient_descent",
        lambda a: on_optax(optax.optimistic_gradient_descent(a["lr"], alpha=a["alpha"], beta=a["beta"])),
        {"lr": 1e-3, "alpha": 1.0, "beta": 1.0},
        [{}, {"lr": 0.05, "alpha": 0.5}, {"lr": 0.02, "alpha": 1.5, "beta": 0.3}],
    ),
    (
        "optimistic_adam",
        OPTAX,
        "optax.optimistic_adam_v2",
        optimistic_adam,
        {"lr": 1e-3, "alpha": 1.0, "beta": 1.0, **ADAM, "nesterov": True},
        [
            {},
            {"lr": 0.05, "alpha": 0.5, "beta1": 0.8, "beta2": 0.95, "nesterov": False},
            {"lr": 0.02, "beta": 0.3, "eps": 1e-3},
            {"lr": 0.05, "beta": 2.0, "beta1": 0.0, "nesterov": False},
            {"lr": 0.03, "alpha": 2.0, "beta1": 0.6, "eps": 1e-2},
            {"lr": 0.02, "beta": 0.5, "beta2": 0.9, "eps": 0.1, "nesterov": False},
        ],
    ),
    (
        "ftrl",
        KERAS,
        "keras.optimizers.Ftrl",
        ftrl,
        {
            "lr": 1e-3,
            "learning_rate_power": -0.5,
            "initial_accumulator_value": 0.1,
            "l1": 0.0,
            "l2": 0.0,
            "l2_shrinkage": 0.0,
            "beta": 0.0,
        },
        [
            {},
            {"lr": 0.1, "l1": 0.5},
            {"lr": 0.5, "l1": 0.1, "l2": 0.05, "beta": 1.0},
            {"lr": 0.2, "learning_rate_power": -0.7, "l1": 0.02, "initial_accumulator_value": 1.0},
            {"lr": 0.1, "learning_rate_power": -1.0, "l1": 0.1, "l2": 0.02},
            {"lr": 0.05, "learning_rate_power": -0.25, "l1": 0.05, "beta": 0.5, "l2_shrinkage": 0.1},
            {"lr": 0.1, "learning_rate_power": 0.0, "l1": 0.01, "l2": 0.1},
            {"lr": 0.02, "learning_rate_power": 0.0, "beta": 1.0},
            {"lr": 0.3, "learning_rate_power": 0.0, "l1": 0.2, "l2_shrinkage": 0.02},
            {"lr": 0.1, "l2_shrinkage": 0.05, "beta": 0.5, "initial_accumulator_value": 0.0},
        ],
    ),
]


def main():
    sets = gradient_sets()
    cases, defaults = [], {}
    for rule, peer, call, make, usual, changes in TABLE:
        if usual:
            defaults.setdefault(rule, {})[peer] = usual
        for change in changes:
            args = {**(usual or {}), **change}
            for name in ["scales", "signs"]:
                theta0, gradients = THETA0[name], sets[name]
                columns = make(args)(gradients, theta0)
                noisy = make(args)(perturbed(gradients), theta0)
                for column in columns:
                    assert close(columns[column], noisy[column], theta0), (rule, peer, args, name, column)
                cases.append(case(rule, args, peer, call, name, theta0, columns))
    document = {
        "made_by": made_by("peers_elementwise.py", "torch", "optax", "jax", "keras", "pytorch-optimizer", "numpy"),
        "defaults": defaults,
        "gradients": {name: sets[name].tolist() for name in ["scales", "signs"]},
        "cases": distinct(cases),
    }
    finish(__doc__.splitlines()[0], {FILE: document}, tolerance=1e-12)


if __name__ == "__main__":
    main()
