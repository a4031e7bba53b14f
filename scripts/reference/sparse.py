#!/usr/bin/env python3
"""Record 50 float64 steps with row-sparse gradients as PyTorch takes them.

    python scripts/reference/sparse.py            writes the file
    python scripts/reference/sparse.py --check    compares it with what is stored, writes nothing

`crates/optim/tests/data/sparse.json`: SparseAdam, and Adagrad and SGD with sparse gradients, on a table of 12 rows of 3
numbers. A step lists some rows, in any order, some of them twice (PyTorch adds those up), at times none.

SparseAdam adds eps to the uncorrected root of v; the paper (and our rule) adds it to the corrected one. The two are the
same at eps = 0, which PyTorch refuses: eps is 1e-300 here, which no root that is not 0 feels.
"""

import numpy as np
import torch

from common import finish

torch.set_num_threads(1)
torch.sparse.check_sparse_tensor_invariants.enable()
FILE = "crates/optim/tests/data/sparse.json"
ROWS, WIDTH, STEPS = 12, 3, 50
LISTED = [1, 2, 3, 5, 10, 20, 50]
RULES = [
    ("adam(lr=0.05, eps=1e-300)", torch.optim.SparseAdam, {"lr": 0.05, "eps": 1e-300}),
    (
        "adam(lr=0.01, beta1=0.5, beta2=0.9, eps=1e-300)",
        torch.optim.SparseAdam,
        {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-300},
    ),
    ("adam(lr=0.05, beta1=0, eps=1e-300)", torch.optim.SparseAdam, {"lr": 0.05, "betas": (0.0, 0.999), "eps": 1e-300}),
    ("adagrad(lr=0.1)", torch.optim.Adagrad, {"lr": 0.1}),
    (
        "adagrad(lr=0.5, lr_decay=0.1, initial_accumulator_value=0.3, eps=0.01)",
        torch.optim.Adagrad,
        {"lr": 0.5, "lr_decay": 0.1, "initial_accumulator_value": 0.3, "eps": 0.01},
    ),
    ("sgd(lr=0.1)", torch.optim.SGD, {"lr": 0.1}),
]


def gradients():
    """For each step the rows and their gradients: some rows often, some seldom, one never."""
    random = np.random.default_rng(20)
    steps = []
    for t in range(STEPS):
        count = int(random.integers(0, 6))
        rows = random.choice(ROWS - 1, size=count, p=np.arange(ROWS - 1, 0, -1) / (ROWS * (ROWS - 1) / 2))
        values = random.normal(size=(count, WIDTH)) * 10.0 ** random.uniform(-2, 1, size=(count, 1))
        steps.append({"rows": rows.tolist(), "values": values.ravel().tolist()})
    return steps


def run(make, arguments, theta0, steps):
    theta = torch.tensor(theta0, dtype=torch.float64).reshape(ROWS, WIDTH).requires_grad_()
    rule = make([theta], **arguments)
    listed = []
    for t, step in enumerate(steps, 1):
        values = torch.tensor(step["values"], dtype=torch.float64).reshape(-1, WIDTH)
        index = torch.tensor([step["rows"]], dtype=torch.int64)
        theta.grad = torch.sparse_coo_tensor(index, values, (ROWS, WIDTH))
        rule.step()
        if t in LISTED:
            listed.append(theta.detach().ravel().tolist())
    return listed


def main():
    theta0 = np.random.default_rng(21).normal(size=ROWS * WIDTH).tolist()
    steps = gradients()
    cases = [
        {
            "expression": expression,
            "call": f"torch.optim.{make.__name__}({', '.join(f'{k}={v}' for k, v in arguments.items())})",
            "theta": run(make, arguments, theta0, steps),
        }
        for expression, make, arguments in RULES
    ]
    document = {
        "made_by": f"scripts/reference/sparse.py, torch {torch.__version__}, float64",
        "rows": ROWS,
        "width": WIDTH,
        "theta0": theta0,
        "steps": steps,
        "listed": LISTED,
        "cases": cases,
    }
    finish(__doc__.splitlines()[0], {FILE: document}, 1e-12)


if __name__ == "__main__":
    main()
