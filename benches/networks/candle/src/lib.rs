//! candle's training and optimizer steps behind the C interface of `benches/networks/src/lib.rs`, as its users would write them: its own
//! layers where they can be trained through, from PyTorch's weights.

use std::ffi::{CStr, c_char};
use std::ptr::null_mut;
use std::time::Instant;

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, IndexOp, Result, Tensor, Var};
use candle_nn::rnn::{GRU, GRUConfig, RNN, gru};
use candle_nn::{
    AdamW, BatchNorm, Conv2d, Conv2dConfig, Embedding, Init, Linear, Module, ModuleT, Optimizer,
};
use candle_nn::{
    ParamsAdamW, VarBuilder, VarMap, batch_norm, conv2d, conv2d_no_bias, embedding, linear, loss, ops,
};

struct Mlp {
    layers: [Linear; 3],
}

impl Mlp {
    fn new(inputs: usize, hidden: usize, classes: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let first = linear(inputs, hidden, vb.pp("0"))?;
        Ok(Self {
            layers: [first, linear(hidden, hidden, vb.pp("2"))?, linear(hidden, classes, vb.pp("4"))?],
        })
    }
}

impl Module for Mlp {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [first, second, last] = &self.layers;
        last.forward(&second.forward(&first.forward(x)?.relu()?)?.relu()?)
    }
}

struct LeNet {
    convs: [Conv2d; 2],
    dense: Linear,
    last: Linear,
}

impl LeNet {
    fn new(channels: usize, classes: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let config = Conv2dConfig::default();
        let convs = [conv2d(channels, 32, 5, config, vb.pp("0"))?, conv2d(32, 64, 5, config, vb.pp("3"))?];
        Ok(Self { convs, dense: linear(1024, 128, vb.pp("7"))?, last: linear(128, classes, vb.pp("9"))? })
    }
}

/// The gradient of candle's max_pool2d is a quarter of the true one (0.11); Adam's steps hardly depend on it.
impl Module for LeNet {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for conv in &self.convs {
            x = conv.forward(&x)?.relu()?.max_pool2d(2)?;
        }
        self.last.forward(&self.dense.forward(&x.flatten_from(1)?)?.relu()?)
    }
}

struct ResNet {
    convs: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
    last: Linear,
}

impl ResNet {
    fn new(channels: usize, classes: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let config = Conv2dConfig { padding: 1, ..Conv2dConfig::default() };
        let places = [
            ("0", "1"),
            ("3.body.0", "3.body.1"),
            ("3.body.3", "3.body.4"),
            ("5.body.0", "5.body.1"),
            ("5.body.3", "5.body.4"),
        ];
        let (mut convs, mut norms) = (Vec::new(), Vec::new());
        for (nth, (conv, norm)) in places.into_iter().enumerate() {
            let from = if nth == 0 { channels } else { 64 };
            convs.push(conv2d_no_bias(from, 64, 3, config, vb.pp(conv))?);
            norms.push(batch_norm(64, 1e-5, vb.pp(norm))?);
        }
        Ok(Self { convs, norms, last: linear(64, classes, vb.pp("8"))? })
    }
}

impl Module for ResNet {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let layer = |nth: usize, x: &Tensor| self.norms[nth].forward_t(&self.convs[nth].forward(x)?, true);
        let mut x = layer(0, x)?.relu()?;
        for nth in [1, 3] {
            let y = layer(nth, &x)?.relu()?;
            x = (x + layer(nth + 1, &y)?)?.relu()?;
        }
        self.last.forward(&x.mean((2, 3))?)
    }
}

struct Recurrent {
    embedding: Embedding,
    gru: GRU,
    last: Linear,
}

impl Recurrent {
    fn new(vocabulary: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            embedding: embedding(vocabulary, 128, vb.pp("0"))?,
            gru: gru(128, 128, GRUConfig::default(), vb.pp("1"))?,
            last: linear(128, vocabulary, vb.pp("2"))?,
        })
    }
}

impl Module for Recurrent {
    fn forward(&self, codes: &Tensor) -> Result<Tensor> {
        let states = self.gru.seq(&self.embedding.forward(codes)?)?;
        // One state after the other along the width.
        self.last.forward(&self.gru.states_to_tensor(&states)?.reshape(((), 128))?)
    }
}

/// The fused layer_norm and softmax_last_dim have no gradient; these have.
struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    fn new(width: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let weight = vb.get_with_hints(width, "weight", Init::Const(1.0))?;
        Ok(Self { weight, bias: vb.get_with_hints(width, "bias", Init::Const(0.0))? })
    }
}

impl Module for LayerNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::layer_norm_slow(x, &self.weight, &self.bias, 1e-5)
    }
}

struct Block {
    into: Linear,
    out: Linear,
    linear1: Linear,
    linear2: Linear,
    norm1: LayerNorm,
    norm2: LayerNorm,
}

const WIDTH: usize = 128;
const HEADS: usize = 4;

impl Block {
    fn new(vb: VarBuilder<'_>) -> Result<Self> {
        let attention = vb.pp("self_attn");
        let weight = attention.get((3 * WIDTH, WIDTH), "in_proj_weight")?;
        Ok(Self {
            into: Linear::new(weight, Some(attention.get(3 * WIDTH, "in_proj_bias")?)),
            out: linear(WIDTH, WIDTH, attention.pp("out_proj"))?,
            linear1: linear(WIDTH, 4 * WIDTH, vb.pp("linear1"))?,
            linear2: linear(4 * WIDTH, WIDTH, vb.pp("linear2"))?,
            norm1: LayerNorm::new(WIDTH, vb.pp("norm1"))?,
            norm2: LayerNorm::new(WIDTH, vb.pp("norm2"))?,
        })
    }

    fn forward(&self, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (n, t, _) = x.dims3()?;
        let qkv = self.into.forward(&self.norm1.forward(x)?)?.reshape((n, t, 3, HEADS, WIDTH / HEADS))?;
        let part = |nth: usize| qkv.i((.., .., nth))?.transpose(1, 2)?.contiguous();
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let scores = (q.matmul(&k.t()?)? / ((WIDTH / HEADS) as f64).sqrt())?.broadcast_add(mask)?;
        let y = ops::softmax(&scores, D::Minus1)?.matmul(&v)?.transpose(1, 2)?.reshape((n, t, WIDTH))?;
        let x = (x + self.out.forward(&y)?)?;
        let y = self.linear1.forward(&self.norm2.forward(&x)?)?.gelu_erf()?;
        x + self.linear2.forward(&y)?
    }
}

struct Transformer {
    embedding: Embedding,
    position: Tensor,
    mask: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    last: Linear,
}

impl Transformer {
    fn new(vocabulary: usize, context: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let mask: Vec<f32> = (0..context * context)
            .map(|k| if k % context > k / context { f32::NEG_INFINITY } else { 0.0 })
            .collect();
        Ok(Self {
            embedding: embedding(vocabulary, WIDTH, vb.pp("0"))?,
            position: vb.pp("1").get((context, WIDTH), "weight")?,
            mask: Tensor::from_vec(mask, (context, context), &Device::Cpu)?,
            blocks: (2..6).map(|at| Block::new(vb.pp(at))).collect::<Result<_>>()?,
            norm: LayerNorm::new(WIDTH, vb.pp("6"))?,
            last: linear(WIDTH, vocabulary, vb.pp("7"))?,
        })
    }
}

impl Module for Transformer {
    fn forward(&self, codes: &Tensor) -> Result<Tensor> {
        let mut x = self.embedding.forward(codes)?.broadcast_add(&self.position)?;
        for block in &self.blocks {
            x = block.forward(&x, &self.mask)?;
        }
        self.last.forward(&self.norm.forward(&x)?)?.flatten(0, 1)
    }
}

/// The network of an expression of `run.py`, if this file knows it.
fn network(
    spec: &str,
    kind: &str,
    sizes: &[usize],
    classes: usize,
    vb: VarBuilder<'_>,
) -> Result<Option<Box<dyn Module>>> {
    let lenet = "conv(32, kernel=5, padding=0) relu pool(2) conv(64, kernel=5, padding=0) relu pool(2) flatten dense(128) relu";
    let hidden = || {
        let (a, b) = spec.strip_prefix("mlp(")?.strip_suffix(')')?.split_once(", ")?;
        if a == b { a.parse().ok() } else { None }
    };
    Ok(Some(match (kind, sizes) {
        ("image", &[channels, _, _]) if spec == lenet => Box::new(LeNet::new(channels, classes, vb)?),
        ("image", &[channels, _, _])
            if spec.ends_with("globalpool") && spec.matches("residual(").count() == 2 =>
        {
            Box::new(ResNet::new(channels, classes, vb)?)
        }
        ("tokens", &[vocabulary, _]) if spec == "embedding(128) gru(128)" => {
            Box::new(Recurrent::new(vocabulary, vb)?)
        }
        ("tokens", &[vocabulary, context]) if spec == "transformer(d=128, heads=4, layers=4)" => {
            Box::new(Transformer::new(vocabulary, context, vb)?)
        }
        ("numbers", &[inputs]) => match hidden() {
            Some(hidden) => Box::new(Mlp::new(inputs, hidden, classes, vb)?),
            None => return Ok(None),
        },
        _ => return Ok(None),
    }))
}

/// A network, its parameters and its optimizer.
pub struct Handle {
    net: Box<dyn Module>,
    variables: VarMap,
    optimizer: AdamW,
    tokens: bool,
    sizes: Vec<usize>,
}

fn text<'a>(p: *const c_char) -> &'a str {
    // SAFETY: callers hand over texts that end in 0.
    unsafe { CStr::from_ptr(p) }.to_str().expect("UTF-8")
}

/// The pool is the process's; it keeps the number of threads that it was first given. Matrix products ask `RAYON_NUM_THREADS`, which
/// `run.py` sets.
fn use_threads(threads: usize) {
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
}

fn create(spec: &str, input: &str, classes: usize, rule: &str) -> Result<Option<Handle>> {
    let (kind, sizes) = input.split_once(' ').expect("a kind and sizes");
    let sizes: Vec<usize> = sizes.split(' ').map(|n| n.parse().expect("a number")).collect();
    let lr = rule.strip_prefix("adam(lr=").and_then(|r| r.strip_suffix(')')).and_then(|r| r.parse().ok());
    let variables = VarMap::new();
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let (Some(net), Some(lr)) = (network(spec, kind, &sizes, classes, vb)?, lr) else { return Ok(None) };
    let adam = ParamsAdamW { lr, weight_decay: 0.0, ..ParamsAdamW::default() };
    let optimizer = AdamW::new(variables.all_vars(), adam)?;
    Ok(Some(Handle { net, variables, optimizer, tokens: kind == "tokens", sizes }))
}

/// A new network, or null for one that this file does not know.
///
/// # Safety
/// Texts end in 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn candle_new(
    spec: *const c_char,
    input: *const c_char,
    classes: usize,
    rule: *const c_char,
    threads: usize,
) -> *mut Handle {
    use_threads(threads);
    let made = create(text(spec), text(input), classes, text(rule)).expect("a network");
    made.map_or(null_mut(), |handle| Box::into_raw(Box::new(handle)))
}

/// Takes the weights of a safetensors file, in memory, under PyTorch's names; says whether they are the network's.
///
/// # Safety
/// The handle is `candle_new`'s; `bytes` has `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn candle_load(handle: *mut Handle, bytes: *const u8, len: usize) -> bool {
    // SAFETY: as this function's contract says.
    let (handle, bytes) = unsafe { (&mut *handle, std::slice::from_raw_parts(bytes, len)) };
    let result = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).and_then(|weights| {
        if weights.len() != handle.variables.all_vars().len() {
            candle_core::bail!(
                "{} tensors for {} variables",
                weights.len(),
                handle.variables.all_vars().len()
            );
        }
        handle.variables.set(weights.into_iter())
    });
    if let Err(error) = &result {
        eprintln!("{error}");
    }
    result.is_ok()
}

impl Handle {
    /// The input and the target of a batch.
    unsafe fn batch(
        &self,
        dense: *const f32,
        codes: *const u32,
        target: *const f32,
        rows: usize,
    ) -> Result<(Tensor, Tensor)> {
        let cpu = &Device::Cpu;
        if self.tokens {
            let context = self.sizes[1];
            // SAFETY: as `candle_step`'s contract says.
            let codes = unsafe { std::slice::from_raw_parts(codes, rows * (context + 1)) };
            let codes = Tensor::from_slice(codes, (rows, context + 1), cpu)?;
            return Ok((
                codes.narrow(1, 0, context)?.contiguous()?,
                codes.narrow(1, 1, context)?.flatten_all()?,
            ));
        }
        let width: usize = self.sizes.iter().product();
        // SAFETY: as `candle_step`'s contract says.
        let (x, y) = unsafe {
            (std::slice::from_raw_parts(dense, rows * width), std::slice::from_raw_parts(target, rows))
        };
        let shape: Vec<usize> = std::iter::once(rows).chain(self.sizes.iter().copied()).collect();
        let y: Vec<u32> = y.iter().map(|&k| k as u32).collect();
        Ok((Tensor::from_slice(x, shape, cpu)?, Tensor::from_vec(y, rows, cpu)?))
    }

    fn step(&mut self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let value = loss::cross_entropy(&self.net.forward(x)?, y)?;
        self.optimizer.backward_step(&value)?;
        Ok(value)
    }
}

/// `repeat` steps on one batch of `rows` rows; the seconds. The mean loss before the last one goes to `loss`.
///
/// # Safety
/// The handle is `candle_new`'s; slices are as long as the batch of its input says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn candle_step(
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
    // SAFETY: as this function's contract says.
    let (x, y) = unsafe { handle.batch(dense, codes, target, rows) }.expect("a batch");
    let start = Instant::now();
    let mut last = None;
    for _ in 0..repeat {
        last = Some(handle.step(&x, &y).expect("a step"));
    }
    let seconds = start.elapsed().as_secs_f64();
    let value = last.map_or(f64::NAN, |value| f64::from(value.to_scalar::<f32>().expect("a number")));
    // SAFETY: as this function's contract says.
    unsafe { *loss = value };
    seconds
}

/// An optimizer with parameters and gradients of its own.
pub struct Stepper {
    optimizer: AdamW,
    grads: GradStore,
}

fn stepper(params: ParamsAdamW, sizes: &[usize]) -> Result<Stepper> {
    let numbers = |n: usize, scale: f32| {
        Tensor::from_vec((0..n).map(|k| scale * (k as f32).sin()).collect::<Vec<_>>(), n, &Device::Cpu)
    };
    let theta = sizes.iter().map(|&n| Var::from_tensor(&numbers(n, 1.0)?)).collect::<Result<Vec<_>>>()?;
    // A store of gradients comes only from a loss.
    let mut grads = Tensor::zeros((), DType::F32, &Device::Cpu)?.backward()?;
    for var in &theta {
        grads.insert(var, numbers(var.elem_count(), 1e-3)?);
    }
    Ok(Stepper { optimizer: AdamW::new(theta, params)?, grads })
}

/// A new optimizer for tensors of `sizes`, by PyTorch's defaults, or null for a rule that candle does not have.
///
/// # Safety
/// The text ends in 0; `sizes` has `count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn candle_optimizer_new(
    rule: *const c_char,
    sizes: *const usize,
    count: usize,
    threads: usize,
) -> *mut Stepper {
    let weight_decay = match text(rule) {
        "adam" => 0.0,
        "adamw" => 1e-2,
        _ => return null_mut(),
    };
    use_threads(threads);
    // SAFETY: as this function's contract says.
    let sizes = unsafe { std::slice::from_raw_parts(sizes, count) };
    let params = ParamsAdamW { lr: 1e-6, weight_decay, ..ParamsAdamW::default() };
    Box::into_raw(Box::new(stepper(params, sizes).expect("an optimizer")))
}

/// `repeat` steps; the seconds.
///
/// # Safety
/// The handle is `candle_optimizer_new`'s.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn candle_optimizer_step(handle: *mut Stepper, repeat: usize) -> f64 {
    // SAFETY: as this function's contract says.
    let handle = unsafe { &mut *handle };
    let start = Instant::now();
    for _ in 0..repeat {
        handle.optimizer.step(&handle.grads).expect("a step");
    }
    start.elapsed().as_secs_f64()
}

/// Frees an optimizer.
///
/// # Safety
/// The handle is `candle_optimizer_new`'s and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn candle_optimizer_free(handle: *mut Stepper) {
    // SAFETY: as this function's contract says.
    drop(unsafe { Box::from_raw(handle) });
}
