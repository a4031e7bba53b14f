#!/usr/bin/env python3
"""Record what PyTorch saves, answers and learns, for the command to start from.

    python scripts/reference/interchange.py            writes crates/cli/tests/data/torch.json
    python scripts/reference/interchange.py --check    compares it with what is stored, writes nothing

The file's `notes` say what is recorded. Files are in hexadecimal. Versions: see requirements.txt.
"""

import io
import pathlib
import tempfile

import numpy as np
import safetensors
import torch
from safetensors.torch import save_file
from torch import nn

from common import finish
from networks import codes, numbers, start

ROWS, CLASSES, STEPS, RATE = 24, 3, 12, 0.5
WEIGHTS = [1.0, 0.5, 2.0]
NOTES = [
    "Weights, images and rows are those of scripts/reference/networks.py's formulas.",
    "`image`: a convolution with batch norm; `images` are 24 of 6 x 6 bytes, `labels` their classes, both IDX; `state` is the "
    "state_dict as safetensors.torch.save_file wrote it; `logits` are those of images / 255 in eval mode.",
    "`table`: a perceptron; `x` and `y` are .npy files, `archive` holds both (and `test_x`, `test_y`: the first 8 rows); `losses` are those of 12 steps of "
    "SGD(lr=0.5) on all rows at once under CrossEntropyLoss(weight=[1, 0.5, 2], label_smoothing=...), `weight` and `bias` the last "
    "layer's after them.",
    "`typed` are arrays of 4 rows as NumPy saves them: Fortran order, the most significant byte first, booleans, Python objects.",
]


def state(model):
    """The file that `safetensors.torch.save_file` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "state.safetensors"
        save_file(model.state_dict(), path)
        return path.read_bytes().hex()


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue().hex()


def idx(array):
    axes = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return (bytes([0, 0, 8, array.ndim]) + axes + array.astype("u1").tobytes()).hex()


def image():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, CLASSES),
    )  # fmt: skip
    start(model)
    norm = model[1]
    with torch.no_grad():
        # As training leaves them: no zeros and ones, and a count.
        norm.running_mean.copy_(torch.from_numpy(numbers(7, 4) / 4))
        norm.running_var.copy_(torch.from_numpy(1 + numbers(8, 4) / 2))
        norm.num_batches_tracked.fill_(5)
    model.eval()
    bytes_ = (codes(1000, ROWS * 36, 256)).reshape(ROWS, 6, 6)
    with torch.no_grad():
        logits = model(torch.from_numpy(bytes_).float()[:, None] / 255)
    return {
        "model": "conv(4) batchnorm relu pool(2) flatten dense(8) relu",
        "images": idx(bytes_),
        "labels": idx(codes(3000, ROWS, CLASSES)),
        "state": state(model),
        "logits": logits.double().tolist(),
    }


def table():
    def net():
        model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, CLASSES))
        start(model)
        return model

    x, y = numbers(1000, ROWS * 5).reshape(ROWS, 5), codes(3000, ROWS, CLASSES)
    x32, labels = torch.from_numpy(x).float(), torch.from_numpy(y)
    runs = []
    for weighted, smoothing in [(True, 0.0), (False, 0.1), (True, 0.1)]:
        model = net()
        weight = torch.tensor(WEIGHTS) if weighted else None
        criterion = nn.CrossEntropyLoss(weight=weight, label_smoothing=smoothing)
        rule = torch.optim.SGD(model.parameters(), lr=RATE)
        losses = []
        for _ in range(STEPS):
            rule.zero_grad()
            loss = criterion(model(x32), labels)
            loss.backward()
            rule.step()
            losses.append(loss.item())
        last = model[2]
        runs.append({
            "weighted": weighted, "smoothing": smoothing, "losses": losses,
            "weight": last.weight.detach().double().flatten().tolist(), "bias": last.bias.detach().double().tolist(),
        })  # fmt: skip
    archive = io.BytesIO()
    np.savez_compressed(archive, x=x, y=y, test_x=x[:8], test_y=y[:8])
    pair = io.BytesIO()
    np.savez(pair, X=x.astype("f4"), Y=y.astype("u1"))
    return {
        "model": "mlp(6, activation=tanh)", "x": npy(x), "y": npy(y), "archive": archive.getvalue().hex(),
        "pair": pair.getvalue().hex(), "state": state(net()), "runs": runs,
    }  # fmt: skip


def typed():
    base = (np.arange(12) ** 2).reshape(4, 3)
    return {
        "c": npy(base.astype("<f8")),
        "fortran": npy(np.asfortranarray(base.astype("<f4"))),
        "big": npy(base.astype(">i4")),
        "boolean": npy(np.array([True, False, True, False])),
        "objects": npy(np.array([1, "a", None, 2.5], dtype=object), allow_pickle=True),
        "texts": npy(np.array(["a", "b", "c", "d"])),
    }


def main():
    torch.set_num_threads(1)
    made_by = {
        "script": "scripts/reference/interchange.py",
        "torch": torch.__version__, "numpy": np.__version__, "safetensors": safetensors.__version__,
    }  # fmt: skip
    document = {"made_by": made_by, "notes": NOTES, "image": image(), "table": table(), "typed": typed()}
    # float32 runs of another processor drift by their own rounding.
    finish(__doc__.splitlines()[0], {"crates/cli/tests/data/torch.json": document}, tolerance=1e-5)


if __name__ == "__main__":
    main()
