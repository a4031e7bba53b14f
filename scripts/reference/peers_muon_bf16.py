#!/usr/bin/env python3
"""Record PyTorch's Muon as it is, its Newton-Schulz iteration in bfloat16: `crates/optim/tests/data/muon_bf16.json`.

    python scripts/reference/peers_muon_bf16.py            writes the file
    python scripts/reference/peers_muon_bf16.py --check    compares it with what is stored, writes nothing

Gradients are not stored: both sides draw them from the same 64-bit linear congruential sequence, one for each step
(multiplier 6364136223846793005, increment 1442695040888963407, started at the step's number; the upper 53 bits as a
fraction, minus one half). What is stored is θ divided by the learning rate. Another processor may sum in another
order, and a bfloat16 has three digits: `--check` allows for that. Versions: see requirements.txt.
"""

import numpy as np
import torch

from common import finish
from optimizers import expression
from peers import made_by

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
FILE = "crates/optim/tests/data/muon_bf16.json"
SHAPES = [[20, 12], [12, 20], [33, 2], [40, 36]]
STEPS, LISTED = 50, [1, 10, 50]
SETTINGS = [
    {"lr": 0.02},
    {"lr": 0.05, "nesterov": False, "momentum": 0.9, "weight_decay": 0.0},
    {"lr": 0.05, "consistent_rms": 0.2, "momentum": 0.8, "ns_steps": 3},
]


def drawn(step, count):
    state, numbers = step, []
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        numbers.append((state >> 11) / 2**53 - 0.5)
    return torch.tensor(numbers)


def main():
    sizes = [rows * cols for rows, cols in SHAPES]
    cases = []
    for setting in SETTINGS:
        keep = {key: x for key, x in setting.items() if key != "consistent_rms"}
        adjust = "match_rms_adamw" if "consistent_rms" in setting else "original"
        tensors = [torch.zeros(shape).requires_grad_() for shape in SHAPES]
        rule, listed = torch.optim.Muon(tensors, adjust_lr_fn=adjust, **keep), []
        for step in range(1, STEPS + 1):
            for tensor, part in zip(tensors, drawn(step, sum(sizes)).split(sizes)):
                tensor.grad = part.reshape(tensor.shape)
            rule.step()
            if step in LISTED:
                theta = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
                listed.append([float(f"{x / setting['lr']:.6g}") for x in theta])
        assert np.isfinite(listed).all()
        cases.append({"expression": expression("muon", {**setting, "bf16": True}), "theta": listed})
    head = {key: x for key, x in made_by("peers_muon_bf16.py", "torch").items() if key != "seed"}
    document = {"made_by": head, "shapes": SHAPES, "steps": LISTED, "cases": cases}
    finish(__doc__.splitlines()[0], {FILE: document}, tolerance=0.03)


if __name__ == "__main__":
    main()
