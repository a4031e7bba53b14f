#!/usr/bin/env python3
"""Times the optimizer step beside PyTorch's, optax's and DeepSpeed's, pair by pair on the same parameters and gradients.

    cargo build --release --manifest-path benches/step/Cargo.toml --target-dir target/bench
    for peer in burn candle; do RUSTFLAGS="-C target-cpu=native" cargo build --release \\
        --manifest-path benches/networks/$peer/Cargo.toml --target-dir target/bench; done
    python benches/step/run.py --out benches/runs/DATE/step.json [--only adam,nadam:2] [--sizes 10k,1M,25M,100M,2048x2048] [--pairs 30]

In each round every contender steps once (small sizes: as often as takes about 10 ms, after as many that are not timed: until then its buffers
are not yet in the caches that hold them), in an order that rotates; what is printed are medians, and the median over rounds of peer / ours. "plain" is a loop over the same buffers with the same reads and writes and next to no
arithmetic: the memory's speed at that moment. Ours is called through its C interface; repeated steps of a small size are
repeated behind it, as Rust would call it; PyTorch's from Python, as everybody does.
"""

import argparse
import ctypes
import json
import os
import platform
import statistics
import sys
import time
import weakref
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--out")
parser.add_argument("--only", default="")
parser.add_argument("--sizes", default="10k,1M,25M,100M,2048x2048")
parser.add_argument("--pairs", type=int, default=30)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--peers", default="torch,torch_fused,torch_compiled,optax,deepspeed,burn,candle")
args = parser.parse_args()
os.environ.setdefault("XLA_FLAGS", f"--xla_cpu_multi_thread_eigen=true intra_op_parallelism_threads={args.threads}")

import torch

torch.set_num_threads(args.threads)
root = Path(__file__).resolve().parents[2]
lib = ctypes.CDLL(str(root / "target/bench/release/libthalweg_step_bench.so"))
lib.thalweg_new.restype = lib.plain_new.restype = ctypes.c_void_p
lib.thalweg_step.restype = lib.plain_step.restype = ctypes.c_double
P, Z = ctypes.c_void_p, ctypes.c_size_t
lib.thalweg_new.argtypes = [ctypes.c_char_p, P, P, Z, Z]
lib.plain_new.argtypes = [P, Z, Z, Z]
lib.thalweg_step.argtypes = lib.plain_step.argtypes = [P, P, P, ctypes.c_bool, Z]

SIZES = {"10k": [1000] * 10, "1M": [50_000] * 20, "25M": [156_250] * 160, "100M": [100_000_000], "2048x2048": [2048 * 2048]}
# The only size that is a matrix, and the only rule that needs one.
SIDE = 2048
T = torch.optim
# Rule: ours, slots, what PyTorch calls it and whether it has a fused kernel, what optax calls it.
RULES = {
    "momentum": ("sgd(lr=1e-6, momentum=0.9)", 1, lambda p, **k: T.SGD(p, lr=1e-6, momentum=0.9, **k), True, "sgd"),
    "adam": ("adam(lr=1e-6)", 2, lambda p, **k: T.Adam(p, lr=1e-6, **k), True, "adam"),
    "adamw": ("adamw(lr=1e-6)", 2, lambda p, **k: T.AdamW(p, lr=1e-6, **k), True, "adamw"),
    "rmsprop": ("rmsprop(lr=1e-6)", 1, lambda p, **k: T.RMSprop(p, lr=1e-6, **k), False, "rmsprop"),
    "adagrad": ("adagrad(lr=1e-6)", 1, lambda p, **k: T.Adagrad(p, lr=1e-6, **k), True, "adagrad"),
    "lion": ("lion(lr=1e-6, weight_decay=0)", 1, None, False, "lion"),
    "adam_bf16": ("adam(lr=1e-6, memory=bf16)", 2, lambda p, **k: T.Adam(p, lr=1e-6, **k), True, None),
    "adam_block8": ("adam(lr=1e-6, memory=block8)", 2, lambda p, **k: T.Adam(p, lr=1e-6, **k), True, None),
    "muon_bf16": ("muon(lr=1e-6, weight_decay=0.1, bf16=true)", 1, lambda p, **k: T.Muon(p, lr=1e-6, **k), False, None),
    "muon": ("muon(lr=1e-6, weight_decay=0.1)", 1, lambda p, **k: T.Muon(p, lr=1e-6, **k), False, "muon"),
    "pipeline": ("clip(1) | adamw(lr=1e-6) | ema(0.999)", 3, lambda p, **k: T.AdamW(p, lr=1e-6, **k), True, "pipeline"),
}


def pointers(tensors):
    return (P * len(tensors))(*[t.data_ptr() for t in tensors])


def ours(expression, sizes, theta, grad, zero):
    count = len(sizes)
    columns = [t.shape[1] if t.dim() == 2 else 0 for t in theta]
    handle = lib.thalweg_new(expression.encode(), (Z * count)(*sizes), (Z * count)(*columns), count, args.threads)
    assert handle, expression
    return lambda repeat: lib.thalweg_step(handle, pointers(theta), pointers(grad), zero, repeat)


def plain(slots, sizes, theta, grad, zero):
    count = len(sizes)
    handle = lib.plain_new((Z * count)(*sizes), count, slots, args.threads)
    return lambda repeat: lib.plain_step(handle, pointers(theta), pointers(grad), zero, repeat)


def timed(step):
    def run(repeat):
        start = time.perf_counter()
        for _ in range(repeat):
            step()
        return time.perf_counter() - start

    return run


def on_torch(make, theta, grad, pipeline, **kind):
    parameters = [torch.nn.Parameter(t) for t in theta]
    for p, g in zip(parameters, grad):
        assert p.data_ptr() and p.shape == g.shape
        p.grad = g
    rule = make(parameters, **kind)
    if not pipeline:
        return timed(rule.step)
    average = [p.detach().clone() for p in parameters]

    def step():
        torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        rule.step()
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1e-3)
        torch._foreach_zero_(grad)

    return timed(step)


def on_deepspeed(rule, theta, grad):
    from deepspeed.ops.adam import DeepSpeedCPUAdam

    parameters = [torch.nn.Parameter(t) for t in theta]
    for p, g in zip(parameters, grad):
        p.grad = g
    return timed(DeepSpeedCPUAdam(parameters, lr=1e-6, weight_decay=1e-2 * (rule == "adamw"), adamw_mode=rule == "adamw").step)


def on_compiled(make, theta, grad, pipeline):
    parameters = [torch.nn.Parameter(t) for t in theta]
    for p, g in zip(parameters, grad):
        p.grad = g
    rule = make(parameters, foreach=True)
    # After eight functions in one place it would run what it is given.
    torch._dynamo.reset()
    compiled = torch.compile(lambda: rule.step(), fullgraph=False)
    compiled()
    return timed(compiled)


def on_optax(name, shapes, pipeline):
    import jax
    import optax
    import optax.contrib

    rule = {
        "sgd": lambda: optax.sgd(1e-6, momentum=0.9),
        "muon": lambda: optax.contrib.muon(1e-6, weight_decay=0.1),
        "pipeline": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-6)),
    }.get(name, lambda: getattr(optax, name)(1e-6))()
    theta = [jax.numpy.zeros(shape, "float32") for shape in shapes]
    grad = [jax.numpy.full(shape, 1e-3, "float32") for shape in shapes]
    state = rule.init(theta)

    def step(theta, state, average, grad):
        update, state = rule.update(grad, state, theta)
        theta = optax.apply_updates(theta, update)
        if not pipeline:
            return theta, state, average, grad
        return theta, state, optax.incremental_update(theta, average, 1e-3), jax.tree.map(jax.numpy.zeros_like, grad)

    jitted = jax.jit(step, donate_argnums=(0, 1, 2, 3))
    held = [theta, state, [t + 0 for t in theta] if pipeline else [], grad]

    def run():
        held[:] = jitted(*held)

    def go(repeat):
        start = time.perf_counter()
        for _ in range(repeat):
            run()
        jax.block_until_ready(held)
        return time.perf_counter() - start

    go(2)
    return go


def in_rust(name, rule, sizes):
    """burn's or candle's step on tensors of its own, or None where it is not built, lacks the rule, or would take too long."""
    path = root / f"target/bench/release/libthalweg_{name}_bench.so"
    if not path.exists() or sum(sizes) > 25_000_000:
        return None
    peer = ctypes.CDLL(str(path))
    new, step, free = (getattr(peer, f"{name}_optimizer_{f}") for f in ("new", "step", "free"))
    new.restype, new.argtypes = P, [ctypes.c_char_p, P, Z, Z]
    step.restype, step.argtypes = ctypes.c_double, [P, Z]
    free.restype, free.argtypes = None, [P]
    handle = new(rule.encode(), (Z * len(sizes))(*sizes), len(sizes), args.threads)
    if not handle:
        return None
    run = lambda repeat: step(handle, repeat)
    weakref.finalize(run, free, handle)
    return run


def measure(rule, size):
    sizes = SIZES[size]
    expression, slots, make, has_fused, optax_name = RULES[rule]
    pipeline = rule == "pipeline"
    torch.manual_seed(0)
    theta = [torch.randn(n) for n in sizes]
    grad = [torch.randn(n) * 1e-3 for n in sizes]
    if rule.startswith("muon"):
        theta, grad = ([t.view(SIDE, SIDE) for t in tensors] for tensors in (theta, grad))
    gradient = [g.clone() for g in grad] if pipeline else []
    peers = args.peers.split(",")
    runs = {"ours": ours(expression, sizes, theta, grad, pipeline), "plain": plain(slots, sizes, theta, grad, pipeline)}
    if make and "torch" in peers and size != "100M" and rule not in ("adam_bf16", "adam_block8"):
        runs["torch"] = on_torch(make, theta, grad, pipeline)
    if make and has_fused and "torch_fused" in peers:
        runs["torch_fused"] = on_torch(make, theta, grad, pipeline, fused=True)
    if make and "torch_compiled" in peers and not pipeline and rule not in ("adam_bf16", "adam_block8", "muon", "muon_bf16"):
        try:
            runs["torch_compiled"] = on_compiled(make, theta, grad, pipeline)
        except Exception as error:
            print(f"torch_compiled on {rule} {size}: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
    if rule in ("adam", "adamw") and "deepspeed" in peers:
        runs["deepspeed"] = on_deepspeed(rule, theta, grad)
    if optax_name and "optax" in peers:
        runs["optax"] = on_optax(optax_name, [tuple(t.shape) for t in theta], pipeline)
    others = {name: in_rust(name, rule, sizes) for name in ("burn", "candle") if name in peers}
    runs.update({name: run for name, run in others.items() if run})
    repeat = {}
    for name, run in runs.items():
        run(2)
        once = run(3) / 3
        repeat[name] = max(1, min(2000, int(10e-3 / once)))
    names, seconds = list(runs), {name: [] for name in runs}
    for nth in range(args.pairs):
        for k in range(len(names)):
            name = names[(nth + k) % len(names)]
            # The last contender's threads may still be spinning for work.
            time.sleep(0.02)
            for seen in (False, True):
                if pipeline:
                    # The gradient is zeroed by each step; before the next one it is what it was. By this thread alone: PyTorch's others
                    # would go on spinning beside whoever is timed.
                    total = 0
                    for _ in range(repeat[name]):
                        for kept, given in zip(grad, gradient):
                            ctypes.memmove(kept.data_ptr(), given.data_ptr(), 4 * kept.numel())
                        total += runs[name](1)
                else:
                    total = runs[name](repeat[name])
                if seen:
                    seconds[name].append(total / repeat[name])
    ratios = {
        name: statistics.median(s / o for s, o in zip(seconds[name], seconds["ours"])) for name in names if name != "ours"
    }
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    line = "  ".join(f"{n} {medians[n] * 1e3:.4g} ms" + (f" ({ratios[n]:.2f})" if n in ratios else "") for n in names)
    print(f"{rule:12} {size:5} {line}", flush=True)
    return {"rule": rule, "size": size, "expression": expression, "seconds": seconds, "medians": medians, "ratios": ratios}


def main():
    import importlib.metadata as meta

    versions = {name: meta.version(name) for name in ("torch", "jax", "optax", "deepspeed")}
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.processor())
    flags = next(l for l in open("/proc/cpuinfo") if l.startswith("flags"))
    isa = [f for f in ("avx2", "avx512f") if f in flags.split()]
    results = []
    # "nadam:2": a rule beside the plain loop alone, with so many numbers of memory a parameter.
    for name in filter(lambda name: ":" in name, args.only.split(",")):
        rule, slots = name.split(":")
        RULES[name] = (f"{rule}(lr=1e-6)", int(slots), None, False, None)
    for size in args.sizes.split(","):
        for rule in RULES:
            if rule.startswith("muon") != (size == "2048x2048") or (args.only and rule not in args.only.split(",")):
                continue
            results.append(measure(rule, size))
    if args.out:
        document = {"setup": {"cpu": cpu, "isa": isa, "threads": args.threads, "pairs": args.pairs, **versions}, "results": results}
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps(document, indent=1) + "\n")


main()
