"""`predict`, scored by scikit-learn's metrics on the test rows, gives the `score` that `fit` printed."""

import io

import numpy as np
import pandas as pd
import pytest
from command import CLASSES, DATA, NUMBERS, fit, parts, table, thalweg
from sklearn.metrics import accuracy_score, log_loss, r2_score

SEEDS = [0, 7]


def predict(run, dataset, *more):
    """The CSV that `predict` writes: one row for each row of the data, in order."""
    return pd.read_csv(
        io.StringIO(thalweg("predict", run, DATA / f"{dataset}.csv", *more)), keep_default_na=False, dtype=str
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("dataset", "target"), CLASSES)
def test_classes(dataset, target, seed, tmp_path):
    run = tmp_path / "run"
    said = fit(dataset, target, seed, run)
    assert said["metric"] == "accuracy"
    data = table(dataset)
    _, test = parts(run, data, target)
    truth = data[target].astype(str)

    predicted = predict(run, dataset)
    assert len(predicted) == len(data)
    assert accuracy_score(truth[test], predicted["prediction"][test]) == said["score"]

    proba = predict(run, dataset, "--proba")
    names = sorted(set(truth))
    columns = [f"proba_{name}" for name in names]
    assert [name for name in proba.columns if name.startswith("proba_")] == columns
    p = proba[columns].astype(float).to_numpy()
    # k probabilities, each within half an ulp of its own, sum to 1 within k ulps of 1.
    assert np.abs(p.sum(axis=1) - 1).max() <= len(names) * np.finfo(float).eps
    # The printed class is the most probable one.
    assert [names[k] for k in p.argmax(axis=1)] == list(predicted["prediction"])
    if said.get("test_loss") is not None:
        # A probability near 1 is known to 1e-16 absolute, and so is its logarithm; the mean loss is above 1e-3.
        assert log_loss(truth[test], p[test], labels=names) == pytest.approx(said["test_loss"], rel=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("dataset", "target"), NUMBERS)
def test_numbers(dataset, target, seed, tmp_path):
    run = tmp_path / "run"
    said = fit(dataset, target, seed, run)
    assert said["metric"].lower() in ("r2", "r²")
    data = table(dataset)
    _, test = parts(run, data, target)
    predicted = predict(run, dataset)["prediction"].astype(float)
    assert len(predicted) == len(data)
    assert np.isfinite(predicted).all()
    assert r2_score(data.loc[test, target], predicted[test]) == pytest.approx(said["score"], rel=1e-12)
