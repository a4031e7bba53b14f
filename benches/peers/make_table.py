#!/usr/bin/env python3
"""Write the table of the end-to-end comparison: 500,000 rows, 27 numeric and 3 text columns, a 0/1 target; 108 MB.

    python benches/peers/make_table.py table.csv [--rows 500000] [--seed 1]

Column means and scales differ; categories have 5, 20 and 100 levels of unequal size; nothing is missing. The log-odds of
the target are linear in the standardised numbers and the levels, scaled so that the best possible accuracy is 0.766 to
0.767. Rows come in blocks with a random stream each: a smaller table is the start of a larger one, and the same
arguments give the same bytes.
"""

import argparse

import numpy as np
import polars as pl

BLOCK = 50_000
NUMERIC = 27
LEVELS = {"c5": 5, "c20": 20, "c100": 100}
BEFORE = {4: "c5", 13: "c20", 22: "c100"}  # the text columns stand between the numeric ones


def truth(seed):
    rng = np.random.Generator(np.random.PCG64([seed, 0]))
    mean = rng.uniform(-3, 3, NUMERIC)
    scale = 10.0 ** rng.uniform(-0.9, 0.4, NUMERIC)
    weight = rng.standard_normal(NUMERIC) / np.sqrt(NUMERIC)
    effect = {name: 0.5 * rng.standard_normal(count) for name, count in LEVELS.items()}
    share = {name: (p := 1 / np.arange(2, count + 2) ** 0.5) / p.sum() for name, count in LEVELS.items()}
    center = sum(effect[name] @ share[name] for name in LEVELS)
    return mean, scale, weight, effect, share, center


SHARPNESS = 1.6344  # makes the mean of max(p, 1 - p) 0.7665 for seed 1, over a million rows


def block(seed, index, rows, true):
    mean, scale, weight, effect, share, center = true
    rng = np.random.Generator(np.random.PCG64([seed, 1 + index]))
    z = rng.standard_normal((BLOCK, NUMERIC))[:rows]
    codes = {name: rng.choice(count, BLOCK, p=share[name])[:rows] for name, count in LEVELS.items()}
    odds = SHARPNESS * (z @ weight - center + sum(effect[name][codes[name]] for name in LEVELS))
    p = 1 / (1 + np.exp(-odds))
    y = (rng.random(BLOCK)[:rows] < p).astype(np.int8)
    columns = {}
    for j in range(NUMERIC):
        if j in BEFORE:
            name = BEFORE[j]
            texts = np.array([f"{name[0]}{k:02d}" for k in range(LEVELS[name])], dtype=object)
            columns[name] = texts[codes[name]]
        columns[f"x{j}"] = np.round(mean[j] + scale[j] * z[:, j], 4) + 0.0  # no negative zero
    columns["y"] = y
    return pl.DataFrame(columns), np.maximum(p, 1 - p).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path")
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    true = truth(args.seed)
    best = 0.0
    with open(args.path, "wb") as file:
        for index, start in enumerate(range(0, args.rows, BLOCK)):
            rows = min(BLOCK, args.rows - start)
            frame, accuracy = block(args.seed, index, rows, true)
            frame.write_csv(file, include_header=index == 0, float_precision=4)
            best += accuracy * rows
        size = file.tell()
    print(f"{args.path}: {args.rows} rows, {size / 1e6:.1f} MB, best possible accuracy {best / args.rows:.4f}")


if __name__ == "__main__":
    main()
