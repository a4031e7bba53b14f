#!/usr/bin/env python3
"""y = 4 + 3x with noise, 100 points: 1,000 steps of Adam (rate 0.1) from zero, PyTorch, from process start."""

import numpy as np
import torch

torch.set_num_threads(1)  # two numbers: more threads only wait
rng = np.random.default_rng(0)
x = rng.uniform(0, 2, 100)
y = torch.from_numpy(4 + 3 * x + rng.standard_normal(100))
one = torch.from_numpy(np.column_stack([np.ones(100), x]))
theta = torch.zeros(2, dtype=torch.float64, requires_grad=True)
adam = torch.optim.Adam([theta], lr=0.1, fused=True)
for _ in range(1000):
    adam.zero_grad()
    r = one @ theta - y
    (r @ r / 200).backward()
    adam.step()
print(f"torch: {theta[0]:.6f} + {theta[1]:.6f} x")
