//! The gradient in Thalweg: a tape that is recorded while a model runs, over flat parameters.
//!
//! A [`Workspace`] keeps memory and threads from step to step. Each step starts a [`Tape`] at the parameters, a flat buffer with a
//! [`Layout`](thalweg_core::Layout); operations are methods of the tape on [`Var`]s, which are copyable names of tensors; and
//! [`Tape::backward`] adds the gradient to a second flat buffer. After the first step nothing is allocated: buffers, the list of
//! operations and their boxes are used again. The result has the same bits on any number of threads.
//!
//! ```
//! use thalweg_autodiff::{Activation, Number, Tape, Var, Workspace};
//! use thalweg_core::random::{Purpose, Stream};
//! use thalweg_core::{Grads, Kind, Layout, Params, Threads};
//!
//! // A network with one hidden layer: any code that is generic over `Number` works on f32, f64 and `Dual`.
//! fn network<N: Number>(tape: &mut Tape<'_, N>, x: Var) -> Var {
//!     let (w1, b1, w2, b2) = (tape.param("w1"), tape.param("b1"), tape.param("w2"), tape.param("b2"));
//!     let hidden = tape.dense(x, w1, Some(b1), Activation::Tanh);
//!     tape.dense(hidden, w2, Some(b2), Activation::Identity)
//! }
//!
//! let layout = std::sync::Arc::new(
//!     Layout::builder()
//!         .tensor("w1", &[8, 2], &["out", "in"], Kind::Weight)
//!         .tensor("b1", &[8], &["out"], Kind::Bias)
//!         .tensor("w2", &[1, 8], &["out", "in"], Kind::Weight)
//!         .tensor("b2", &[1], &["out"], Kind::Bias)
//!         .build(),
//! );
//! let (mut theta, mut grads) = (Params::<f32>::zeros(&layout), Grads::<f32>::zeros(&layout));
//! let mut stream = Stream::new(0, Purpose::Init, 0);
//! for name in ["w1", "w2"] {
//!     theta.tensor_mut(name).iter_mut().for_each(|w| *w = stream.normal() as f32);
//! }
//!
//! let x = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0]; // exclusive or
//! let y = [0.0, 1.0, 1.0, 0.0];
//! let mut workspace = Workspace::new(Threads::serial());
//! let mut loss = 0.0;
//! for _ in 0..500 {
//!     grads.clear();
//!     let mut tape = workspace.tape(&layout, theta.flat());
//!     let (input, target) = (tape.input(&x, [4, 2]), tape.input(&y, [4, 1]));
//!     let logits = network(&mut tape, input);
//!     let sum = tape.bce_with_logits(logits, target, None);
//!     tape.backward(sum, grads.flat_mut());
//!     loss = tape.value(sum)[0] / 4.0;
//!     drop(tape);
//!     for (w, g) in theta.flat_mut().iter_mut().zip(grads.flat()) {
//!         *w -= 0.5 * g; // the sum's gradient over 4 rows at a rate of 2
//!     }
//! }
//! assert!(loss < 0.05, "{loss}");
//!
//! // Predictions need no record: memory is that of one layer at a time.
//! let mut tape = workspace.evaluation(&layout, theta.flat());
//! let input = tape.input(&x, [4, 2]);
//! let logits = tape.scope(|tape| network(tape, input));
//! assert!(tape.value(logits).iter().zip(&y).all(|(&z, &y)| (z > 0.0) == (y == 1.0)));
//! ```
//!
//! - No gradient is computed that nobody asked for: inputs, [detached](Tape::detach) tensors and [frozen](Tape::freeze_from)
//!   parameters cost nothing in the backward pass. [`Tape::leaf`] asks for an input's gradient.
//! - A tensor without numbers is refused by every operation: an empty batch is a slip that would train on nothing.
//! - Losses are weighted sums over rows, as [`Objective`](thalweg_core::Objective) wants them, and broadcast nothing.
//! - [`Tape::checkpoint`] trades a second forward pass for memory.
//! - Your own operation is a value that implements [`Op`], your own elementwise formula one that implements [`Function`] or [`Pair`].
//! - On [`Dual`] numbers the same code gives exact Hessian-vector products.

pub mod dual;
pub mod elementwise;
pub mod number;
pub mod op;
pub mod ops;
pub mod parallel;
pub mod pool;
pub mod shape;
pub mod sums;
pub mod tape;

#[cfg(test)]
mod check;
#[cfg(test)]
mod sampled;

pub use dual::Dual;
pub use elementwise::{Function, Pair};
pub use number::Number;
pub use op::{Backward, Codes, Forward, Inputs, Op, Slot, Work};
pub use ops::conv2d::Window;
pub use ops::dense::Activation;
pub use ops::pool2d::PoolWindow;
pub use ops::softmax_cross_entropy::CrossEntropy;
pub use pool::{Block, Pool};
pub use shape::Shape;
pub use tape::{Tape, Var, Workspace};
