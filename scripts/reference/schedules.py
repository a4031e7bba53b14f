#!/usr/bin/env python3
"""Record the learning rates of PyTorch's and optax's schedules, in float64.

    python scripts/reference/schedules.py            writes the file
    python scripts/reference/schedules.py --check    compares it with what is stored, writes nothing

`crates/optim/tests/data/schedules.json`: of each case our expression, the library's call, and the rate that step
k = 0, 1, ... of 60 uses (an epoch is 6 steps). Cases of `plateau` have the scores that are told after each step.
What neither library has (inverse time, inverse square root) is a closed form given to `LambdaLR`.
"""

import math
import warnings

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np
import optax
import torch
from torch.optim import lr_scheduler as torchs

from common import finish

STEPS, SEED = 60, 20260102
MADE_BY = {
    "script": "scripts/reference/schedules.py",
    "torch": torch.__version__.split("+")[0],
    "optax": optax.__version__,
    "numpy": np.__version__,
    "dtype": "float64",
    "seed": SEED,
}


def optimizer(lr):
    return torch.optim.SGD([torch.zeros(1, dtype=torch.float64, requires_grad=True)], lr=lr, momentum=0.9)


def from_torch(lr, make, scores=None):
    rule = optimizer(lr)
    schedule = make(rule)
    rates = []
    for k in range(STEPS):
        rates.append(float(rule.param_groups[0]["lr"]))
        rule.step()
        if k + 1 == STEPS:
            break
        schedule.step(scores[k]) if scores else schedule.step()
    return rates


def from_optax(schedule):
    return [float(schedule(np.int64(k))) for k in range(STEPS)]


def torch_cases():
    s = torchs
    yield (
        "multistep(0.1, 30 steps, 45 steps)",
        "MultiStepLR(milestones=[30, 45])", 0.1,
        lambda r: s.MultiStepLR(r, [30, 45]),
    )  # fmt: skip
    yield (
        "multistep(0.3, 1 epochs, 2 epochs, 50%, gamma=0.5)",
        "MultiStepLR(milestones=[6, 12, 30], gamma=0.5)", 0.3,
        lambda r: s.MultiStepLR(r, [6, 12, 30], 0.5),
    )  # fmt: skip
    yield (
        "multistep(0.1, 20 steps, 20 steps, gamma=0.7)",
        "MultiStepLR(milestones=[20, 20], gamma=0.7)", 0.1,
        lambda r: s.MultiStepLR(r, [20, 20], 0.7),
    )  # fmt: skip
    yield "linear(0.1, over=5 steps)", "LinearLR()", 0.1, lambda r: s.LinearLR(r)
    yield "linear(0.1, start_factor=1, end_factor=0)", "LinearLR(1, 0, 60)", 0.1, lambda r: s.LinearLR(r, 1.0, 0.0, 60)
    yield (
        "linear(0.2, start_factor=0.25, end_factor=0.75, over=50%)",
        "LinearLR(0.25, 0.75, 30)", 0.2,
        lambda r: s.LinearLR(r, 0.25, 0.75, 30),
    )  # fmt: skip
    for t0, mult, low in [(10, 1, 0.0), (7, 2, 0.0), (4, 2, 1e-3), (3, 3, 0.01)]:
        call = f"CosineAnnealingWarmRestarts(T_0={t0}, T_mult={mult}, eta_min={low})"
        text = f"cosine_restarts(0.1, mult={mult}, end={low}, every={t0} steps)"
        yield text, call, 0.1, lambda r: s.CosineAnnealingWarmRestarts(r, t0, mult, low)
    for mode, gamma, up, down in [
        ("triangular", 1.0, 6, None), ("triangular", 1.0, 5, 9), ("triangular2", 1.0, 4, None),
        ("triangular2", 1.0, 3, 7), ("exp_range", 0.97, 6, None), ("exp_range", 0.9, 4, 2),
    ]:  # fmt: skip
        call = f"CyclicLR(base_lr=0.01, max_lr=0.1, {up}, {down}, {mode!r}, gamma={gamma})"
        fall = f", down={down} steps" if down else ""
        text = f"cyclic(0.1, base_lr=0.01, gamma={gamma}, mode={mode}, up={up} steps{fall})"
        yield text, call, 0.1, lambda r: s.CyclicLR(r, 0.01, 0.1, up, down, mode, gamma, cycle_momentum=False)
    for args in [
        {}, {"pct_start": 0.5, "div_factor": 10.0, "final_div_factor": 100.0}, {"anneal_strategy": "linear"},
        {"three_phase": True}, {"three_phase": True, "anneal_strategy": "linear", "pct_start": 0.21},
        {"pct_start": 0.0}, {"pct_start": 1.0}, {"pct_start": 0.01},
    ]:  # fmt: skip
        ours = "".join(f", {name}={str(x).lower()}" for name, x in args.items())
        yield (
            f"one_cycle(0.1{ours})",
            f"OneCycleLR(0.1, 60, {args})", 0.1,
            lambda r: s.OneCycleLR(r, 0.1, STEPS, cycle_momentum=False, **args),
        )  # fmt: skip
    # The product, where the parts are products themselves.
    yield (
        "chained(0.1, exponential(gamma=0.9, every=1 steps), step(gamma=0.5, every=7 steps))",
        "ChainedScheduler([ExponentialLR(0.9), StepLR(7, 0.5)])", 0.1,
        lambda r: s.ChainedScheduler([s.ExponentialLR(r, 0.9), s.StepLR(r, 7, 0.5)], r),
    )  # fmt: skip
    yield (
        "chained(linear(0.2, start_factor=0.5, over=20 steps), multistep(20 steps, 40 steps), polynomial(power=2))",
        "ChainedScheduler([LinearLR(0.5, 1, 20), MultiStepLR([20, 40]), PolynomialLR(60, 2)])", 0.2,
        lambda r: s.ChainedScheduler(
            [s.LinearLR(r, 0.5, 1.0, 20), s.MultiStepLR(r, [20, 40]), s.PolynomialLR(r, 60, 2.0)], r
        ),
    )  # fmt: skip
    yield (
        "chained(sequential(constant(0.05), constant(0.1), at=4 steps), exponential(gamma=0.8, every=1 steps))",
        "ChainedScheduler([ConstantLR(0.5, 4), ExponentialLR(0.8)])", 0.1,
        lambda r: s.ChainedScheduler([s.ConstantLR(r, 0.5, 4), s.ExponentialLR(r, 0.8)], r),
    )  # fmt: skip
    yield (
        "sequential(linear(0.1, over=5 steps), cosine, at=5 steps)",
        "SequentialLR([LinearLR(), CosineAnnealingLR(55)], [5])", 0.1,
        lambda r: s.SequentialLR(r, [s.LinearLR(r), s.CosineAnnealingLR(r, 55)], [5]),
    )  # fmt: skip
    yield (
        "sequential(linear(0.1, start_factor=0.1), exponential(gamma=0.9, every=1 steps), polynomial(over=50%), "
        "at=2 epochs, at=50%)",
        "SequentialLR([LinearLR(0.1, 1, 12), ExponentialLR(0.9), PolynomialLR(15)], [12, 30])", 0.1,
        lambda r: s.SequentialLR(
            r, [s.LinearLR(r, 0.1, 1.0, 12), s.ExponentialLR(r, 0.9), s.PolynomialLR(r, 15)], [12, 30]
        ),
    )  # fmt: skip
    yield (
        "inverse_sqrt(0.1, every=10 steps, warmup=10 steps)", "LambdaLR(min((k + 1) / 10, (10 / k) ** 0.5))", 0.1,
        lambda r: s.LambdaLR(r, lambda k: (k + 1) / 10 if k < 10 else math.sqrt(10 / k)),
    )  # fmt: skip
    yield (
        "inverse_sqrt(0.1)",
        "LambdaLR(1 / sqrt(1 + k / 6))", 0.1,
        lambda r: s.LambdaLR(r, lambda k: 1 / math.sqrt(1 + k / 6)),
    )  # fmt: skip
    yield (
        "inverse_time(0.1, decay=0.3)",
        "LambdaLR(1 / (1 + 0.3 * k / 6))", 0.1,
        lambda r: s.LambdaLR(r, lambda k: 1 / (1 + 0.3 * k / 6)),
    )  # fmt: skip


def optax_cases():
    o = optax.schedules
    yield (
        "wsd(0.1, warmup=0%, decay=20 steps)", "join_schedules(constant, linear_schedule(0.1, 0, 20))",
        o.join_schedules([o.constant_schedule(0.1), o.linear_schedule(0.1, 0.0, 20)], [40]),
    )  # fmt: skip
    rise = o.linear_schedule(0.01, 0.1, 9)  # 0.01, 0.02, ..., 0.1
    yield (
        "wsd(0.1, end=0.001, warmup=10 steps, decay=50%, shape=cosine)",
        "join_schedules(linear_schedule(0.01, 0.1, 9), constant, cosine_decay_schedule(0.1, 30, 0.01))",
        o.join_schedules([rise, o.constant_schedule(0.1), o.cosine_decay_schedule(0.1, 30, alpha=0.01)], [10, 30]),
    )  # fmt: skip
    yield (
        "wsd(0.1, warmup=10 steps, decay=10 steps, over=40 steps)",
        "join_schedules(linear_schedule(0.01, 0.1, 9), constant, linear_schedule(0.1, 0, 10))",
        o.join_schedules([rise, o.constant_schedule(0.1), o.linear_schedule(0.1, 0.0, 10)], [10, 30]),
    )  # fmt: skip
    yield (
        "wsd(0.1, warmup=0%, decay=15 steps, shape=sqrt)", "join_schedules(constant, 0.1 * (1 - sqrt(k / 15)))",
        o.join_schedules([o.constant_schedule(0.1), lambda k: 0.1 * (1 - np.sqrt(np.clip(k / 15, 0, 1)))], [45]),
    )  # fmt: skip
    yield (
        "polynomial(0.1, power=3, end=0.01, over=40 steps)", "polynomial_schedule(0.1, 0.01, 3, 40)",
        o.polynomial_schedule(0.1, 0.01, 3, 40),
    )  # fmt: skip
    yield (
        "step(0.1, gamma=0.5, every=9 steps)", "exponential_decay(0.1, 9, 0.5, staircase=True)",
        o.exponential_decay(0.1, 9, 0.5, staircase=True),
    )  # fmt: skip
    yield (
        "exponential(0.1, gamma=0.5, every=9 steps)", "exponential_decay(0.1, 9, 0.5)", o.exponential_decay(0.1, 9, 0.5)
    )  # fmt: skip
    text = "cosine(0.1, end=0.01, over=40 steps)"
    yield text, "cosine_decay_schedule(0.1, 40, 0.1)", o.cosine_decay_schedule(0.1, 40, 0.1)
    yield "constant(0.1)", "constant_schedule(0.1)", o.constant_schedule(0.1)


def plateaus():
    rng = np.random.default_rng(SEED)
    falling = (np.exp(-np.arange(STEPS) / 6) + 0.05 * rng.random(STEPS)).tolist()
    noise = rng.random(STEPS).tolist()
    flat = [1.0] * STEPS
    rising = (1 - np.exp(-np.arange(STEPS) / 5)).round(3).tolist()
    small = [1.0 - 2e-4 * k for k in range(STEPS)]
    for lr, scores, args in [
        (0.1, flat, {}),
        (0.1, falling, {"patience": 2, "factor": 0.5}),
        (0.1, noise, {"patience": 0, "factor": 0.7, "cooldown": 3}),
        (0.1, noise, {"mode": "max", "patience": 3, "factor": 0.3, "threshold": 0.05, "threshold_mode": "abs"}),
        (0.1, rising, {"mode": "max", "patience": 1, "factor": 0.5, "threshold": 0.01, "cooldown": 2}),
        (0.1, flat, {"patience": 3, "min_lr": 0.004, "factor": 0.3}),
        (0.1, flat, {"patience": 1, "factor": 0.1, "eps": 1e-4}),
        (0.1, small, {"patience": 4, "threshold": 1e-3, "threshold_mode": "rel"}),
        (0.1, small, {"patience": 4, "threshold": 1.5e-3, "threshold_mode": "abs"}),
        (0.1, [-x for x in falling], {"patience": 2, "factor": 0.6, "threshold": 0.1}),
        (0.003, flat, {"patience": 1, "min_lr": 0.004}),
    ]:
        ours = "".join(f", {name}={x}" for name, x in args.items())
        rates = from_torch(lr, lambda r: torchs.ReduceLROnPlateau(r, **args), scores)
        yield {"ours": f"plateau({lr}{ours})", "theirs": f"ReduceLROnPlateau({args})", "rates": rates, "scores": scores}


def main():
    warnings.filterwarnings("ignore", category=UserWarning)
    torch.set_num_threads(1)
    cases = [{"ours": ours, "theirs": theirs, "rates": from_torch(lr, make)}
             for ours, theirs, lr, make in torch_cases()]  # fmt: skip
    cases += [{"ours": ours, "theirs": f"optax {theirs}", "rates": from_optax(s)} for ours, theirs, s in optax_cases()]
    cases += plateaus()
    assert len({tuple(case["rates"]) for case in cases if case["theirs"][0] != "R"}) > 40
    document = {"made_by": MADE_BY, "cases": cases}
    finish(__doc__.splitlines()[0], {"crates/optim/tests/data/schedules.json": document}, tolerance=1e-12)


if __name__ == "__main__":
    main()
