#!/usr/bin/env python3
"""Record float64 runs of the rules that look at the whole vector, at the loss, or at more than one point a step.

    python scripts/reference/peers_whole.py            writes both files
    python scripts/reference/peers_whole.py --check    compares them with what is stored, writes nothing

`crates/optim/tests/data/whole.json`: 50 steps each. A case has `gradients`, the name of a recorded set, or
`objective`, the name of a quadratic f(x) = x'Ax/2 - b'x whose gradient is taken where the rule asks for it. Columns
beside `theta`: `averaged` (the weights to evaluate, or the slow ones), `d` (the estimated distance), `losses` (those
that were handed in, all 50), `rates` (those that a search found, all 50). `crates/optim/tests/data/lbfgs.json`: the first ten iterates of L-BFGS. `args` holds
every hyperparameter by our name, defaults included. Where a peer departs from the paper or is changed here:

- Schedule-free: `theta` is y, where gradients are taken; `averaged` is x, what eval() gives.
- Prodigy moves by the old d times lr but adds the new d times eps to the root; both decays use the old d.
- D-Adapted SGD measures its first gradient without the decay.
- Polyak: optax divides by the norm of the scaled gradient if `scaling` is not 1; it is 1 here.
- Armijo: optax's first trial is its increase_factor; its next ones are that times the last rate, as ours.
- SAM: pytorch-optimizer takes the norm in float32; its source is run here without that cast.
- Sophia: pytorch-optimizer's m / max(h, eps), cut at p, is lr * p times the paper's m / max(gamma h, eps) cut at 1,
  with gamma = p: `args` are the paper's. optax's sees a new curvature one step late and corrects m for its bias: not
  recorded.
- SWA: torch's multi-tensor mean divides in the default dtype, which is set to float64 here.
- L-BFGS: one call of PyTorch's step() per iterate, max_iter=1 with max_eval=1000 so that the search is not cut short.
"""

import math

import jax

jax.config.update("jax_enable_x64", True)

import contextlib
import io

import dadaptation
import numpy as np
import optax
import prodigyopt
import pytorch_optimizer
import schedulefree
import scipy.optimize
import torch
from pytorch_optimizer.optimizer import sam
from torch.optim import swa_utils

from common import finish
from optimizers import LISTED, STEPS, THETA0, expression, gradient_sets
from peers import SEED, case, close, distinct, made_by, perturbed, with_source

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
FILE, LBFGS = "crates/optim/tests/data/whole.json", "crates/optim/tests/data/lbfgs.json"
sam.get_global_gradient_norm = with_source(sam.get_global_gradient_norm, ".float().square_()", ".square_()")


class Recorded:
    """Gradients that do not depend on where they are taken."""

    def __init__(self, rows):
        self.rows = np.asarray(rows)

    def __call__(self, t, _theta):
        return math.nan, self.rows[t - 1]


class Quadratic:
    """f(x) = x'Ax/2 - b'x with eigenvalues spread evenly in the logarithm over 1/condition … 1."""

    def __init__(self, condition, n=8):
        rng = np.random.default_rng(SEED + int(condition))
        q, _ = np.linalg.qr(rng.standard_normal((n, n)))
        a = q * np.logspace(-math.log10(condition), 0, n) @ q.T
        self.a, self.b = (a + a.T) / 2, rng.standard_normal(n)
        self.theta0 = (3 * rng.standard_normal(n)).tolist()
        self.optimum = np.linalg.solve(self.a, self.b)
        self.minimum = float(-self.b @ self.optimum / 2)

    def __call__(self, _t, theta):
        ax = self.a @ theta
        return float(theta @ ax / 2 - self.b @ theta), ax - self.b

    def document(self):
        ends = {"optimum": self.optimum.tolist(), "minimum": self.minimum}
        return {"a": self.a.tolist(), "b": self.b.tolist(), "theta0": self.theta0, **ends}


class Rosenbrock:
    """Σ 100 (x[i+1] - x[i]²)² + (1 - x[i])²."""

    def __init__(self, theta0):
        self.theta0 = theta0

    def __call__(self, _t, x):
        u, v = x[1:] - x[:-1] ** 2, 1 - x[:-1]
        g = np.zeros_like(x)
        g[1:] += 200 * u
        g[:-1] -= 400 * x[:-1] * u + 2 * v
        return float((100 * u**2 + v**2).sum()), g

    def document(self):
        return {"form": "sum of 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2", "theta0": self.theta0}


def torch_run(make, columns=None, hessians=None, closure=False):
    """Steps a torch optimizer; `columns` maps a name to what to list beside theta, from (rule, parameter)."""

    def run(source, theta0):
        theta = torch.tensor(theta0).requires_grad_()
        with contextlib.redirect_stdout(io.StringIO()):  # prodigyopt and dadaptation announce their decay
            rule = make([theta])
        if hasattr(rule, "train"):
            rule.train()
        listed = {"theta": [], **{name: [] for name in columns or {}}}

        for t in range(1, STEPS + 1):

            def gradient():
                loss, values = source(t, theta.detach().numpy())
                theta.grad = torch.tensor(values)
                return loss

            gradient()
            if closure:
                rule.step(gradient)
            elif hessians is not None:
                rule.step(hessian=hessians(t))
            else:
                rule.step()
            if t in LISTED:
                listed["theta"].append(theta.detach().tolist())
                for name, what in (columns or {}).items():
                    listed[name].append(what(rule, theta))
        return listed

    return run


def evaluated(rule, theta):
    """What eval() shows, with the training weights put back."""
    kept = theta.detach().clone()
    rule.eval()
    shown = theta.detach().tolist()
    with torch.no_grad():
        theta.copy_(kept)
    for group in rule.param_groups:
        group["train_mode"] = True
    return shown


def distance(rule, _theta):
    return float(rule.param_groups[0]["d"])


def slow(rule, theta):
    return rule.state[theta]["slow_params"].tolist()


def schedule_free(kind):
    def make(a):
        keep = {k: v for k, v in a.items() if k not in ("beta1", "beta2")}
        if "beta1" in a:
            keep["betas"] = (a["beta1"], a["beta2"])
        return torch_run(lambda p: kind(p, foreach=False, **keep), {"averaged": evaluated})

    return make


def adapted(kind, **fixed):
    """Prodigy and D-Adaptation: `decoupled` is their decouple, `beta3 = 0` their None, `growth_rate = 0` infinity."""

    def make(a):
        keep = {k: v for k, v in a.items() if k not in ("beta1", "beta2", "beta3", "decoupled", "growth_rate")}
        if "beta1" in a:
            keep["betas"] = (a["beta1"], a["beta2"])
        if a.get("beta3"):
            keep["beta3"] = a["beta3"]
        if "decoupled" in a:
            keep["decouple"] = a["decoupled"]
        keep["growth_rate"] = a["growth_rate"] or math.inf
        return torch_run(lambda p: kind(p, **fixed, **keep), {"d": distance})

    return make


def polyak(a):
    variant = "sps+" if a["nonnegative"] else "sps"
    rule = optax.polyak_sgd(max_learning_rate=a["lr"], f_min=a["f_min"], eps=a["eps"], variant=variant)

    def run(source, theta0):
        theta = jax.numpy.asarray(theta0, dtype="float64")
        state, listed, losses = rule.init(theta), [], []
        for t in range(1, STEPS + 1):
            loss, gradient = source(t, np.asarray(theta))
            losses.append(loss)
            update, state = rule.update(jax.numpy.asarray(gradient), state, theta, value=loss)
            theta = optax.apply_updates(theta, update)
            if t in LISTED:
                listed.append(theta.tolist())
        return {"theta": listed, "losses": losses}

    return run


def on_optax(rule):
    def run(source, theta0):
        theta = jax.numpy.asarray(theta0, dtype="float64")
        state, listed = rule.init(theta), []
        for t in range(1, STEPS + 1):
            _, gradient = source(t, np.asarray(theta))
            update, state = rule.update(jax.numpy.asarray(gradient), state, theta)
            theta = optax.apply_updates(theta, update)
            if t in LISTED:
                listed.append(theta.tolist())
        return {"theta": listed}

    return run


def armijo(a):
    assert a["lr"] == a["growth"]
    search = optax.scale_by_backtracking_linesearch(
        max_backtracking_steps=60,
        slope_rtol=a["c1"],
        decrease_factor=a["factor"],
        increase_factor=a["growth"],
        max_learning_rate=math.inf,
    )
    rule = optax.chain(optax.sgd(1.0), search)

    def run(source, theta0):
        theta = jax.numpy.asarray(theta0, dtype="float64")
        matrix, vector = jax.numpy.asarray(source.a), jax.numpy.asarray(source.b)

        def value(x):
            return x @ (matrix @ x) / 2 - vector @ x

        state, listed, rates = rule.init(theta), [], []
        update_of = jax.jit(lambda g, s, x, f: rule.update(g, s, x, value=f, grad=g, value_fn=value))
        for t in range(1, STEPS + 1):
            loss, gradient = source(t, np.asarray(theta))
            update, state = update_of(jax.numpy.asarray(gradient), state, theta, loss)
            theta = optax.apply_updates(theta, update)
            rates.append(float(state[-1].learning_rate))
            if t in LISTED:
                listed.append(theta.tolist())
        return {"theta": listed, "rates": rates}

    return run


def dog(a):
    start = ("heuristic", a["reps_rel"])
    return on_optax(optax.contrib.dog(a["lr"], init_step=start, eps=a["eps"], weight_decay=a["weight_decay"]))


def dowg(a):
    keep = {key: a[key] for key in ["init_estim_sq_dist", "eps", "weight_decay"]}
    return on_optax(optax.contrib.dowg(a["lr"], **keep))


BASES = {
    "sgd": (optax.sgd, torch.optim.SGD, {}),
    "adam": (optax.adam, torch.optim.Adam, {}),
}


def lookahead_optax(a, base, base_args):
    rule = optax.lookahead(
        BASES[base][0](base_args["lr"], **{k: v for k, v in base_args.items() if k != "lr"}), a["k"], a["alpha"]
    )

    def run(source, theta0):
        theta = optax.LookaheadParams.init_synced(jax.numpy.asarray(theta0, dtype="float64"))
        state, listed = rule.init(theta), {"theta": [], "averaged": []}
        for t in range(1, STEPS + 1):
            _, gradient = source(t, np.asarray(theta.fast))
            update, state = rule.update(jax.numpy.asarray(gradient), state, theta)
            theta = optax.apply_updates(theta, update)
            if t in LISTED:
                listed["theta"].append(theta.fast.tolist())
                listed["averaged"].append(theta.slow.tolist())
        return listed

    return run


def lookahead_pto(a, base, base_args):
    kind = BASES[base][1]
    return torch_run(
        lambda p: pytorch_optimizer.Lookahead(kind(p, foreach=False, **base_args), k=a["k"], alpha=a["alpha"]),
        {"averaged": slow},
    )


def sam_optax(a, base, base_args):
    assert not a["adaptive"]
    inner = BASES[base][0](base_args["lr"], **{k: v for k, v in base_args.items() if k != "lr"})
    adversary = optax.chain(optax.contrib.normalize(), optax.sgd(a["rho"]))
    rule = optax.contrib.sam(inner, adversary, sync_period=2, opaque_mode=True)

    def run(source, theta0):
        theta = jax.numpy.asarray(theta0, dtype="float64")
        state, listed = rule.init(theta), []
        for t in range(1, STEPS + 1):

            def gradient(x, _=0):
                return jax.numpy.asarray(source(t, np.asarray(x))[1])

            update, state = rule.update(gradient(theta), state, theta, grad_fn=gradient)
            theta = optax.apply_updates(theta, update)
            if t in LISTED:
                listed.append(theta.tolist())
        return {"theta": listed}

    return run


def sam_pto(a, base, base_args):
    kind = BASES[base][1]
    return torch_run(
        lambda p: pytorch_optimizer.SAM(p, kind, rho=a["rho"], adaptive=a["adaptive"], foreach=False, **base_args),
        closure=True,
    )


def swa(a, base, base_args):
    """Averages from step `start` on, every `every` steps; listed are the steps from `start` on."""

    def run(source, theta0):
        theta = torch.nn.Parameter(torch.tensor(theta0))
        weights = torch.nn.ParameterList([theta])
        rule = BASES[base][1]([theta], foreach=False, **base_args)
        model, listed = swa_utils.AveragedModel(weights), {"theta": [], "averaged": []}
        for t in range(1, STEPS + 1):
            theta.grad = torch.tensor(source(t, theta.detach().numpy())[1])
            rule.step()
            if t >= a["start"] and (t - a["start"]) % a["every"] == 0:
                model.update_parameters(weights)
            if t in LISTED and t >= a["start"]:
                listed["theta"].append(theta.detach().tolist())
                listed["averaged"].append(next(model.module.parameters()).tolist())
        return listed

    return run


def curvatures():
    """A diagonal estimate for each step: mostly positive, each on its own scale, some negative, one always 0."""
    rng = np.random.default_rng(SEED + 3)
    rows = 10.0 ** np.arange(-2, 5) * (0.6 + rng.standard_normal((STEPS, 7)))
    rows[:, 3] = 0.0
    return rows


CURVATURES = curvatures()


def sophia(a):
    def hessians(t):
        return [torch.tensor(CURVATURES[t - 1])] if (t - 1) % a["every"] == 0 else None

    keep = dict(
        lr=a["lr"] / a["gamma"], p=a["gamma"], eps=a["eps"] / a["gamma"], weight_decay=a["weight_decay"] * a["gamma"]
    )
    keep.update(betas=(a["beta1"], a["beta2"]), update_period=a["every"])
    return torch_run(lambda p: pytorch_optimizer.SophiaH(p, foreach=False, **keep), hessians=hessians)


SF = {"weight_decay": 0.0, "warmup_steps": 0, "r": 0.0, "weight_lr_power": 2.0}
SFA = {"lr": 2.5e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, **SF}
SFR = {**{k: v for k, v in SFA.items() if k != "warmup_steps"}, "silent_sgd_phase": True}
PRODIGY = {
    "lr": 1.0,
    "beta1": 0.9,
    "beta2": 0.999,
    "beta3": 0.0,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "decoupled": True,
    "use_bias_correction": False,
    "safeguard_warmup": False,
    "d0": 1e-6,
    "d_coef": 1.0,
    "growth_rate": 0.0,
}
DSGD = {"lr": 1.0, "momentum": 0.0, "weight_decay": 0.0, "d0": 1e-6, "growth_rate": 0.0}
DADAM = {
    "lr": 1.0,
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "decoupled": False,
    "use_bias_correction": False,
    "d0": 1e-6,
    "growth_rate": 0.0,
}
DADAGRAD = {"lr": 1.0, "momentum": 0.0, "eps": 1e-6, "weight_decay": 0.0, "d0": 1e-6, "growth_rate": 0.0}
SOPHIA = {
    "lr": 0.06 * 0.01,
    "beta1": 0.96,
    "beta2": 0.99,
    "gamma": 0.01,
    "eps": 1e-14,
    "weight_decay": 0.0,
    "every": 10,
}
SF_PEER, PRO, DA, PTO, OPTAX, TORCH = "schedulefree", "prodigyopt", "dadaptation", "pytorch-optimizer", "optax", "torch"

# Rule, peer, what is called, sources, how to run it, defaults (None: not the peer's), then what each case changes.
TABLE = [
    (
        "dog",
        OPTAX,
        "optax.contrib.dog(init_step=('heuristic', reps_rel))",
        ["signs", "drift", "condition_10"],
        dog,
        {"lr": 1.0, "reps_rel": 1e-6, "eps": 1e-8, "weight_decay": 0.0},
        [
            {"reps_rel": 1e-3},
            {"lr": 0.5, "reps_rel": 1e-2, "eps": 1e-2},
            {"reps_rel": 0.1, "weight_decay": 0.1},
        ],
    ),
    (
        "dowg",
        OPTAX,
        "optax.contrib.dowg",
        ["signs", "drift", "condition_10"],
        dowg,
        {"lr": 1.0, "init_estim_sq_dist": 1e-4, "eps": 1e-4, "weight_decay": 0.0},
        [
            {},
            {"lr": 0.5, "init_estim_sq_dist": 1e-2, "eps": 1e-2},
            {"init_estim_sq_dist": 0.1, "weight_decay": 0.1},
        ],
    ),
    (
        "schedulefree_sgd",
        SF_PEER,
        "schedulefree.SGDScheduleFree",
        ["signs", "drift", "condition_100"],
        schedule_free(schedulefree.SGDScheduleFree),
        {"lr": 1.0, "momentum": 0.9, **SF},
        [
            {"lr": 0.1},
            {"lr": 0.3, "momentum": 0.7, "warmup_steps": 10},
            {"lr": 0.5, "momentum": 0.95, "weight_decay": 0.1, "r": 1.0},
            {"lr": 0.2, "warmup_steps": 5, "weight_decay": 0.05, "weight_lr_power": 0.0, "r": 0.5},
        ],
    ),
    (
        "schedulefree_adamw",
        SF_PEER,
        "schedulefree.AdamWScheduleFree",
        ["scales", "signs", "condition_100"],
        schedule_free(schedulefree.AdamWScheduleFree),
        SFA,
        [
            {},
            {"lr": 0.1, "beta1": 0.95, "beta2": 0.9, "warmup_steps": 10},
            {"lr": 0.05, "weight_decay": 0.1, "r": 1.0, "eps": 1e-4},
            {"lr": 0.05, "beta1": 0.7, "warmup_steps": 4, "weight_decay": 0.3, "weight_lr_power": 1.0},
        ],
    ),
    (
        "schedulefree_radam",
        SF_PEER,
        "schedulefree.RAdamScheduleFree",
        ["scales", "signs"],
        schedule_free(schedulefree.RAdamScheduleFree),
        SFR,
        [
            {},
            {"lr": 0.05, "beta2": 0.95, "weight_decay": 0.1},
            {"lr": 0.02, "beta1": 0.8, "beta2": 0.99, "r": 0.5},
            {"lr": 0.01, "silent_sgd_phase": False, "r": 1.0},
            {"lr": 0.02, "beta2": 0.9, "silent_sgd_phase": False, "weight_decay": 0.05},
            {"lr": 0.03, "beta1": 0.7, "beta2": 0.98, "silent_sgd_phase": False},
        ],
    ),
    (
        "prodigy",
        PRO,
        "prodigyopt.Prodigy(decouple=decoupled)",
        ["signs", "drift", "origin", "condition_10", "condition_100"],
        adapted(prodigyopt.Prodigy),
        PRODIGY,
        [
            {"d0": 1e-3},
            {"d0": 1e-2, "d_coef": 0.5, "use_bias_correction": True},
            {"d0": 1e-2, "d_coef": 2.0, "growth_rate": 1.1, "beta2": 0.99},
            {"d0": 1e-2, "lr": 0.5, "weight_decay": 0.1, "safeguard_warmup": True},
            {"d0": 1e-2, "weight_decay": 0.1, "decoupled": False, "beta3": 0.9},
            {"d0": 1e-2, "beta1": 0.0, "eps": 1e-3, "growth_rate": 1.2},
            {"d0": 1e-2, "weight_decay": 0.05, "decoupled": False, "use_bias_correction": True},
            {"d0": 3e-2, "weight_decay": 0.2, "decoupled": False, "safeguard_warmup": True, "beta2": 0.99},
            {"d0": 2e-2, "use_bias_correction": True, "safeguard_warmup": True, "d_coef": 0.8},
        ],
    ),
    (
        "prodigy",
        PRO,
        "prodigyopt.Prodigy",
        ["drift"],
        adapted(prodigyopt.Prodigy),
        None,
        [PRODIGY],
    ),
    (
        "dadapt_sgd",
        DA,
        "dadaptation.DAdaptSGD",
        ["signs", "drift", "origin", "condition_10", "condition_100"],
        adapted(dadaptation.DAdaptSGD),
        DSGD,
        [
            {},
            {"d0": 1e-2, "momentum": 0.9},
            {"d0": 2e-2, "momentum": 0.5, "weight_decay": 0.05, "growth_rate": 1.1},
            {"d0": 5e-3, "momentum": 0.8, "lr": 0.7, "growth_rate": 1.2},
            {"d0": 1e-2, "lr": 0.5, "weight_decay": 0.1, "growth_rate": 1.1},
            {"d0": 3e-2, "weight_decay": 0.02, "growth_rate": 1.05},
        ],
    ),
    (
        "dadapt_adam",
        DA,
        "dadaptation.DAdaptAdam(decouple=decoupled)",
        ["signs", "drift", "origin", "condition_10", "condition_100"],
        adapted(dadaptation.DAdaptAdam),
        DADAM,
        [
            {},
            {"d0": 1e-2, "lr": 0.5, "beta2": 0.99, "use_bias_correction": True},
            {"d0": 1e-2, "weight_decay": 0.1, "decoupled": True, "growth_rate": 1.1},
            {"d0": 2e-2, "weight_decay": 0.3, "decoupled": True, "use_bias_correction": True, "growth_rate": 1.05},
            {"d0": 1e-2, "lr": 0.7, "weight_decay": 0.05, "decoupled": True, "beta2": 0.95, "eps": 1e-4},
            {"d0": 3e-2, "beta1": 0.8, "beta2": 0.99, "use_bias_correction": True},
            {"d0": 1e-2, "weight_decay": 0.1, "beta1": 0.8, "eps": 1e-3},
        ],
    ),
    (
        "dadapt_adagrad",
        DA,
        "dadaptation.DAdaptAdaGrad",
        ["signs", "drift", "origin", "condition_10"],
        adapted(dadaptation.DAdaptAdaGrad),
        DADAGRAD,
        [
            {},
            {"d0": 1e-2, "momentum": 0.9},
            {"d0": 2e-2, "momentum": 0.5, "eps": 1e-3},
            {"d0": 1e-2, "momentum": 0.8, "lr": 0.5, "weight_decay": 0.02, "growth_rate": 1.05},
            {"d0": 1e-2, "lr": 0.5, "weight_decay": 0.05, "growth_rate": 1.02, "eps": 1e-3},
            {"d0": 3e-2, "eps": 1e-4},
        ],
    ),
    (
        "polyak",
        OPTAX,
        "optax.polyak_sgd(max_learning_rate=lr), sps+ where nonnegative",
        ["condition_10"],
        polyak,
        None,
        # Without a limit that binds, the steps on worse conditions are chaotic.
        [{"lr": 1e6, "f_min": "minimum", "eps": 0.0, "nonnegative": False}],
    ),
    (
        "polyak",
        OPTAX,
        "optax.polyak_sgd(max_learning_rate=lr), sps+ where nonnegative",
        ["condition_10", "condition_100", "condition_10000"],
        polyak,
        None,
        [
            {"lr": 1.5, "f_min": "minimum", "eps": 0.0, "nonnegative": False},
            {"lr": 2.0, "f_min": "minimum", "eps": 1e-2, "nonnegative": False},
            {"lr": 1.0, "f_min": -1.0, "eps": 0.0, "nonnegative": True},
            {"lr": 1.2, "f_min": 2.0, "eps": 0.0, "nonnegative": True},
            {"lr": 1.7, "f_min": "minimum", "eps": 1e-3, "nonnegative": True},
        ],
    ),
    (
        "armijo",
        OPTAX,
        "optax.chain(sgd(1), scale_by_backtracking_linesearch(slope_rtol=c1, decrease_factor=factor, "
        "increase_factor=growth, max_learning_rate=inf, rtol=0, atol=0)), whose first trial is growth: lr",
        ["condition_100", "condition_10000"],
        armijo,
        None,
        [
            {"lr": 2.0, "c1": 1e-4, "factor": 0.5, "growth": 2.0},
            {"lr": 1.5, "c1": 1e-4, "factor": 0.8, "growth": 1.5},
            {"lr": 3.0, "c1": 0.3, "factor": 0.5, "growth": 3.0},
            {"lr": 1.1, "c1": 0.1, "factor": 0.7, "growth": 1.1},
        ],
    ),
    (
        "sophia",
        PTO,
        "pytorch_optimizer.SophiaH(lr=lr/gamma, p=gamma, eps=eps/gamma, weight_decay=weight_decay*gamma, "
        "update_period=every)",
        ["scales", "signs"],
        sophia,
        SOPHIA,
        [
            {"lr": 0.01},
            {"lr": 0.02, "beta1": 0.8, "beta2": 0.9, "gamma": 0.05, "every": 1},
            {"lr": 0.05, "gamma": 1.0, "eps": 1e-3, "weight_decay": 0.2, "every": 3},
        ],
    ),
]
# The same for what goes around a base rule: the base and its arguments come with each case.
AROUND = [
    (
        "lookahead",
        OPTAX,
        "optax.lookahead",
        ["signs", "drift"],
        lookahead_optax,
        [
            ({"k": 5, "alpha": 0.5}, "sgd", {"lr": 0.1}),
            ({"k": 3, "alpha": 0.8}, "adam", {"lr": 0.05}),
            ({"k": 7, "alpha": 0.2}, "sgd", {"lr": 0.02, "momentum": 0.9}),
        ],
    ),
    (
        "lookahead",
        PTO,
        "pytorch_optimizer.Lookahead(pullback_momentum='none')",
        ["signs", "drift"],
        lookahead_pto,
        [({"k": 5, "alpha": 0.5}, "adam", {"lr": 0.1}), ({"k": 4, "alpha": 0.3}, "sgd", {"lr": 0.05, "momentum": 0.8})],
    ),
    (
        "sam",
        OPTAX,
        "optax.contrib.sam(adversary=chain(normalize, sgd(rho)), opaque_mode=True)",
        ["condition_10", "condition_100", "condition_10000"],
        sam_optax,
        [
            ({"rho": 0.05, "adaptive": False}, "sgd", {"lr": 0.5}),
            ({"rho": 0.5, "adaptive": False}, "sgd", {"lr": 0.1, "momentum": 0.9}),
            ({"rho": 0.2, "adaptive": False}, "adam", {"lr": 0.1}),
        ],
    ),
    (
        "sam",
        PTO,
        "pytorch_optimizer.SAM, with its norm in float64",
        ["condition_10", "condition_100"],
        sam_pto,
        [
            ({"rho": 0.05, "adaptive": True}, "sgd", {"lr": 0.3}),
            ({"rho": 0.5, "adaptive": True}, "adam", {"lr": 0.05}),
            ({"rho": 0.1, "adaptive": True}, "sgd", {"lr": 0.05, "momentum": 0.9}),
        ],
    ),
    (
        "swa",
        TORCH,
        "torch.optim.swa_utils.AveragedModel, updated after step start, start + every, ...",
        ["signs", "drift"],
        swa,
        [
            ({"start": 1, "every": 1}, "sgd", {"lr": 0.1}),
            ({"start": 10, "every": 4}, "adam", {"lr": 0.05}),
            ({"start": 5, "every": 1}, "sgd", {"lr": 0.02, "momentum": 0.9}),
        ],
    ),
]


def sources():
    sets = gradient_sets()
    rng = np.random.default_rng(SEED + 4)
    t = np.arange(STEPS)[:, None]
    drift = rng.standard_normal(7) * np.cos(t / 30 + rng.random(7)) + 0.5 * rng.standard_normal((STEPS, 7))
    # From 0, steps that are far smaller than numbers around 1 keep all their digits.
    rows = {"scales": sets["scales"], "signs": sets["signs"], "drift": drift, "origin": drift}
    starts = {name: THETA0[name] for name in ["scales", "signs"]}
    starts = {**starts, "drift": [0.3, -0.7, 1.1, 0.0, -1.9, 0.05, 2.4], "origin": [0.0] * 7}
    quadratics = {f"condition_{k}": Quadratic(k) for k in [10, 100, 10000]}
    return rows, starts, quadratics


def checked(make, name, rows, starts, quadratics, what):
    """The columns of a run, after two runs with noise have ended where it ended."""
    if name in quadratics:
        source = quadratics[name]
        theta0, noisy = source.theta0, source
    else:
        theta0, source, noisy = starts[name], Recorded(rows[name]), Recorded(perturbed(rows[name]))
    columns = make(source, theta0)
    moved = perturbed(np.array(theta0), seed=8).tolist()
    for gradients, start in [(noisy, theta0), (source, moved)]:
        again = make(gradients, start)
        for column in [c for c in columns if c in ("theta", "averaged")]:
            offset = np.array(start) - theta0 if name not in quadratics else 0.0
            if not close(columns[column], np.array(again[column]) - offset, theta0):
                off = np.abs(np.array(columns[column]) - again[column]).max(axis=0)
                print("ILL", what, name, column, off / np.abs(np.array(columns[column]) - theta0).max(axis=0))
                return theta0, None
    return theta0, columns


def whole():
    rows, starts, quadratics = sources()
    cases, defaults, ill = [], {}, []
    jobs = []
    for rule, peer, call, names, make, usual, changes in TABLE:
        if usual is not None:
            defaults.setdefault(rule, {})[peer] = usual
        jobs += [(rule, peer, call, n, make, {**(usual or {}), **change}, None) for change in changes for n in names]
    for rule, peer, call, names, make, each in AROUND:
        jobs += [(rule, peer, call, n, make, args, (base, inner)) for args, base, inner in each for n in names]
    for rule, peer, call, name, make, args, around in jobs:
        if args.get("f_min") == "minimum":
            args = {**args, "f_min": quadratics[name].minimum}
        run = make(args, *around) if around else make(args)
        theta0, columns = checked(run, name, rows, starts, quadratics, (rule, peer, args))
        if columns is None:
            ill.append((rule, args, name))
            continue
        steps = [t for t in LISTED if t >= args.get("start", 1)]
        more = {"base": around[0], "base_args": around[1]} if around else {}
        made = case(rule, args, peer, call, name, theta0, columns, steps=steps, **more)
        if name in quadratics:
            made = {("objective" if key == "gradients" else key): value for key, value in made.items()}
            made["objective"] = name
        if around:
            inner = expression(*around)
            made["expression"] = (
                f"{made['expression']} | {inner}" if rule == "sam" else f"{inner} | {made['expression']}"
            )
        if rule == "sophia":
            made["hessians"] = "recorded"
        cases.append(made)
    assert not ill, ill
    return {
        "made_by": made_by(
            "peers_whole.py",
            "torch",
            "optax",
            "jax",
            "pytorch-optimizer",
            "schedulefree",
            "prodigyopt",
            "dadaptation",
            "numpy",
        ),
        "notes": [
            "growth_rate = 0 stands for no limit, beta3 = 0 for the square root of beta2.",
            "`hessians` of Sophia: row t - 1 is the estimate at step t = 1, 1 + every, ...; other rows are not used.",
            "Quadratics: f(x) = x'Ax/2 - b'x.",
        ],
        "defaults": defaults,
        "gradients": {name: values.tolist() for name, values in rows.items()},
        "objectives": {name: quadratic.document() for name, quadratic in quadratics.items()},
        "hessians": {"recorded": CURVATURES.tolist()},
        "cases": distinct_by_source(cases),
    }


def distinct_by_source(cases):
    distinct([{**one, "gradients": one.get("gradients") or one["objective"]} for one in cases])
    return cases


def lbfgs_torch(args, source, theta0, iterations=10):
    theta = torch.tensor(theta0).requires_grad_()
    rule = torch.optim.LBFGS(
        [theta],
        lr=args["lr"],
        history_size=args["history_size"],
        max_iter=1,
        max_eval=1000,
        tolerance_grad=args["tolerance_grad"],
        tolerance_change=args["tolerance_change"],
        line_search_fn="strong_wolfe" if args["line_search"] else None,
    )
    listed = {"theta": [], "loss": [], "step": []}

    def closure():
        loss, values = source(0, theta.detach().numpy())
        theta.grad = torch.tensor(values)
        return torch.tensor(loss)

    for _ in range(iterations):
        rule.step(closure)
        listed["theta"].append(theta.detach().tolist())
        listed["loss"].append(source(0, theta.detach().numpy())[0])
        listed["step"].append(float(rule.state[theta]["t"]))
    return listed


def lbfgs():
    problems = {f"condition_{k}": Quadratic(k) for k in [10, 100, 10000]}
    problems["rosenbrock_2"] = Rosenbrock([-1.2, 1.0])
    problems["rosenbrock_6"] = Rosenbrock([-1.2, 1.0, -0.5, 0.8, 1.3, -1.0])
    usual = {"lr": 1.0, "history_size": 100, "line_search": True, "tolerance_grad": 1e-7, "tolerance_change": 1e-9}
    cases = []
    for name, source in problems.items():
        quadratic = isinstance(source, Quadratic)
        changes = [{}, {"history_size": 3}, {"history_size": 1}] + (
            [
                {"line_search": False, "lr": 0.9},
                {"line_search": False, "lr": 0.5, "history_size": 3},
                {"line_search": False, "lr": 1.0, "history_size": 2},
            ]
            if quadratic
            else []
        )
        for change in changes:
            args = {**usual, **change}
            columns = lbfgs_torch(args, source, source.theta0)
            again = lbfgs_torch(args, source, perturbed(np.array(source.theta0), seed=8).tolist())
            assert close(columns["theta"], again["theta"], source.theta0), (name, args)
            call = "torch.optim.LBFGS(max_iter=1, max_eval=1000), strong_wolfe where line_search"
            made = case("lbfgs", args, "torch", call, name, source.theta0, columns, steps=list(range(1, 11)))
            made = {("objective" if key == "gradients" else key): value for key, value in made.items()}
            cases.append(made)
    optima = {}
    for name, source in problems.items():
        found = scipy.optimize.minimize(
            lambda x: source(0, x),
            source.theta0,
            jac=True,
            method="L-BFGS-B",
            options={"maxcor": 10, "gtol": 1e-10, "ftol": 0.0},
        )
        optima[name] = {"theta": found.x.tolist(), "loss": float(found.fun), "evaluations": int(found.nfev)}
    return {
        "made_by": made_by("peers_whole.py", "torch", "scipy", "numpy"),
        "notes": [
            "`theta[k]` is the iterate after k + 1 iterations, `loss[k]` the objective there, `step[k]` the t in "
            "theta + t d.",
            "`optima` is where scipy's L-BFGS-B (maxcor 10, gtol 1e-10, ftol 0) ends from the same start.",
        ],
        "defaults": {"lbfgs": {"torch": usual}},
        "objectives": {name: source.document() for name, source in problems.items()},
        "optima": optima,
        "cases": distinct_by_source(cases),
    }


def main():
    finish(__doc__.splitlines()[0], {FILE: whole(), LBFGS: lbfgs()}, tolerance=1e-8)


if __name__ == "__main__":
    main()
