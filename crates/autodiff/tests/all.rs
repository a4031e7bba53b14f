//! Every operation and its gradient against PyTorch's, recorded by `scripts/reference/autodiff.py`.

use serde_json::Value;
use thalweg_autodiff::{Activation, CrossEntropy, Number, PoolWindow, Shape, Tape, Var, Window, Workspace};
use thalweg_core::{Float, Kind, Layout, Threads};

fn sizes(v: &Value) -> Vec<usize> {
    v.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect()
}

fn numbers<N: Number>(v: &Value) -> Vec<N> {
    v.as_array().unwrap().iter().map(|x| N::from_f64(x.as_f64().unwrap())).collect()
}

fn codes(v: &Value) -> Vec<u32> {
    sizes(v).into_iter().map(|x| x as u32).collect()
}

/// The settings of one case.
struct Settings<'a>(&'a Value);

impl Settings<'_> {
    fn number(&self, name: &str) -> f64 {
        self.0[name].as_f64().unwrap()
    }
    fn size(&self, name: &str) -> usize {
        self.0[name].as_u64().unwrap() as usize
    }
    fn truth(&self, name: &str) -> bool {
        self.0[name].as_bool().unwrap()
    }
    fn pair(&self, name: &str) -> [usize; 2] {
        sizes(&self.0[name]).try_into().unwrap()
    }
    fn constant<N: Number>(&self, tape: &mut Tape<'_, N>, name: &str) -> Option<Var> {
        let data = numbers(self.0.get(name)?);
        Some(tape.constant(&data, [data.len()]))
    }
    fn window(&self) -> Window {
        Window {
            stride: self.pair("stride"),
            padding: self.pair("padding"),
            dilation: self.pair("dilation"),
            groups: self.size("groups"),
        }
    }
    fn pool(&self) -> PoolWindow {
        PoolWindow { size: self.pair("size"), stride: self.pair("stride"), padding: self.pair("padding") }
    }
    fn activation(&self) -> Activation {
        match self.0["activation"].as_str().unwrap() {
            "identity" => Activation::Identity,
            "relu" => Activation::Relu,
            "gelu" => Activation::Gelu,
            "silu" => Activation::Silu,
            "tanh" => Activation::Tanh,
            "sigmoid" => Activation::Sigmoid,
            "softplus" => Activation::Softplus,
            "elu" => Activation::Elu(0.7),
            "leaky_relu" => Activation::LeakyRelu(0.2),
            other => panic!("no activation {other}"),
        }
    }
}

fn call<N: Number>(op: &str, t: &mut Tape<'_, N>, x: &[Var], s: &Settings<'_>) -> Var {
    let w = s.constant(t, "weights");
    let third = x.get(2).copied();
    match op {
        "neg" => t.neg(x[0]),
        "exp" => t.exp(x[0]),
        "ln" => t.ln(x[0]),
        "sqrt" => t.sqrt(x[0]),
        "square" => t.square(x[0]),
        "abs" => t.abs(x[0]),
        "tanh" => t.tanh(x[0]),
        "sigmoid" => t.sigmoid(x[0]),
        "relu" => t.relu(x[0]),
        "softplus" => t.softplus(x[0]),
        "gelu" => t.gelu(x[0]),
        "silu" => t.silu(x[0]),
        "leaky_relu" => t.leaky_relu(x[0], s.number("a")),
        "elu" => t.elu(x[0], s.number("a")),
        "add" => t.add(x[0], x[1]),
        "sub" => t.sub(x[0], x[1]),
        "mul" => t.mul(x[0], x[1]),
        "div" => t.div(x[0], x[1]),
        "dense" => t.dense(x[0], x[1], third, s.activation()),
        "matmul" => t.matmul_of(x[0], x[1], [s.truth("ta"), s.truth("tb")]),
        "sum" => t.sum(x[0]),
        "mean" => t.mean(x[0]),
        "sum_axis" => t.sum_axis(x[0], s.size("axis")),
        "mean_axis" => t.mean_axis(x[0], s.size("axis")),
        "where" => {
            let mask = s.constant(t, "mask").unwrap();
            let mask = t.reshape(mask, t.shape(x[0]));
            t.choose(mask, x[0], x[1])
        }
        "less" => {
            let mask = t.less(x[0], x[1]);
            t.mul(mask, x[0])
        }
        "min_axis" => t.min_axis(x[0], s.size("axis")),
        "max_axis" => t.max_axis(x[0], s.size("axis")),
        "slice" => t.slice(x[0], s.size("axis"), 1..3),
        "concat" => t.concat(x, s.size("axis")),
        "pad" => t.pad(x[0], s.size("axis"), 1, 2, 0.5),
        "permute" => t.permute(x[0], &sizes(&s.0["order"])),
        "gather" => t.gather(x[0], s.size("axis"), &codes(&s.0["codes"])),
        "softmax" => t.softmax(x[0]),
        "log_softmax" => t.log_softmax(x[0]),
        "mse" => t.mse(x[0], x[1], w),
        "l1" => t.l1(x[0], x[1], w),
        "huber" => t.huber(x[0], x[1], s.number("delta"), w),
        "quantile" => t.quantile(x[0], x[1], s.number("tau"), w),
        "bce_with_logits" => t.bce_with_logits(x[0], x[1], w),
        "poisson" => t.poisson(x[0], x[1], w),
        "hinge" => t.hinge(x[0], x[1], w),
        "kl_divergence" => t.kl_divergence(x[0], x[1], w),
        "cosine_loss" => t.cosine_loss(x[0], x[1], w),
        "triplet" => t.triplet(x[0], x[1], x[2], s.number("margin"), w),
        "contrastive" => t.contrastive(x[0], x[1], x[2], s.number("margin"), w),
        "softmax_cross_entropy" => {
            let class_weights = s.constant(t, "class_weights");
            let options = CrossEntropy { weights: w, class_weights, smoothing: s.number("smoothing") };
            t.softmax_cross_entropy(x[0], &codes(&s.0["codes"]), options)
        }
        "conv2d" => t.conv2d(x[0], x[1], third, s.window(), Activation::Identity),
        "conv1d" => t.conv1d(x[0], x[1], None, s.window(), Activation::Identity),
        "max_pool2d" => t.max_pool2d(x[0], s.pool()),
        "avg_pool2d" => t.avg_pool2d(x[0], s.pool()),
        "global_avg_pool" => t.global_avg_pool(x[0]),
        "global_max_pool" => t.global_max_pool(x[0]),
        "layer_norm" => t.layer_norm(x[0], Some(x[1]), third, 1e-5),
        "rms_norm" => t.rms_norm(x[0], Some(x[1]), 1e-6),
        "group_norm" => t.group_norm(x[0], 2, Some(x[1]), third, 1e-5),
        "batch_norm" => t.batch_norm(x[0], Some(x[1]), third, 1e-5)[0],
        "batch_norm_with" => {
            let moments = t.constant(&numbers(&s.0["moments"]), [2, 3]);
            t.batch_norm_with(x[0], moments, Some(x[1]), third, 1e-5)
        }
        "embedding" => t.embedding(x[0], &codes(&s.0["codes"]), [10]),
        "embedding_bag" => {
            t.embedding_bag(x[0], &codes(&s.0["codes"]), &codes(&s.0["starts"]), s.truth("mean"))
        }
        "attention" => t.attention(x[0], x[1], x[2], s.truth("causal"), None),
        "gru" => t.gru(x[0], x[1], [x[2], x[3]], Some([x[4], x[5]])),
        "gru_cell" => t.gru_cell(x[0], x[1], [x[2], x[3]], Some([x[4], x[5]])),
        "lstm" => {
            let both = t.lstm(x[0], [x[1], x[2]], [x[3], x[4]], Some([x[5], x[6]]));
            t.select(both, 0, 0)
        }
        "lstm_cell" => {
            let state = t.lstm_cell(x[0], [x[1], x[2]], [x[3], x[4]], Some([x[5], x[6]]));
            t.concat(&state, 1)
        }
        other => panic!("no operation {other}"),
    }
}

/// Relative to the largest number of the tensor: sums of at most a few hundred terms of that size, each with a rounding of ε/2.
/// Inputs are numbers that f32 holds too, so nothing else is lost.
fn close<F: Float>(ours: &[F], theirs: &[f64], tolerance: f64, what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let top = theirs.iter().fold(0.0f64, |top, x| top.max(x.abs()));
    for (i, (a, &b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a.to_f64() - b).abs() <= tolerance * top, "{what}: number {i} is {a}, PyTorch has {b}");
    }
}

fn agrees<F: Float + Number>(tolerance: f64) {
    const AXES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/ops.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let cases = document["cases"].as_array().unwrap();
    assert!(cases.len() > 120);
    let mut workspace = Workspace::<F>::new(Threads::new(2));
    for case in cases {
        let what = format!("{} {} in {}", case["op"], case["settings"], F::NAME);
        let inputs = case["inputs"].as_array().unwrap();
        let layout = inputs.iter().enumerate().fold(Layout::builder(), |layout, (i, x)| {
            let shape = sizes(&x["shape"]);
            layout.tensor(&i.to_string(), &shape, &AXES[..shape.len()], Kind::Weight)
        });
        let layout = layout.build();
        let mut theta = vec![F::default(); layout.buffer_len()];
        for (tensor, x) in layout.tensors().iter().zip(inputs) {
            theta[tensor.range()].copy_from_slice(&numbers(&x["data"]));
        }
        let mut grads = vec![F::default(); theta.len()];
        let mut tape = workspace.tape(&layout, &theta);
        let x: Vec<Var> = (0..inputs.len()).map(|i| tape.param_at(i)).collect();
        let y = call(case["op"].as_str().unwrap(), &mut tape, &x, &Settings(&case["settings"]));
        assert_eq!(tape.shape(y), Shape::new(&sizes(&case["y"]["shape"])), "{what}");
        close(tape.value(y), &numbers::<f64>(&case["y"]["data"]), tolerance, &what);
        tape.backward_from(y, &numbers(&case["dy"]), &mut grads);
        for (i, (tensor, theirs)) in
            layout.tensors().iter().zip(case["grads"].as_array().unwrap()).enumerate()
        {
            let what = format!("{what}, gradient {i}");
            close(&grads[tensor.range()], &numbers::<f64>(theirs), tolerance, &what);
        }
    }
}

#[test]
fn agrees_with_pytorch() {
    agrees::<f64>(1e-10);
}

#[test]
fn agrees_with_pytorch_in_single_precision() {
    agrees::<f32>(1e-5);
}
