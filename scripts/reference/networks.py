#!/usr/bin/env python3
"""Record 20 training steps of small networks as PyTorch takes them.

    python scripts/reference/networks.py            writes crates/models/tests/data/networks.json
    python scripts/reference/networks.py --check    compares it with what is stored, writes nothing

The file's `notes` say what is recorded. Weights and data are no part of the file: both sides compute them by one formula.
"""

import math

import numpy as np
import torch
from torch import nn

from common import finish

ROWS, BATCHES, STEPS = 8, 4, 20
NOTES = [
    "`number(seed, i)` is the output of splitmix64 at (seed << 32) + i + 1; x = (its upper 16 bits / 32768 - 1), exact in float32; "
    "a code below k is (its upper 24 bits) mod k.",
    "A parameter's seed is FNV-1a (32 bits) of its name. Values are x/16 for biases, 1 + x/4 for gains of norms, otherwise x/2^e "
    "with the smallest e with 4^e >= fan_in (the sizes behind the first).",
    "Batch b of 4 has 8 rows: numbers are x of the seed 1000 + b, codes of 2000 + b, targets of 3000 + b (classes: codes; "
    "numbers: x; counts: codes below 4). Step t takes batch t mod 4.",
    "`losses` are the mean losses that the 20 steps began with, `evaluated` the loss of batch 0 after them, in eval mode, "
    "`updated` the same with running statistics that `update_bn` made of the 4 batches.",
]


def splitmix(seed, n):
    with np.errstate(over="ignore"):
        z = (np.uint64(seed) << np.uint64(32)) + np.arange(1, n + 1, dtype=np.uint64)
        z = z * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def numbers(seed, n):
    return (splitmix(seed, n) >> np.uint64(48)).astype(np.float64) / 32768 - 1


def codes(seed, n, k):
    return ((splitmix(seed, n) >> np.uint64(40)) % np.uint64(k)).astype(np.int64)


def fnv(name):
    h = 0x811C9DC5
    for byte in name.encode():
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h


# Modules whose forward differs from PyTorch's own only in the form of what comes in and goes out.


class Last(nn.Module):
    def forward(self, x):
        return x[:, -1]


class GRU(nn.GRU):
    def forward(self, x):
        return super().forward(x)[0]


class LSTM(nn.LSTM):
    def forward(self, x):
        return super().forward(x)[0]


class Conv1d(nn.Conv1d):
    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class OnSteps(nn.Module):
    """A module over [n, channels, steps], given [n, steps, channels]."""

    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class BatchNormSteps(OnSteps, nn.BatchNorm1d):
    pass


class MaxPoolSteps(OnSteps, nn.MaxPool1d):
    pass


class AvgPoolSteps(OnSteps, nn.AvgPool1d):
    pass


class MeanOfSteps(nn.Module):
    def forward(self, x):
        return x.mean(dim=1)


class GlobalPool(nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3))


class Position(nn.Module):
    def __init__(self, steps, width):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(steps, width))

    def forward(self, x):
        return x + self.weight


class Block(nn.TransformerEncoderLayer):
    def __init__(self, d, heads):
        super().__init__(d, heads, 4 * d, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        return super().forward(x, src_mask=mask, is_causal=True)


class Residual(nn.Module):
    def __init__(self, body, shortcut=None):
        super().__init__()
        self.body = body
        if shortcut is not None:
            self.shortcut = shortcut

    def forward(self, x):
        return self.body(x) + (self.shortcut(x) if hasattr(self, "shortcut") else x)


class Table(nn.Sequential):
    """Numbers, then an embedding for each column of categories."""

    def __init__(self, levels, *layers):
        super().__init__(*layers)
        self.embeddings = nn.ModuleList(nn.Embedding(k, min(50, (k + 1) // 2)) for k in levels)

    def forward(self, x):
        dense, code = x
        x = torch.cat([dense, *(e(code[:, j]) for j, e in enumerate(self.embeddings))], dim=1)
        for name, layer in self.named_children():
            if name != "embeddings":
                x = layer(x)
        return x


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
NORMS = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.BatchNorm1d)


def start(model):
    gains = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, NORMS)}
    with torch.no_grad():
        for name, p in model.named_parameters():
            x = numbers(fnv(name), p.numel())
            if name in gains:
                x = 1 + x / 4
            elif p.dim() == 1:
                x = x / 16
            else:
                fan_in, e = math.prod(p.shape[1:]), 0
                while 4**e < fan_in:
                    e += 1
                x = x / 2**e
            p.copy_(torch.from_numpy(x).reshape(p.shape))


def half_square(z, y):
    return 0.5 * nn.functional.mse_loss(z[:, 0], y)


def huber(z, y):
    return nn.functional.huber_loss(z[:, 0], y, delta=0.5)


def poisson(z, y):
    return nn.functional.poisson_nll_loss(z[:, 0], y)


def logistic(z, y):
    return nn.functional.binary_cross_entropy_with_logits(z[:, 0], y)


def hinge(z, y):
    return torch.relu(1 - (2 * y - 1) * z[:, 0]).mean()


def entropy(z, y):
    return nn.functional.cross_entropy(z, y)


def weighted_entropy(z, y):
    weight = torch.tensor([1.0, 0.5, 2.0], dtype=z.dtype)
    return nn.functional.cross_entropy(z, y, weight=weight, label_smoothing=0.1)


def tokens_entropy(z, y):
    return nn.functional.cross_entropy(z.flatten(0, 1), y.flatten())


def case(name, model, expression, given, loss, criterion, target):
    """`given`: width of numbers and their shape, or vocabulary and context, or both for a table."""
    runs = {}
    for optimizer in ("sgd", "adam"):
        for dtype, label in ((torch.float64, "f64"), (torch.float32, "f32")):
            net = model().to(dtype)
            start(net)
            net.train()
            parameters = net.parameters()
            if optimizer == "sgd":
                rule = torch.optim.SGD(parameters, lr=0.02, momentum=0.9)
            else:
                rule = torch.optim.Adam(parameters, lr=0.005, eps=1e-4)
            batches = [batch(given, target, b, dtype) for b in range(BATCHES)]
            losses = []
            for t in range(STEPS):
                x, y = batches[t % BATCHES]
                rule.zero_grad()
                value = criterion(net(x), y)
                value.backward()
                rule.step()
                losses.append(value.item())
            net.eval()
            with torch.no_grad():
                x, y = batches[0]
                # The fast path of a transformer in eval mode is another formula.
                torch.backends.mha.set_fastpath_enabled(False)
                evaluated = criterion(net(x), y).item()
            runs[f"{optimizer} {label}"] = {"losses": losses, "evaluated": evaluated}
            if any(isinstance(module, BATCH_NORMS) for module in net.modules()):
                torch.optim.swa_utils.update_bn(batches, net)
                net.eval()
                with torch.no_grad():
                    runs[f"{optimizer} {label}"]["updated"] = criterion(net(x), y).item()
            print(f"{name} {optimizer} {label}: {losses[0]:.6g} -> {losses[-1]:.6g}, {evaluated:.6g}")
    tensors = [[n, list(p.shape)] for n, p in model().named_parameters()]
    tensors.sort()
    return {
        "name": name,
        "model": expression,
        "input": {k: v for k, v in given.items()},
        "loss": loss,
        "target": target,
        "tensors": [f"{n} {s}" for n, s in tensors],
        "runs": runs,
    }


def batch(given, target, b, dtype):
    x = None
    if "shape" in given:
        shape = given["shape"]
        x = torch.from_numpy(numbers(1000 + b, ROWS * math.prod(shape))).to(dtype).reshape(ROWS, *shape)
    if "levels" in given:
        columns = [codes(2000 + 100 * j + b, ROWS, k) for j, k in enumerate(given["levels"])]
        x = (x, torch.from_numpy(np.stack(columns, axis=1)))
    if "vocabulary" in given:
        width = given["context"] + (target == "next")
        all = torch.from_numpy(codes(2000 + b, ROWS * width, given["vocabulary"])).reshape(ROWS, width)
        if target == "next":
            return all[:, :-1], all[:, 1:]
        x = all
    if target == "number":
        return x, torch.from_numpy(numbers(3000 + b, ROWS)).to(dtype)
    if isinstance(target, str):
        return x, torch.from_numpy(codes(3000 + b, ROWS, {"count": 4, "two": 2}[target])).to(dtype)
    return x, torch.from_numpy(codes(3000 + b, ROWS, target))


def basic(channels, out, stride):
    body = nn.Sequential(
        nn.Conv2d(channels, out, 3, stride, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(),
        nn.Conv2d(out, out, 3, 1, 1, bias=False),
        nn.BatchNorm2d(out),
    )
    return Residual(body, nn.Conv2d(channels, out, 1, stride, bias=False) if stride > 1 else None)


def cases():
    yield case(
        "mlp",
        lambda: nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1)),
        "mlp(16, 8)", {"shape": [5]}, "squared", half_square, "number",
    )
    yield case(
        "table",
        lambda: Table([4, 7], nn.Linear(9, 10), nn.Tanh(), nn.Linear(10, 3)),
        "mlp(10, activation=tanh)", {"shape": [3], "levels": [4, 7]}, "softmax", weighted_entropy, 3,
    )
    yield case(
        "counts",
        lambda: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.SiLU(), nn.Linear(6, 1)),
        "dense(6) batchnorm silu", {"shape": [5]}, "poisson", poisson, "count",
    )
    yield case(
        "lenet",
        lambda: nn.Sequential(
            nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10),
        ),
        "conv(32, kernel=5) relu pool(2) conv(64, kernel=5) relu pool(2) flatten dense(64) relu",
        {"shape": [1, 8, 8]}, "softmax", entropy, 10,
    )
    yield case(
        "resnet",
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
            basic(4, 4, 1), nn.ReLU(), basic(4, 8, 2), nn.ReLU(), GlobalPool(), nn.Linear(8, 3),
        ),
        "conv(4, bias=false) batchnorm relu "
        "residual(conv(4, bias=false), batchnorm, relu, conv(4, bias=false), batchnorm) relu "
        "residual(conv(8, stride=2, bias=false), batchnorm, relu, conv(8, bias=false), batchnorm) relu globalpool",
        {"shape": [2, 6, 6]}, "softmax", entropy, 3,
    )
    yield case(
        "norms",
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ELU(), nn.AvgPool2d(2),
            nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2), nn.LeakyReLU(0.1), nn.Flatten(),
            nn.Linear(36, 6), nn.RMSNorm(6), nn.Sigmoid(), nn.Linear(6, 1),
        ),
        "conv(4) groupnorm(2) elu avgpool(2) conv(4, padding=2, dilation=2, groups=2) leaky_relu(0.1) flatten "
        "dense(6) rmsnorm sigmoid",
        {"shape": [2, 6, 6]}, "logistic", logistic, "two",
    )
    yield case(
        "gru",
        lambda: nn.Sequential(nn.Embedding(11, 6), GRU(6, 8, batch_first=True), Last(), nn.Linear(8, 3)),
        "embedding(6) gru(8)", {"vocabulary": 11, "context": 9}, "softmax", entropy, 3,
    )
    yield case(
        "lstm",
        lambda: nn.Sequential(
            Conv1d(3, 6, 3, 2, 1), nn.Softplus(), nn.LayerNorm(6), LSTM(6, 5, batch_first=True), Last(), nn.Linear(5, 1)
        ),
        "conv(6, stride=2) softplus layernorm lstm(5)", {"shape": [9, 3]}, "huber(0.5)", huber, "number",
    )
    yield case(
        "oblong",
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, (3, 5), (1, 2), (1, 2)), nn.Tanh(), nn.MaxPool2d((2, 1), (2, 1)),
            nn.Conv2d(4, 6, (1, 3), padding=(0, 1), dilation=(2, 1)), nn.SiLU(), nn.AvgPool2d((3, 2), (1, 1), (1, 0)),
            nn.Flatten(), nn.Linear(24, 5), nn.Tanh(), nn.Linear(5, 1),
        ),
        "conv(4, kernel=size(3, 5), stride=size(1, 2), padding=size(1, 2)) tanh pool(size(2, 1)) "
        "conv(6, kernel=size(1, 3), dilation=size(2, 1)) silu avgpool(size(3, 2), stride=1, padding=size(1, 0)) flatten "
        "dense(5) tanh",
        {"shape": [2, 4, 6]}, "hinge", hinge, "two",
    )
    yield case(
        "signal",
        lambda: nn.Sequential(
            Conv1d(3, 6, 3, padding=1, bias=False), BatchNormSteps(6), nn.GELU(), MaxPoolSteps(2),
            Residual(nn.Sequential(Conv1d(6, 8, 3, 2, 1), nn.SiLU()), Conv1d(6, 8, 1, 2, bias=False)),
            nn.RMSNorm(8), AvgPoolSteps(2, 1), MeanOfSteps(), nn.Linear(8, 1),
        ),
        "conv(6, bias=false) batchnorm gelu pool(2) residual(conv(8, stride=2), silu) rmsnorm avgpool(2, stride=1) globalpool",
        {"shape": [12, 3]}, "squared", half_square, "number",
    )
    for mode in ["mean", "sum"]:
        yield case(
            f"bag {mode}",
            lambda: nn.Sequential(nn.EmbeddingBag(11, 6, mode=mode), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)),
            "embeddingbag(6) dense(5) tanh" if mode == "mean" else "embeddingbag(6, mean=false) dense(5) tanh",
            {"vocabulary": 11, "context": 9}, "softmax", entropy, 3,
        )
    yield case(
        "transformer",
        lambda: nn.Sequential(
            nn.Embedding(13, 16), Position(12, 16), Block(16, 2), Block(16, 2), nn.LayerNorm(16), nn.Linear(16, 13)
        ),
        "transformer(d=16, heads=2, layers=2, context=12)", {"vocabulary": 13, "context": 12}, "softmax", tokens_entropy,
        "next",
    )


def main():
    torch.set_num_threads(1)
    made_by = {
        "script": "scripts/reference/networks.py",
        "torch": torch.__version__,
        "dtype": "float64 and float32",
        "optimizers": "SGD(lr=0.02, momentum=0.9), Adam(lr=0.005, eps=1e-4)",
    }
    document = {"made_by": made_by, "notes": NOTES, "cases": list(cases())}
    # float32 runs of another processor drift by their own rounding.
    finish(__doc__.splitlines()[0], {"crates/models/tests/data/networks.json": document}, tolerance=1e-4)


if __name__ == "__main__":
    main()
