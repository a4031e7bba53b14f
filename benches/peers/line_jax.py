#!/usr/bin/env python3
"""y = 4 + 3x with noise, 100 points: 1,000 steps of Adam (rate 0.1) from zero, JAX and optax, from process start."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)
x = rng.uniform(0, 2, 100)
y = jnp.asarray(4 + 3 * x + rng.standard_normal(100))
one = jnp.asarray(np.column_stack([np.ones(100), x]))
adam = optax.adam(0.1)


def loss(theta):
    r = one @ theta - y
    return r @ r / 200


@jax.jit
def fit(theta):
    """All the steps in one compiled loop."""

    def step(_, carry):
        theta, state = carry
        update, state = adam.update(jax.grad(loss)(theta), state)
        return optax.apply_updates(theta, update), state

    return jax.lax.fori_loop(0, 1000, step, (theta, adam.init(theta)))[0]


theta = fit(jnp.zeros(2))
print(f"jax: {theta[0]:.6f} + {theta[1]:.6f} x")
