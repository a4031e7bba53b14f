#!/usr/bin/env python3
"""Times whole processes from start to the end of one training step of a network, which is beyond the first finished step.

    cargo build --release
    python benches/startup/run.py --out benches/runs/DATE/startup.json

Each process reads digits.csv (1,797 × 64), makes a perceptron with one hidden layer of 32 and takes one step of Adam on all training rows.
Ours also scores the test rows and writes the model; PyTorch's reads the table with NumPy and does no more than the step. Runs alternate.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "examples/data/digits.csv"
TORCH = f"""
import numpy as np
import torch
table = np.loadtxt({str(DATA)!r}, delimiter=",", skiprows=1, dtype="float32")
x, y = torch.from_numpy(table[:, :-1]), torch.from_numpy(table[:, -1]).long()
model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
rule = torch.optim.Adam(model.parameters(), fused=True)
torch.nn.functional.cross_entropy(model(x), y).backward()
rule.step()
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out")
    parser.add_argument("--runs", type=int, default=15)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ours = [ROOT / "target/release/thalweg", "fit", DATA, "--target", "digit", "--model", "mlp(32)", "--optimizer", "adam", "--batch", "full"]
        ours += ["--epochs", "1", "--no-report", "-q", "--force", "--out", Path(folder) / "run"]
        commands = {"ours": [str(word) for word in ours], "torch": [sys.executable, "-c", TORCH]}
        seconds = {name: [] for name in commands}
        for nth in range(args.runs + 1):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                # The first run warms the file cache.
                if nth > 0:
                    seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    for name, s in seconds.items():
        print(f"{name:6} {medians[name] * 1e3:.1f} ms ({min(s) * 1e3:.1f} to {max(s) * 1e3:.1f})")
    if args.out:
        Path(args.out).write_text(json.dumps({"medians": medians, "seconds": seconds}, indent=1) + "\n")


main()
