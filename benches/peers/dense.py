#!/usr/bin/env python3
"""Dense logistic and linear regression, 500,000 × 100 float32: the peers' seconds to within 0.1% of the optimum.

    python dense.py make FOLDER [--rows 500000] [--columns 100] [--seed 1] [--l2 L]
    python dense.py time FOLDER [--task logistic|linear] [--peers a,b] [--rounds 15] [--threads 2]
    python dense.py search FOLDER [--task ...] [--peers ...]

`make` writes raw little-endian float32: `x.f32` (row-major), `y_logistic.f32` (0 or 1), `y_linear.f32`, and `problem.json`
with the shape, l2 (default 1/rows) and the optimum of each task. Objective: mean loss + l2/2 |w|², the intercept without
penalty; squared loss is ½ r². `time` runs the peers in turn and prints median seconds and how far each ended from the
optimum; one that ends more than 0.1% above it is marked. Data is in memory when the clock starts, and the loss is evaluated
after it has stopped. `search` tries the grid of settings of each peer and prints the fastest that reaches the goal.
"""

import argparse
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

GOAL = 1e-3
WINDOWS = 3
BLOCK = 50_000


# --- the problem --------------------------------------------------------------------------------------------------


def make(folder, rows, columns, seed, l2):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.Generator(np.random.PCG64([seed, 0]))
    weight = 2 * rng.standard_normal(columns) / np.sqrt(columns)
    files = {name: open(folder / f"{name}.f32", "wb") for name in ["x", "y_logistic", "y_linear"]}
    for index, start in enumerate(range(0, rows, BLOCK)):
        rng = np.random.Generator(np.random.PCG64([seed, 1 + index]))
        x = rng.standard_normal((BLOCK, columns), np.float32)
        z = x @ weight + 0.5
        y = rng.random(BLOCK) < 1 / (1 + np.exp(-z)), z + rng.standard_normal(BLOCK)
        for name, part in zip(files, [x, *y]):
            files[name].write(part[: rows - start].astype("<f4").tobytes())
    for file in files.values():
        file.close()
    problem = {"rows": rows, "columns": columns, "seed": seed, "l2": l2 or 1 / rows, "made_by": f"numpy {np.__version__}"}
    (folder / "problem.json").write_text(json.dumps(problem))
    for task in ["logistic", "linear"]:
        data = Data(folder, task)
        theta, value, slope = data.optimum()
        problem[task] = {"optimum": value, "gradient": slope, "weights": theta[:-1].tolist(), "intercept": theta[-1]}
        print(f"{task}: optimum {value:.12f}, largest gradient there {slope:.1e}")
    (folder / "problem.json").write_text(json.dumps(problem, indent=1))


class Data:
    """One task: the arrays, its objective in float64, and its optimum where `make` has found it."""

    def __init__(self, folder, task):
        problem = json.loads((folder / "problem.json").read_text())
        self.task, self.l2 = task, problem["l2"]
        self.rows, self.columns = problem["rows"], problem["columns"]
        self.x = np.fromfile(folder / "x.f32", "<f4").reshape(self.rows, self.columns)
        self.y = np.fromfile(folder / f"y_{task}.f32", "<f4")
        self.best = problem.get(task, {}).get("optimum")

    def sums(self, theta):
        """Objective, gradient and Hessian at (weights, intercept), in float64, block by block."""
        n = self.columns + 1
        value, gradient, hessian = 0.0, np.zeros(n), np.zeros((n, n))
        for start in range(0, self.rows, BLOCK):
            x = self.x[start : start + BLOCK].astype(np.float64)
            x = np.column_stack([x, np.ones(len(x))])
            y = self.y[start : start + BLOCK].astype(np.float64)
            z = x @ theta
            if self.task == "logistic":
                p = 1 / (1 + np.exp(-z))
                value += (np.logaddexp(0, z) - y * z).sum()
                first, curve = p - y, p * (1 - p)
            else:
                first, curve = z - y, np.ones(len(y))
                value += 0.5 * (first**2).sum()
            gradient += first @ x
            hessian += (x * curve[:, None]).T @ x
        ridge = np.append(np.full(self.columns, self.l2), 0.0)
        value = value / self.rows + 0.5 * ridge @ theta**2
        return value, gradient / self.rows + ridge * theta, hessian / self.rows + np.diag(ridge)

    def optimum(self):
        theta = np.zeros(self.columns + 1)
        for _ in range(30):
            value, gradient, hessian = self.sums(theta)
            if np.abs(gradient).max() < 1e-13:
                break
            theta -= np.linalg.solve(hessian, gradient)
        assert np.abs(gradient).max() < 1e-12
        return theta, value, np.abs(gradient).max()

    def excess(self, theta):
        """Relative distance above the optimum; products in float32 (good to 1e-6), losses and their sum in float64."""
        theta = np.asarray(theta, np.float32)
        z = (self.x @ theta[:-1] + theta[-1]).astype(np.float64)
        loss = np.logaddexp(0, z) - self.y * z if self.task == "logistic" else 0.5 * (z - self.y) ** 2
        return (loss.mean() + 0.5 * self.l2 * float(theta[:-1] @ theta[:-1])) / self.best - 1


# --- the peers: each returns (weights, intercept) as one vector --------------------------------------------------


def joined(coef, intercept):
    return np.append(np.ravel(coef), intercept)


def sklearn_sgd(data, rows, rate, start):
    """One pass over the first `rows` rows, which are in random order, averaged from row `start` on."""
    from sklearn import linear_model

    kind, loss = {
        "logistic": (linear_model.SGDClassifier, "log_loss"),
        "linear": (linear_model.SGDRegressor, "squared_error"),
    }[data.task]
    model = kind(loss=loss, alpha=data.l2, max_iter=1, tol=None, shuffle=False, average=start, learning_rate="constant", eta0=rate)
    model.fit(data.x[:rows], data.y[:rows])
    return joined(model.coef_, model.intercept_)


def torch_minibatch(data, rows, batch, rate, rule, hand):
    """Mini-batches in order over `rows` rows (wrapping around), the rate falling linearly to 0; `hand`: no autograd."""
    import torch

    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    w, b = torch.zeros(data.columns), torch.zeros(1)
    groups = [{"params": [w], "weight_decay": data.l2}, {"params": [b]}]
    if rule == "adam":
        steps = torch.optim.Adam(groups, lr=rate, betas=(0.9, 0.99), fused=True)
    else:
        steps = torch.optim.SGD(groups, lr=rate, momentum=0.9, fused=True)
    count = rows // batch
    if not hand:
        w.requires_grad_(), b.requires_grad_()
    for k in range(count):
        at = k * batch % (data.rows - batch + 1)
        part, target = x[at : at + batch], y[at : at + batch]
        for group in steps.param_groups:
            group["lr"] = rate * (1 - k / count)
        if hand:
            z = torch.addmv(b, part, w)
            r = (z.sigmoid_() if data.task == "logistic" else z).sub_(target).div_(batch)
            w.grad, b.grad = part.t() @ r, r.sum().reshape(1)
        else:
            z = part @ w + b
            if data.task == "logistic":
                loss = torch.nn.functional.binary_cross_entropy_with_logits(z, target)
            else:
                loss = torch.nn.functional.mse_loss(z, target) / 2
            steps.zero_grad()
            loss.backward()
        steps.step()
    return joined(w.detach().numpy(), b.item())


def torch_lbfgs(data, iterations):
    """Full batch on all rows."""
    import torch

    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    w, b = torch.zeros(data.columns, requires_grad=True), torch.zeros(1, requires_grad=True)
    rule = torch.optim.LBFGS([w, b], max_iter=iterations, line_search_fn="strong_wolfe")

    def closure():
        rule.zero_grad()
        z = x @ w + b
        if data.task == "logistic":
            loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y)
        else:
            loss = torch.nn.functional.mse_loss(z, y) / 2
        loss = loss + data.l2 / 2 * (w @ w)
        loss.backward()
        return loss

    rule.step(closure)
    return joined(w.detach().numpy(), b.item())


def sklearn_solver(data, solver, tol):
    """LogisticRegression or Ridge on all rows."""
    from sklearn import linear_model

    if data.task == "logistic":
        model = linear_model.LogisticRegression(C=1 / (data.l2 * data.rows), solver=solver, tol=tol, max_iter=1000)
    else:
        model = linear_model.Ridge(alpha=data.l2 * data.rows, solver=solver, tol=tol)
    model.fit(data.x, data.y)
    return joined(model.coef_, model.intercept_)


def numpy_newton(data, rows, steps):
    """Newton by hand on the first `rows` rows, float32 products: for linear regression the normal equations."""
    x, y = data.x[:rows], data.y[:rows]
    theta = np.zeros(data.columns + 1, np.float32)
    for _ in range(steps):
        z = x @ theta[:-1] + theta[-1]
        if data.task == "logistic":
            p = 1 / (1 + np.exp(-z))
            first, curve = p - y, p * (1 - p)
            scaled = x * curve[:, None]
        else:
            first, curve, scaled = z - y, np.ones_like(z), x
        hessian = np.empty((data.columns + 1, data.columns + 1), np.float64)
        hessian[:-1, :-1] = scaled.T @ x / rows + data.l2 * np.eye(data.columns)
        hessian[:-1, -1] = hessian[-1, :-1] = x.T @ curve / rows
        hessian[-1, -1] = curve.mean()
        gradient = np.append(x.T @ first / rows + data.l2 * theta[:-1], first.mean())
        theta -= np.linalg.solve(hessian, gradient).astype(np.float32)
    return theta


# Settings to time, and the grid that `search` tries for better ones at full size. `rows` are rows seen.
ROWS = [100_000, 125_000, 150_000, 175_000, 200_000, 250_000, 300_000, 350_000, 400_000]
MINI = {
    "rows": ROWS,
    "batch": [250, 500, 1000, 2000],
    "rate": [0.01, 0.02, 0.05, 0.1],
    "rule": ["adam"],
    "hand": [False, True],
}
PEERS = {
    "logistic": {
        "sklearn-sgd": (
            sklearn_sgd,
            {"rows": 175_000, "rate": 0.01, "start": 10_000},
            {"rows": ROWS, "rate": [0.002, 0.005, 0.01, 0.02, 0.05], "start": [1, 5_000, 10_000, 20_000, 40_000]},
        ),
        "torch-adam": (
            torch_minibatch,
            {"rows": 300_000, "batch": 1000, "rate": 0.05, "rule": "adam", "hand": True},
            MINI,
        ),
        "torch-sgd": (
            torch_minibatch,
            {"rows": 300_000, "batch": 1000, "rate": 0.5, "rule": "sgd", "hand": True},
            {**MINI, "rate": [0.1, 0.2, 0.5, 1.0], "rule": ["sgd"]},
        ),
        "torch-lbfgs": (torch_lbfgs, {"iterations": 6}, {"iterations": [3, 4, 5, 6, 8, 10, 15]}),
        "sklearn-newton": (
            sklearn_solver,
            {"solver": "newton-cholesky", "tol": 1e-2},
            {"solver": ["newton-cholesky", "lbfgs"], "tol": [1e-1, 1e-2, 1e-3, 1e-4]},
        ),
        "numpy-newton": (numpy_newton, {"rows": 150_000, "steps": 4}, {"rows": ROWS, "steps": [2, 3, 4, 5]}),
    },
    "linear": {
        "sklearn-sgd": (
            sklearn_sgd,
            {"rows": 150_000, "rate": 0.005, "start": 10_000},
            {"rows": ROWS, "rate": [0.0005, 0.001, 0.002, 0.005, 0.01], "start": [1, 2_000, 5_000, 10_000, 20_000, 40_000]},
        ),
        "torch-adam": (
            torch_minibatch,
            {"rows": 300_000, "batch": 1000, "rate": 0.05, "rule": "adam", "hand": True},
            MINI,
        ),
        "torch-sgd": (
            torch_minibatch,
            {"rows": 200_000, "batch": 1000, "rate": 0.05, "rule": "sgd", "hand": True},
            {**MINI, "rate": [0.01, 0.02, 0.05, 0.1], "rule": ["sgd"]},
        ),
        "sklearn-ridge": (sklearn_solver, {"solver": "cholesky", "tol": 1e-4}, {"solver": ["cholesky"], "tol": [1e-4]}),
        "numpy-newton": (numpy_newton, {"rows": 150_000, "steps": 1}, {"rows": ROWS, "steps": [1]}),
    },
}


def clocked(peer, data, settings):
    start = time.perf_counter()
    theta = peer(data, **settings)
    return time.perf_counter() - start, theta


def chosen(args):
    for task in PEERS if args.task is None else [args.task]:
        peers = {name: PEERS[task][name] for name in (args.peers.split(",") if args.peers else PEERS[task])}
        yield Data(args.folder, task), peers


def run_one(args):
    """What one child process of `time` does: one peer alone, one run to warm up, then the rounds; JSON on stdout."""
    ((data, peers),) = chosen(args)
    ((peer, settings, _),) = peers.values()
    _, theta = clocked(peer, data, settings)
    seconds = [clocked(peer, data, settings)[0] for _ in range(args.rounds)]
    print(json.dumps({"seconds": seconds, "excess": data.excess(theta)}))


def run_time(args):
    """Each peer in processes of its own (thread pools that spin after their work slow down whoever comes next), in turn."""
    for data, peers in chosen(args):
        print(f"{data.task}, {data.rows} × {data.columns}, optimum {data.best:.9f}, {args.threads} threads", flush=True)
        seconds, excess = {name: [] for name in peers}, {}
        child = [sys.executable, __file__, "one", str(args.folder), "--task", data.task, "--threads", str(args.threads)]
        for _ in range(WINDOWS):
            for name in peers:
                more = ["--peers", name, "--rounds", str(-(-args.rounds // WINDOWS))]
                told = json.loads(subprocess.run(child + more, check=True, capture_output=True, text=True).stdout)
                seconds[name] += told["seconds"]
                excess[name] = told["excess"]
        for name, (_, settings, _) in peers.items():
            mark = "" if excess[name] <= GOAL else "  misses the goal"
            said = ", ".join(f"{key}={value}" for key, value in settings.items())
            middle, low, high = statistics.median(seconds[name]), min(seconds[name]), max(seconds[name])
            print(f"  {middle:8.4f} s  [{low:.4f}, {high:.4f}]  {100 * excess[name]:+.3f}%  {name} ({said}){mark}", flush=True)


def run_search(args):
    """Each peer in a process of its own, for the same reason."""
    for data, peers in chosen(args):
        if len(peers) > 1:
            child = [sys.executable, __file__, "search", str(args.folder), "--task", data.task, "--threads", str(args.threads)]
            for name in peers:
                subprocess.run([*child, "--peers", name], check=True)
            continue
        for name, (peer, _, grid) in peers.items():
            reached = []
            for values in itertools.product(*grid.values()):
                settings = dict(zip(grid, values))
                if settings.get("rows", 0) > data.rows and peer is not torch_minibatch:
                    continue
                # Once a number of rows has reached the goal, more rows of the same setting cannot be faster.
                rest = {key: value for key, value in settings.items() if key != "rows"}
                if any(rest == {k: v for k, v in other.items() if k != "rows"} for _, other, _ in reached):
                    continue
                taken, theta = clocked(peer, data, settings)
                excess = data.excess(theta)
                if excess <= GOAL:
                    reached.append((taken, settings, excess))
            reached.sort(key=lambda found: found[0])
            again = [(statistics.median(clocked(peer, data, s)[0] for _ in range(7)), s, e) for _, s, e in reached[:4]]
            print(f"{data.task} {name}: {len(reached)} settings reach the goal")
            for taken, settings, excess in sorted(again, key=lambda found: found[0]):
                print(f"  {taken:8.4f} s  {100 * excess:+.3f}%  {settings}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["make", "time", "search", "one"])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--l2", type=float, help="default: 1 / rows")
    parser.add_argument("--task", choices=list(PEERS))
    parser.add_argument("--peers", help="a comma-separated selection")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]:
        os.environ[name] = str(args.threads)  # read when the libraries load, so they load after this
    global np
    import numpy as np

    if args.what == "make":
        make(args.folder, args.rows, args.columns, args.seed, args.l2)
        return
    {"time": run_time, "search": run_search, "one": run_one}[args.what](args)


if __name__ == "__main__":
    main()
