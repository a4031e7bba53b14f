#!/usr/bin/env python3
"""The LeNet of run.py in PyTorch: 5 epochs on the same files, same batch and schedule, channels last, fused AdamW.

    python benches/tasks/lenet_torch.py mnist [--seeds 2] [--threads 2]

Each batch is gathered from one tensor in memory: no loader process stands between. Seconds are those of training, scoring left out.
"""

import argparse
import gzip
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("data", choices=["mnist", "fashion-mnist"])
parser.add_argument("--seeds", type=int, default=2)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--epochs", type=int, default=5)
args = parser.parse_args()
torch.set_num_threads(args.threads)
folder = Path(__file__).resolve().parents[2] / "target/data" / args.data


def read(name):
    path = folder / name
    raw = path.read_bytes() if path.exists() else gzip.decompress((folder / f"{name}.gz").read_bytes())
    sizes = np.frombuffer(raw, ">i4", raw[3], 4)
    return torch.from_numpy(np.frombuffer(raw, np.uint8, -1, 4 + 4 * len(sizes)).reshape(sizes).copy())


def images(part):
    return read(f"{part}-images-idx3-ubyte").float().div_(255).unsqueeze(1), read(f"{part}-labels-idx1-ubyte").long()


(x, y), (test_x, test_y) = images("train"), images("t10k")
mean, deviation = x.mean(), x.std()
x, test_x = (x - mean) / deviation, (test_x - mean) / deviation
for seed in range(args.seeds):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 32, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1024, 128),
        nn.ReLU(), nn.Linear(128, 10),
    ).to(memory_format=torch.channels_last)  # fmt: skip
    rule = torch.optim.AdamW(net.parameters(), lr=0.002, fused=True)
    steps = args.epochs * -(-len(x) // 64)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(rule, steps)
    begun = time.perf_counter()
    for _ in range(args.epochs):
        for rows in torch.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(net(x[rows].contiguous(memory_format=torch.channels_last)), y[rows])
            rule.zero_grad()
            loss.backward()
            rule.step()
            schedule.step()
    seconds = time.perf_counter() - begun
    with torch.no_grad():
        right = sum((net(x).argmax(1) == y).sum().item() for x, y in zip(test_x.split(1000), test_y.split(1000), strict=True))
    print(json.dumps({"data": args.data, "seed": seed, "accuracy": right / len(test_y), "seconds": seconds, "torch": torch.__version__}), flush=True)
