#!/usr/bin/env python3
"""Record the optima that scikit-learn's `saga` solver finds, for the rules that work on finite sums.

    python scripts/reference/finite_sums.py            writes the file
    python scripts/reference/finite_sums.py --check    compares it with what is stored, writes nothing

`crates/optim/tests/data/finite_sums.json`: small problems with weighted rows, without intercept. The objective is ours,
sum of w * loss / sum of w + l2/2 * |theta|^2: LogisticRegression's C is 1 / (l2 * sum of w), Ridge's alpha l2 * sum of w.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge

from common import finish
from peers import SEED, made_by

FILE = "crates/optim/tests/data/finite_sums.json"
ROWS, WIDTH = 60, 5


def main():
    rng = np.random.default_rng(SEED + 5)
    x = rng.standard_normal((ROWS, WIDTH)) @ (np.eye(WIDTH) + 0.3 * rng.standard_normal((WIDTH, WIDTH)))
    score = x @ rng.standard_normal(WIDTH) + rng.standard_normal(ROWS)
    weight = rng.choice([0.5, 1.0, 2.0], ROWS)
    cases = []
    for logistic in [True, False]:
        y = (score > 0).astype(float) if logistic else score
        for l2 in [0.1, 0.02]:
            keep = dict(solver="saga", fit_intercept=False, tol=1e-14, max_iter=200_000, random_state=0)
            scale = l2 * weight.sum()
            model = LogisticRegression(C=1 / scale, **keep) if logistic else Ridge(alpha=scale, **keep)
            theta = model.fit(x, y, sample_weight=weight).coef_.reshape(-1)
            p = 1 / (1 + np.exp(-x @ theta)) if logistic else x @ theta
            slope = x.T @ (weight * (p - y)) / weight.sum() + l2 * theta
            assert np.linalg.norm(slope) < 1e-9, np.linalg.norm(slope)
            call = "sklearn.linear_model." + ("LogisticRegression" if logistic else "Ridge") + "(solver='saga')"
            data = {"x": x.tolist(), "y": y.tolist(), "weight": weight.tolist(), "logistic": logistic}
            cases.append({"call": call, **data, "l2": l2, "theta": theta.tolist()})
    document = {"made_by": made_by("finite_sums.py", "scikit-learn", "numpy"), "cases": cases}
    finish(__doc__.splitlines()[0], {FILE: document}, tolerance=1e-9)


if __name__ == "__main__":
    main()
