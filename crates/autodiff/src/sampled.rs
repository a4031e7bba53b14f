//! Every operation over sampled shapes: ones, odd sizes, then whatever is drawn; and over none.
//!
//! [`TABLE`] has an entry for each method of [`Tape`](crate::Tape) that makes a tensor; one that is missing there fails the test.

use thalweg_core::random::{Purpose, Stream};

use crate::check::{check, some};
use crate::ops::dropout::Dropout;
use crate::ops::mse::Mse;
use crate::ops::square::Square;
use crate::ops::sub::Sub;
use crate::{Activation, CrossEntropy, PoolWindow, Shape, Window};

/// How many times each operation is drawn for.
const ROUNDS: u32 = 8;

/// Where sizes come from.
struct Draw {
    stream: Stream,
    round: u32,
    /// Batches have no rows.
    empty: bool,
}

impl Draw {
    fn new(name: &str, round: u32, empty: bool) -> Self {
        let seed = name
            .bytes()
            .fold(u64::from(round), |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self { stream: Stream::new(seed, Purpose::Data, 3), round, empty }
    }
    /// From `least` to `most`.
    fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.stream.below((most - least + 1) as u32) as usize
    }
    /// Any size: 1 in the first round, 3, 5 or 7 in the second.
    fn size(&mut self) -> usize {
        match self.round {
            0 => 1,
            1 => 3 + 2 * self.between(0, 2),
            _ => self.between(1, 7),
        }
    }
    /// A size that is not 1: of one number nothing follows.
    fn some(&mut self) -> usize {
        self.size().max(2)
    }
    /// The rows of a batch.
    fn rows(&mut self) -> usize {
        if self.empty { 0 } else { self.size() }
    }
    fn truth(&mut self) -> bool {
        self.stream.below(2) == 1
    }
    /// Rows and up to three axes more.
    fn shape(&mut self) -> Shape {
        let mut sizes = [self.rows(), 1, 1, 1];
        let axes = self.between(1, 4);
        sizes[1..].fill_with(|| self.size().min(4));
        Shape::new(&sizes[..axes])
    }
    /// The same with at least two numbers.
    fn wide(&mut self) -> Shape {
        let shape = self.shape();
        let last = shape.last_size();
        if last == 1 { shape.with_last(self.between(2, 5)) } else { shape }
    }
    /// A shape that is repeated to that one.
    fn repeated(&mut self, shape: Shape) -> Shape {
        let first = self.between(0, shape.len() - 1);
        let mut part = Shape::new(&shape[first..]);
        for size in part.iter_mut() {
            if self.truth() {
                *size = 1;
            }
        }
        part
    }
    fn codes(&mut self, count: usize, below: usize) -> Vec<u32> {
        (0..count).map(|_| self.stream.below(below as u32)).collect()
    }
    /// A window over an image, and an image that it fits: `[n, c, h, w]`, `[o, c/groups, kh, kw]`.
    fn window(&mut self, flat: bool) -> (Shape, Shape, Window) {
        let groups = self.between(1, 3);
        let (c, o) = (groups * self.between(1, 2), groups * self.between(1, 2));
        let mut window = Window { groups, ..Window::default() };
        let (mut kernel, mut image) = ([1; 2], [1; 2]);
        for axis in usize::from(flat)..2 {
            kernel[axis] = self.between(1, 3);
            window.stride[axis] = self.between(1, 3);
            window.dilation[axis] = self.between(1, 2);
            window.padding[axis] = self.between(0, 2);
            let reach = window.dilation[axis] * (kernel[axis] - 1) + 1;
            image[axis] = reach + self.size() - 1;
        }
        let (n, [kh, kw], [h, w]) = (self.rows(), kernel, image);
        if flat {
            return ([n, c, w].into(), [o, c / groups, kw].into(), window);
        }
        ([n, c, h, w].into(), [o, c / groups, kh, kw].into(), window)
    }
    fn pool(&mut self) -> (Shape, PoolWindow) {
        let size = [0; 2].map(|_| self.between(1, 3));
        let (padding, stride) = (size.map(|k| self.between(0, k / 2)), [0; 2].map(|_| self.between(1, 3)));
        let [h, w] = size.map(|k| k + self.size() - 1);
        ([self.rows(), self.size().min(3), h, w].into(), PoolWindow { size, stride, padding })
    }
}

type Entry = (&'static str, fn(&mut Draw));

/// A function of each number.
macro_rules! map {
    ($name:ident $(, $more:expr)*) => {
        (stringify!($name), |d| {
            let shape = d.wide();
            check!([shape], |t, x| t.$name(x[0] $(, $more)*));
        })
    };
}

/// A function of each pair of numbers.
macro_rules! pair {
    ($name:ident) => {
        (stringify!($name), |d| {
            let a = d.shape();
            let b = d.repeated(a);
            check!([a, b], |t, x| t.$name(x[0], x[1]));
        })
    };
}

/// A loss of a prediction and a target of one shape.
macro_rules! loss {
    ($name:ident $(, $more:expr)*) => {
        (stringify!($name), |d| {
            let shape = d.wide();
            check!([shape, shape], |t, x| t.$name(x[0], x[1] $(, $more)*, None));
            check!([shape, shape], |t, x| {
                let w = some(t, [shape[0]]);
                t.$name(x[0], x[1] $(, $more)*, Some(w))
            });
        })
    };
}

const TABLE: &[Entry] = &[
    map!(neg),
    map!(exp),
    map!(square),
    map!(abs),
    map!(tanh),
    map!(sigmoid),
    map!(relu),
    map!(softplus),
    map!(gelu),
    map!(silu),
    map!(elu, 1.3),
    map!(leaky_relu, 0.03),
    map!(scale, -1.7),
    map!(shift, 0.4),
    ("ln", |d| {
        let shape = d.shape();
        check!([shape], |t, x| {
            let s = t.square(x[0]);
            let s = t.shift(s, 0.1);
            t.ln(s)
        });
    }),
    ("sqrt", |d| {
        let shape = d.shape();
        check!([shape], |t, x| {
            let s = t.square(x[0]);
            let s = t.shift(s, 0.1);
            t.sqrt(s)
        });
    }),
    ("map", |d| {
        let shape = d.shape();
        check!([shape], |t, x| t.map(Square, x[0]));
    }),
    pair!(add),
    ("add_relu", |d| {
        let shape = d.wide();
        check!([shape, shape], |t, x| t.add_relu(x[0], x[1]));
    }),
    pair!(sub),
    pair!(mul),
    pair!(div),
    ("pair", |d| {
        let b = d.shape();
        let a = d.repeated(b);
        check!([a, b], |t, x| t.pair(Sub, x[0], x[1]));
    }),
    ("less", |d| {
        let a = d.shape();
        let b = d.repeated(a);
        check!([a, b], |t, x| {
            let mask = t.less(x[0], x[1]);
            let chosen = t.mul(mask, x[0]);
            t.add(chosen, x[1])
        });
    }),
    ("choose", |d| {
        let shape = d.shape();
        check!([shape, shape], |t, x| {
            let mask = t.less(x[0], x[1]);
            t.choose(mask, x[1], x[0])
        });
    }),
    loss!(mse),
    loss!(l1),
    loss!(huber, 0.4),
    loss!(quantile, 0.3),
    loss!(bce_with_logits),
    loss!(poisson),
    loss!(hinge),
    ("loss", |d| {
        let shape = d.wide();
        check!([shape, shape], |t, x| t.loss(Mse, x[0], x[1], None));
    }),
    ("kl_divergence", |d| {
        let shape = d.shape();
        check!([shape, shape], |t, x| {
            let p = t.sigmoid(x[1]);
            t.kl_divergence(x[0], p, None)
        });
    }),
    ("cosine_similarity", |d| {
        let shape = [d.rows(), d.size(), d.some()];
        check!([shape, shape], |t, x| t.cosine_similarity(x[0], x[1]));
    }),
    ("cosine_loss", |d| {
        let shape = [d.rows(), d.some()];
        check!([shape, shape], |t, x| {
            let w = some(t, [shape[0]]);
            t.cosine_loss(x[0], x[1], Some(w))
        });
    }),
    ("distance", |d| {
        let shape = d.shape();
        check!([shape, shape], |t, x| t.distance(x[0], x[1]));
    }),
    ("triplet", |d| {
        let shape = [d.rows(), d.size()];
        check!([shape, shape, shape], |t, x| t.triplet(x[0], x[1], x[2], 3.0, None));
    }),
    ("contrastive", |d| {
        let shape = [d.rows(), d.size()];
        check!([shape, shape, [shape[0]]], |t, x| t.contrastive(x[0], x[1], x[2], 3.0, None));
    }),
    ("weighted_sum", |d| {
        let n = d.rows();
        check!([[n]], |t, x| {
            let w = some(t, [n]);
            t.weighted_sum(x[0], Some(w))
        });
    }),
    ("softmax_cross_entropy", |d| {
        let (n, k) = (d.rows(), d.some());
        let labels = d.codes(n, k);
        let smoothing = if d.truth() { 0.1 } else { 0.0 };
        check!([[n, k]], |t, x| {
            let (rows, classes) = (some(t, [n]), some(t, [k]));
            let options = CrossEntropy { weights: Some(rows), class_weights: Some(classes), smoothing };
            t.softmax_cross_entropy(x[0], &labels, options)
        });
        check!([[n, k]], |t, x| t.softmax_cross_entropy(x[0], &labels, CrossEntropy::default()));
    }),
    ("dense", |d| {
        let (input, out) = (d.size(), d.size());
        let x = Shape::new(&[d.rows(), d.size(), input][..if d.truth() { 3 } else { 1 }]);
        let x = if x.len() == 1 { Shape::new(&[x[0], input]) } else { x };
        check!([x, [out, input], [out]], |t, x| t.dense(x[0], x[1], Some(x[2]), Activation::Tanh));
        check!([x, [out, input]], |t, x| t.dense(x[0], x[1], None, Activation::Gelu));
    }),
    ("matmul", |d| {
        let (n, m, k, p) = (d.rows(), d.size(), d.size(), d.size());
        check!([[n, m, k], [n, k, p]], |t, x| t.matmul(x[0], x[1]));
    }),
    ("matmul_of", |d| {
        let (n, m, k, p) = (d.rows(), d.size(), d.size(), d.size());
        let turned = [d.truth(), d.truth()];
        let a = if turned[0] { [n, k, m] } else { [n, m, k] };
        let b = if turned[1] { [n, p, k] } else { [n, k, p] };
        check!([a, b], |t, x| t.matmul_of(x[0], x[1], turned));
        check!([&a[1..], &b[1..]], |t, x| {
            let x = [x[0], x[1]];
            t.matmul_of(x[0], x[1], turned)
        });
    }),
    ("sum", |d| {
        let shape = d.shape();
        check!([shape], |t, x| t.sum(x[0]));
    }),
    ("mean", |d| {
        let shape = d.shape();
        check!([shape], |t, x| t.mean(x[0]));
    }),
    ("sum_axis", |d| {
        let shape = d.shape();
        let axis = d.between(0, shape.len() - 1);
        check!([shape], |t, x| t.sum_axis(x[0], axis));
    }),
    ("mean_axis", |d| {
        let shape = d.shape();
        let axis = d.between(0, shape.len() - 1);
        check!([shape], |t, x| t.mean_axis(x[0], axis));
    }),
    ("max_axis", |d| {
        let shape = d.shape();
        let axis = d.between(0, shape.len() - 1);
        check!([shape], |t, x| t.max_axis(x[0], axis));
    }),
    ("min_axis", |d| {
        let shape = d.shape();
        let axis = d.between(0, shape.len() - 1);
        check!([shape], |t, x| t.min_axis(x[0], axis));
    }),
    ("concat", |d| {
        let shape = d.shape();
        let axis = d.between(0, shape.len() - 1);
        let (other, third) = (shape.with(axis, d.size()), shape.with(axis, d.size()));
        let other = if d.empty { shape } else { other };
        check!([shape, other, third], |t, x| t.concat(x, axis));
    }),
    ("pad", |d| {
        let shape = d.shape();
        let axis = d.between(0, shape.len() - 1);
        let (before, after) = (d.between(0, 2), d.between(0, 2));
        check!([shape], |t, x| t.pad(x[0], axis, before, after, 0.5));
    }),
    ("reshape", |d| {
        let shape = d.shape();
        check!([shape], |t, x| t.reshape(x[0], [1, shape.count()]));
    }),
    ("flatten", |d| {
        let shape = d.shape();
        let axis = d.between(0, shape.len() - 1);
        check!([shape], |t, x| t.flatten(x[0], axis));
    }),
    ("slice", |d| {
        let shape = d.shape();
        let axis = d.between(0, shape.len() - 1);
        let from = d.between(0, shape[axis].saturating_sub(1));
        let to = d.between((from + 1).min(shape[axis]), shape[axis]);
        check!([shape], |t, x| t.slice(x[0], axis, from..to));
    }),
    ("select", |d| {
        let shape = [d.rows(), d.size(), d.size()];
        let axis = d.between(1, 2);
        let i = d.between(0, shape[axis] - 1);
        check!([shape], |t, x| t.select(x[0], axis, i));
    }),
    ("permute", |d| {
        let shape = [d.rows(), d.size(), d.size().min(3), d.size().min(3)];
        let mut order = [0u32, 1, 2, 3];
        d.stream.shuffle(&mut order);
        let order = order.map(|axis| axis as usize);
        check!([shape], |t, x| t.permute(x[0], &order));
    }),
    ("transpose", |d| {
        let shape = [d.rows(), d.size(), d.size()];
        check!([shape], |t, x| t.transpose(x[0]));
    }),
    ("gather", |d| {
        let (n, k, m, inner) = (d.rows(), d.size(), d.size(), d.size());
        let places = d.codes(n * m * inner, k);
        check!([[n, k, inner]], |t, x| t.gather(x[0], 1, &places));
    }),
    ("softmax", |d| {
        let shape = d.shape().with_last(d.some());
        let shape = if d.empty { [0, 3].into() } else { shape };
        check!([shape], |t, x| t.softmax(x[0]));
    }),
    ("log_softmax", |d| {
        let shape = d.shape().with_last(d.some());
        let shape = if d.empty { [0, 3].into() } else { shape };
        check!([shape], |t, x| t.log_softmax(x[0]));
    }),
    ("dropout", |d| {
        let shape = d.shape().with_last(8);
        let shape = if d.empty { [0, 3].into() } else { shape };
        check!([shape], |t, x| t.apply(Dropout { p: 0.3, seed: 1, draw: 1 }, &[x[0]]));
    }),
    ("embedding", |d| {
        let (v, width, n, m) = (d.size(), d.size(), d.rows(), d.size());
        let rows = d.codes(n * m, v);
        check!([[v, width]], |t, x| t.embedding(x[0], &rows, [n, m]));
    }),
    ("embedding_bag", |d| {
        let (v, width, n) = (d.size(), d.size(), d.rows());
        let mut starts = Vec::new();
        let mut count = 0;
        for _ in 0..n {
            starts.push(count as u32);
            count += d.between(0, 3);
        }
        // The last bag has at least one.
        let rows = d.codes(count + n.min(1), v);
        let mean = d.truth();
        check!([[v, width]], |t, x| t.embedding_bag(x[0], &rows, &starts, mean));
    }),
    ("conv2d", |d| {
        let (x, kernel, window) = d.window(false);
        check!([x, kernel, [kernel[0]]], |t, x| t.conv2d(
            x[0],
            x[1],
            Some(x[2]),
            window,
            Activation::Identity
        ));
        check!([x, kernel], |t, x| t.conv2d(x[0], x[1], None, window, Activation::Silu));
    }),
    ("conv1d", |d| {
        let (x, kernel, window) = d.window(true);
        check!([x, kernel, [kernel[0]]], |t, x| t.conv1d(x[0], x[1], Some(x[2]), window, Activation::Tanh));
    }),
    ("conv2d_last", |d| {
        let (x, kernel, window) = d.window(false);
        let x = [x[0], x[2], x[3], x[1]];
        check!([x, kernel, [kernel[0]]], |t, x| t.conv2d_last(
            x[0],
            x[1],
            Some(x[2]),
            window,
            Activation::Relu
        ));
        check!([x, kernel], |t, x| t.conv2d_last(x[0], x[1], None, window, Activation::Gelu));
    }),
    ("conv1d_last", |d| {
        let (x, kernel, window) = d.window(true);
        let x = [x[0], x[2], x[1]];
        check!([x, kernel], |t, x| t.conv1d_last(x[0], x[1], None, window, Activation::Identity));
    }),
    ("max_pool2d_last", |d| {
        let (x, window) = d.pool();
        let x = [x[0].min(2), x[2].min(4), x[3].min(4), 4 * x[1]];
        check!([x], |t, x| t.max_pool2d_last(x[0], window));
    }),
    ("avg_pool2d_last", |d| {
        let (x, window) = d.pool();
        let x = [x[0], x[2], x[3], x[1]];
        check!([x], |t, x| t.avg_pool2d_last(x[0], window));
    }),
    ("max_pool2d", |d| {
        let (x, window) = d.pool();
        check!([x], |t, x| t.max_pool2d(x[0], window));
    }),
    ("avg_pool2d", |d| {
        let (x, window) = d.pool();
        check!([x], |t, x| t.avg_pool2d(x[0], window));
    }),
    ("global_avg_pool", |d| {
        let x = [d.rows(), d.size(), d.size(), d.size()];
        check!([x], |t, x| t.global_avg_pool(x[0]));
    }),
    ("global_max_pool", |d| {
        let x = [d.rows(), d.size(), d.size(), d.size()];
        check!([x], |t, x| t.global_max_pool(x[0]));
    }),
    // An ε of 0.1 keeps the third derivatives of few numbers, and so the error of a difference, small.
    ("layer_norm", |d| {
        let (n, steps, k) = (d.rows(), d.size(), d.size());
        check!([[n, steps, k], [k], [k]], |t, x| t.layer_norm(x[0], Some(x[1]), Some(x[2]), 0.1));
    }),
    ("rms_norm", |d| {
        let (n, k) = (d.rows(), d.size());
        check!([[n, k], [k]], |t, x| t.rms_norm(x[0], Some(x[1]), 0.1));
    }),
    ("group_norm", |d| {
        let groups = d.between(1, 3);
        let (n, c, s) = (d.rows(), groups * d.between(1, 2), d.size());
        check!([[n, c, s], [c], [c]], |t, x| t.group_norm(x[0], groups, Some(x[1]), Some(x[2]), 0.1));
    }),
    ("batch_norm", |d| {
        let (n, c, s) = (d.rows(), d.size(), d.size());
        check!([[n, c, s], [c], [c]], |t, x| t.batch_norm(x[0], Some(x[1]), Some(x[2]), 0.1)[0]);
        check!([[n, c], [c], [c]], |t, x| t.batch_norm(x[0], Some(x[1]), Some(x[2]), 0.1)[0]);
    }),
    ("batch_norm_with", |d| {
        let (n, c, s) = (d.rows(), d.size(), d.size());
        check!([[n, c, s], [c], [c]], |t, x| {
            let moments = some(t, [2, c]);
            t.batch_norm_with(x[0], moments, Some(x[1]), Some(x[2]), 1e-5)
        });
    }),
    ("batch_norm_last", |d| {
        let (n, c, s) = (d.rows(), d.size(), d.size());
        // With one channel of few rows all may lie at the kink.
        let relu = d.truth() && c * s > 12;
        check!([[n, s, c], [c], [c]], |t, x| t.batch_norm_last(x[0], Some(x[1]), Some(x[2]), 0.1, relu)[0]);
    }),
    ("batch_norm_last_with", |d| {
        let (n, c, s) = (d.rows(), d.size(), d.size());
        let relu = d.truth() && c * s > 12;
        check!([[n, s, c], [c], [c]], |t, x| {
            let moments = some(t, [2, c]);
            t.batch_norm_last_with(x[0], moments, Some(x[1]), Some(x[2]), 1e-5, relu)
        });
    }),
    ("channel_moments", |d| {
        let (n, c, s) = (d.rows(), d.size(), d.size());
        check!([[1, c]], |t, x| {
            let other = some(t, [n, c, s]);
            let moments = t.channel_moments(other);
            t.batch_norm_with(x[0], moments, None, None, 0.1)
        });
    }),
    ("attention", |d| {
        let (heads, width, e) = (d.size().min(3), d.size().min(3), d.size().min(3));
        let many = if d.round == 3 { 62 } else { 0 };
        let (rows, n, m) = (d.rows().min(3), many + d.size(), many + d.size());
        let causal = d.truth();
        let [q, k, v] = [[rows, heads, n, width], [rows, heads, m, width], [rows, heads, m, e]];
        let from = if many > 0 { 2 } else { 0 };
        check!([&q[from..], &k[from..], &v[from..]], |t, x| t.attention(x[0], x[1], x[2], causal, None));
    }),
    ("self_attention", |d| {
        let (heads, width, n, t) = (d.between(1, 3), d.between(1, 3), d.rows().min(3), d.size());
        let causal = d.truth();
        check!([[n, t, 3 * heads * width]], |t, x| t.self_attention(x[0], heads, causal));
    }),
    ("gru", |d| {
        let (n, steps, i, k) = (d.rows(), d.rows().min(4), d.size(), d.size());
        check!([[n, steps, i], [n, k], [3 * k, i], [3 * k, k], [3 * k], [3 * k]], |t, x| {
            t.gru(x[0], x[1], [x[2], x[3]], Some([x[4], x[5]]))
        });
    }),
    ("gru_cell", |d| {
        let (n, i, k) = (d.rows(), d.size(), d.size());
        check!([[n, i], [n, k], [3 * k, i], [3 * k, k], [3 * k], [3 * k]], |t, x| {
            t.gru_cell(x[0], x[1], [x[2], x[3]], Some([x[4], x[5]]))
        });
    }),
    ("lstm", |d| {
        let (n, steps, i, k) = (d.rows(), d.rows().min(4), d.size(), d.size());
        check!([[n, steps, i], [n, k], [n, k], [4 * k, i], [4 * k, k], [4 * k], [4 * k]], |t, x| {
            t.lstm(x[0], [x[1], x[2]], [x[3], x[4]], Some([x[5], x[6]]))
        });
    }),
    ("lstm_cell", |d| {
        let (n, i, k) = (d.rows(), d.size(), d.size());
        check!([[n, i], [n, k], [n, k], [4 * k, i], [4 * k, k], [4 * k], [4 * k]], |t, x| {
            let state = t.lstm_cell(x[0], [x[1], x[2]], [x[3], x[4]], Some([x[5], x[6]]));
            t.concat(&state, 1)
        });
    }),
];

/// The methods of the tape that make tensors: public ones with `&mut self` in the operations' files.
fn methods() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ops");
    let files =
        std::fs::read_dir(folder).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let mut names = vec![];
    for text in files {
        for rest in text.split("\n    pub fn ").skip(1) {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let takes = rest[name.len()..].split_once('(').map_or("", |(_, takes)| takes.trim_start());
            if takes.starts_with("&mut self") {
                names.push(name);
            }
        }
    }
    names.extend(["map", "pair"].map(String::from));
    names.sort();
    names
}

#[test]
fn every_operation_is_in_the_table() {
    let mut table: Vec<&str> = TABLE.iter().map(|(name, _)| *name).collect();
    table.sort_unstable();
    let methods = methods();
    assert!(methods.len() > 60, "{methods:?}");
    assert_eq!(table, methods);
}

#[test]
fn gradients_are_slopes_over_sampled_shapes() {
    for round in 0..ROUNDS {
        for (name, check) in TABLE {
            // The name, for whoever reads a failure.
            println!("{name}, round {round}");
            check(&mut Draw::new(name, round, false));
        }
    }
}

#[test]
fn an_empty_batch_is_refused_by_every_operation() {
    for (name, check) in TABLE {
        let refused = std::panic::catch_unwind(|| check(&mut Draw::new(name, 1, true)));
        let message = refused.expect_err(name);
        let message = message.downcast_ref::<String>().cloned().unwrap_or_default();
        let (op, what) = message.split_once(": ").unwrap_or_default();
        assert!(
            !op.is_empty() && what.ends_with("has no numbers: leave an empty batch out"),
            "{name}: {message}"
        );
    }
}
