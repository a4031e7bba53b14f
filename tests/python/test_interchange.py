"""A trained network is a `state_dict`: other programs read its file and answer as the command does.

Tensors are read by safetensors' own reader; NumPy computes a perceptron from them, and PyTorch, where it is installed, a
convolution. Features stay as they are (`--no-standardise`), so that nothing but the weights decides.
"""

import io

import numpy as np
import pandas as pd
import pytest
from command import DATA, thalweg
from safetensors.numpy import load_file

KEPT = ["--no-standardise", "--no-report", "--quiet"]


def probabilities(run, data):
    """The CSV of `predict --proba` as an array."""
    return pd.read_csv(io.StringIO(thalweg("predict", run, data, "--proba"))).to_numpy()


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_numpy_computes_a_perceptron(tmp_path):
    run = tmp_path / "run"
    thalweg(
        "fit", DATA / "digits.csv", "--target", "digit", "--model", "mlp(32, 16)", "--epochs", 3, "--out", run, *KEPT
    )
    state = load_file(run / "model.safetensors")
    assert {name: list(t.shape) for name, t in state.items()} == {
        "0.weight": [32, 64], "0.bias": [32], "2.weight": [16, 32], "2.bias": [16], "4.weight": [10, 16], "4.bias": [10],
    }  # fmt: skip
    assert all(t.dtype == np.float32 for t in state.values())
    x = pd.read_csv(DATA / "digits.csv").drop(columns="digit").to_numpy(np.float64)
    for layer in (0, 2, 4):
        x = x @ state[f"{layer}.weight"].T.astype(np.float64) + state[f"{layer}.bias"]
        x = np.maximum(x, 0) if layer < 4 else x
    ours = probabilities(run, DATA / "digits.csv")
    # Sums of 64 numbers below 16 in f32: a logit is good to 1e-5, and a probability moves by at most a quarter of that.
    assert np.abs(softmax(x) - ours).max() < 1e-5


def images(folder, count=60):
    """Noise with a brighter row or column, as NumPy's arrays; their bytes."""
    random = np.random.default_rng(0)
    x = random.integers(0, 100, (count, 8, 8), dtype=np.uint8)
    y = np.arange(count) % 3
    for image, label in zip(x, y, strict=True):
        image[2 * label + 1] += 120
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    return x


def test_pytorch_computes_a_convolution(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file as load
    from torch import nn

    x = images(tmp_path)
    model = "conv(4) batchnorm relu pool(2) flatten dense(8) relu"
    run = tmp_path / "run"
    thalweg("fit", tmp_path / "x.npy", "--model", model, "--epochs", 4, "--out", run, *KEPT)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3),
    )  # fmt: skip
    # Every name and shape is PyTorch's.
    net.load_state_dict(load(run / "model.safetensors"))
    net.eval()
    with torch.no_grad():
        z = net(torch.from_numpy(x).float()[:, None] / 255).double().numpy()
    ours = probabilities(run, tmp_path / "x.npy")
    assert np.abs(softmax(z) - ours).max() < 1e-5
    # And back: what PyTorch saves is where a run starts.
    from safetensors.torch import save_file

    save_file(net.state_dict(), tmp_path / "back.safetensors")
    again = tmp_path / "again"
    start = ["--init", tmp_path / "back.safetensors", "--epochs", 0]
    thalweg("fit", tmp_path / "x.npy", "--model", model, *start, "--out", again, *KEPT)
    assert np.array_equal(probabilities(again, tmp_path / "x.npy"), ours)


def test_the_recorded_answers_of_pytorch(tmp_path):
    """The same where PyTorch is not installed: its file and its logits, as `scripts/reference/interchange.py` stored them."""
    import json
    import pathlib

    path = pathlib.Path(__file__).resolve().parents[2] / "crates" / "cli" / "tests" / "data" / "torch.json"
    stored = json.loads(path.read_text(encoding="utf-8"))["image"]
    for name, key in [("images-idx3-ubyte", "images"), ("labels-idx1-ubyte", "labels"), ("s.safetensors", "state")]:
        (tmp_path / name).write_bytes(bytes.fromhex(stored[key]))
    run = tmp_path / "run"
    start = ["--init", tmp_path / "s.safetensors", "--epochs", 0]
    thalweg("fit", tmp_path / "images-idx3-ubyte", "--model", stored["model"], *start, "--out", run, *KEPT)
    ours = probabilities(run, tmp_path / "images-idx3-ubyte")
    assert np.abs(softmax(np.array(stored["logits"])) - ours).max() < 1e-5
    # safetensors' own reader finds in our file what PyTorch put into its.
    theirs = load_file(tmp_path / "s.safetensors")
    saved = load_file(run / "model.safetensors")
    assert set(theirs) - set(saved) == {"1.num_batches_tracked"}
    assert all(np.array_equal(saved[name], theirs[name]) for name in saved)
