//! [`Op`]: one operation, both directions.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};

use thalweg_core::Threads;

use crate::number::{View, ViewMut};
use crate::pool::{Block, Pool};
use crate::tape::{Node, Value, Var};
use crate::{Number, Shape};

/// An operation: a plain value that knows its settings, such as an axis or a stride.
///
/// All operations of this crate are written against this trait, and so are yours:
///
/// ```
/// use thalweg_autodiff::{Backward, Block, Forward, Inputs, Number, Op, Shape, Tape, Var, Workspace};
/// use thalweg_core::{Kind, Layout, Threads};
///
/// /// `y = a·x³`, backward `dx += 3a·x²·dy`.
/// #[derive(Clone, Copy)]
/// struct Cube { a: f64 }
///
/// impl<N: Number> Op<N> for Cube {
///     fn name(&self) -> &'static str { "cube" }
///     fn shape(&self, x: &Inputs<'_, N>) -> Shape { x.shape(0) }
///     fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
///         let a = N::from_f64(self.a);
///         for (y, &x) in y.iter_mut().zip(f.x(0)) { *y = a * x * x * x; }
///     }
///     fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
///         let (x, a) = (b.x(0), N::from_f64(3.0 * self.a));
///         let Some(dx) = b.grad(0) else { return };
///         for ((dx, &x), &dy) in dx.zeroed().iter_mut().zip(x).zip(dy.iter()) { *dx = *dx + a * x * x * dy; }
///     }
/// }
///
/// let layout = Layout::builder().tensor("w", &[2], &["in"], Kind::Weight).build();
/// let theta = [[1.0, 2.0].as_slice(), &[0.0; 14]].concat();
/// let mut grads = vec![0.0; layout.buffer_len()];
/// let mut workspace = Workspace::new(Threads::serial());
/// let mut tape = workspace.tape(&layout, &theta);
/// let w = tape.param("w");
/// let y = tape.apply(Cube { a: 0.5 }, &[w]);
/// let loss = tape.sum(y);
/// tape.backward(loss, &mut grads);
/// assert_eq!(grads[..2], [1.5, 6.0]);
/// ```
pub trait Op<N: Number>: Any + Send {
    /// The name that errors carry.
    fn name(&self) -> &'static str;
    /// The shape of the result.
    ///
    /// # Panics
    /// When the inputs do not fit the operation or each other; the message names the operation and the shapes
    /// (see [`misfit`](crate::shape::misfit)).
    fn shape(&self, x: &Inputs<'_, N>) -> Shape;
    /// Writes every number of the result `y`, whose old values mean nothing.
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]);
    /// Adds to the gradient of each input that wants one, from the gradient `dy` of the result, which may be overwritten.
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>);
}

/// The inputs of an operation.
pub struct Inputs<'t, N> {
    pub(crate) nodes: &'t [Node<N>],
    pub(crate) theta: &'t [N],
    pub(crate) borrowed: &'t [&'t [N]],
    pub(crate) vars: &'t [Var],
}

impl<N> Clone for Inputs<'_, N> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<N> Copy for Inputs<'_, N> {}

impl<'t, N: Number> Inputs<'t, N> {
    /// How many.
    pub fn count(&self) -> usize {
        self.vars.len()
    }
    /// The shape of the i-th.
    pub fn shape(&self, i: usize) -> Shape {
        self.node(self.vars[i]).shape
    }
    /// The numbers of the i-th.
    pub fn x(&self, i: usize) -> &'t [N] {
        self.value(self.vars[i])
    }
    #[track_caller]
    pub(crate) fn node(&self, var: Var) -> &'t Node<N> {
        match self.nodes.get(var.id as usize) {
            Some(node) if node.serial == var.serial => node,
            _ => panic!("this variable belongs to another step, or to a scope that has ended"),
        }
    }
    #[track_caller]
    pub(crate) fn value(&self, var: Var) -> &'t [N] {
        let node = self.node(var);
        let len = node.shape.count();
        match &node.value {
            Value::Block(block) => block,
            Value::Param(at) => &self.theta[*at..at + len],
            Value::Borrowed(i) => &self.borrowed[*i][..len],
            Value::Alias(of, at) => &self.value(*of)[*at..at + len],
            Value::Freed => {
                panic!(
                    "these numbers were freed in the backward pass: call `keep` before it to read them after"
                )
            }
        }
    }
}

/// Who works, and how much was done.
#[derive(Clone, Copy)]
pub struct Work<'t> {
    /// The threads.
    pub threads: &'t Threads,
    pub(crate) multiply_adds: &'t AtomicU64,
}

impl Work<'_> {
    /// `C ← α·A·B + β·C`: every matrix product of this crate goes through here.
    ///
    /// # Panics
    /// When the sizes do not fit.
    pub fn product<N: Number>(&self, alpha: N, a: View<'_, N>, b: View<'_, N>, beta: N, c: ViewMut<'_, N>) {
        self.count(a.rows * a.cols * b.cols);
        N::product(self.threads, alpha, a, b, beta, c);
    }
    /// Counts multiply-adds that were done elsewhere.
    pub fn count(&self, multiply_adds: usize) {
        self.multiply_adds.fetch_add(multiply_adds as u64, Ordering::Relaxed);
    }
}

/// What an operation sees in its forward direction; its inputs by [`Inputs`]' methods.
pub struct Forward<'t, N: Number> {
    pub(crate) inputs: Inputs<'t, N>,
    pub(crate) pool: &'t mut Pool<N>,
    pub(crate) codes: &'t mut Vec<u32>,
    pub(crate) saved: [Option<Block<N>>; SAVED],
    /// The threads.
    pub work: Work<'t>,
    /// Whether a backward pass may follow: without it nothing need be saved.
    pub recording: bool,
}

/// How many blocks an operation can save for its backward direction.
pub(crate) const SAVED: usize = 3;

impl<'t, N: Number> std::ops::Deref for Forward<'t, N> {
    type Target = Inputs<'t, N>;
    fn deref(&self) -> &Inputs<'t, N> {
        &self.inputs
    }
}

impl<N: Number> Forward<'_, N> {
    /// Memory for the meantime, of any value; [`Forward::give`] or [`Forward::save`] it.
    pub fn take(&mut self, len: usize) -> Block<N> {
        self.pool.take(len)
    }
    /// Gives memory back.
    pub fn give(&mut self, block: Block<N>) {
        self.pool.give(block);
    }
    /// Keeps numbers for the backward direction as number `k` (0, 1 or 2).
    pub fn save(&mut self, k: usize, block: Block<N>) {
        if let Some(old) = self.saved[k].replace(block) {
            self.pool.give(old);
        }
    }
    /// Whole numbers that the tape holds.
    pub fn codes(&self, codes: Codes) -> &[u32] {
        &self.codes[codes.range()]
    }
    /// Makes room for `len` whole numbers that the tape is to hold until the backward direction.
    pub fn new_codes(&mut self, len: usize) -> Codes {
        let start = self.codes.len();
        self.codes.resize(start + len, 0);
        Codes { start, len }
    }
    /// Those, to be written.
    pub fn codes_mut(&mut self, codes: Codes) -> &mut [u32] {
        &mut self.codes[codes.range()]
    }
}

/// Whole numbers that the tape holds: labels, rows of a table, places of maxima.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codes {
    pub(crate) start: usize,
    pub(crate) len: usize,
}

impl Codes {
    pub(crate) fn range(self) -> std::ops::Range<usize> {
        self.start..self.start + self.len
    }
    /// How many.
    pub fn len(self) -> usize {
        self.len
    }
    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// What an operation sees in its backward direction.
pub struct Backward<'t, N: Number> {
    pub(crate) inputs: Inputs<'t, N>,
    pub(crate) output: &'t Node<N>,
    pub(crate) output_var: Var,
    pub(crate) grads: &'t mut [Option<Block<N>>],
    pub(crate) flat: &'t mut [N],
    pub(crate) pool: &'t mut Pool<N>,
    pub(crate) codes: &'t [u32],
    /// The threads.
    pub work: Work<'t>,
}

impl<'t, N: Number> std::ops::Deref for Backward<'t, N> {
    type Target = Inputs<'t, N>;
    fn deref(&self) -> &Inputs<'t, N> {
        &self.inputs
    }
}

impl<'t, N: Number> Backward<'t, N> {
    /// The result of the forward direction.
    pub fn y(&self) -> &'t [N] {
        self.inputs.value(self.output_var)
    }
    /// The result's shape.
    pub fn y_shape(&self) -> Shape {
        self.output.shape
    }
    /// What the forward direction saved as number `k`.
    ///
    /// # Panics
    /// When it saved nothing there.
    pub fn saved(&self, k: usize) -> &'t [N] {
        self.output.saved[k]
            .as_deref()
            .expect("the forward direction saves what the backward direction reads")
    }
    /// Whole numbers that the tape holds.
    pub fn codes(&self, codes: Codes) -> &'t [u32] {
        &self.codes[codes.range()]
    }
    /// Whether anyone asked for the gradient of the i-th input.
    pub fn wants(&self, i: usize) -> bool {
        self.inputs.node(self.inputs.vars[i]).needs
    }
    /// Where the gradient of the i-th input goes; `None` when nobody asked for it.
    pub fn grad(&mut self, i: usize) -> Option<Slot<'_, N>> {
        let var = self.inputs.vars[i];
        let node = self.inputs.node(var);
        if !node.needs {
            return None;
        }
        let len = node.shape.count();
        if let Value::Param(at) = node.value {
            return Some(Slot { grad: &mut self.flat[at..at + len], fresh: false });
        }
        let slot = &mut self.grads[var.id as usize];
        let fresh = slot.is_none();
        let pool = &mut *self.pool;
        Some(Slot { grad: slot.get_or_insert_with(|| pool.take(len)), fresh })
    }
    /// `dxᵢ += dy`: hands the block on when it is the first gradient of that input.
    pub fn pass(&mut self, i: usize, dy: &mut Block<N>) {
        let var = self.inputs.vars[i];
        let node = self.inputs.node(var);
        let first = self.grads[var.id as usize].is_none();
        if node.needs && first && !matches!(node.value, Value::Param(_)) {
            let empty = self.pool.take(0);
            self.grads[var.id as usize] = Some(std::mem::replace(dy, empty));
        } else if let Some(dx) = self.grad(i) {
            dx.add(dy);
        }
    }
    /// Memory for the meantime, of any value; [`Backward::give`] it back.
    pub fn take(&mut self, len: usize) -> Block<N> {
        self.pool.take(len)
    }
    /// Gives memory back.
    pub fn give(&mut self, block: Block<N>) {
        self.pool.give(block);
    }
}

/// The gradient of an input, to be added to.
pub struct Slot<'t, N> {
    /// The numbers; of any value while `fresh`.
    pub grad: &'t mut [N],
    /// Nothing was added yet: write instead of add.
    pub fresh: bool,
}

impl<'t, N: Number> Slot<'t, N> {
    /// The numbers, zero if nothing was added yet: for operations that add here and there.
    pub fn zeroed(self) -> &'t mut [N] {
        if self.fresh {
            self.grad.fill(N::zero());
        }
        self.grad
    }
    /// What a product multiplies the old numbers with: 0 if nothing was added yet, else 1.
    pub fn beta(&self) -> N {
        if self.fresh { N::zero() } else { N::one() }
    }
    /// `dx += dy`.
    pub fn add(self, dy: &[N]) {
        if self.fresh {
            self.grad.copy_from_slice(dy);
        } else {
            thalweg_core::isa::run(
                #[inline(always)]
                || self.grad.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx = *dx + dy),
            );
        }
    }
}
