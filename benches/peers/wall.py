#!/usr/bin/env python3
"""Time whole processes in turn: wall seconds and peak memory of each command, medians over rounds.

    python benches/peers/wall.py --rounds 7 "thalweg fit table.csv --target y" "python table_polars_sgd.py table.csv"

Commands alternate round by round, since the speed of a machine moves within minutes; the first round warms the page cache
and is not counted. What the last round printed follows each row. `--json FILE` keeps every single figure.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time


def once(command):
    """Seconds from before the process is made until it has been reaped, its peak memory in MB, what it printed."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            sys.exit(f"{shlex.join(command)} exited with {process.returncode}\n{err.read()}")
        return seconds, usage.ru_maxrss / 1024, out.read().strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commands", nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    commands = [shlex.split(text) for text in args.commands]
    runs = [[] for _ in commands]
    for turn in range(args.rounds + 1):
        for command, seen in zip(commands, runs):
            result = once(command)
            if turn:
                seen.append(result)
    for text, seen in zip(args.commands, runs):
        seconds, memory = sorted(run[0] for run in seen), statistics.median(run[1] for run in seen)
        print(f"{statistics.median(seconds):8.3f} s  [{seconds[0]:.3f}, {seconds[-1]:.3f}]  {memory:7.0f} MB  {text}")
        print("          " + seen[-1][2].replace("\n", "\n          "))
    if args.json:
        rows = [
            {"command": text, "seconds": [run[0] for run in seen], "peak_mb": [run[1] for run in seen], "printed": seen[-1][2]}
            for text, seen in zip(args.commands, runs)
        ]
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
