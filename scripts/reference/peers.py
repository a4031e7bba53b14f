"""What the scripts that record other libraries' optimizers share: one case, and the check that it is well posed."""

import importlib.metadata
import inspect
import textwrap

import numpy as np

from optimizers import LISTED, expression

SEED = 20260101
# Relative noise on every gradient, and what it may change, relative to the coordinate's movement: a case in which a
# rounding error can flip a sign or a branch would test the processor, not the rule.
NOISE, ALLOWED = 1e-13, 1e-7


def made_by(script, *packages):
    versions = {name: importlib.metadata.version(name).split("+")[0] for name in packages}
    return {"script": f"scripts/reference/{script}", **versions, "dtype": "float64", "seed": SEED}


def perturbed(gradients, seed=7):
    rng = np.random.default_rng(seed)
    return gradients * (1.0 + NOISE * rng.standard_normal(gradients.shape))


def close(exact, noisy, theta0):
    """Whether two runs lie as near each other as the noise between their gradients explains."""
    exact, noisy, theta0 = (np.asarray(x, dtype=float) for x in (exact, noisy, theta0))
    moved = np.abs(exact - theta0).max(axis=0)
    return np.isfinite(exact).all() and (np.abs(exact - noisy) <= ALLOWED * moved).all()


def version(peer):
    return importlib.metadata.version(peer).split("+")[0]


def case(rule, args, peer, call, gradients, theta0, columns, steps=LISTED, **more):
    """One recorded run; `columns` are lists over the listed steps, the first of them `theta`."""
    head = {
        "rule": rule,
        "args": args,
        "expression": expression(rule, args),
        "peer": peer,
        "version": version(peer),
        "call": call,
    }
    return {**head, **more, "gradients": gradients, "theta0": theta0, "steps": steps, **columns}


def distinct(cases):
    """No two cases of one rule and peer end at the same place: such a pair would test one thing twice."""
    ends = {}
    for one in cases:
        key = (one["rule"], one["peer"], one["gradients"], tuple(one["theta0"]), tuple(one["theta"][-1]))
        assert key not in ends, (one["expression"], ends[key])
        ends[key] = one["expression"]
    return cases


def with_source(function, old, new):
    """The same function with one expression replaced in its source."""
    text = textwrap.dedent(inspect.getsource(function))
    assert old in text
    names = dict(inspect.getmodule(function).__dict__)
    exec(text.replace(old, new), names)
    return names[function.__name__]
