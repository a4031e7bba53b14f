#!/usr/bin/env python3
"""Record the optima of linear models on the stored tables, by scikit-learn, each polished until it is exact.

    python scripts/reference/linear.py            writes crates/train/tests/data/linear.json
    python scripts/reference/linear.py --check    compares it with what is stored, writes nothing

scikit-learn's estimator (or a solver of ours where scikit-learn solves another problem) gives a starting point; a
few Newton steps on the coefficients that are not zero take it to rounding; the conditions of optimality are then
checked and recorded as `violation`. The file's `notes` say what is recorded.
"""

import warnings

import numpy as np
import scipy
import sklearn
from sklearn import linear_model

from common import finish, table

NOTES = [
    "objective = sum(w * loss) / sum(w) + l2/2 * |coef|^2 + l1 * |coef|_1, the intercept without penalty, all rows.",
    "Features are standardised with the mean and the population standard deviation (ddof=0); a constant column gets the "
    "scale 1. So are the targets of regression, except for `poisson`, whose target is raw. `standardised_by` is `weights` "
    "where these means and deviations are weighted as well, so that weight 2 equals the row twice.",
    "`coef` has one row per class of `classes` for softmax (rows and intercepts sum to zero over the classes), otherwise one "
    "row; a logit is for classes[1]. Columns are in the order of the file, without the target.",
    "loss: squared 1/2 r^2; absolute |r|; huber 1/2 r^2 where |r| <= delta, else delta (|r| - delta/2); quantile q r where "
    "r >= 0, else (q - 1) r, with r = y - prediction; poisson exp(z) - y z, without the constant that depends on y alone "
    "(`objective_deviance` adds y log y - y, which is half the deviance); logistic and softmax in nats.",
    "`violation` is the largest absolute violation of the conditions of optimality of this objective, `sklearn.difference` the "
    "largest absolute difference from scikit-learn's own coefficients and intercept. `zeros` lists the columns whose "
    "coefficient is exactly zero where l1 > 0; each misses becoming non-zero by at least `zeros_margin` (in gradient units).",
]

CASES = []


# --- the data -----------------------------------------------------------------------------------------------------


def load(name, target):
    header, rows = table(name)
    at = header.index(target)
    x = np.array([[float(cell) for i, cell in enumerate(row) if i != at] for row in rows])
    return x, [row[at] for row in rows]


def standardised(x, weights=None):
    mean = np.average(x, axis=0, weights=weights)
    scale = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weights))
    constant = np.all(x == x[:1], axis=0)
    return np.where(constant, 0.0, x - mean) / np.where(constant, 1.0, scale)


def regression(weights=None):
    x, y = load("diabetes", "progression")
    y = np.array([float(cell) for cell in y])
    return standardised(x, weights), standardised(y[:, None], weights)[:, 0], y


def classes(name, target):
    x, y = load(name, target)
    names = sorted(set(y))
    return standardised(x), np.array([names.index(cell) for cell in y]), names


# --- losses of one output: value, first and second derivative by the prediction z --------------------------------


def squared(z, y):
    return 0.5 * (z - y) ** 2, z - y, np.ones_like(z)


def huber(delta):
    def loss(z, y):
        r = z - y
        inside = np.abs(r) <= delta
        value = np.where(inside, 0.5 * r**2, delta * (np.abs(r) - delta / 2))
        return value, np.clip(r, -delta, delta), inside.astype(float)

    return loss


def poisson(z, y):
    return np.exp(z) - y * z, np.exp(z) - y, np.exp(z)


def logistic(z, y):
    p = scipy.special.expit(z)
    return np.logaddexp(0, z) - y * z, p - y, p * (1 - p)


def polish(loss, x, y, w, start, l1, l2):
    """Newton from `start` = (coef, intercept), the zeros and signs of `coef` held; then the conditions of optimality."""
    m, d = x.shape
    theta = np.append(*start).astype(float)
    sign = np.append(np.sign(theta[:d]), 0.0) if l1 else np.zeros(d + 1)
    free = np.append(sign[:d] != 0, True) if l1 else np.ones(d + 1, bool)
    ridge = np.append(np.full(d, l2), 0.0)
    one = np.column_stack([x, np.ones(m)])

    def parts(theta):
        value, first, second = loss(one @ theta, y)
        total = w @ value / w.sum() + 0.5 * ridge @ theta**2 + l1 * np.abs(theta[:d]).sum()
        smooth = one.T @ (w * first) / w.sum() + ridge * theta
        return total, smooth, (one * (w * second / w.sum())[:, None]).T @ one + np.diag(ridge)

    best = None
    for _ in range(30):
        total, smooth, hessian = parts(theta)
        gap = np.abs(smooth + l1 * sign)
        gap[~free] = np.maximum(np.abs(smooth[~free]) - l1, 0)
        if best is None or gap.max() < best[0]:
            best = (gap.max(), theta.copy(), total, smooth)
        move = np.linalg.lstsq(hessian[np.ix_(free, free)], -(smooth + l1 * sign)[free], rcond=None)[0]
        theta[free] += move
        assert np.all(np.sign(theta[:d]) == sign[:d]) or not l1, "the set of zeros or a sign moved"
    gap, theta, total, smooth = best
    assert gap < 1e-12 * max(1.0, np.abs(y).max()), gap
    made = {"coef": [theta[:d].tolist()], "intercept": [theta[d]], "objective": total, "violation": gap}
    if l1:
        zeros = np.flatnonzero(~free[:d])
        made["zeros"] = zeros.tolist()
        made["zeros_margin"] = float((l1 - np.abs(smooth[zeros])).min()) if len(zeros) else None
        assert not len(zeros) or made["zeros_margin"] > 1e-5
    return made


def polish_softmax(x, y, k, w, start, l2):
    """The same for k outputs; what no penalty fixes (a shift of all intercepts) is fixed by their sum, zero."""
    m, d = x.shape
    coef, intercept = start
    theta = np.column_stack([coef - coef.mean(0), intercept - intercept.mean()]).astype(float)
    one = np.column_stack([x, np.ones(m)])
    ridge = np.append(np.full(d, l2), 0.0)
    hot = np.eye(k)[y]
    shift = np.zeros((k, d + 1))
    shift[:, d] = 1.0
    best = None
    for _ in range(12):
        z = one @ theta.T
        log_p = z - scipy.special.logsumexp(z, axis=1, keepdims=True)
        p = np.exp(log_p)
        total = -(w @ log_p[np.arange(m), y]) / w.sum() + 0.5 * (ridge * theta**2).sum()
        gradient = (w[:, None] * (p - hot)).T @ one / w.sum() + ridge * theta
        gap = np.abs(gradient).max()
        if best is None or gap < best[0]:
            best = (gap, theta.copy(), total)
        hessian = np.zeros((k * (d + 1), k * (d + 1)))
        for a in range(k):
            for b in range(a, k):
                c = w * p[:, a] * ((a == b) - p[:, b]) / w.sum()
                block = (one * c[:, None]).T @ one
                hessian[a * (d + 1) : (a + 1) * (d + 1), b * (d + 1) : (b + 1) * (d + 1)] = block
                hessian[b * (d + 1) : (b + 1) * (d + 1), a * (d + 1) : (a + 1) * (d + 1)] = block
        hessian += np.diag(np.tile(ridge, k)) + np.outer(shift.ravel(), shift.ravel())
        theta -= np.linalg.solve(hessian, gradient.ravel()).reshape(k, d + 1)
        theta -= theta.mean(0)
    gap, theta, total = best
    assert gap < 1e-13, gap
    return {"coef": theta[:, :d].tolist(), "intercept": theta[:, d].tolist(), "objective": total, "violation": gap}


def settings(model):
    """What was set by hand, not what was left at its default."""
    default = type(model)().get_params()
    return {key: value for key, value in model.get_params().items() if value != default[key]}


def record(name, loss, made, model=None, **about):
    case = {"name": name, **about, "loss": loss, **made}
    if model is not None:
        intercept = np.atleast_1d(model.intercept_)
        coef = np.atleast_2d(model.coef_)
        gap = max(
            np.abs(coef - coef.mean(0) * (loss == "softmax") - made["coef"]).max(),
            np.abs(intercept - intercept.mean() * (loss == "softmax") - made["intercept"]).max(),
        )
        case["sklearn"] = {"estimator": type(model).__name__, "settings": settings(model), "difference": gap}
    CASES.append(case)
    difference = f", sklearn differs by {case['sklearn']['difference']:.1e}" if model is not None else ""
    print(f"{name}: objective {made['objective']:.12g}, violation {made['violation']:.1e}{difference}")


# --- the cases ----------------------------------------------------------------------------------------------------

DIABETES = {"dataset": "diabetes", "target": "progression"}
STRENGTHS = [0.01, 0.05, 0.2]


def least_squares():
    x, y, _ = regression()
    m = len(y)
    model = linear_model.LinearRegression().fit(x, y)
    made = polish(squared, x, y, np.ones(m), (model.coef_, model.intercept_), 0, 0)
    record("ols", "squared", made, model, **DIABETES, l1=0.0, l2=0.0)
    for l2 in [0.01, 1.0]:
        model = linear_model.Ridge(alpha=l2 * m, solver="cholesky").fit(x, y)
        made = polish(squared, x, y, np.ones(m), (model.coef_, model.intercept_), 0, l2)
        record(f"ridge l2={l2}", "squared", made, model, **DIABETES, l1=0.0, l2=l2)
    weights = np.arange(m) % 4 * 0.5  # 0, 0.5, 1, 1.5: absent rows and halves
    for by in ["rows", "weights"]:
        x, y, _ = regression(weights if by == "weights" else None)
        l2 = 0.1
        model = linear_model.Ridge(alpha=l2 * weights.sum(), solver="cholesky").fit(x, y, sample_weight=weights)
        made = polish(squared, x, y, weights, (model.coef_, model.intercept_), 0, l2)
        about = {"standardised_by": by, "weights": weights.tolist()}
        record(f"ridge l2={l2}, weights, standardised by {by}", "squared", made, model, **DIABETES, l1=0.0, l2=l2, **about)


def sparse():
    x, y, _ = regression()
    tight = {"tol": 1e-14, "max_iter": 1_000_000}
    for l1 in STRENGTHS:
        model = linear_model.Lasso(alpha=l1, **tight).fit(x, y)
        made = polish(squared, x, y, np.ones(len(y)), (model.coef_, model.intercept_), l1, 0)
        record(f"lasso l1={l1}", "squared", made, model, **DIABETES, l1=l1, l2=0.0)
    for l1, l2 in zip(STRENGTHS, [0.1, 0.05, 0.2]):
        model = linear_model.ElasticNet(alpha=l1 + l2, l1_ratio=l1 / (l1 + l2), **tight).fit(x, y)
        made = polish(squared, x, y, np.ones(len(y)), (model.coef_, model.intercept_), l1, l2)
        record(f"elastic net l1={l1} l2={l2}", "squared", made, model, **DIABETES, l1=l1, l2=l2)


def two_classes():
    x, y, names = classes("breast_cancer", "diagnosis")
    m = len(y)
    about = {"dataset": "breast_cancer", "target": "diagnosis", "classes": names}
    for label, l2 in [("1/m", 1 / m), ("0.1", 0.1)]:
        model = linear_model.LogisticRegression(C=1 / (l2 * m), solver="newton-cholesky", tol=1e-12).fit(x, y)
        made = polish(logistic, x, y, np.ones(m), (model.coef_[0], model.intercept_), 0, l2)
        record(f"logistic breast_cancer l2={label}", "logistic", made, model, **about, l1=0.0, l2=l2)
    balanced = {"class_weight": "balanced", "solver": "newton-cholesky", "tol": 1e-12}
    model = linear_model.LogisticRegression(C=1.0, **balanced).fit(x, y)
    weights = m / (2 * np.bincount(y))
    made = polish(logistic, x, y, weights[y], (model.coef_[0], model.intercept_), 0, 1 / m)
    about = {**about, "class_weights": weights.tolist()}
    record("logistic breast_cancer, balanced", "logistic", made, model, **about, l1=0.0, l2=1 / m)
    del about["class_weights"]
    for l1, l2 in [(0.01, 0.0), (0.05, 0.02)]:
        share = {"C": 1 / (m * (l1 + l2)), "l1_ratio": l1 / (l1 + l2)}
        model = linear_model.LogisticRegression(**share, solver="saga", tol=1e-12, max_iter=200_000, random_state=0).fit(x, y)
        made = polish(logistic, x, y, np.ones(m), (model.coef_[0], model.intercept_), l1, l2)
        record(f"logistic breast_cancer l1={l1} l2={l2}", "logistic", made, model, **about, l1=l1, l2=l2)


def many_classes():
    for dataset, target, weighting in [
        ("iris", "species", None),
        ("wine", "cultivar", None),
        ("wine", "cultivar", "balanced"),
        ("digits", "digit", None),
    ]:
        x, y, names = classes(dataset, target)
        m, k = len(y), len(names)
        model = linear_model.LogisticRegression(C=1.0, class_weight=weighting, tol=1e-10, max_iter=100_000).fit(x, y)
        weights = m / (k * np.bincount(y)) if weighting else np.ones(k)
        made = polish_softmax(x, y, k, weights[y], (model.coef_, model.intercept_), 1 / m)
        about = {"dataset": dataset, "target": target, "classes": names}
        if weighting:
            about["class_weights"] = weights.tolist()
        name = f"softmax {dataset}" + (", balanced" if weighting else "")
        record(name, "softmax", made, model, **about, l1=0.0, l2=1 / m)


def robust():
    x, y, _ = regression()
    m = len(y)
    for delta, l2 in [(1.35, 0.0), (0.5, 0.0), (0.5, 0.1)]:
        start = linear_model.Ridge(alpha=l2 * m).fit(x, y)
        made = polish(huber(delta), x, y, np.ones(m), (start.coef_, start.intercept_), 0, l2)
        about = {**DIABETES, "delta": delta, "l1": 0.0, "l2": l2}
        record(f"huber delta={delta} l2={l2}", "huber", made, **about)
    # scikit-learn's estimator fits a scale sigma as well. At a fixed sigma its objective is ours times 2m/sigma, with
    # delta = epsilon * sigma and l2 = alpha * sigma / m: at its optimum the conditions on the coefficients coincide.
    for epsilon, alpha in [(1.35, 1e-4), (1.1, 10.0)]:
        model = linear_model.HuberRegressor(epsilon=epsilon, alpha=alpha, tol=1e-10, max_iter=100_000).fit(x, y)
        sigma, start = model.scale_, (model.coef_, model.intercept_)
        for _ in range(200):  # its solver stops at about 1e-5: coefficients for this sigma, then sigma for these, until both stay
            delta, l2 = epsilon * sigma, alpha * sigma / m
            made = polish(huber(delta), x, y, np.ones(m), start, 0, l2)
            start = made["coef"][0], made["intercept"][0]
            r = np.abs(y - x @ start[0] - start[1])
            inside = r <= delta
            moved = np.sqrt((r[inside] ** 2).sum() / (m - epsilon**2 * (~inside).sum())) - sigma
            sigma += moved
            if abs(moved) < 1e-15:
                break
        assert abs(moved) < 1e-14, moved
        made |= {"sigma": sigma, "sigma_difference": abs(sigma - model.scale_)}
        about = {**DIABETES, "delta": delta, "l1": 0.0, "l2": l2}
        record(f"huber of scikit-learn, epsilon={epsilon} alpha={alpha}", "huber", made, model, **about)


def pinball(q, r):
    return np.maximum(q * r, (q - 1) * r)


def quantiles():
    x, y, _ = regression()
    m, d = x.shape
    for q, alpha in [(0.5, 0.0), (0.9, 0.0), (0.5, 0.01), (0.9, 0.01)]:
        model = linear_model.QuantileRegressor(quantile=q, alpha=alpha, solver="highs").fit(x, y)
        # A vertex of the linear program: as many rows are met exactly as there are non-zero parameters. Solve for them.
        on = np.append(np.abs(model.coef_) > 1e-9, True)
        one = np.column_stack([x, np.ones(m)])
        met = np.abs(y - model.predict(x)) < 1e-9
        assert met.sum() == on.sum(), "not a vertex"
        theta = np.zeros(d + 1)
        theta[on] = np.linalg.solve(one[np.ix_(met, on)], y[met])
        r = y - one @ theta
        # The rows that are met carry multipliers in [q - 1, q], the zeros a gradient in [-l1, l1]; strictly inside, the
        # optimum is the only one.
        rest = np.where(met, 0.0, np.where(r > 0, q, q - 1))
        sign = np.append(np.sign(theta[:d]), 0.0)
        share = np.linalg.solve(one[np.ix_(met, on)].T, alpha * m * sign[on] - one[:, on].T @ rest)
        inside = min((q - share).min(), (share - (q - 1)).min())
        rest[met] = share
        slack = alpha - np.abs(one[:, ~on].T @ rest) / m
        assert inside > 1e-6 and np.all(slack > 1e-6), (inside, slack)
        made = {
            "coef": [theta[:d].tolist()],
            "intercept": [theta[d]],
            "objective": pinball(q, np.where(met, 0.0, r)).mean() + alpha * np.abs(theta).sum() - alpha * abs(theta[d]),
            "violation": max(np.abs(r[met]).max(), np.abs(one[:, on].T @ rest / m - alpha * sign[on]).max()),
        }
        if alpha:
            made |= {"zeros": np.flatnonzero(~on[:d]).tolist(), "zeros_margin": float(slack.min()) if len(slack) else None}
        about = {**DIABETES, "quantile": q, "l1": alpha, "l2": 0.0}
        record(f"quantile {q} l1={alpha}", "quantile", made, model, **about)
        if q == 0.5:  # |r| is twice the pinball loss
            made = {**made, "objective": 2 * made["objective"]}
            if alpha:
                made["zeros_margin"] = made["zeros_margin"] and 2 * made["zeros_margin"]
            record(f"absolute l1={2 * alpha}", "absolute", made, model, **DIABETES, l1=2 * alpha, l2=0.0)


def counts():
    x, _, y = regression()
    m = len(y)
    for l2 in [0.0, 1.0, 50.0]:
        model = linear_model.PoissonRegressor(alpha=l2, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(x, y)
        made = polish(poisson, x, y, np.ones(m), (model.coef_, model.intercept_), 0, l2)
        made["objective_deviance"] = made["objective"] + float(np.mean(y * np.log(y) - y))
        record(f"poisson l2={l2}", "poisson", made, model, **DIABETES, l1=0.0, l2=l2)


def main():
    warnings.simplefilter("error")
    for part in [least_squares, sparse, two_classes, many_classes, robust, quantiles, counts]:
        part()
    made_by = {
        "script": "scripts/reference/linear.py",
        "scikit-learn": sklearn.__version__,
        "scipy": scipy.__version__,
        "numpy": np.__version__,
        "dtype": "float64",
    }
    document = {"made_by": made_by, "notes": NOTES, "cases": CASES}
    finish(__doc__.splitlines()[0], {"crates/train/tests/data/linear.json": plain(document)}, tolerance=1e-9)


def plain(value):
    """NumPy's scalars as Python's."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


if __name__ == "__main__":
    main()
