//! burn's training and optimizer steps behind the C interface of `benches/networks/src/lib.rs`, as its users would write them: its own
//! modules, `Autodiff<Flex>`, from PyTorch's weights.

use std::ffi::{CStr, c_char};
use std::ptr::null_mut;
use std::time::Instant;

use burn::backend::{Autodiff, Flex};
use burn::module::{Module, Param};
use burn::nn::attention::generate_autoregressive_mask;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::gru::{Gru, GruConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::transformer::{TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput};
use burn::nn::{BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear};
use burn::nn::{PaddingConfig2d, Relu};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdaGradConfig, Adam, AdamConfig, AdamWConfig, GradientsParams, Optimizer, RmsPropConfig, SgdConfig,
};
use burn::prelude::*;
use safetensors::SafeTensors;

type Inner = Flex;
type Auto = Autodiff<Inner>;
type Device = <Inner as burn::tensor::backend::BackendTypes>::Device;

const DEVICE: Device = burn::backend::flex::FlexDevice;

/// Weights under PyTorch's names.
struct Weights<'a>(SafeTensors<'a>);

impl Weights<'_> {
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        Some(self.0.tensor(name).ok()?.shape().to_vec())
    }

    fn numbers(&self, name: &str) -> Option<Vec<f32>> {
        let view = self.0.tensor(name).ok()?;
        Some(view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }

    fn param<const D: usize>(&self, name: &str) -> Option<Param<Tensor<Auto, D>>> {
        Some(Param::from_data(TensorData::new(self.numbers(name)?, self.shape(name)?), &DEVICE))
    }

    /// Part `nth` of `parts` of a layer whose weight is `[out, in]`; burn's is `[in, out]`.
    fn part(&self, weight: &str, bias: &str, nth: usize, parts: usize) -> Option<Linear<Auto>> {
        let (all, bias) = (self.numbers(weight)?, self.numbers(bias)?);
        let (out, width) = (bias.len() / parts, all.len() / bias.len());
        let own = &all[nth * out * width..][..out * width];
        let turned = (0..out * width).map(|k| own[k % out * width + k / out]).collect();
        let bias = bias[nth * out..][..out].to_vec();
        Some(Linear {
            weight: Param::from_data(TensorData::new(turned, [width, out]), &DEVICE),
            bias: Some(Param::from_data(TensorData::new(bias, [out]), &DEVICE)),
        })
    }

    fn linear(&self, at: &str) -> Option<Linear<Auto>> {
        self.part(&format!("{at}.weight"), &format!("{at}.bias"), 0, 1)
    }

    fn conv(&self, at: &str, padding: usize) -> Option<Conv2d<Auto>> {
        let weight = self.param::<4>(&format!("{at}.weight"))?;
        let [out, from, height, width] = weight.dims();
        let padding = PaddingConfig2d::Explicit(padding, padding, padding, padding);
        let mut conv = Conv2dConfig::new([from, out], [height, width])
            .with_padding(padding)
            .with_bias(false)
            .init(&DEVICE);
        conv.weight = weight;
        conv.bias = self.param(&format!("{at}.bias"));
        Some(conv)
    }

    fn batch_norm(&self, at: &str) -> Option<BatchNorm<Auto>> {
        let gamma = self.param::<1>(&format!("{at}.weight"))?;
        let mut norm = BatchNormConfig::new(gamma.dims()[0]).init(&DEVICE);
        (norm.gamma, norm.beta) = (gamma, self.param(&format!("{at}.bias"))?);
        Some(norm)
    }

    fn layer_norm(&self, at: &str) -> Option<LayerNorm<Auto>> {
        let gamma = self.param::<1>(&format!("{at}.weight"))?;
        let mut norm = LayerNormConfig::new(gamma.dims()[0]).init(&DEVICE);
        (norm.gamma, norm.beta) = (gamma, Some(self.param(&format!("{at}.bias"))?));
        Some(norm)
    }

    fn embedding(&self, at: &str) -> Option<Embedding<Auto>> {
        let weight = self.param::<2>(&format!("{at}.weight"))?;
        let [codes, width] = weight.dims();
        let mut table = EmbeddingConfig::new(codes, width).init(&DEVICE);
        table.weight = weight;
        Some(table)
    }
}

#[derive(Module, Debug)]
struct Mlp<B: Backend> {
    layers: [Linear<B>; 3],
    relu: Relu,
}

impl<B: Backend> Mlp<B> {
    fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let [first, second, last] = &self.layers;
        let x = self.relu.forward(first.forward(x));
        last.forward(self.relu.forward(second.forward(x)))
    }
}

#[derive(Module, Debug)]
struct LeNet<B: Backend> {
    convs: [Conv2d<B>; 2],
    dense: Linear<B>,
    last: Linear<B>,
    pool: MaxPool2d,
    relu: Relu,
}

impl<B: Backend> LeNet<B> {
    fn forward(&self, mut x: Tensor<B, 4>) -> Tensor<B, 2> {
        for conv in &self.convs {
            x = self.pool.forward(self.relu.forward(conv.forward(x)));
        }
        self.last.forward(self.relu.forward(self.dense.forward(x.flatten(1, 3))))
    }
}

#[derive(Module, Debug)]
struct Residual<B: Backend> {
    convs: [Conv2d<B>; 2],
    norms: [BatchNorm<B>; 2],
}

#[derive(Module, Debug)]
struct ResNet<B: Backend> {
    conv: Conv2d<B>,
    norm: BatchNorm<B>,
    blocks: [Residual<B>; 2],
    last: Linear<B>,
    relu: Relu,
}

impl<B: Backend> ResNet<B> {
    fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 2> {
        let mut x = self.relu.forward(self.norm.forward(self.conv.forward(x)));
        for Residual { convs, norms } in &self.blocks {
            let y = self.relu.forward(norms[0].forward(convs[0].forward(x.clone())));
            x = self.relu.forward(x + norms[1].forward(convs[1].forward(y)));
        }
        let [n, c, _, _] = x.dims();
        self.last.forward(x.mean_dims(&[2, 3]).reshape([n, c]))
    }
}

#[derive(Module, Debug)]
struct Recurrent<B: Backend> {
    embedding: Embedding<B>,
    gru: Gru<B>,
    last: Linear<B>,
}

impl<B: Backend> Recurrent<B> {
    fn forward(&self, codes: Tensor<B, 2, Int>) -> Tensor<B, 2> {
        self.last.forward(self.gru.forward(self.embedding.forward(codes), None)).flatten(0, 1)
    }
}

#[derive(Module, Debug)]
struct Transformer<B: Backend> {
    embedding: Embedding<B>,
    position: Param<Tensor<B, 2>>,
    encoder: TransformerEncoder<B>,
    norm: LayerNorm<B>,
    last: Linear<B>,
}

impl<B: Backend> Transformer<B> {
    fn forward(&self, codes: Tensor<B, 2, Int>) -> Tensor<B, 2> {
        let [n, t] = codes.dims();
        let mask = generate_autoregressive_mask(n, t, &codes.device());
        let x = self.embedding.forward(codes) + self.position.val().unsqueeze();
        let y = self.encoder.forward(TransformerEncoderInput::new(x).mask_attn(mask));
        self.last.forward(self.norm.forward(y)).flatten(0, 1)
    }
}

#[derive(Module, Debug)]
enum Net<B: Backend> {
    Mlp(Mlp<B>),
    LeNet(LeNet<B>),
    ResNet(ResNet<B>),
    Recurrent(Recurrent<B>),
    Transformer(Transformer<B>),
}

/// What goes into a network.
#[derive(Clone)]
enum Input<B: Backend> {
    Rows(Tensor<B, 2>),
    Images(Tensor<B, 4>),
    Codes(Tensor<B, 2, Int>),
}

impl<B: Backend> Net<B> {
    fn forward(&self, x: Input<B>) -> Tensor<B, 2> {
        match (self, x) {
            (Self::Mlp(net), Input::Rows(x)) => net.forward(x),
            (Self::LeNet(net), Input::Images(x)) => net.forward(x),
            (Self::ResNet(net), Input::Images(x)) => net.forward(x),
            (Self::Recurrent(net), Input::Codes(x)) => net.forward(x),
            (Self::Transformer(net), Input::Codes(x)) => net.forward(x),
            _ => panic!("the network does not take this input"),
        }
    }
}

/// The networks that this file knows, by the expressions of `run.py`.
#[derive(Clone, Copy)]
enum Kind {
    Mlp,
    LeNet,
    ResNet,
    Recurrent,
    Transformer,
}

impl Kind {
    fn of(spec: &str) -> Option<Self> {
        let two_equal = || {
            let (a, b) = spec.strip_prefix("mlp(")?.strip_suffix(')')?.split_once(", ")?;
            (a == b).then_some(Self::Mlp)
        };
        match spec {
            "conv(32, kernel=5, padding=0) relu pool(2) conv(64, kernel=5, padding=0) relu pool(2) flatten dense(128) relu" => {
                Some(Self::LeNet)
            }
            "embedding(128) gru(128)" => Some(Self::Recurrent),
            "transformer(d=128, heads=4, layers=4)" => Some(Self::Transformer),
            _ if spec.ends_with("globalpool") && spec.matches("residual(").count() == 2 => Some(Self::ResNet),
            _ => two_equal(),
        }
    }

    fn build(self, w: &Weights<'_>) -> Option<Net<Auto>> {
        let relu = Relu::new();
        Some(match self {
            Self::Mlp => Net::Mlp(Mlp { layers: [w.linear("0")?, w.linear("2")?, w.linear("4")?], relu }),
            Self::LeNet => Net::LeNet(LeNet {
                convs: [w.conv("0", 0)?, w.conv("3", 0)?],
                dense: w.linear("7")?,
                last: w.linear("9")?,
                pool: MaxPool2dConfig::new([2, 2]).init(),
                relu,
            }),
            Self::ResNet => {
                let block = |at: &str| {
                    Some(Residual {
                        convs: [w.conv(&format!("{at}.body.0"), 1)?, w.conv(&format!("{at}.body.3"), 1)?],
                        norms: [
                            w.batch_norm(&format!("{at}.body.1"))?,
                            w.batch_norm(&format!("{at}.body.4"))?,
                        ],
                    })
                };
                let (conv, norm) = (w.conv("0", 1)?, w.batch_norm("1")?);
                Net::ResNet(ResNet {
                    conv,
                    norm,
                    blocks: [block("3")?, block("5")?],
                    last: w.linear("8")?,
                    relu,
                })
            }
            Self::Recurrent => {
                let mut gru = GruConfig::new(128, 128, true).init(&DEVICE);
                let gates = [&mut gru.reset_gate, &mut gru.update_gate, &mut gru.new_gate];
                for (nth, gate) in gates.into_iter().enumerate() {
                    gate.input_transform = w.part("1.weight_ih_l0", "1.bias_ih_l0", nth, 3)?;
                    gate.hidden_transform = w.part("1.weight_hh_l0", "1.bias_hh_l0", nth, 3)?;
                }
                Net::Recurrent(Recurrent { embedding: w.embedding("0")?, gru, last: w.linear("2")? })
            }
            Self::Transformer => {
                let config =
                    TransformerEncoderConfig::new(128, 512, 4, 4).with_dropout(0.0).with_norm_first(true);
                let mut encoder = config.init(&DEVICE);
                for (nth, layer) in encoder.layers.iter_mut().enumerate() {
                    let at = nth + 2;
                    let (weight, bias) =
                        (format!("{at}.self_attn.in_proj_weight"), format!("{at}.self_attn.in_proj_bias"));
                    layer.mha.query = w.part(&weight, &bias, 0, 3)?;
                    layer.mha.key = w.part(&weight, &bias, 1, 3)?;
                    layer.mha.value = w.part(&weight, &bias, 2, 3)?;
                    layer.mha.output = w.linear(&format!("{at}.self_attn.out_proj"))?;
                    layer.pwff.linear_inner = w.linear(&format!("{at}.linear1"))?;
                    layer.pwff.linear_outer = w.linear(&format!("{at}.linear2"))?;
                    // The norm before attention is burn's second.
                    layer.norm_2 = w.layer_norm(&format!("{at}.norm1"))?;
                    layer.norm_1 = w.layer_norm(&format!("{at}.norm2"))?;
                }
                Net::Transformer(Transformer {
                    embedding: w.embedding("0")?,
                    position: w.param("1.weight")?,
                    encoder,
                    norm: w.layer_norm("6")?,
                    last: w.linear("7")?,
                })
            }
        })
    }
}

/// A network and its optimizer.
pub struct Handle {
    kind: Kind,
    /// Words of the input's kind, as in `image 1 28 28`.
    input: Vec<String>,
    lr: f64,
    net: Option<Net<Auto>>,
    adam: OptimizerAdaptor<Adam, Net<Auto>, Auto>,
}

fn text<'a>(p: *const c_char) -> &'a str {
    // SAFETY: callers hand over texts that end in 0.
    unsafe { CStr::from_ptr(p) }.to_str().expect("UTF-8")
}

/// The pool is the process's; it keeps the number of threads that it was first given.
fn use_threads(threads: usize) {
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
}

/// A new network, or null for one that this file does not know.
///
/// # Safety
/// Texts end in 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn burn_new(
    spec: *const c_char,
    input: *const c_char,
    _classes: usize,
    rule: *const c_char,
    threads: usize,
) -> *mut Handle {
    let lr =
        text(rule).strip_prefix("adam(lr=").and_then(|r| r.strip_suffix(')')).and_then(|r| r.parse().ok());
    let (Some(kind), Some(lr)) = (Kind::of(text(spec)), lr) else { return null_mut() };
    use_threads(threads);
    let input = text(input).split(' ').map(str::to_owned).collect();
    let adam = AdamConfig::new().with_epsilon(1e-8).init();
    Box::into_raw(Box::new(Handle { kind, input, lr, net: None, adam }))
}

/// Takes the weights of a safetensors file, in memory, under PyTorch's names; says whether they are all there.
///
/// # Safety
/// The handle is `burn_new`'s; `bytes` has `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn burn_load(handle: *mut Handle, bytes: *const u8, len: usize) -> bool {
    // SAFETY: as this function's contract says.
    let (handle, bytes) = unsafe { (&mut *handle, std::slice::from_raw_parts(bytes, len)) };
    handle.net = SafeTensors::deserialize(bytes).ok().and_then(|w| handle.kind.build(&Weights(w)));
    handle.net.is_some()
}

/// `repeat` steps on one batch of `rows` rows; the seconds. The mean loss before the last one goes to `loss`.
///
/// # Safety
/// The handle is `burn_new`'s and loaded; slices are as long as the batch of its input says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn burn_step(
    handle: *mut Handle,
    dense: *const f32,
    codes: *const u32,
    target: *const f32,
    rows: usize,
    repeat: usize,
    loss: *mut f64,
) -> f64 {
    // SAFETY: as this function's contract says.
    let handle = unsafe { &mut *handle };
    let sizes: Vec<usize> = handle.input[1..].iter().map(|n| n.parse().expect("a number")).collect();
    let (x, y): (_, Vec<i32>) = if handle.input[0] == "tokens" {
        let context = sizes[1];
        // SAFETY: as this function's contract says.
        let codes = unsafe { std::slice::from_raw_parts(codes, rows * (context + 1)) };
        let part = |from: usize| {
            codes
                .chunks_exact(context + 1)
                .flat_map(|row| &row[from..][..context])
                .map(|&c| c as i32)
                .collect::<Vec<_>>()
        };
        (Input::Codes(Tensor::from_data(TensorData::new(part(0), [rows, context]), &DEVICE)), part(1))
    } else {
        let width: usize = sizes.iter().product();
        // SAFETY: as this function's contract says.
        let (x, y) = unsafe {
            (std::slice::from_raw_parts(dense, rows * width), std::slice::from_raw_parts(target, rows))
        };
        let x = match sizes[..] {
            [c, h, w] => {
                Input::Images(Tensor::from_data(TensorData::new(x.to_vec(), [rows, c, h, w]), &DEVICE))
            }
            _ => Input::Rows(Tensor::from_data(TensorData::new(x.to_vec(), [rows, width]), &DEVICE)),
        };
        (x, y.iter().map(|&k| k as i32).collect())
    };
    let count = y.len();
    let y = Tensor::<Auto, 1, Int>::from_data(TensorData::new(y, [count]), &DEVICE);
    let cross_entropy = CrossEntropyLossConfig::new().init(&DEVICE);
    let mut net = handle.net.take().expect("weights");
    let start = Instant::now();
    let mut last = None;
    for _ in 0..repeat {
        let value = cross_entropy.forward(net.forward(x.clone()), y.clone());
        let grads = GradientsParams::from_grads(value.backward(), &net);
        net = handle.adam.step(handle.lr, net, grads);
        last = Some(value);
    }
    let seconds = start.elapsed().as_secs_f64();
    handle.net = Some(net);
    // SAFETY: as this function's contract says.
    unsafe { *loss = last.map_or(f64::NAN, |value| f64::from(value.into_scalar())) };
    seconds
}

#[derive(Module, Debug)]
struct Tensors<B: Backend> {
    list: Vec<Param<Tensor<B, 1>>>,
}

type Step = Box<dyn FnMut(Tensors<Auto>, GradientsParams) -> Tensors<Auto>>;

fn stepper(mut rule: impl Optimizer<Tensors<Auto>, Auto> + 'static) -> Step {
    Box::new(move |theta, grads| rule.step(1e-6, theta, grads))
}

/// An optimizer with parameters and gradients of its own.
pub struct Stepper {
    step: Step,
    theta: Option<Tensors<Auto>>,
    grads: Vec<Vec<f32>>,
}

/// A new optimizer for tensors of `sizes`, by PyTorch's defaults, or null for a rule that burn does not have.
///
/// # Safety
/// The text ends in 0; `sizes` has `count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn burn_optimizer_new(
    rule: *const c_char,
    sizes: *const usize,
    count: usize,
    threads: usize,
) -> *mut Stepper {
    let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
    let step = match text(rule) {
        "momentum" => stepper(SgdConfig::new().with_momentum(Some(momentum)).init()),
        "adam" => stepper(AdamConfig::new().with_epsilon(1e-8).init()),
        "adamw" => stepper(AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(1e-2).init()),
        "rmsprop" => stepper(RmsPropConfig::new().with_momentum(0.0).with_epsilon(1e-8).init()),
        "adagrad" => stepper(AdaGradConfig::new().with_epsilon(1e-10).init()),
        _ => return null_mut(),
    };
    use_threads(threads);
    // SAFETY: as this function's contract says.
    let sizes = unsafe { std::slice::from_raw_parts(sizes, count) };
    let numbers = |n: usize, scale: f32| (0..n).map(|k| scale * (k as f32).sin()).collect::<Vec<_>>();
    let list =
        sizes.iter().map(|&n| Param::from_data(TensorData::new(numbers(n, 1.0), [n]), &DEVICE)).collect();
    let grads = sizes.iter().map(|&n| numbers(n, 1e-3)).collect();
    Box::into_raw(Box::new(Stepper { step, theta: Some(Tensors { list }), grads }))
}

/// `repeat` steps; the seconds. A step consumes its gradients, as those of `backward` are consumed: they are made anew before each one,
/// untimed.
///
/// # Safety
/// The handle is `burn_optimizer_new`'s.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn burn_optimizer_step(handle: *mut Stepper, repeat: usize) -> f64 {
    // SAFETY: as this function's contract says.
    let handle = unsafe { &mut *handle };
    let mut theta = handle.theta.take().expect("parameters");
    let mut seconds = 0.0;
    for _ in 0..repeat {
        let mut grads = GradientsParams::new();
        for (param, grad) in theta.list.iter().zip(&handle.grads) {
            let grad = TensorData::new(grad.clone(), [grad.len()]);
            grads.register::<Inner, 1>(param.id, Tensor::from_data(grad, &DEVICE));
        }
        let start = Instant::now();
        theta = (handle.step)(theta, grads);
        seconds += start.elapsed().as_secs_f64();
    }
    handle.theta = Some(theta);
    seconds
}

/// Frees an optimizer.
///
/// # Safety
/// The handle is `burn_optimizer_new`'s and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn burn_optimizer_free(handle: *mut Stepper) {
    // SAFETY: as this function's contract says.
    drop(unsafe { Box::from_raw(handle) });
}
