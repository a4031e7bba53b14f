"""Drive the built command, and read what it leaves behind."""

import json
import os
import pathlib
import subprocess

import pandas as pd

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "examples" / "data"

#: Every stored data set with the target that the tests use.
CLASSES = [
    ("breast_cancer", "diagnosis"),
    ("wine", "cultivar"),
    ("iris", "species"),
    ("digits", "digit"),
    ("penguins", "species"),
]
NUMBERS = [("diabetes", "progression"), ("penguins", "body_mass_g")]

#: What `fit --json` always says.
KEYS = {
    "task", "model", "optimizer", "metric", "score", "train_loss", "valid_loss", "epochs", "steps", "stop", "seconds", "run",
}  # fmt: skip


def binary():
    """The command under test: `THALWEG_BIN`, else the debug build. Missing is a failure, never a skip."""
    path = pathlib.Path(os.environ.get("THALWEG_BIN") or ROOT / "target" / "debug" / "thalweg").absolute()
    assert path.is_file(), f"{path} does not exist: run `cargo build`, or set THALWEG_BIN"
    return path


def thalweg(*args):
    """Standard output of one run; a run that fails shows what it said."""
    command = [str(binary()), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\nexit status {done.returncode}\n{done.stderr}"
    return done.stdout


def fit(dataset, target, seed, out):
    """Default `fit` with a seed: its JSON document."""
    said = json.loads(
        thalweg(
            "fit", DATA / f"{dataset}.csv", "--target", target, "--seed", seed, "--out", out, "--json", "--no-report"
        )
    )
    assert KEYS <= said.keys(), f"missing in the JSON document: {sorted(KEYS - said.keys())}"
    assert said["score"] is not None
    return said


def table(dataset):
    """A stored table; its 0-based row index is the one that `split.csv` uses."""
    return pd.read_csv(DATA / f"{dataset}.csv")


def parts(out, data, target):
    """`(train, test)` row indices of a run, validation rows counted as training rows.

    Together they must be exactly the rows that have a target, each once.
    """
    split = pd.read_csv(out / "split.csv", keep_default_na=False)
    assert list(split.columns) == ["row", "part"]
    used = split[split["part"].isin(["train", "valid", "test"])]
    assert sorted(used["row"]) == list(data.index[data[target].notna()])
    test = used["part"] == "test"
    return used.loc[~test, "row"].to_numpy(), used.loc[test, "row"].to_numpy()
