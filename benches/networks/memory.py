#!/usr/bin/env python3
"""Peak memory of 10 training steps, ours and PyTorch's (eager; channels last for images), each in a process of its own.

    python benches/networks/memory.py [--only transformer,resnet]

`grown` is what the peak of resident memory exceeds the memory at the start of training by: the interpreter, its libraries and the batch
are there before. `whole` is the peak of the process.
"""

import argparse
import json
import os
import resource
import subprocess
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--only", default="transformer,resnet")
parser.add_argument("--child", nargs=2)
args, _ = parser.parse_known_args()


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


if args.child:
    who, case = args.child
    sys.argv = [sys.argv[0], "--check", "--only", "nothing"]
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import run

    name = next(name for name in run.CASES if name.startswith(case))
    batch = run.data(name)
    model = run.CASES[name][3]()
    if who == "ours":
        state = {k: v.numpy().copy() for k, v in model.state_dict().items() if "num_batches" not in k}
        before = resident()
        step = run.in_rust(run.library("thalweg_network_bench", "network"), name, state, batch)
    else:
        # Threads and kernels are made by a step of a model that is not measured.
        run.torch.nn.Linear(4, 4)(run.torch.zeros(2, 4)).sum().backward()
        before = resident()
        step = run.in_torch(model, name, batch, last=case == "resnet")
    step(10)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"grown": peak - before, "whole": peak}))
else:
    for case in args.only.split(","):
        for who in ("ours", "torch"):
            done = subprocess.run([sys.executable, __file__, "--child", who, case], capture_output=True, text=True, check=True)
            said = json.loads(done.stdout.splitlines()[-1])
            print(f"{case:12} {who:6} grown {said['grown'] / 2**20:.0f} MiB, whole {said['whole'] / 2**20:.0f} MiB", flush=True)
