//! Networks that together have every layer, with numbers that look random.

use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{Kind, Objective, Params};
use thalweg_models::losses::Loss;
use thalweg_models::network::{Input, ModelSpec, Network, Output};

/// A network.
pub struct Case {
    pub name: &'static str,
    pub model: &'static str,
    pub input: Input,
    pub output: Output,
    pub loss: Loss,
}

pub fn cases() -> Vec<Case> {
    let case = |name, model, input, output, loss| Case { name, model, input, output, loss };
    let image = |channels, height, width| Input::Image { channels, height, width };
    let sequence = |steps, features| Input::Sequence { steps, features };
    let tokens = |vocabulary, context| Input::Tokens { vocabulary, context };
    let quantile: Loss = "quantile(0.9)".parse().unwrap();
    vec![
        case(
            "table",
            "mlp(16, 8, dropout=0.3, activation=tanh)",
            Input::Table { numbers: 5, levels: vec![4, 1, 70] },
            Output::Row(3),
            Loss::SOFTMAX,
        ),
        case(
            "categories",
            "dense(8) gelu",
            Input::Table { numbers: 0, levels: vec![3, 5] },
            Output::Row(1),
            Loss::LOGISTIC,
        ),
        case(
            "smooth",
            "silu dense(9) silu dense(9, bias=false) gelu gelu dense(9) tanh",
            Input::numbers(4),
            Output::Row(1),
            Loss::POISSON,
        ),
        case(
            "bent",
            "elu(0.7) dense(9) elu dense(9) leaky_relu(0.2) leaky_relu dense(9) relu softplus dense(9) softplus sigmoid",
            Input::numbers(4),
            Output::Row(1),
            Loss::SQUARED,
        ),
        case(
            "norms",
            "batchnorm dense(12) layernorm dense(12) rmsnorm dense(12) groupnorm(3) dropout(0.5) dense(9) batchnorm(eps=0.01)",
            Input::numbers(4),
            Output::Row(1),
            Loss::SQUARED,
        ),
        case(
            "residuals",
            "residual(dense(7), relu, residual(dense(7), gelu)) residual(dense(4), tanh)",
            Input::numbers(7),
            Output::Row(1),
            quantile,
        ),
        case(
            "lenet",
            "conv(6, kernel=5, padding=2) tanh avgpool(2) conv(10, kernel=3, padding=0) relu pool(2) flatten dense(20) relu",
            image(1, 14, 12),
            Output::Row(10),
            Loss::SOFTMAX,
        ),
        case(
            "windows",
            "conv(6, kernel=3, stride=2, padding=1, dilation=2, groups=3, bias=false) batchnorm relu \
             pool(3, stride=2, padding=1) avgpool(2, stride=1, padding=1) conv(8, kernel=2, padding=0) groupnorm(4) elu dense(5)",
            image(3, 17, 13),
            Output::Row(2),
            Loss::SOFTMAX,
        ),
        case(
            "resnet",
            "conv(8) batchnorm relu residual(conv(8), batchnorm, relu, conv(8), batchnorm) relu \
             residual(conv(12, stride=2), batchnorm, relu, conv(12), batchnorm) relu globalpool",
            image(3, 8, 8),
            Output::Row(4),
            Loss::SOFTMAX,
        ),
        case("gru", "gru(5)", sequence(9, 3), Output::Row(1), Loss::SQUARED),
        case(
            "lstm",
            "lstm(6) layernorm lstm(4) last dense(5) relu",
            sequence(6, 2),
            Output::Row(3),
            Loss::SOFTMAX,
        ),
        case(
            "steps",
            "conv(4, kernel=3, stride=2) relu conv(6, kernel=3, dilation=2, groups=2) dense(5) gelu globalpool",
            sequence(11, 3),
            Output::Row(1),
            Loss::LOGISTIC,
        ),
        case("letters", "embedding(6) gru(7) dense(5) relu", tokens(11, 8), Output::NextToken, Loss::SOFTMAX),
        case("words", "lstm(5)", tokens(9, 4), Output::Row(2), Loss::SOFTMAX),
        case(
            "decoder",
            "transformer(d=12, heads=3, layers=2)",
            tokens(13, 10),
            Output::NextToken,
            Loss::SOFTMAX,
        ),
        case(
            "blocks",
            "embedding(6) checkpoint(batchnorm, pool(2, stride=1), conv(4, kernel=3)) avgpool(3, padding=1) \
             block(heads=2, dropout=0.1) last",
            tokens(12, 9),
            Output::Row(2),
            Loss::SOFTMAX,
        ),
        case(
            "oblong",
            "conv(6, kernel=size(3, 5), stride=size(2, 1), padding=size(1, 0)) relu pool(size(2, 3), stride=size(1, 2)) batchnorm \
             residual(conv(6), tanh) relu",
            image(2, 11, 14),
            Output::Row(1),
            "hinge".parse().unwrap(),
        ),
        case("bag", "embeddingbag(7) dense(5) relu", tokens(15, 6), Output::Row(3), Loss::SOFTMAX),
        case("sum", "embeddingbag(7, mean=false)", tokens(15, 6), Output::Row(1), Loss::SQUARED),
        case(
            "encoder",
            "embedding(8) position block(heads=2, hidden=10, causal=false) rmsnorm globalpool",
            tokens(20, 6),
            Output::Row(3),
            Loss::SOFTMAX,
        ),
    ]
}

impl Case {
    /// The network and its parameters; what batch norm keeps is not what it starts with either.
    pub fn build(&self) -> (Network<f32>, Params<f32>) {
        let spec = ModelSpec::parse(self.model).unwrap();
        let network = Network::new(&spec, self.input.clone(), self.output, self.loss, 5).unwrap();
        let mut stream = Stream::new(11, Purpose::Init, 0);
        let mut theta: Params<f32> = Params::zeros(network.layout());
        for tensor in network.layout().clone().tensors() {
            let fan_in: usize = tensor.shape[1..].iter().product();
            for w in theta.tensor_mut(&tensor.name) {
                let x = stream.normal();
                *w = match tensor.kind {
                    Kind::Gain => 1.0 + 0.2 * x,
                    _ => x / (fan_in as f64).sqrt(),
                } as f32;
            }
        }
        let mut statistics = network.statistics();
        for tensor in statistics.layout().clone().tensors() {
            let var = tensor.name.ends_with("running_var");
            for s in statistics.tensor_mut(&tensor.name) {
                let x = stream.normal() as f32;
                *s = if var { 0.5 + x * x } else { 0.3 * x };
            }
        }
        network.set_statistics(&statistics);
        (network, theta)
    }
}
