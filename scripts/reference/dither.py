#!/usr/bin/env python3
"""How far memory in 8 bits strays from the exact one: Adam's second moment, v = 0.999·v + 0.001·g², rounded at every step.

    python scripts/reference/dither.py

Codes have 3 bits of fraction, as `memory=block8` has; scales of a block of 256 are the largest number or a power of two, draws are
independent or follow the recurrence of `crates/optim/src/dither.rs`. Printed is the relative deviation, over numbers and steps.
"""

import numpy as np

NUMBERS, STEPS, BETA, BLOCK = 4096, 5000, 0.999, 256
STEP, PLACE = 0xBB67AE85 / 2**32, 0x510E527F / 2**32


def rounded(v, u):
    exponent = np.frexp(v)[1] - 1
    gap = np.ldexp(1.0, exponent - 3)
    return np.floor(v / gap + u) * gap


def deviation(power_of_two, recurrence):
    rng = np.random.default_rng(0)
    size = np.exp(rng.standard_normal(NUMBERS))
    exact, kept, met = size.copy(), size.copy(), []
    for t in range(STEPS):
        squared = rng.standard_normal(NUMBERS) ** 2 * size
        u = (np.arange(NUMBERS) * PLACE + t * STEP) % 1 if recurrence else rng.random(NUMBERS)
        exact = BETA * exact + (1 - BETA) * squared
        kept = BETA * kept + (1 - BETA) * squared
        scale = kept.reshape(-1, BLOCK).max(1) / 1.875
        scale = np.repeat(2.0 ** np.ceil(np.log2(scale)) if power_of_two else scale, BLOCK)
        kept = rounded(kept / scale, u) * scale
        if t >= 2000 and t % 50 == 0:
            met.append(kept / exact)
    return np.std(met)


for power_of_two in (False, True):
    for recurrence in (False, True):
        scale = "a power of two" if power_of_two else "the largest    "
        print(f"scale {scale}  {'recurrence' if recurrence else 'independent'}  {deviation(power_of_two, recurrence):.3f}")
