"""What the four table scripts share: arguments, the line that they print, and the encoding by hand for polars."""

import argparse
import json
import resource

import numpy as np
import scipy.sparse


def arguments(about, **more):
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("path", help="the CSV of make_table.py")
    parser.add_argument("--seed", type=int, default=0, help="of the split")
    for name, (kind, default, text) in more.items():
        parser.add_argument(f"--{name}", type=kind, default=default, help=text)
    return parser.parse_args()


def report(peer, rows, accuracy):
    """One JSON line; the wall time is the process's, taken from outside (`wall.py`)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peer": peer, "rows": rows, "accuracy": round(accuracy, 5), "peak_mb": round(peak)}))


def polars_encoded(path, seed):
    """Read and encode with as little work as polars and NumPy allow: `(x_train, y_train, x_test, y_test)`.

    Numbers are read as float32 and standardised, categories are read as codes, and both go into a CSR matrix that is
    written in place: 30 entries a row instead of 152. Means, scales and levels are the training rows' alone.
    """
    import polars as pl

    header = pl.read_csv(path, n_rows=1000)
    numbers = [name for name in header.columns if header[name].dtype.is_numeric() and name != "y"]
    levels = [name for name in header.columns if header[name].dtype == pl.String]
    types = dict.fromkeys(numbers, pl.Float32) | dict.fromkeys(levels, pl.Categorical) | {"y": pl.Int8}
    data = pl.read_csv(path, schema_overrides=types)
    rows = len(data)
    order = np.random.default_rng(seed).permutation(rows)
    test, train = order[: rows // 5], order[rows // 5 :]

    width = len(numbers) + len(levels)
    values = np.empty((rows, width), np.float32)
    indices = np.empty((rows, width), np.int32)
    indices[:, : len(numbers)] = np.arange(len(numbers))
    used = len(numbers)
    for j, name in enumerate(numbers):
        column = data[name].to_numpy()
        seen = column[train]
        values[:, j] = (column - seen.mean(dtype=np.float64)) / seen.std(dtype=np.float64)
    for j, name in enumerate(levels, len(numbers)):
        codes = data[name].to_physical().to_numpy()
        place = np.full(codes.max() + 1, -1, np.int32)
        known = np.unique(codes[train])
        place[known] = np.arange(len(known), dtype=np.int32)
        place = place[codes]
        values[:, j] = place >= 0
        indices[:, j] = used + np.maximum(place, 0)
        used += len(known)
    y = data["y"].to_numpy()
    del data

    def part(which):
        starts = np.arange(0, len(which) * width + 1, width, dtype=np.int32)
        return scipy.sparse.csr_matrix((values[which].ravel(), indices[which].ravel(), starts), (len(which), used))

    return part(train), y[train], part(test), y[test]


def pandas_encoded(path, seed, engine):
    """The usual pipeline at its best settings: float32, sparse one-hot, scaler and encoder learnt on the training rows."""
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    header = pd.read_csv(path, nrows=1000)
    numbers = [name for name in header.select_dtypes("number") if name != "y"]
    levels = [name for name in header.columns if name not in numbers and name != "y"]
    data = pd.read_csv(path, engine=engine, dtype=dict.fromkeys(numbers, np.float32))
    y = data.pop("y").to_numpy()
    x_train, x_test, y_train, y_test = train_test_split(data, y, test_size=0.2, random_state=seed)
    del data
    encoder = ColumnTransformer(
        [
            ("numbers", StandardScaler(), numbers),
            ("levels", OneHotEncoder(handle_unknown="ignore", dtype=np.float32), levels),
        ]
    )
    x_train = encoder.fit_transform(x_train)
    return x_train, y_train, encoder.transform(x_test), y_test


def sgd(passes, rate):
    from sklearn.linear_model import SGDClassifier

    return SGDClassifier(
        loss="log_loss", alpha=1e-6, max_iter=passes, tol=None, average=True, learning_rate="constant", eta0=rate, random_state=0
    )  # fmt: skip


def lr():
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1.0, solver="lbfgs", max_iter=200)


SGD = {
    "passes": (int, 1, "over the training rows"),
    "rate": (float, 0.05, "constant, with averaging"),
}
ENGINE = {"engine": (str, "pyarrow", "pandas' reader: pyarrow (faster) or c (less memory)")}
