#!/usr/bin/env python3
"""Fits networks to real data by the command, seeds 0 to 4, and says the median score and the spread.

    cargo build --release && scripts/data/fetch.sh
    python benches/tasks/run.py --out benches/runs/DATE/tasks.json [--only digits,mnist] [--seeds 5]

Test rows are those that the data has (MNIST, Fashion-MNIST), else a fifth, drawn by the seed. Seconds are those of training.
"""

import argparse
import json
import platform
import statistics
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "target/data"
LENET = "conv(32, kernel=5, padding=0) relu pool(2) conv(64, kernel=5, padding=0) relu pool(2) flatten dense(128) relu"


def images(name, end, *more, valid="none", epochs=5):
    folder = DATA / name
    train, test = (folder / f"{part}-images-idx3-ubyte{end}" for part in ("train", "t10k"))
    target = folder / f"train-labels-idx1-ubyte{end}"
    return [train, "--target", target, "--test", test, "--valid", valid, "--model", LENET, "--batch", 64, "--epochs", epochs, *more]


def rate(lr):
    return ["--schedule", f"cosine({lr})"]


DIAMONDS = [DATA / "diamonds.csv", "--target", "price", "--ignore", "column1"]
TRANSFORMER = [DATA / "kjv.txt", "--model", "transformer(d=128, heads=4, layers=4)", "--epochs", 1]


def memory(kind):
    return ["--optimizer", f"clip(1) | adamw(lr=cosine(0.003, warmup=2%), memory={kind})"]


TASKS = {
    "digits": [ROOT / "examples/data/digits.csv", "--target", "digit", "--model", "mlp(256, 128, dropout=0.3)", "--valid", "none", "--epochs", 60, *rate(0.005)],
    "digits linear": [ROOT / "examples/data/digits.csv", "--target", "digit"],
    "mnist": images("mnist", "", *rate(0.002)),
    "fashion": images("fashion-mnist", ".gz", *rate(0.002)),
    "diamonds linear": DIAMONDS,
    "diamonds": [*DIAMONDS, "--model", "mlp(64, 64)", "--epochs", 20, "--batch", 128],
    "text": [*TRANSFORMER, *memory("full")],
    "text gru": [DATA / "kjv.txt", "--model", "gru(128)", "--epochs", 4, "--optimizer", "clip(1) | adamw(lr=cosine(0.01, warmup=2%))"],
}
# The memory of the optimizer in fewer bits, beside the same run in f32. Many rows for the loss: runs differ by their dice as well.
MEMORY = {
    f"{task} {kind}": [*words, "--optimizer", f"{chain}(lr=cosine({lr}), memory={kind})"]
    for task, words, chain, lr in (
        ("mnist memory", images("mnist", "", valid=0.4, epochs=2), "adamw", 0.002),
        ("text memory", TRANSFORMER, "clip(1) | adamw", "0.003, warmup=2%"),
    )
    for kind in ("full", "bf16", "block8")
}


def fit(words, seed, folder):
    command = [ROOT / "target/release/thalweg", "fit", *words, "--seed", seed, "--out", folder, "--force", "--json", "-q", "--no-report"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    return {key: said.get(key) for key in ("score", "baseline", "valid_loss", "train_loss", "test_loss", "seconds", "epochs", "steps")}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out")
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    only = [name for name in args.only.split(",") if name]
    result = {"machine": platform.processor(), "tasks": {}}
    if args.out and Path(args.out).exists():
        result = json.loads(Path(args.out).read_text())
    with tempfile.TemporaryDirectory() as folder:
        for name, words in {**TASKS, **MEMORY}.items():
            if only and name not in only:
                continue
            runs = [fit(words, seed, folder) for seed in range(args.seeds)]
            scores, seconds, losses = ([run[key] for run in runs] for key in ("score", "seconds", "valid_loss"))
            loss = None if None in losses else statistics.mean(losses)
            line = " ".join(str(word).replace(f"{ROOT}/", "") for word in words)
            result["tasks"][name] = {"command": f"thalweg fit {line}", "runs": runs}
            print(
                f"{name:20} score {statistics.median(scores):.4f} ({min(scores):.4f} to {max(scores):.4f})  baseline {runs[0]['baseline']}"
                f"  mean valid loss {loss}  {statistics.median(seconds):.1f} s",
                flush=True,
            )
            if args.out:
                Path(args.out).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
