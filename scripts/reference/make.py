#!/usr/bin/env python3
"""Write the small real data sets of `examples/data/` from the packages that carry them.

    python scripts/reference/make.py            writes the six CSV files
    python scripts/reference/make.py --check    compares them with what is stored, writes nothing

Five come from scikit-learn, Palmer penguins from the package `palmerpenguins` (its file is read, its code is not
run). Values are the sources' own: a float is written with the shortest digits that read back as the same float,
a column of whole numbers without a point. Only the header names are ours (snake case, no quotes).
Versions: see requirements.txt. `examples/data/README.md` says what each column is.
"""

import argparse
import importlib.util
import pathlib
import re
import sys

import numpy as np
from sklearn import datasets

OUT = pathlib.Path(__file__).resolve().parents[2] / "examples" / "data"


def snake(name):
    """`sepal length (cm)` → `sepal_length_cm`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def text(column):
    """The cells of one column as text."""
    column = np.asarray(column)
    if column.dtype.kind in "OU":
        return [str(value) for value in column]
    if np.all(column == np.round(column)):
        return [str(int(value)) for value in column]
    return [repr(float(value)) for value in column]


def csv(names, columns):
    """One CSV file as text. No cell needs a quote, and this checks it."""
    cells = [text(column) for column in columns]
    lines = [",".join(names)] + [",".join(row) for row in zip(*cells, strict=True)]
    if any(mark in cell for column in cells for cell in column for mark in ',"\r\n'):
        raise ValueError("a cell holds a comma, a quote or a line end")
    return "\n".join(lines) + "\n"


def from_sklearn(bunch, target, classes=None, names=None):
    """Features in their own order, then the target; `classes` turns its codes into text."""
    names = names or [snake(name) for name in bunch.feature_names]
    y = bunch.target if classes is None else np.array(classes, dtype=object)[bunch.target]
    return csv([*names, target], [*np.asarray(bunch.data).T, y])


def penguins():
    """`penguins.csv` as the package ships it, missing cells (`NA`) kept."""
    spec = importlib.util.find_spec("palmerpenguins")
    if spec is None:
        raise SystemExit("install palmerpenguins (scripts/reference/requirements.txt)")
    path = pathlib.Path(spec.origin).parent / "data" / "penguins.csv"
    return path.read_text(encoding="utf-8").replace("\r\n", "\n")


def made():
    """Name → text of every file."""
    digits = datasets.load_digits()
    return {
        "diabetes.csv": from_sklearn(datasets.load_diabetes(scaled=False), "progression"),
        "breast_cancer.csv": from_sklearn(datasets.load_breast_cancer(), "diagnosis", ["malignant", "benign"]),
        "wine.csv": from_sklearn(datasets.load_wine(), "cultivar", ["barolo", "grignolino", "barbera"]),
        "iris.csv": from_sklearn(datasets.load_iris(), "species", ["setosa", "versicolor", "virginica"]),
        "digits.csv": from_sklearn(digits, "digit", names=[f"p{i}" for i in range(64)]),
        "penguins.csv": penguins(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the stored files, write nothing")
    check = parser.parse_args().check
    stale = []
    for name, content in made().items():
        path = OUT / name
        if check:
            if not path.exists() or path.read_bytes() != content.encode():
                stale.append(name)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode())
            print(f"{path.name}: {content.count(chr(10)) - 1} rows, {len(content)} bytes")
    if stale:
        sys.exit(f"differ from what their sources give: {', '.join(stale)}")


if __name__ == "__main__":
    main()
