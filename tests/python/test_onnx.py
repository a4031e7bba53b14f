"""`thalweg export --onnx`: ONNX Runtime predicts from raw cells and pixels what `thalweg predict` predicts."""

import io
import json
import re

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from command import CLASSES, DATA, NUMBERS, ROOT, thalweg

MODELS = ["linear", "mlp(16, 8, dropout=0.2)", "batchnorm dense(12) gelu residual(dense(12), layernorm, silu) dense(6) tanh"]
#: Linear models are computed in double on both sides; networks in float, in another order of sums.
TOLERANCE = {"linear": 1e-10}


def train(out, model, *words):
    more = () if model == "linear" else ("--model", model, "--epochs", 4)
    thalweg("fit", *words, *more, "--out", out, "--no-report", "-q")


def export(run, out):
    """The session of an exported model, after every check that ONNX has for it."""
    said = json.loads(thalweg("export", run, "--onnx", out, "--json"))
    onnx.checker.check_model(onnx.load(out), full_check=True)
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    for ports, key in ((session.get_inputs(), "inputs"), (session.get_outputs(), "outputs")):
        found = [(port.name, port.type, port.shape) for port in ports]
        assert found == [(p["name"], f"tensor({p['type']})", p["shape"]) for p in said[key]]
    return session


def cells(path):
    """A table as text."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def column(texts, kind):
    """A column as the session takes it: texts as they are, numbers as they are written; dates in days."""
    if kind == "tensor(string)":
        return texts.to_numpy(object).reshape(-1, 1)

    def number(text):
        if text in ("", "NA"):
            return np.nan
        if re.match(r"\d{4}-", text):
            return np.datetime64(text, "s").astype(float) / 86_400
        return float(text)

    return np.array([number(text) for text in texts], np.float64).reshape(-1, 1)


def predicted(path, run, *more):
    return cells(io.StringIO(thalweg("predict", run, path, *more)))


def agrees(session, run, path, tolerance=1e-5):
    """Compares both for every row of a table."""
    table = cells(path)
    fed = {port.name: column(table[port.name], port.type) for port in session.get_inputs()}
    compare(session, run, path, fed, tolerance)


def compare(session, run, data, fed, tolerance):
    outputs = [port.name for port in session.get_outputs()]
    made = session.run(None, fed)
    plain = predicted(data, run)["prediction"]
    if len(outputs) == 1:
        np.testing.assert_allclose(made[0], plain.astype(float), rtol=tolerance, atol=tolerance)
        return
    label, probabilities = made
    proba = predicted(data, run, "--proba").astype(float).to_numpy()
    np.testing.assert_allclose(probabilities, proba, rtol=tolerance, atol=tolerance)
    top = np.sort(proba, axis=1)
    clear = top[:, -1] - top[:, -2] > 10 * tolerance
    assert clear.mean() > 0.9
    assert (label[clear] == plain.to_numpy()[clear]).all()


def spoilt(session, path, out):
    """Rows with missing cells, and with levels that training never saw: each column in turn, and all at once."""
    table = cells(path)
    rows = []

    def add(**changed):
        rows.append(table.iloc[len(rows) % len(table)].copy())
        for name, text in changed.items():
            rows[-1][name] = text

    for port in session.get_inputs():
        add(**{port.name: ""})
        if port.type == "tensor(string)":
            add(**{port.name: "never seen"})
    add(**dict.fromkeys(table.columns, ""))
    pd.DataFrame(rows).to_csv(out, index=False)
    return out


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("dataset", "target"), CLASSES + NUMBERS)
def test_example_data(dataset, target, model, tmp_path):
    data, run = DATA / f"{dataset}.csv", tmp_path / "run"
    train(run, model, data, "--target", target)
    session = export(run, tmp_path / "model.onnx")
    tolerance = TOLERANCE.get(model, 1e-5)
    agrees(session, run, data, tolerance)
    agrees(session, run, spoilt(session, data, tmp_path / "spoilt.csv"), tolerance)


@pytest.mark.parametrize("model", ["linear", "mlp(8)"])
@pytest.mark.parametrize("loss", ["absolute", "huber(1.35)", "quantile(0.9)", "poisson"])
def test_losses(loss, model, tmp_path):
    run = tmp_path / "run"
    train(run, model, DATA / "diabetes.csv", "--target", "progression", "--loss", loss)
    session = export(run, tmp_path / "model.onnx")
    agrees(session, run, DATA / "diabetes.csv", TOLERANCE.get(model, 1e-5))


@pytest.mark.parametrize("model", ["linear", "mlp(4)"])
def test_categories_alone(model, tmp_path):
    data, run = DATA / "penguins.csv", tmp_path / "run"
    ignored = [word for name in cells(data).columns if "_" in name or name == "year" for word in ("--ignore", name)]
    train(run, model, data, "--target", "species", *ignored, *(["--no-intercept"] if model == "linear" else []))
    session = export(run, tmp_path / "model.onnx")
    assert [(port.name, port.type) for port in session.get_inputs()] == [
        ("island", "tensor(string)"), ("sex", "tensor(string)"),
    ]  # fmt: skip
    tolerance = TOLERANCE.get(model, 1e-5)
    fed = {port.name: column(cells(data)[port.name], port.type) for port in session.get_inputs()}
    proba = predicted(data, run, "--proba").astype(float)
    np.testing.assert_allclose(session.run(None, fed)[1], proba, rtol=tolerance, atol=tolerance)
    fed = {"island": np.array([["Atlantis"]], object), "sex": np.array([[""]], object)}
    (tmp_path / "one.csv").write_text("island,sex\nAtlantis,NA\n")
    compare(session, run, tmp_path / "one.csv", fed, tolerance)


def shop(path, rows, seed):
    """Sales with dates, numbers as categories, rare levels, cells that are missing, and names that a graph could trip over."""
    rng = np.random.default_rng(seed)
    days = np.datetime64("2019-01-01") + rng.integers(0, 900, rows)
    seconds = rng.integers(0, 86_400, rows).astype("timedelta64[s]")
    kind = rng.choice(["red", "green", "blue, dark", "", "rare"], rows, p=[0.4, 0.3, 0.2, 0.08, 0.02])
    kind[rng.choice(rows, 6, replace=False)] = [f"once {i}" for i in range(6)]
    code = rng.choice(["1", "2", "7", "12"], rows)
    size = rng.normal(50, 5, rows).round(3).astype(str)
    size[rng.random(rows) < 0.05] = "NA"
    table = pd.DataFrame(
        {
            "sold": [str(d) if i % 3 else str(d + s) for i, (d, s) in enumerate(zip(days, seconds, strict=True))],
            "made": [str(d - 400) if i % 7 else "" for i, d in enumerate(days)],
            "größe in mm": size,
            "label": rng.normal(0, 1, rows),
            "prediction": rng.normal(0, 1, rows),
            "0.weight": rng.normal(2e6, 1e3, rows),
            "kind": kind,
            "code": code,
            "Gemm": rng.choice(["yes", "no"], rows),
            "always": "the same",
        }
    )
    y = table["label"] + (kind == "red") + code.astype(int) / 10 + days.astype(int) / 300
    table["price"] = (y + rng.normal(0, 0.1, rows)).round(4)
    table["good"] = np.where(y > y.median(), "good", "bad")
    table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("model", ["linear", "mlp(8)"])
@pytest.mark.parametrize(("target", "other"), [("price", "good"), ("good", "price")])
def test_dates_categories_and_odd_names(target, other, model, tmp_path):
    data, run = shop(tmp_path / "shop.csv", 400, 1), tmp_path / "run"
    train(run, model, data, "--target", target, "--ignore", other, "--types", "code=category")
    session = export(run, tmp_path / "model.onnx")
    names = {port.name: port.type for port in session.get_inputs()}
    text, number = "tensor(string)", "tensor(double)"
    assert names == {
        "sold": number, "made": number, "größe in mm": number, "label": number, "prediction": number,
        "0.weight": number, "kind": text, "code": text, "Gemm": text,
    }  # fmt: skip
    outputs = [port.name for port in session.get_outputs()]
    assert outputs == (["prediction_2"] if target == "price" else ["label_2", "probabilities"])
    tolerance = TOLERANCE.get(model, 1e-5)
    agrees(session, run, shop(tmp_path / "more.csv", 300, 2), tolerance)
    agrees(session, run, spoilt(session, data, tmp_path / "spoilt.csv"), tolerance)

    # A number is the same level however it is spelled; missing cells have many names.
    table = cells(data)
    fed = {port.name: column(table[port.name], port.type) for port in session.get_inputs()}
    made = session.run(None, fed)[-1]
    fed["code"] = np.array([[f"{text}.0"] for text in table["code"]], object)
    gaps = np.resize(["", "NA", "nan", "NaN", "None", "null", "?"], len(table))
    fed["kind"] = np.array([[t or gap] for t, gap in zip(table["kind"], gaps, strict=True)], object)
    np.testing.assert_array_equal(session.run(None, fed)[-1], made)


def test_calendar(tmp_path):
    """Year, month, weekday and days of dates in all centuries that have four digits."""
    rng = np.random.default_rng(3)

    def write(path, days):
        table = pd.DataFrame({"day": days.astype(str)})
        table["y"] = np.arange(len(days)) % 97
        table.to_csv(path, index=False)
        return path

    first, last = np.datetime64("0000-01-01"), np.datetime64("9999-12-31")
    some = first + rng.integers(0, (last - first).astype(int) + 1, 3000)
    ends = [f"{year:04}-{day}" for year in (0, 4, 100, 400, 1582, 1900, 1969, 1970, 2000, 2024, 9999)
            for day in ("01-01", "02-28", "03-01", "12-31")]  # fmt: skip
    leaps = [f"{year:04}-02-29" for year in (0, 4, 400, 1968, 2000, 2024, 9996)]
    data = write(tmp_path / "days.csv", np.concatenate([some, np.array(ends + leaps, "M8[D]"), first + np.arange(500)]))
    run = tmp_path / "run"
    thalweg("fit", data, "--target", "y", "--task", "number", "--out", run, "--no-report", "-q", "--epochs", 20)
    inspected = json.loads(thalweg("inspect", run, "--json"))
    features = [c["feature"] for c in inspected["coefficients"]]
    assert sorted(features) == ["day.days", "day.month", "day.weekday", "day.year"]
    assert all(abs(c["weight"]) > 1e-4 for c in inspected["coefficients"]), "every part must show in the prediction"
    agrees(export(run, tmp_path / "model.onnx"), run, data, 1e-9)


def idx(path, array):
    kind = {"uint8": 0x08, "float32": 0x0D}[array.dtype.name]
    head = bytes([0, 0, kind, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(head + array.astype(array.dtype.newbyteorder(">")).tobytes())
    return path


@pytest.mark.parametrize(
    ("shape", "classes", "dtype", "model"),
    [
        ((9, 8), 3, "uint8", "conv(6) batchnorm relu pool(2) flatten dense(10) relu dropout(0.1)"),
        ((9, 8), 2, "float32", "conv(4, kernel=5, padding=2, stride=2) gelu avgpool(2) dense(5) tanh"),
        (
            (3, 10, 10),
            4,
            "uint8",
            "conv(8, kernel=3, padding=1) batchnorm relu residual(conv(8, groups=4), batchnorm, relu, conv(8)) "
            "residual(conv(12, stride=2), groupnorm(3), silu) globalpool",
        ),
    ],
)
def test_images(shape, classes, dtype, model, tmp_path):
    rng = np.random.default_rng(5)
    labels = rng.integers(0, classes, 240).astype(np.uint8)
    pixels = rng.integers(0, 120, (240, *shape))
    for image, label in zip(pixels, labels, strict=True):
        image[..., label :: classes] += 100
    pixels = pixels.astype(dtype) if dtype == "uint8" else (pixels / 7 - 3).astype(dtype)
    images = idx(tmp_path / "train-images", pixels)
    run = tmp_path / "run"
    train(run, model, images, "--target", idx(tmp_path / "train-labels", labels))
    session = export(run, tmp_path / "model.onnx")
    channels = shape if len(shape) == 3 else (1, *shape)
    fed = {"images": pixels.reshape(len(pixels), *channels)}
    compare(session, run, images, fed, 1e-5)


def test_the_same_model_gives_the_same_bytes(tmp_path):
    runs = [tmp_path / "a", tmp_path / "b"]
    for run, threads in zip(runs, (1, 2), strict=True):
        train(run, "mlp(8)", DATA / "penguins.csv", "--target", "species", "--threads", threads)
        thalweg("export", run, "--onnx", run / "model.onnx")
    assert (runs[0] / "model.onnx").read_bytes() == (runs[1] / "model.onnx").read_bytes()


@pytest.mark.parametrize("model", ["gru(24)", "transformer(d=16, heads=2, layers=2)"])
def test_text(model, tmp_path):
    """Bits per character from the file's probabilities are those that `thalweg evaluate` says: of windows of 16 that begin 8 apart."""
    book = (ROOT / "LICENSE-APACHE").read_text()
    (tmp_path / "book.txt").write_text(book[:8000])
    (tmp_path / "part.txt").write_text(book[8000:9001])
    run = tmp_path / "run"
    thalweg("fit", tmp_path / "book.txt", "--model", model, "--context", 16, "--epochs", 3, "--out", run, "--no-report", "-q")
    session = export(run, tmp_path / "model.onnx")
    characters = session.get_modelmeta().custom_metadata_map["characters"]
    numbers = {c: i for i, c in enumerate(characters)}
    codes = np.array([numbers.get(c, len(characters)) for c in book[8000:9001]], np.int64)
    starts = range(0, len(codes) - 1 - 8, 8)
    windows = np.stack([np.pad(codes[i : i + 16], (0, max(0, i + 16 - len(codes)))) for i in starts])
    probabilities = session.run(["probabilities"], {"tokens": windows})[0]
    bits = []
    for start, of in zip(starts, probabilities, strict=True):
        for place in range(0 if start == 0 else 8, 16):
            if start + place + 1 < len(codes):
                bits.append(-np.log2(of[place, codes[start + place + 1]]))
    assert len(bits) == len(codes) - 1
    said = json.loads(thalweg("evaluate", run, tmp_path / "part.txt", "--json"))
    np.testing.assert_allclose(np.mean(bits), said["score"], rtol=1e-5)
