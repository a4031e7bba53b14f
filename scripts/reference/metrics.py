#!/usr/bin/env python3
"""Record scikit-learn's scores of small made-up predictions.

    python scripts/reference/metrics.py            writes crates/train/tests/data/metrics.json
    python scripts/reference/metrics.py --check    compares it with what is stored, writes nothing

The file's `notes` say what is recorded.
"""

import warnings

import numpy as np
import sklearn
from sklearn import metrics

from common import finish

NOTES = [
    "`proba` has one row per row, one number per class; the predicted class is the first of the largest. `truth` is a class, or "
    "with `predicted` a number. `weights` are the rows' weights, absent where all weigh 1. roc_auc and binary f1 are those of "
    "class 1; f1 of more classes is the macro average.",
]

CASES = []


def share(p):
    """Probabilities with two digits, so that many are tied."""
    return np.round(p, 2)


def record(name, about, scores):
    CASES.append({"name": name, **about, "scores": {key: float(value) for key, value in scores.items()}})
    print(f"{name}: " + ", ".join(f"{key} {value:.6g}" for key, value in scores.items()))


def classes(name, proba, truth, weights=None):
    k = proba.shape[1]
    labels = np.arange(k)
    predicted = proba.argmax(axis=1)
    w = {"sample_weight": weights}
    scores = {
        "accuracy": metrics.accuracy_score(truth, predicted, **w),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted, **w),
        "f1": metrics.f1_score(truth, predicted, average="binary" if k == 2 else "macro", zero_division=0.0, **w),
        "log_loss": metrics.log_loss(truth, proba, labels=labels, **w),
    }
    if k == 2:
        scores["roc_auc"] = metrics.roc_auc_score(truth, proba[:, 1], **w)
    about = {"proba": proba.tolist(), "truth": truth.tolist()}
    record(name, about | ({} if weights is None else {"weights": weights.tolist()}), scores)


def numbers(name, predicted, truth, weights=None):
    w = {"sample_weight": weights}
    scores = {
        "r2": metrics.r2_score(truth, predicted, **w),
        "rmse": metrics.root_mean_squared_error(truth, predicted, **w),
        "mae": metrics.mean_absolute_error(truth, predicted, **w),
    }
    about = {"predicted": predicted.tolist(), "truth": truth.tolist()}
    record(name, about | ({} if weights is None else {"weights": weights.tolist()}), scores)


def main():
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")  # one case is there for that
    random = np.random.default_rng(20)
    n = 40

    p = share(random.beta(0.8, 0.8, n))
    proba = np.column_stack([1 - p, p])
    truth = (random.random(n) < 0.2 + 0.6 * p).astype(int)
    weights = share(random.exponential(size=n)) * (np.arange(n) % 6 > 0)
    classes("two classes", proba, truth)
    classes("two classes, weights", proba, truth, weights)
    certain = np.column_stack([p < 0.5, p >= 0.5]).astype(float)
    classes("two classes, probabilities of 0 and 1, some of them wrong", certain, truth)
    classes("two classes, the second never predicted", np.column_stack([1 - p / 3, p / 3]), truth)
    classes("two classes, all right", np.column_stack([1 - truth * 0.75 - 0.125, truth * 0.75 + 0.125]), truth)
    classes("two classes, all the same", np.full((n, 2), 0.5), truth, weights)

    raw = share(random.dirichlet([1, 1, 1, 0.2], n))
    raw[:, 0] = 1 - raw[:, 1:].sum(axis=1)
    truth = np.array([random.choice(4, p=(row + 0.25) / 2) for row in raw])
    classes("four classes", raw, truth)
    classes("four classes, weights", raw, truth, weights)
    classes("four classes, the last never true", raw, truth % 3)

    y = np.round(random.normal(150.0, 70.0, n), 3)
    predicted = np.round(0.6 * y + random.normal(50.0, 30.0, n), 3)
    numbers("numbers", predicted, y)
    numbers("numbers, weights", predicted, y, weights)
    numbers("numbers, worse than the mean", -predicted, y)
    numbers("numbers, far from 0", predicted + 1e6, y + 1e6, weights)

    made_by = {
        "script": "scripts/reference/metrics.py",
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "dtype": "float64",
    }
    document = {"made_by": made_by, "notes": NOTES, "cases": CASES}
    finish(__doc__.splitlines()[0], {"crates/train/tests/data/metrics.json": document}, tolerance=1e-12)


if __name__ == "__main__":
    main()
