#!/usr/bin/env python3
"""Record what PyTorch's operations and their gradients are, in float64.

    python scripts/reference/autodiff.py            writes the file
    python scripts/reference/autodiff.py --check    compares it with what is stored, writes nothing

`crates/autodiff/tests/data/ops.json`: for each operation and setting the inputs, the result y, a random dy, and the gradient of
Σ y·dy for each input. Inputs and dy are numbers that float32 holds too. Losses are PyTorch's with `reduction="sum"` (or "none" and row weights), the squared loss halved.
"""

import numpy as np
import torch
import torch.nn.functional as f

from common import finish

SEED = 20260102
rng = np.random.default_rng(SEED)
cases = []

MADE_BY = {
    "script": "scripts/reference/autodiff.py",
    "torch": torch.__version__.split("+")[0],
    "numpy": np.__version__,
    "dtype": "float64",
    "seed": SEED,
}


def flat(x):
    return [float(v) for v in x.detach().reshape(-1)]


def single(x):
    """The nearest numbers that float32 holds."""
    return np.asarray(x, dtype=np.float32).astype(np.float64)


def normal(*shape):
    return single(rng.standard_normal(shape))


def uniform(*shape):
    return single(rng.random(shape))


def case(op, function, inputs, **settings):
    """Run `function` on tensors of the numbers `inputs`, and record both directions."""
    tensors = [torch.tensor(single(x), dtype=torch.float64, requires_grad=True) for x in inputs]
    y = function(*tensors)
    dy = torch.tensor(normal(*y.shape))
    grads = torch.autograd.grad((y * dy).sum(), tensors, allow_unused=True)
    cases.append({
        "op": op,
        "settings": settings,
        "inputs": [{"shape": list(x.shape), "data": flat(x)} for x in tensors],
        "y": {"shape": list(y.shape), "data": flat(y)},
        "dy": flat(dy),
        "grads": [flat(torch.zeros_like(x) if g is None else g) for x, g in zip(tensors, grads)],
    })


# One number at a time, with the far ends where careless formulas overflow or cancel.
FAR = np.concatenate([normal(20), [-700.0, -40.0, -5.0, -1e-3, -1e-9, 1e-9, 1e-3, 5.0, 40.0, 700.0]])
for name, function, x in [
    ("neg", torch.neg, FAR),
    ("exp", torch.exp, FAR.clip(-40, 40)),
    ("ln", torch.log, np.abs(FAR)),
    ("sqrt", torch.sqrt, np.abs(FAR)),
    ("square", torch.square, FAR),
    ("abs", torch.abs, FAR),
    ("tanh", torch.tanh, FAR),
    ("sigmoid", torch.sigmoid, FAR),
    ("relu", torch.relu, FAR),
    ("softplus", lambda x: f.softplus(x, threshold=1e9), FAR.clip(-700, 700)),
    ("gelu", f.gelu, FAR),
    ("silu", f.silu, FAR),
]:
    case(name, function, [x])
case("leaky_relu", lambda x: f.leaky_relu(x, 0.03), [FAR], a=0.03)
case("elu", lambda x: f.elu(x, 1.3), [FAR], a=1.3)

for a, b in [((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (2, 1, 5)), ((), (2, 3))]:
    for name, function in [("add", torch.add), ("sub", torch.sub), ("mul", torch.mul), ("div", torch.div)]:
        case(name, function, [normal(*a), normal(*b) + np.sign(normal(*b)) * 3])

mask = rng.integers(0, 2, (3, 4))
case("where", lambda a, b: torch.where(torch.tensor(mask) != 0, a, b), [normal(3, 4), normal(3, 4)],
     mask=mask.reshape(-1).tolist())
case("less", lambda a, b: torch.lt(a, b) * a, [normal(3, 4), normal(4)])

ACTIVATIONS = {
    "identity": lambda x: x, "relu": torch.relu, "gelu": f.gelu, "silu": f.silu, "tanh": torch.tanh,
    "sigmoid": torch.sigmoid, "softplus": f.softplus, "elu": lambda x: f.elu(x, 0.7),
    "leaky_relu": lambda x: f.leaky_relu(x, 0.2),
}
for name, function in ACTIVATIONS.items():
    case("dense", lambda x, w, b, g=function: g(f.linear(x, w, b)), [normal(5, 7), normal(3, 7), normal(3)],
         activation=name)
case("dense", lambda x, w: f.linear(x, w), [normal(2, 3, 5), normal(4, 5)], activation="identity")

for a, b, ta, tb in [((3, 4), (4, 5), 0, 0), ((2, 4, 3), (2, 4, 5), 1, 0), ((2, 2, 3, 4), (2, 2, 5, 4), 0, 1),
                     ((4, 1), (6, 4), 1, 1)]:
    case("matmul", lambda x, y, s=ta, t=tb: (x.mT if s else x) @ (y.mT if t else y), [normal(*a), normal(*b)],
         ta=bool(ta), tb=bool(tb))

case("sum", torch.sum, [normal(4, 5)])
case("mean", torch.mean, [normal(4, 5)])
for axis in range(3):
    case("sum_axis", lambda x, k=axis: x.sum(k), [normal(3, 4, 5)], axis=axis)
    case("mean_axis", lambda x, k=axis: x.mean(k), [normal(3, 4, 5)], axis=axis)
    case("max_axis", lambda x, k=axis: x.max(k).values, [normal(3, 4, 5)], axis=axis)
    case("min_axis", lambda x, k=axis: x.min(k).values, [normal(3, 4, 5)], axis=axis)
    case("slice", lambda x, k=axis: x.narrow(k, 1, 2), [normal(3, 4, 5)], axis=axis)
    case("concat", lambda x, y, k=axis: torch.cat([x, y], k), [normal(3, 3, 3), normal(3, 3, 3)], axis=axis)
    case("pad", lambda x, k=axis: f.pad(x, [0, 0] * (2 - k) + [1, 2], value=0.5), [normal(2, 3, 4)], axis=axis)
for order in [[1, 0, 2], [2, 0, 1]]:
    case("permute", lambda x, o=order: x.permute(o), [normal(3, 4, 5)], order=order)
places = rng.integers(0, 4, (3, 2, 5))
case("gather", lambda x: torch.gather(x, 1, torch.tensor(places)), [normal(3, 4, 5)], axis=1,
     codes=places.reshape(-1).tolist())
case("softmax", lambda x: torch.softmax(x, -1), [normal(4, 7) * 5])
case("log_softmax", lambda x: torch.log_softmax(x, -1), [normal(4, 7) * 50])

# Losses: rows of a target that needs no gradient in PyTorch are given as inputs here too, where PyTorch can.
rows = single(normal(6) ** 2)


def weighted(loss, w):
    """Σ wᵢ Σⱼ lossᵢⱼ."""
    return (loss.reshape(loss.shape[0], -1).sum(1) * torch.tensor(w)).sum()


def contrastive(a, b, y, margin):
    """Hadsell, Chopra & LeCun 2006, equation 4, with y = 1 for pairs that belong together."""
    d = f.pairwise_distance(a, b)
    return 0.5 * (y * d**2 + (1 - y) * torch.relu(margin - d) ** 2)


for w in [None, rows]:
    weights = [1.0] * 6 if w is None else w
    data = {} if w is None else {"weights": w.tolist()}
    pair = lambda: [normal(6, 3), normal(6, 3)]
    case("mse", lambda a, b: weighted(0.5 * f.mse_loss(a, b, reduction="none"), weights), pair(), **data)
    case("l1", lambda a, b: weighted(f.l1_loss(a, b, reduction="none"), weights), pair(), **data)
    case("huber", lambda a, b: weighted(f.huber_loss(a, b, reduction="none", delta=0.8), weights), pair(), delta=0.8,
         **data)
    case("quantile", lambda a, b: weighted(torch.maximum(0.3 * (b - a), -0.7 * (b - a)), weights), pair(), tau=0.3, **data)
    case("bce_with_logits", lambda a, b: weighted(f.binary_cross_entropy_with_logits(a, b, reduction="none"), weights),
         [normal(6, 3) * 30, uniform(6, 3)], **data)
    case("poisson", lambda a, b: weighted(f.poisson_nll_loss(a, b, reduction="none"), weights), pair(), **data)
    case("hinge", lambda a, b: weighted(torch.relu(1 - a * b), weights), pair(), **data)
    case("kl_divergence", lambda a, b: weighted(f.kl_div(a, b, reduction="none"), weights),
         [normal(6, 3), uniform(6, 3)], **data)
    case("cosine_loss", lambda a, b: weighted(1 - f.cosine_similarity(a, b), weights), pair(), **data)
    case("triplet", lambda a, b, c: weighted(f.triplet_margin_loss(a, b, c, margin=0.4, reduction="none"), weights),
         [normal(6, 3), normal(6, 3), normal(6, 3)], margin=0.4, **data)
    together = rng.integers(0, 2, 6).astype(float)
    case("contrastive", lambda a, b, y: weighted(contrastive(a, b, y, 2.5), weights),
         [normal(6, 3), normal(6, 3), together], margin=2.5, **data)
    for smoothing in [0.0, 0.1]:
        labels = rng.integers(0, 5, 6)
        for classes in [None, single(uniform(5) + 0.1)]:
            cw = None if classes is None else torch.tensor(classes)
            extra = {} if classes is None else {"class_weights": classes.tolist()}
            case("softmax_cross_entropy",
                 lambda a: weighted(f.cross_entropy(a, torch.tensor(labels), weight=cw, reduction="none",
                                                    label_smoothing=smoothing), weights),
                 [normal(6, 5) * 4], smoothing=smoothing, codes=labels.tolist(), **extra, **data)

for x, k, s, p, d, g in [((2, 1, 6, 5), (3, 1, 3, 3), [1, 1], [0, 0], [1, 1], 1),
                         ((3, 4, 7, 6), (4, 2, 3, 2), [2, 1], [1, 2], [1, 2], 2),
                         ((9, 3, 4, 4), (2, 3, 1, 1), [1, 1], [0, 0], [1, 1], 1),
                         ((2, 4, 5, 5), (4, 1, 3, 3), [2, 2], [1, 1], [1, 1], 4)]:
    case("conv2d", lambda a, b, c: f.conv2d(a, b, c, s, p, d, g), [normal(*x), normal(*k), normal(k[0])], stride=s,
         padding=p, dilation=d, groups=g)
case("conv1d", lambda a, b: f.conv1d(a, b, None, 2, 2, 2), [normal(2, 3, 11), normal(4, 3, 3)], stride=[1, 2],
     padding=[0, 2], dilation=[1, 2], groups=1)
for size, s, p in [([2, 2], [2, 2], [0, 0]), ([3, 2], [1, 2], [1, 1])]:
    case("max_pool2d", lambda x: f.max_pool2d(x, size, s, p), [normal(2, 3, 6, 5)], size=size, stride=s, padding=p)
    case("avg_pool2d", lambda x: f.avg_pool2d(x, size, s, p), [normal(2, 3, 6, 5)], size=size, stride=s, padding=p)
case("global_avg_pool", lambda x: x.mean([2, 3]), [normal(2, 3, 4, 5)])
case("global_max_pool", lambda x: f.adaptive_max_pool2d(x, 1)[:, :, 0, 0], [normal(2, 3, 4, 5)])

case("layer_norm", lambda x, g, b: f.layer_norm(x, [7], g, b), [normal(2, 3, 7) * 3 + 1, normal(7), normal(7)])
case("rms_norm", lambda x, g: f.rms_norm(x, [7], g, 1e-6), [normal(5, 7), normal(7)])
case("group_norm", lambda x, g, b: f.group_norm(x, 2, g, b), [normal(3, 4, 2, 3), normal(4), normal(4)])
for shape in [(6, 3), (4, 3, 2, 3)]:
    case("batch_norm", lambda x, g, b: f.batch_norm(x, None, None, g, b, True), [normal(*shape), normal(3), normal(3)])
moments = single(np.stack([normal(3), uniform(3) + 0.5]))
case("batch_norm_with", lambda x, g, b: f.batch_norm(x, *torch.tensor(moments), g, b, False),
     [normal(4, 3, 2), normal(3), normal(3)], moments=moments.reshape(-1).tolist())

codes = rng.integers(0, 6, 10).tolist()
case("embedding", lambda t: f.embedding(torch.tensor(codes), t), [normal(6, 4)], codes=codes)
for mode in ["sum", "mean"]:
    case("embedding_bag", lambda t: f.embedding_bag(torch.tensor(codes), t, torch.tensor([0, 3, 3, 4]), mode=mode),
         [normal(6, 4)], codes=codes, starts=[0, 3, 3, 4], mean=mode == "mean")
for causal in [False, True]:
    case("attention", lambda q, k, v: f.scaled_dot_product_attention(q, k, v, is_causal=causal),
         [normal(2, 2, 9, 4), normal(2, 2, 9, 4), normal(2, 2, 9, 3)], causal=causal)
case("attention", lambda q, k, v: f.scaled_dot_product_attention(q, k, v), [normal(70, 3), normal(90, 3), normal(90, 2)],
     causal=False)

gru = [normal(4, 3), normal(4, 2), normal(6, 3), normal(6, 2), normal(6), normal(6)]
case("gru_cell", torch.gru_cell, gru)
lstm = [normal(4, 3), normal(4, 2), normal(4, 2), normal(8, 3), normal(8, 2), normal(8), normal(8)]
case("lstm_cell", lambda x, h, c, w, u, b, d: torch.cat(torch.lstm_cell(x, [h, c], w, u, b, d), 1), lstm)

sequences = [normal(3, 5, 4), normal(3, 2), normal(6, 4), normal(6, 2), normal(6), normal(6)]
case("gru", lambda x, h, *w: torch.gru(x, h[None], w, True, 1, 0.0, False, False, True)[0], sequences)
sequences = [normal(3, 5, 4), normal(3, 2), normal(3, 2), normal(8, 4), normal(8, 2), normal(8), normal(8)]
case("lstm", lambda x, h, c, *w: torch.lstm(x, [h[None], c[None]], w, True, 1, 0.0, False, False, True)[0], sequences)

finish(__doc__, {"crates/autodiff/tests/data/ops.json": {"made_by": MADE_BY, "cases": cases}}, 1e-12)
