"""Default `fit` against scikit-learn on the same rows with the same penalty, 20 seeds for each stored data set.

Our default is l2 = 1/m for classes (scikit-learn: C = 1 / (l2 m) = 1) and none for numbers, on standardised features.
The mean accuracy may be at most half a point lower than scikit-learn's, the mean R² at most 0.005 lower.
"""

import numpy as np
import pytest
from command import CLASSES, NUMBERS, fit, parts, table
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

SEEDS = range(20)


def rival(head):
    """The same table rules: missing numbers are imputed and flagged, a missing category is a level of its own."""
    numbers = make_pipeline(SimpleImputer(strategy="mean", add_indicator=True), StandardScaler())
    levels = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="(missing)"), OneHotEncoder(handle_unknown="ignore")
    )
    return make_pipeline(
        make_column_transformer(
            (numbers, make_column_selector(dtype_include="number")),
            (levels, make_column_selector(dtype_exclude="number")),
            sparse_threshold=0,
        ),
        head,
    )


def scores(dataset, target, head, folder):
    """Test scores of ours and of scikit-learn's, one pair for each seed, on the same test rows."""
    data = table(dataset)
    x = data.drop(columns=target)
    x = x.astype({name: object for name in x.columns if x[name].dtype.kind not in "iuf"})
    pairs = []
    for seed in SEEDS:
        out = folder / f"run-{seed}"
        said = fit(dataset, target, seed, out)
        train, test = parts(out, data, target)
        model = rival(head).fit(x.loc[train], data.loc[train, target])
        pairs.append((said["score"], model.score(x.loc[test], data.loc[test, target])))
    return np.array(pairs)


@pytest.mark.parametrize(("dataset", "target"), CLASSES)
def test_accuracy(dataset, target, tmp_path):
    pairs = scores(dataset, target, LogisticRegression(C=1.0, tol=1e-8, max_iter=100_000), tmp_path)
    ours, theirs = pairs.mean(axis=0)
    assert ours >= theirs - 0.005, f"mean accuracy {ours:.4f}, scikit-learn {theirs:.4f}\n{pairs}"


@pytest.mark.parametrize(("dataset", "target"), NUMBERS)
def test_r_squared(dataset, target, tmp_path):
    pairs = scores(dataset, target, LinearRegression(), tmp_path)
    ours, theirs = pairs.mean(axis=0)
    assert ours >= theirs - 0.005, f"mean R² {ours:.4f}, scikit-learn {theirs:.4f}\n{pairs}"
