#!/usr/bin/env python3
"""Record what PyTorch's optimizers, clipping, averages and learning-rate schedules do, in float64.

    python scripts/reference/optimizers.py            writes both files
    python scripts/reference/optimizers.py --check    compares them with what is stored, writes nothing

`crates/optim/tests/data/pytorch.json`: 50 steps of each rule on recorded gradients (the gradients do not depend on
the parameters, so an error in one step is not fed back through a loss).
`crates/optim/tests/data/pytorch_around.json`: the same with clipping before and an average after the rule, and lists
of learning rates.
"""

import copy
import math

import numpy as np
import torch
from torch.optim import lr_scheduler, swa_utils

from common import finish

SEED = 20260101
N, STEPS = 7, 50
LISTED = [1, 2, 3, 5, 10, 25, 50]
SHAPES = [[2, 2], [2], [1]]  # the same seven numbers as three tensors

MADE_BY = {
    "script": "scripts/reference/optimizers.py",
    "torch": torch.__version__.split("+")[0],
    "numpy": np.__version__,
    "dtype": "float64",
    "seed": SEED,
}


def gradient_sets():
    rng = np.random.default_rng(SEED)
    # Each coordinate on a scale of its own, 1e-3 to 1e3.
    scales = rng.standard_normal((STEPS, N)) * 10.0 ** np.arange(-3, 4)
    # What breaks careless rules: flips of sign, zeros at the start and inside, a dead coordinate, one burst.
    t = np.arange(STEPS)
    signs = np.empty((STEPS, N))
    signs[:, 0] = np.where(t % 2 == 0, 1.0, -1.0)
    signs[:, 1] = np.where((t < 5) | (t % 3 == 0), 0.0, rng.standard_normal(STEPS))
    signs[:, 2] = 0.0
    signs[:, 3] = np.where(t == 3, 50.0, 0.01 * rng.standard_normal(STEPS))
    signs[:, 4] = -2.0 * 0.9**t
    signs[:, 5] = 0.3 * rng.choice([-1.0, 1.0], STEPS)
    signs[:, 6] = np.where((t >= 20) & (t < 35), 0.0, rng.standard_normal(STEPS))
    # Norms on both sides of 1, values on both sides of 0.5: clipping acts on some steps and not on others.
    around = rng.standard_normal((STEPS, N)) / math.sqrt(N) * np.exp(0.8 * rng.standard_normal((STEPS, 1)))
    assert 15 < (np.linalg.norm(around, axis=1) > 1).sum() < 35
    return {"scales": scales, "signs": signs, "around_one": around}


THETA0 = {
    "scales": [0.5, -1.25, 2.0, -0.03, 7.5, -40.0, 300.0],
    "signs": [1.0, -2.0, 3.0, 0.25, -0.5, 0.0, 1e-3],
    "around_one": [0.4, -0.3, 0.2, -0.1, 1.5, -2.5, 0.05],
}

TORCH = {
    "sgd": (torch.optim.SGD, {}),
    "adagrad": (torch.optim.Adagrad, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "adam": (torch.optim.Adam, {}),
    "amsgrad": (torch.optim.Adam, {"amsgrad": True}),
    "adamw": (torch.optim.AdamW, {}),
}

RULES = [
    ("sgd", {}),
    ("sgd", {"lr": 0.1}),
    ("sgd", {"lr": 0.05, "weight_decay": 0.1}),
    ("sgd", {"lr": 0.05, "momentum": 0.9}),
    ("sgd", {"lr": 0.05, "momentum": 0.9, "dampening": 0.5}),
    ("sgd", {"lr": 0.05, "momentum": 0.9, "dampening": 0.9, "weight_decay": 0.02}),
    ("sgd", {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
    ("sgd", {"lr": 0.02, "momentum": 0.5, "nesterov": True, "weight_decay": 0.03}),
    ("sgd", {"lr": 0.005, "momentum": 0.99, "nesterov": True}),
    ("adagrad", {}),
    ("adagrad", {"lr": 0.5}),
    ("adagrad", {"lr": 0.1, "lr_decay": 0.05}),
    ("adagrad", {"lr": 0.1, "initial_accumulator_value": 0.5}),
    ("adagrad", {"lr": 0.2, "weight_decay": 0.1, "eps": 1e-4}),
    ("adagrad", {"lr": 0.1, "lr_decay": 0.01, "weight_decay": 0.05, "initial_accumulator_value": 0.1, "eps": 1e-8}),
    ("rmsprop", {}),
    ("rmsprop", {"lr": 0.05, "alpha": 0.9}),
    ("rmsprop", {"lr": 0.05, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("rmsprop", {"lr": 0.01, "alpha": 0.95, "momentum": 0.9}),
    ("rmsprop", {"lr": 0.03, "alpha": 0.8, "momentum": 0.5, "eps": 1e-2}),
    ("rmsprop", {"lr": 0.005, "momentum": 0.8, "weight_decay": 0.2}),
    ("rmsprop", {"lr": 0.02, "alpha": 0.9, "eps": 1e-4, "centered": True}),
    ("rmsprop", {"lr": 0.05, "alpha": 0.7, "eps": 1e-2, "centered": True}),
    ("rmsprop", {"lr": 0.01, "alpha": 0.95, "eps": 1e-3, "weight_decay": 0.1, "centered": True}),
    ("rmsprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.05, "momentum": 0.8, "centered": True}),
    ("rmsprop", {"lr": 0.02, "alpha": 0.8, "eps": 1e-2, "momentum": 0.5, "centered": True}),
    ("rmsprop", {"lr": 0.003, "alpha": 0.97, "eps": 1e-3, "momentum": 0.95, "centered": True}),
    ("adam", {}),
    ("adam", {"lr": 0.1}),
    ("adam", {"lr": 0.01, "beta1": 0.8}),
    ("adam", {"lr": 0.05, "beta1": 0.95, "beta2": 0.9}),
    ("adam", {"lr": 0.05, "weight_decay": 0.1}),
    ("adam", {"lr": 0.05, "beta1": 0.0, "beta2": 0.99, "eps": 1e-2}),
    ("amsgrad", {}),
    ("amsgrad", {"lr": 0.1}),
    ("amsgrad", {"lr": 0.05, "beta1": 0.8, "beta2": 0.9}),
    ("amsgrad", {"lr": 0.05, "beta2": 0.95, "weight_decay": 0.1}),
    ("amsgrad", {"lr": 0.02, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3}),
    ("adamw", {}),
    ("adamw", {"lr": 0.1}),
    ("adamw", {"lr": 0.05, "weight_decay": 0.0}),
    ("adamw", {"lr": 0.05, "weight_decay": 0.3}),
    ("adamw", {"lr": 0.02, "beta1": 0.8, "beta2": 0.95, "eps": 1e-4, "weight_decay": 0.1}),
]


def written(value):
    return str(value).lower() if isinstance(value, bool) else f"{value!r}"


def expression(name, hyper):
    """`adam(lr=0.01, beta1=0.8)`, or `adam` where all is left at its default."""
    return name + (f"({', '.join(f'{key}={written(value)}' for key, value in hyper.items())})" if hyper else "")


def optimizer(name, hyper, parameters):
    """The PyTorch optimizer of one expression, in its plain single-tensor form."""
    kind, fixed = TORCH[name]
    hyper = dict(hyper)
    if "beta1" in hyper or "beta2" in hyper:
        hyper["betas"] = (hyper.pop("beta1", 0.9), hyper.pop("beta2", 0.999))
    return kind(parameters, foreach=False, **fixed, **hyper)


def run(name, hyper, gradients, theta0, shapes=None, before=None, after=None):
    """Parameters after each listed step. `before(parameters)` and `after(step)` run around each step."""
    shapes = shapes or [[N]]
    sizes = [math.prod(shape) for shape in shapes]
    parts = torch.tensor(theta0, dtype=torch.float64).split(sizes)
    parameters = [part.clone().reshape(shape).requires_grad_() for part, shape in zip(parts, shapes)]
    rule = optimizer(name, hyper, parameters)
    if after:
        after(0, parameters)
    listed = []
    for step in range(1, STEPS + 1):
        parts = torch.tensor(gradients[step - 1], dtype=torch.float64).split(sizes)
        for parameter, part, shape in zip(parameters, parts, shapes):
            parameter.grad = part.clone().reshape(shape)
        if before:
            before(parameters)
        rule.step()
        if after:
            after(step, parameters)
        if step in LISTED:
            listed.append(flat(parameters))
    assert all(map(math.isfinite, sum(listed, [])))
    return listed


def flat(tensors):
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).tolist()


def case(text, gradients, listed):
    return {"expression": text, "gradients": gradients, "theta0": THETA0[gradients], "steps": LISTED, **listed}


def rules(sets):
    cases = []
    for name, hyper in RULES:
        for gradients in ["scales", "signs"]:
            theta = run(name, hyper, sets[gradients], THETA0[gradients])
            cases.append(case(expression(name, hyper), gradients, {"theta": theta}))
    # A case that equals another one would test nothing of its own.
    for gradients in ["scales", "signs"]:
        ends = [tuple(c["theta"][-1]) for c in cases if c["gradients"] == gradients]
        assert len(set(ends)) == len(ends)
    return cases


def clipping(sets):
    cases = []
    for limit, name, hyper, gradients in [
        (1.0, "adam", {"lr": 0.01}, "around_one"),
        (1.0, "sgd", {"lr": 0.1}, "around_one"),
        (0.3, "sgd", {"lr": 0.1, "momentum": 0.9}, "around_one"),
        (1.0, "adam", {"lr": 0.01}, "signs"),
        (5.0, "adamw", {"lr": 0.01}, "scales"),
    ]:
        norms = []

        def torchs(parameters):
            norms.append(torch.nn.utils.clip_grad_norm_(parameters, limit).item())

        def exact(parameters):
            norm = math.sqrt(math.fsum(x * x for x in flat(p.grad for p in parameters)))
            for parameter in parameters:
                parameter.grad *= min(1.0, limit / norm)

        theta = run(name, hyper, sets[gradients], THETA0[gradients], SHAPES, before=torchs)
        theta_exact = run(name, hyper, sets[gradients], THETA0[gradients], SHAPES, before=exact)
        text = f"clip({limit!r}) | {expression(name, hyper)}"
        cases.append(case(text, gradients, {"theta": theta, "theta_exact": theta_exact, "norms": norms}))
    for limit, name, hyper, gradients in [
        (0.5, "sgd", {"lr": 0.1}, "around_one"),
        (0.5, "adam", {"lr": 0.01}, "around_one"),
        (0.25, "sgd", {"lr": 0.1, "momentum": 0.9}, "signs"),
        (2.0, "adam", {"lr": 0.01}, "scales"),
    ]:
        def by_value(parameters):
            torch.nn.utils.clip_grad_value_(parameters, limit)

        theta = run(name, hyper, sets[gradients], THETA0[gradients], SHAPES, before=by_value)
        cases.append(case(f"clip_value({limit!r}) | {expression(name, hyper)}", gradients, {"theta": theta}))
    return cases


def averages(sets):
    cases = []
    for name, hyper, decay, gradients in [
        ("sgd", {"lr": 0.1}, 0.9, "around_one"),
        ("adam", {"lr": 0.01}, 0.99, "around_one"),
        ("sgd", {"lr": 0.01, "momentum": 0.9}, 0.5, "signs"),
        ("adamw", {"lr": 0.05}, 0.999, "scales"),
    ]:
        columns = {}
        for column, first in [("averaged", 1), ("averaged_from_theta0", 0)]:
            listed, kept = [], {}

            def after(step, parameters):
                if step == 0:
                    kept["weights"] = torch.nn.ParameterList(parameters)  # shares the tensors that are trained
                    kept["model"] = swa_utils.AveragedModel(
                        kept["weights"], multi_avg_fn=swa_utils.get_ema_multi_avg_fn(decay)
                    )
                if step >= first:
                    kept["model"].update_parameters(kept["weights"])
                if step in LISTED:
                    listed.append(flat(kept["model"].module.parameters()))

            theta = run(name, hyper, sets[gradients], THETA0[gradients], SHAPES, after=after)
            columns[column] = listed
        assert columns["averaged"][0] == theta[0] != columns["averaged_from_theta0"][0]
        text = f"{expression(name, hyper)} | ema({decay!r})"
        cases.append(case(text, gradients, {"theta": theta, **columns}))
    return cases


RATES = 60


def scheduler(spec, rule):
    kind, args = spec["torch"], spec["args"]
    if kind == "LambdaLR":
        return lr_scheduler.LambdaLR(rule, lambda k: 1 / (1 + args["decay"] * k))
    if kind == "SequentialLR":
        inner = [scheduler(part, rule) for part in args["schedulers"]]
        return lr_scheduler.SequentialLR(rule, inner, milestones=args["milestones"])
    return getattr(lr_scheduler, kind)(rule, **args)


def rates(spec, lr):
    """The rate that step k = 0, 1, … would use."""
    rule = torch.optim.SGD([torch.zeros(1, dtype=torch.float64, requires_grad=True)], lr=lr)
    schedule = scheduler(spec, rule)
    seen = []
    for _ in range(RATES):
        seen.append(rule.param_groups[0]["lr"])
        rule.step()
        schedule.step()
    return {**spec, "lr": lr, "rates": seen}


def closed(spec, lr, k):
    """The same rate as a pure function of k, to check that what was recorded is what we mean."""
    kind, args = spec["torch"], spec["args"]
    if kind == "StepLR":
        return lr * args["gamma"] ** (k // args["step_size"])
    if kind == "ExponentialLR":
        return lr * args["gamma"] ** k
    if kind == "LambdaLR":
        return lr / (1 + args["decay"] * k)
    if kind == "PolynomialLR":
        return lr * (1 - min(k, args["total_iters"]) / args["total_iters"]) ** args["power"]
    if kind == "CosineAnnealingLR":
        low = args.get("eta_min", 0.0)
        return low + (lr - low) * (1 + math.cos(math.pi * k / args["T_max"])) / 2
    if kind == "LinearLR":
        done = min(k, args["total_iters"]) / args["total_iters"]
        return lr * (args["start_factor"] + (args["end_factor"] - args["start_factor"]) * done)
    warm = args["milestones"][0]
    first, then = args["schedulers"]
    return closed(first, lr, k) if k < warm else closed(then, lr, k - warm)


def schedules():
    plain = [
        {"torch": "StepLR", "args": {"step_size": 20, "gamma": 0.1}},
        {"torch": "StepLR", "args": {"step_size": 7, "gamma": 0.5}},
        {"torch": "ExponentialLR", "args": {"gamma": 0.95}},
        {"torch": "ExponentialLR", "args": {"gamma": 0.7}},
        {"torch": "LambdaLR", "args": {"form": "1 / (1 + decay * k)", "decay": 0.1}},
        {"torch": "LambdaLR", "args": {"form": "1 / (1 + decay * k)", "decay": 1.0}},
        {"torch": "PolynomialLR", "args": {"total_iters": 60, "power": 1.0}},
        {"torch": "PolynomialLR", "args": {"total_iters": 60, "power": 2.0}},
        {"torch": "PolynomialLR", "args": {"total_iters": 40, "power": 0.5}},
        {"torch": "CosineAnnealingLR", "args": {"T_max": 60}},
        {"torch": "CosineAnnealingLR", "args": {"T_max": 59, "eta_min": 1e-3}},
        {"torch": "LinearLR", "args": {"start_factor": 1 / 5, "end_factor": 1.0, "total_iters": 4}},
    ]
    warmed = []
    for warm, then in [
        (10, {"torch": "CosineAnnealingLR", "args": {"T_max": RATES - 10}}),
        (3, {"torch": "CosineAnnealingLR", "args": {"T_max": RATES - 3, "eta_min": 1e-3}}),
        (10, {"torch": "StepLR", "args": {"step_size": 20, "gamma": 0.1}}),
        (10, {"torch": "ExponentialLR", "args": {"gamma": 0.95}}),
        (10, {"torch": "LambdaLR", "args": {"form": "1 / (1 + decay * k)", "decay": 0.1}}),
        (10, {"torch": "PolynomialLR", "args": {"total_iters": RATES - 10, "power": 2.0}}),
    ]:
        rise = {"start_factor": 1 / warm, "end_factor": 1.0, "total_iters": warm - 1}
        both = [{"torch": "LinearLR", "args": rise}, then]
        warmed.append({"torch": "SequentialLR", "args": {"milestones": [warm], "schedulers": copy.deepcopy(both)}})
    cases = []
    for spec in plain + warmed:
        made = rates(spec, 0.1)
        for k, rate in enumerate(made["rates"]):
            assert math.isclose(rate, closed(spec, 0.1, k), rel_tol=1e-12, abs_tol=1e-15), (spec, k, rate)
        cases.append(made)
    return cases


def main():
    torch.set_num_threads(1)
    sets = gradient_sets()
    recorded = {name: values.tolist() for name, values in sets.items()}
    around = {
        "made_by": MADE_BY,
        "notes": [
            "The seven numbers are three tensors of the shapes in `tensors`, in that order.",
            "`theta` after `clip` is what torch.nn.utils.clip_grad_norm_ gives: it multiplies by max_norm / (norm + 1e-6) "
            "where that is below 1. `theta_exact` is the same run with max_norm / norm. `norms` are the norms before "
            "clipping, of all 50 steps.",
            "`averaged` is torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn(decay), updated after every step: "
            "its first update copies the weights, so after step 1 it equals theta. `averaged_from_theta0` is the same "
            "object updated once before the first step, so that the average starts at theta0.",
            "`rates[k]` is the rate that step k = 0, 1, ... uses. PyTorch computes most of them recursively; they equal the "
            "closed forms to 1e-12 relative or 1e-15. Warm-up over W steps uses lr * (k + 1) / W, and the schedule after it "
            "counts its own steps from 0.",
        ],
        "tensors": SHAPES,
        "gradients": recorded,
        "clip": clipping(sets),
        "ema": averages(sets),
        "schedules": schedules(),
    }
    plain = {"made_by": MADE_BY, "gradients": {k: recorded[k] for k in ["scales", "signs"]}, "cases": rules(sets)}
    files = {
        "crates/optim/tests/data/pytorch.json": plain,
        "crates/optim/tests/data/pytorch_around.json": around,
    }
    finish(__doc__.splitlines()[0], files, tolerance=1e-12)


if __name__ == "__main__":
    main()
