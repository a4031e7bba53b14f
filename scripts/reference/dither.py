#!/usr/bin/env python3
"""How far memory in 8 bits strays from the exact one: Adam's second moment, v = 0.999·v + 0.001·g², rounded at every step.

    python scripts/reference/dither.py

Codes have 3 bits of fraction, as `memory=block8` has; scales of a block of 256 are the largest number or a power of two, draws are
independent or follow `crates/optim/src/dither.rs`: the recurrence, or that of a block's first place with bits turned over in the others, as
`memory=block8` has it. Printed is the relative deviation, over numbers and steps.
"""

import numpy as np

NUMBERS, STEPS, BETA, BLOCK = 4096, 5000, 0.999, 256
STEP, PLACE, BITS = 0xBB67AE85, 0x510E527F, 20


def recurrence(place, step):
    return (np.asarray(place, np.uint64) * PLACE + step * STEP) % 2**32


def turned(place, step):
    start, within = place // BLOCK * BLOCK, place % BLOCK
    low = np.uint64(32 - BITS)
    return (recurrence(start, step) >> low ^ recurrence(within, 0) >> low) << low


def rounded(v, u):
    exponent = np.frexp(v)[1] - 1
    gap = np.ldexp(1.0, exponent - 3)
    return np.floor(v / gap + u) * gap


def deviation(power_of_two, dither):
    rng = np.random.default_rng(0)
    size = np.exp(rng.standard_normal(NUMBERS))
    exact, kept, met = size.copy(), size.copy(), []
    for t in range(STEPS):
        squared = rng.standard_normal(NUMBERS) ** 2 * size
        u = dither(np.arange(NUMBERS), t) / 2**32 if dither else rng.random(NUMBERS)
        exact = BETA * exact + (1 - BETA) * squared
        kept = BETA * kept + (1 - BETA) * squared
        scale = kept.reshape(-1, BLOCK).max(1) / 1.875
        scale = np.repeat(2.0 ** np.ceil(np.log2(scale)) if power_of_two else scale, BLOCK)
        kept = rounded(kept / scale, u) * scale
        if t >= 2000 and t % 50 == 0:
            met.append(kept / exact)
    return np.std(met)


for power_of_two in (False, True):
    for name, dither in (("independent", None), ("recurrence", recurrence), ("turned", turned)):
        scale = "a power of two" if power_of_two else "the largest    "
        print(f"scale {scale}  {name:11}  {deviation(power_of_two, dither):.3f}")
