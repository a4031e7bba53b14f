#!/usr/bin/env python3
"""y = 4 + 3x with noise, 100 points: 1,000 steps of Adam (rate 0.1) from zero, NumPy by hand, from process start."""

import numpy as np

rng = np.random.default_rng(0)
x = rng.uniform(0, 2, 100)
y = 4 + 3 * x + rng.standard_normal(100)
one = np.column_stack([np.ones(100), x])
theta, m, v = np.zeros(2), np.zeros(2), np.zeros(2)
for t in range(1, 1001):
    g = one.T @ (one @ theta - y) / 100
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    theta -= 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
print(f"numpy: {theta[0]:.6f} + {theta[1]:.6f} x")
