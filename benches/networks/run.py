#!/usr/bin/env python3
"""Times whole training steps of networks beside PyTorch, JAX and Keras in one process: same weights, same batches, same rule.

    cargo build --release --manifest-path benches/networks/Cargo.toml --target-dir target/bench
    for peer in burn candle; do RUSTFLAGS="-C target-cpu=native" cargo build --release \\
        --manifest-path benches/networks/$peer/Cargo.toml --target-dir target/bench; done
    LD_PRELOAD=libtcmalloc_minimal.so.4 python benches/networks/run.py --out benches/runs/DATE/networks.json [--only lenet,gru]

In each round every contender takes steps for about 20 ms (one step where it lasts longer), in an order that rotates; what is
printed are medians, and the median over rounds of peer / ours. Losses are compared first: each contender's losses of the first 8 steps
must be equal to 1e-3. Adam (fused where PyTorch has it). burn and candle are in a run where benches/networks/{burn,candle} are built.
`limit` is an estimate: the multiply-adds of the step at the speed of a product of 2048 × 2048 matrices in this process, plus a copy of as many
bytes as Adam reads and writes; for what is done in between it has nothing.
"""

import argparse
import ctypes
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--out")
parser.add_argument("--only", default="")
parser.add_argument("--pairs", type=int, default=30)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--peers", default="torch,torch_last,torch_compiled,jax,keras,burn,candle")
parser.add_argument("--check", action="store_true", help="compare losses only")
args = parser.parse_args()
peers = args.peers.split(",")
os.environ.setdefault("XLA_FLAGS", f"--xla_cpu_multi_thread_eigen=true intra_op_parallelism_threads={args.threads}")
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("RAYON_NUM_THREADS", str(args.threads))

import numpy as np
import torch
from torch import nn

torch.set_num_threads(args.threads)
root = Path(__file__).resolve().parents[2]
P, Z = ctypes.c_void_p, ctypes.c_size_t
PRODUCT = [P, P, P, Z, Z, Z, ctypes.c_bool, ctypes.c_bool, Z, Z]


def library(name, prefix):
    path = root / f"target/bench/release/lib{name}.so"
    if not path.exists():
        return None
    lib = ctypes.CDLL(str(path))
    new, load, step = (getattr(lib, f"{prefix}_{f}") for f in ("new", "load", "step"))
    new.restype, new.argtypes = P, [ctypes.c_char_p, ctypes.c_char_p, Z, ctypes.c_char_p, Z]
    load.restype, load.argtypes = ctypes.c_bool, [P, ctypes.c_char_p, Z]
    step.restype, step.argtypes = ctypes.c_double, [P, P, P, P, Z, Z, P]
    return new, load, step


VOCABULARY, CONTEXT = 96, 64


class Last(nn.Module):
    def forward(self, x):
        return x[:, -1]


class First(nn.Module):
    def forward(self, x):
        return x[0]


class GlobalPool(nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3))


class Position(nn.Module):
    def __init__(self, steps, width):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(steps, width))

    def forward(self, x):
        return x + self.weight


class GRU(nn.GRU):
    def forward(self, x):
        return nn.GRU.forward(self, x)[0]


class Block(nn.Module):
    """Attention and a perceptron, norms first, as their authors would write it: fused attention, one product for q, k and v."""

    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.self_attn = nn.Module()
        self.self_attn.in_proj_weight = nn.Parameter(torch.empty(3 * d, d))
        self.self_attn.in_proj_bias = nn.Parameter(torch.zeros(3 * d))
        nn.init.xavier_uniform_(self.self_attn.in_proj_weight)
        self.self_attn.out_proj = nn.Linear(d, d)
        self.linear1, self.linear2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)

    def forward(self, x):
        n, t, d = x.shape
        qkv = nn.functional.linear(self.norm1(x), self.self_attn.in_proj_weight, self.self_attn.in_proj_bias)
        q, k, v = qkv.view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.self_attn.out_proj(y.transpose(1, 2).reshape(n, t, d))
        return x + self.linear2(nn.functional.gelu(self.linear1(self.norm2(x))))


class Residual(nn.Module):
    def __init__(self, *body):
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x):
        return x + self.body(x)


def mlp(h):
    return nn.Sequential(nn.Linear(784, h), nn.ReLU(), nn.Linear(h, h), nn.ReLU(), nn.Linear(h, 10))


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 32, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1024, 128), nn.ReLU(), nn.Linear(128, 10),
    )


def resnet():
    def conv(c=64):
        return nn.Conv2d(c, 64, 3, padding=1, bias=False)

    def block():
        return Residual(conv(), nn.BatchNorm2d(64), nn.ReLU(), conv(), nn.BatchNorm2d(64))

    return nn.Sequential(
        conv(3), nn.BatchNorm2d(64), nn.ReLU(), block(), nn.ReLU(), block(), nn.ReLU(), GlobalPool(), nn.Linear(64, 10)
    )


def transformer():
    return nn.Sequential(
        nn.Embedding(VOCABULARY, 128), Position(CONTEXT, 128), *(Block(128, 4) for _ in range(4)), nn.LayerNorm(128),
        nn.Linear(128, VOCABULARY),
    )


def gru():
    return nn.Sequential(nn.Embedding(VOCABULARY, 128), GRU(128, 128, batch_first=True), nn.Linear(128, VOCABULARY))


LENET = "conv(32, kernel=5, padding=0) relu pool(2) conv(64, kernel=5, padding=0) relu pool(2) flatten dense(128) relu"
BLOCK = "residual(conv(64, bias=false), batchnorm, relu, conv(64, bias=false), batchnorm) relu"
# Name: what goes in, rows, our expression, PyTorch's module, the shape of a row.
CASES = {
    "mlp 128, batch 32": ("numbers 784", 32, "mlp(128, 128)", lambda: mlp(128), (784,)),
    "mlp 256, batch 128": ("numbers 784", 128, "mlp(256, 256)", lambda: mlp(256), (784,)),
    "mlp 1024, batch 512": ("numbers 784", 512, "mlp(1024, 1024)", lambda: mlp(1024), (784,)),
    "lenet, batch 64": ("image 1 28 28", 64, LENET, lenet, (1, 28, 28)),
    "resnet, batch 32": (
        "image 3 32 32", 32, f"conv(64, bias=false) batchnorm relu {BLOCK} {BLOCK} globalpool", resnet, (3, 32, 32),
    ),
    "transformer, batch 16": (f"tokens {VOCABULARY} {CONTEXT}", 16, "transformer(d=128, heads=4, layers=4)", transformer, None),
    "gru, batch 32": (f"tokens {VOCABULARY} {CONTEXT}", 32, "embedding(128) gru(128)", gru, None),
}
# The rate of the steps whose losses are compared; and of those that are timed, after which losses are what they were.
LR, STILL = 1e-3, 1e-6


def data(case):
    kind, rows, _, _, shape = CASES[case]
    rng = np.random.default_rng(0)
    if shape is None:
        codes = rng.integers(0, VOCABULARY, (rows, CONTEXT + 1)).astype(np.uint32)
        return {"codes": codes, "target": np.zeros(rows, np.float32), "dense": np.zeros((rows, 0), np.float32)}
    dense = rng.standard_normal((rows, *shape)).astype(np.float32)
    return {"dense": dense, "codes": np.zeros((rows, 0), np.uint32), "target": rng.integers(0, 10, rows).astype(np.float32)}


def in_rust(functions, case, state, batch):
    from safetensors.numpy import save

    new, load, step = functions
    kind, rows, spec, _, _ = CASES[case]
    blob = save(state)

    def made(lr):
        handle = new(spec.encode(), kind.encode(), 10, f"adam(lr={lr})".encode(), args.threads)
        assert not handle or load(handle, blob, len(blob)), case
        return handle

    held = [made(LR)]
    if not held[0]:
        return None
    pointers = [batch[k].ctypes.data_as(P) for k in ("dense", "codes", "target")]

    def run(repeat):
        loss = ctypes.c_double()
        seconds = step(held[0], *pointers, rows, repeat, ctypes.byref(loss))
        return seconds, loss.value

    def still():
        held[0] = made(STILL)

    run.still = still
    return run


def in_torch(model, case, batch, last=False, compiled=False):
    tokens = CASES[case][4] is None
    if tokens:
        x = torch.from_numpy(batch["codes"][:, :-1].astype(np.int64))
        y = torch.from_numpy(batch["codes"][:, 1:].astype(np.int64)).reshape(-1)
    else:
        x, y = torch.from_numpy(batch["dense"]), torch.from_numpy(batch["target"].astype(np.int64))
    if last:
        model = model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    model.train()
    rule = torch.optim.Adam(model.parameters(), lr=LR, fused=True)

    def loss_of(x, y):
        z = model(x)
        return nn.functional.cross_entropy(z.reshape(len(y), -1), y)

    forward = torch.compile(loss_of) if compiled else loss_of

    def run(repeat):
        start = time.perf_counter()
        for _ in range(repeat):
            rule.zero_grad(set_to_none=True)
            loss = forward(x, y)
            loss.backward()
            rule.step()
        return time.perf_counter() - start, loss.item()

    def still():
        for group in rule.param_groups:
            group["lr"] = STILL

    run.still = still
    return run


def in_jax(case, state, batch):
    import jax
    import jax.numpy as jnp
    import optax

    kind, rows, _, _, shape = CASES[case]
    name = case.split(",")[0]
    w = {k: jnp.asarray(v) for k, v in state.items() if "running" not in k and "num_batches" not in k}

    def dense(w, k, x):
        y = x @ w[f"{k}.weight"].T
        return y + w[f"{k}.bias"] if f"{k}.bias" in w else y

    def conv(w, k, x, padding):
        # Channels last inside, kernels as PyTorch stores them.
        y = jax.lax.conv_general_dilated(
            x, w[f"{k}.weight"], (1, 1), padding, dimension_numbers=("NHWC", "OIHW", "NHWC")
        )
        return y + w[f"{k}.bias"] if f"{k}.bias" in w else y

    def pool(x):
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    def batch_norm(w, k, x):
        m, v = x.mean((0, 1, 2)), x.var((0, 1, 2))
        return (x - m) * jax.lax.rsqrt(v + 1e-5) * w[f"{k}.weight"] + w[f"{k}.bias"]

    def layer_norm(w, k, x):
        m, v = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - m) * jax.lax.rsqrt(v + 1e-5) * w[f"{k}.weight"] + w[f"{k}.bias"]

    relu = jax.nn.relu

    def logits(w, x):
        if name.startswith("mlp"):
            return dense(w, "4", relu(dense(w, "2", relu(dense(w, "0", x)))))
        if name == "lenet":
            x = pool(relu(conv(w, "0", x, "VALID")))
            x = pool(relu(conv(w, "3", x, "VALID")))
            return dense(w, "9", relu(dense(w, "7", x.transpose(0, 3, 1, 2).reshape(len(x), -1))))
        if name == "resnet":
            x = relu(batch_norm(w, "1", conv(w, "0", x, "SAME")))
            for k in ("3", "5"):
                y = relu(batch_norm(w, f"{k}.body.1", conv(w, f"{k}.body.0", x, "SAME")))
                x = relu(x + batch_norm(w, f"{k}.body.4", conv(w, f"{k}.body.3", y, "SAME")))
            return dense(w, "8", x.mean((1, 2)))
        x = w["0.weight"][x]
        if name == "gru":
            a = x @ w["1.weight_ih_l0"].T + w["1.bias_ih_l0"]

            def cell(h, a):
                b = h @ w["1.weight_hh_l0"].T + w["1.bias_hh_l0"]
                (ar, az, an), (br, bz, bn) = jnp.split(a, 3, -1), jnp.split(b, 3, -1)
                r, z = jax.nn.sigmoid(ar + br), jax.nn.sigmoid(az + bz)
                s = jnp.tanh(an + r * bn)
                h = (1 - z) * s + z * h
                return h, h

            _, y = jax.lax.scan(cell, jnp.zeros((len(x), 128)), a.transpose(1, 0, 2))
            return dense(w, "2", y.transpose(1, 0, 2)).reshape(-1, VOCABULARY)
        x = x + w["1.weight"]
        n, t, d = x.shape
        mask = jnp.tril(jnp.ones((t, t), bool))
        for i in range(2, 6):
            y = layer_norm(w, f"{i}.norm1", x)
            qkv = y @ w[f"{i}.self_attn.in_proj_weight"].T + w[f"{i}.self_attn.in_proj_bias"]
            q, k, v = qkv.reshape(n, t, 3, 4, d // 4).transpose(2, 0, 3, 1, 4)
            s = jnp.where(mask, q @ k.swapaxes(-1, -2) / (d // 4) ** 0.5, -jnp.inf)
            y = (jax.nn.softmax(s) @ v).transpose(0, 2, 1, 3).reshape(n, t, d)
            x = x + dense(w, f"{i}.self_attn.out_proj", y)
            y = dense(w, f"{i}.linear1", layer_norm(w, f"{i}.norm2", x))
            x = x + dense(w, f"{i}.linear2", jax.nn.gelu(y, approximate=False))
        return dense(w, "7", layer_norm(w, "6", x)).reshape(-1, VOCABULARY)

    if shape is None:
        x = jnp.asarray(batch["codes"][:, :-1].astype(np.int32))
        y = jnp.asarray(batch["codes"][:, 1:].astype(np.int32)).reshape(-1)
    else:
        x = jnp.asarray(batch["dense"])
        if len(shape) == 3:
            x = x.transpose(0, 2, 3, 1)
        y = jnp.asarray(batch["target"].astype(np.int32))
    rate = [jnp.float32(LR)]

    def step(w, s, x, y, lr):
        rule = optax.adam(lr)

        def loss(w):
            z = logits(w, x)
            return optax.softmax_cross_entropy_with_integer_labels(z, y).mean()

        value, grads = jax.value_and_grad(loss)(w)
        update, s = rule.update(grads, s, w)
        return optax.apply_updates(w, update), s, value

    jitted = jax.jit(step, donate_argnums=(0, 1))
    held = [w, optax.adam(LR).init(w), None]

    def run(repeat):
        start = time.perf_counter()
        for _ in range(repeat):
            held[:] = jitted(held[0], held[1], x, y, rate[0])
        jax.block_until_ready(held)
        return time.perf_counter() - start, float(held[2])

    def still():
        rate[0] = jnp.float32(STILL)

    run.still = still
    return run


def in_keras(case, state, batch):
    """Keras on JAX, as its users write it, for what its layers say in one line; its own starting weights."""
    import keras
    from keras import layers as L

    name, rows = case.split(",")[0], CASES[case][1]
    keras.utils.set_random_seed(0)
    if name.startswith("mlp"):
        h = int(name.split()[1])
        model = keras.Sequential([keras.Input((784,)), L.Dense(h, "relu"), L.Dense(h, "relu"), L.Dense(10)])
        x = batch["dense"]
    elif name == "lenet":
        model = keras.Sequential([
            keras.Input((28, 28, 1)), L.Conv2D(32, 5, activation="relu"), L.MaxPooling2D(), L.Conv2D(64, 5, activation="relu"),
            L.MaxPooling2D(), L.Flatten(), L.Dense(128, "relu"), L.Dense(10),
        ])
        x = batch["dense"].transpose(0, 2, 3, 1)
    elif name == "resnet":
        def conv(x):
            return L.BatchNormalization()(L.Conv2D(64, 3, padding="same", use_bias=False)(x))

        entry = keras.Input((32, 32, 3))
        y = L.ReLU()(conv(entry))
        for _ in range(2):
            y = L.ReLU()(L.Add()([y, conv(L.ReLU()(conv(y)))]))
        model = keras.Model(entry, L.Dense(10)(L.GlobalAveragePooling2D()(y)))
        x = batch["dense"].transpose(0, 2, 3, 1)
    elif name == "gru":
        model = keras.Sequential([
            keras.Input((CONTEXT,)), L.Embedding(VOCABULARY, 128), L.GRU(128, return_sequences=True), L.Dense(VOCABULARY),
        ])
        x = batch["codes"][:, :-1].astype(np.int32)
    else:
        return None
    y = batch["codes"][:, 1:].astype(np.int32) if CASES[case][4] is None else batch["target"].astype(np.int32)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(LR), loss=loss, jit_compile=True)
    # One call of fit over many batches, so that what a call costs by itself is not counted.
    def run(repeat):
        xs, ys = np.tile(x, (repeat,) + (1,) * (x.ndim - 1)), np.tile(y, (repeat,) + (1,) * (y.ndim - 1))
        start = time.perf_counter()
        history = model.fit(xs, ys, batch_size=rows, verbose=0, shuffle=False)
        return time.perf_counter() - start, history.history["loss"][-1]

    def still():
        model.optimizer.learning_rate = STILL

    run.still = still
    return run


def contenders(case):
    torch.manual_seed(0)
    make = CASES[case][3]
    state = {k: v.clone() for k, v in make().state_dict().items()}
    arrays = {k: v.numpy() for k, v in state.items() if "num_batches" not in k}
    batch = data(case)

    def fresh():
        model = make()
        model.load_state_dict(state)
        return model

    runs = {"ours": in_rust(library("thalweg_network_bench", "network"), case, arrays, batch)}
    makers = {
        "torch": lambda: in_torch(fresh(), case, batch),
        "torch_last": lambda: in_torch(fresh(), case, batch, last=True) if len(CASES[case][4] or ()) == 3 else None,
        "torch_compiled": lambda: in_torch(fresh(), case, batch, compiled=True),
        "jax": lambda: in_jax(case, arrays, batch),
        "keras": lambda: in_keras(case, arrays, batch),
        "burn": lambda: (f := library("thalweg_burn_bench", "burn")) and in_rust(f, case, arrays, batch),
        "candle": lambda: (f := library("thalweg_candle_bench", "candle")) and in_rust(f, case, arrays, batch),
    }
    runs["ours"](1)
    for name in peers:
        try:
            run = makers[name]()
            if run:
                # What cannot be compiled says so here.
                run(1)
                runs[name] = run
        except Exception as error:
            print(f"{case}: {name}: {type(error).__name__}: {str(error)[:100]}", file=sys.stderr)
    return runs


def measure(case):
    runs = contenders(case)
    losses = {}
    for name, run in runs.items():
        losses[name] = [run(1)[1] for _ in range(8)]
    for name, own in losses.items():
        # Keras starts from weights of its own.
        off = max(abs(a / b - 1) for a, b in zip(own, losses["ours"]))
        if name != "keras" and off > 1e-3:
            print(f"{case}: {name}'s losses differ by {off:.1e}: {own} ours {losses['ours']}", file=sys.stderr)
    if args.check:
        print(case, {k: v[-1] for k, v in losses.items()})
        return None
    repeat = {}
    for name, run in runs.items():
        run.still()
        once = min(run(2)[0] / 2 for _ in range(3))
        repeat[name] = max(1, min(500, int(20e-3 / once)))
    names, seconds = list(runs), {name: [] for name in runs}
    for nth in range(args.pairs):
        for k in range(len(names)):
            name = names[(nth + k) % len(names)]
            # The last contender's threads may still be spinning for work; then everyone's own are woken, untimed.
            time.sleep(0.02)
            runs[name](1)
            seconds[name].append(runs[name](repeat[name])[0] / repeat[name])
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    ratios = {n: statistics.median(s / o for s, o in zip(seconds[n], seconds["ours"])) for n in names if n != "ours"}
    line = "  ".join(f"{n} {medians[n] * 1e3:.4g}" + (f" ({ratios[n]:.2f})" if n in ratios else "") for n in names)
    best = min(ratios, key=ratios.get)
    print(f"{case:24} {line}  best peer {best} {ratios[best]:.2f}", flush=True)
    floor = limit(case)
    shares = {k: f"{v * 1e3:.3g}" for k, v in floor.items()}
    print(f"{'':24} limit {sum(floor.values()) * 1e3:.3g} ms {shares}, ours {medians['ours'] / sum(floor.values()):.2f} of it", flush=True)
    return {
        "case": case, "losses": losses, "seconds": seconds, "medians": medians, "ratios": ratios, "best": best, "limit": floor,
    }  # fmt: skip


def limit(case):
    """Seconds that the arithmetic of a step takes at the speed of a large product, and its optimizer at that of copying as many bytes."""
    from torch.utils.flop_counter import FlopCounterMode

    _, rows, _, make, shape = CASES[case]
    model = make()
    if shape is None:
        x = torch.zeros(rows, CONTEXT, dtype=torch.int64)
    else:
        x = torch.zeros(rows, *shape)
    with FlopCounterMode(display=False) as counter:
        model(x).sum().backward()
    adds = counter.get_total_flops() / 2
    if case.startswith("gru"):
        # The counter does not look into a recurrent layer: three gates from input and state, and twice as much backward.
        adds += 3 * rows * CONTEXT * 3 * 128 * (128 + 128)
    n = 2048
    a, b, c = (np.ones(n * n, np.float32) for _ in range(3))
    product = ctypes.CDLL(str(root / "target/bench/release/libthalweg_network_bench.so")).product
    product.restype, product.argtypes = ctypes.c_double, PRODUCT
    large = min(product(*(m.ctypes.data_as(P) for m in (a, b, c)), n, n, n, False, False, args.threads, 1) for _ in range(5))
    parameters = sum(p.numel() for p in model.parameters())
    # Adam reads four arrays and writes three.
    source, to = (torch.zeros(7 * parameters // 2 + 1) for _ in range(2))
    times = []
    for _ in range(50):
        start = time.perf_counter()
        to.copy_(source)
        times.append(time.perf_counter() - start)
    return {"products": adds / n**3 * large, "optimizer": min(times)}


def main():
    import importlib.metadata as meta
    import math

    versions = {name: meta.version(name) for name in ("torch", "jax", "optax", "keras", "numpy")}
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.processor())
    flags = next(l for l in open("/proc/cpuinfo") if l.startswith("flags")).split()
    isa = [f for f in ("avx2", "avx512f", "amx_tile") if f in flags]
    results = []
    for case in CASES:
        if not args.only or any(word in case for word in args.only.split(",")):
            results.append(measure(case))
    if args.check:
        return
    mean = math.exp(statistics.fmean(math.log(r["ratios"][r["best"]]) for r in results))
    print(f"geometric mean of best peer / ours: {mean:.2f}")
    if args.out:
        setup = {"cpu": cpu, "isa": isa, "threads": args.threads, "pairs": args.pairs, "preload": os.environ.get("LD_PRELOAD", ""), **versions}
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps({"setup": setup, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
