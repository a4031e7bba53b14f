"""What the reference scripts share: reading the stored tables, and writing or checking a JSON file."""

import argparse
import csv
import json
import math
import pathlib
import sys

LEFT_OUT = {"made_by", "difference", "sigma_difference"}
ROOT = pathlib.Path(__file__).resolve().parents[2]


def table(name):
    """Header and rows of text of `examples/data/<name>.csv`."""
    with open(ROOT / "examples" / "data" / f"{name}.csv", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return header, rows


def dumps(value, indent=0):
    """JSON with one line for each list of numbers; floats with the shortest digits that read back as the same float."""
    pad = "  " * (indent + 1)
    if isinstance(value, dict) and value:
        body = ",\n".join(f"{pad}{json.dumps(key)}: {dumps(item, indent + 1)}" for key, item in value.items())
        return "{\n" + body + "\n" + pad[2:] + "}"
    if isinstance(value, list) and any(isinstance(item, (list, dict)) for item in value):
        body = ",\n".join(pad + dumps(item, indent + 1) for item in value)
        return "[\n" + body + "\n" + pad[2:] + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def difference(stored, made, tolerance, at=""):
    """The first place where two documents differ by more than `tolerance` (relative, absolute below 1), or None.

    Left out: who made it, and how far another library's answer lay from ours (that library's rounding, not ours).
    """
    if isinstance(stored, dict) and isinstance(made, dict):
        if list(stored) != list(made):
            return f"{at}: keys differ"
        pairs = [(stored[key], made[key], f"{at}.{key}") for key in made if key not in LEFT_OUT]
    elif isinstance(stored, list) and isinstance(made, list):
        if len(stored) != len(made):
            return f"{at}: lengths {len(stored)} and {len(made)}"
        pairs = [(a, b, f"{at}[{i}]") for i, (a, b) in enumerate(zip(stored, made))]
    elif isinstance(stored, float) or isinstance(made, float):
        close = math.isclose(stored, made, rel_tol=tolerance, abs_tol=tolerance)
        return None if close else f"{at}: stored {stored!r}, made now {made!r}"
    else:
        return None if stored == made else f"{at}: stored {stored!r}, made now {made!r}"
    return next((found for pair in pairs if (found := difference(*pair[:2], tolerance, pair[2]))), None)


def finish(description, files, tolerance):
    """Write each `path: document`, or with `--check` compare it with what is stored.

    Another processor may take another kernel of the same library and end in other last digits; `tolerance` is what
    `--check` allows for that.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="compare with the stored files, write nothing")
    check = parser.parse_args().check
    for name, document in files.items():
        path = ROOT / name
        if check:
            found = difference(json.loads(path.read_text(encoding="utf-8")), document, tolerance)
            if found:
                sys.exit(f"{name} {found}")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dumps(document) + "\n", encoding="utf-8")
            print(f"{name}: {path.stat().st_size} bytes")
