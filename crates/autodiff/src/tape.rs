//! [`Workspace`] and [`Tape`]: what is recorded, and how the gradient is found from it.

use std::any::{Any, TypeId};
use std::sync::atomic::{AtomicU64, Ordering};

use thalweg_core::{Layout, Threads};

use crate::op::{Backward, Codes, Forward, Inputs, Op, SAVED, Work};
use crate::pool::{Block, Pool};
use crate::{Number, Shape};

/// Inputs that a tape borrows; more are copied.
const BORROWED: usize = 8;

/// A tensor on a tape: a copyable name for it. It is valid on its own tape until that ends, or its [scope](Tape::scope).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Var {
    pub(crate) id: u32,
    pub(crate) serial: u32,
}

/// Where the numbers of a node are.
#[derive(Debug)]
pub(crate) enum Value<N> {
    /// In memory of the pool.
    Block(Block<N>),
    /// In the flat parameters, from there on.
    Param(usize),
    /// In the n-th slice that the tape borrows.
    Borrowed(usize),
    /// In another node, from there on.
    Alias(Var, usize),
    /// Nowhere any more.
    Freed,
}

/// A tensor, and how it came about.
pub(crate) struct Node<N> {
    pub(crate) shape: Shape,
    pub(crate) value: Value<N>,
    pub(crate) saved: [Option<Block<N>>; SAVED],
    op: Option<Box<dyn Op<N>>>,
    /// Its inputs are `edges[edges.0..edges.0 + edges.1]`.
    edges: (usize, usize),
    /// The closure that makes it again.
    checkpoint: Option<Checkpoint>,
    /// Whether its gradient leads to something that was asked for.
    pub(crate) needs: bool,
    /// Whether its numbers outlive the backward pass.
    keep: bool,
    pub(crate) serial: u32,
}

/// What makes a checkpointed node again.
#[derive(Clone, Copy)]
struct Checkpoint {
    closure: usize,
    draws: u64,
}

/// No operation takes or makes a tensor without numbers: the one place where an empty batch is refused.
#[track_caller]
fn refuse_empty(op: &str, shape: Shape) {
    assert!(shape.count() > 0, "{op}: {shape} has no numbers: leave an empty batch out");
}

/// The memory that tapes work in, kept from step to step: buffers, the list of nodes, threads.
///
/// After the first step of a kind, the next ones allocate nothing.
pub struct Workspace<N: Number> {
    threads: Threads,
    nodes: Vec<Node<N>>,
    grads: Vec<Option<Block<N>>>,
    edges: Vec<Var>,
    codes: Vec<u32>,
    pool: Pool<N>,
    shelf: Vec<Shelf<N>>,
    serial: u32,
    multiply_adds: AtomicU64,
}

impl<N: Number> Workspace<N> {
    /// Without memory yet.
    pub fn new(threads: Threads) -> Self {
        Self {
            threads,
            nodes: Vec::new(),
            grads: Vec::new(),
            edges: Vec::new(),
            codes: Vec::new(),
            pool: Pool::new(),
            shelf: Vec::new(),
            serial: 0,
            multiply_adds: AtomicU64::new(0),
        }
    }

    /// Starts a tape at the parameters `theta`, a flat buffer of `layout`.
    ///
    /// # Panics
    /// When the buffer has another length.
    pub fn tape<'a>(&'a mut self, layout: &'a Layout, theta: &'a [N]) -> Tape<'a, N> {
        assert_eq!(theta.len(), layout.buffer_len(), "the parameters are not a flat buffer of the layout");
        self.truncate(0);
        self.codes.clear();
        Tape {
            w: self,
            layout,
            theta,
            trained: layout.trained_len(),
            borrowed: [&[]; BORROWED],
            borrowed_count: 0,
            closures: Vec::new(),
            recording: true,
            tracking: true,
            swept: false,
            training: true,
            replaying: false,
            draws: 0,
        }
    }

    /// Starts a tape that records nothing: for predictions and scores.
    ///
    /// Numbers made inside a [scope](Tape::scope) are freed at its end, so that only a layer's own are alive at a time.
    pub fn evaluation<'a>(&'a mut self, layout: &'a Layout, theta: &'a [N]) -> Tape<'a, N> {
        let mut tape = self.tape(layout, theta);
        (tape.recording, tape.tracking, tape.training) = (false, false, false);
        tape
    }

    /// The threads.
    pub fn threads(&self) -> &Threads {
        &self.threads
    }
    /// The memory.
    pub fn pool_mut(&mut self) -> &mut Pool<N> {
        &mut self.pool
    }
    /// The memory.
    pub fn pool(&self) -> &Pool<N> {
        &self.pool
    }
    /// Multiply-adds of matrix products, convolutions and attention since the start.
    pub fn multiply_adds(&self) -> u64 {
        self.multiply_adds.load(Ordering::Relaxed)
    }

    fn free(&mut self, id: usize) {
        let node = &mut self.nodes[id];
        if let Value::Block(block) = std::mem::replace(&mut node.value, Value::Freed) {
            self.pool.give(block);
        }
        self.unsave(id);
    }

    fn unsave(&mut self, id: usize) {
        for saved in &mut self.nodes[id].saved {
            if let Some(block) = saved.take() {
                self.pool.give(block);
            }
        }
        if let Some(op) = self.nodes[id].op.take() {
            self.shelve(op);
        }
    }

    fn shelve(&mut self, op: Box<dyn Op<N>>) {
        let kind = (*op).type_id();
        match self.shelf.iter_mut().find(|(k, _)| *k == kind) {
            Some((_, ops)) => ops.push(op),
            None => self.shelf.push((kind, vec![op])),
        }
    }

    /// `op` in a box that was used before, if there is one.
    fn boxed<O: Op<N>>(&mut self, op: O) -> Box<dyn Op<N>> {
        let kind = TypeId::of::<O>();
        let old = self.shelf.iter_mut().find(|(k, _)| *k == kind).and_then(|(_, ops)| ops.pop());
        if let Some(mut old) = old {
            let any: &mut dyn Any = &mut *old;
            if let Some(place) = any.downcast_mut::<O>() {
                *place = op;
                return old;
            }
        }
        Box::new(op)
    }

    /// Forgets the nodes from `mark` on.
    fn truncate(&mut self, mark: usize) {
        while self.nodes.len() > mark {
            let id = self.nodes.len() - 1;
            self.free(id);
            if let Some(Some(grad)) = self.grads.pop() {
                self.pool.give(grad);
            }
            self.edges.truncate(self.nodes[id].edges.0);
            self.nodes.pop();
        }
    }
}

/// Boxes of operations of one type, to be used again.
type Shelf<N> = (TypeId, Vec<Box<dyn Op<N>>>);

type Closure<'a, N> = Box<dyn Fn(&mut Tape<'a, N>) -> Var + 'a>;

/// One evaluation of a model: operations are methods, run at once, and are recorded for [`Tape::backward`].
///
/// Control flow is plain Rust. Shapes that do not fit panic with the operation's name and both shapes. See the
/// [crate's page](crate) for an example.
pub struct Tape<'a, N: Number> {
    w: &'a mut Workspace<N>,
    layout: &'a Layout,
    theta: &'a [N],
    trained: usize,
    borrowed: [&'a [N]; BORROWED],
    borrowed_count: usize,
    closures: Vec<Option<Closure<'a, N>>>,
    /// Operations are kept for the backward pass.
    recording: bool,
    /// Whether a node needs a gradient is worked out.
    tracking: bool,
    swept: bool,
    training: bool,
    /// A checkpointed part runs once more.
    replaying: bool,
    draws: u64,
}

impl<N: Number> Drop for Tape<'_, N> {
    fn drop(&mut self) {
        self.w.truncate(0);
    }
}

impl<'a, N: Number> Tape<'a, N> {
    /// Parameters from this place of the flat buffer on are frozen: no gradient is computed for them, and the gradient's
    /// buffer may end there. At first that place is where the layout's [frozen tensors](Layout::trained_len) begin.
    pub fn freeze_from(&mut self, offset: usize) {
        self.trained = offset;
    }
    /// The parameter tensor `name`.
    ///
    /// # Panics
    /// When the layout has no such tensor.
    #[track_caller]
    pub fn param(&mut self, name: &str) -> Var {
        match self.layout.tensors().iter().position(|t| t.name == name) {
            Some(index) => self.param_at(index),
            None => panic!("there is no tensor {name:?} in this layout"),
        }
    }
    /// The parameter tensor with that place in the layout's list: as [`Tape::param`] without a search.
    pub fn param_at(&mut self, index: usize) -> Var {
        let tensor = &self.layout.tensors()[index];
        let needs = self.tracking && tensor.range().end <= self.trained;
        self.push(Shape::new(&tensor.shape), Value::Param(tensor.offset), needs)
    }
    /// The parameter tensor `name`, of which no gradient is wanted.
    ///
    /// # Panics
    /// When the layout has no such tensor.
    #[track_caller]
    pub fn frozen_param(&mut self, name: &str) -> Var {
        let var = self.param(name);
        self.w.nodes[var.id as usize].needs = false;
        var
    }
    /// Numbers from outside, without a gradient. The first eight are borrowed, more are copied.
    ///
    /// # Panics
    /// When `data` has not the number of numbers of `shape`.
    #[track_caller]
    pub fn input(&mut self, data: &'a [N], shape: impl Into<Shape>) -> Var {
        let shape = shape.into();
        assert_eq!(data.len(), shape.count(), "input: {} numbers do not fill {shape}", data.len());
        if self.borrowed_count == BORROWED {
            return self.constant(data, shape);
        }
        self.borrowed[self.borrowed_count] = data;
        self.borrowed_count += 1;
        self.push(shape, Value::Borrowed(self.borrowed_count - 1), false)
    }
    /// A copy of numbers from outside, without a gradient.
    ///
    /// # Panics
    /// When `data` has not the number of numbers of `shape`.
    #[track_caller]
    pub fn constant(&mut self, data: &[N], shape: impl Into<Shape>) -> Var {
        let shape = shape.into();
        assert_eq!(data.len(), shape.count(), "constant: {} numbers do not fill {shape}", data.len());
        let mut block = self.w.pool.take(data.len());
        block.copy_from_slice(data);
        self.push(shape, Value::Block(block), false)
    }
    /// A tensor of the numbers `f(0), f(1), …`, without a gradient.
    pub fn constant_by(&mut self, shape: impl Into<Shape>, f: impl FnMut(usize) -> N) -> Var {
        let shape = shape.into();
        let mut block = self.w.pool.take(shape.count());
        block.iter_mut().zip((0..shape.count()).map(f)).for_each(|(to, x)| *to = x);
        self.push(shape, Value::Block(block), false)
    }
    /// A tensor of one value, without a gradient.
    pub fn full(&mut self, x: N, shape: impl Into<Shape>) -> Var {
        let shape = shape.into();
        let mut block = self.w.pool.take(shape.count());
        block.fill(x);
        self.push(shape, Value::Block(block), false)
    }
    /// Numbers from outside whose gradient is wanted: read it by [`Tape::grad`] after the backward pass.
    ///
    /// # Panics
    /// When `data` has not the number of numbers of `shape`.
    #[track_caller]
    pub fn leaf(&mut self, data: &'a [N], shape: impl Into<Shape>) -> Var {
        let var = self.input(data, shape);
        self.w.nodes[var.id as usize].needs = self.tracking;
        var
    }
    /// The same numbers, but as a constant: no gradient flows through.
    pub fn detach(&mut self, x: Var) -> Var {
        let shape = self.shape(x);
        self.push(shape, Value::Alias(x, 0), false)
    }

    /// The shape of a tensor.
    #[track_caller]
    pub fn shape(&self, x: Var) -> Shape {
        self.inputs(&[]).node(x).shape
    }
    /// The numbers of a tensor.
    ///
    /// # Panics
    /// When they were freed: after the backward pass only the loss and what [`Tape::keep`] named are there.
    #[track_caller]
    pub fn value(&self, x: Var) -> &[N] {
        self.inputs(&[]).value(x)
    }
    /// Keeps a tensor's numbers through the backward pass, which frees them otherwise.
    pub fn keep(&mut self, x: Var) {
        self.inputs(&[]).node(x);
        let node = &mut self.w.nodes[x.id as usize];
        node.keep = true;
        if let Value::Alias(of, _) = node.value {
            self.keep(of);
        }
    }
    /// The gradient of a [leaf](Tape::leaf) after the backward pass; `None` if the loss does not depend on it.
    pub fn grad(&self, x: Var) -> Option<&[N]> {
        self.inputs(&[]).node(x);
        self.w.grads[x.id as usize].as_deref()
    }
    /// Whether a gradient of this tensor would lead anywhere.
    pub fn needs_grad(&self, x: Var) -> bool {
        self.inputs(&[]).node(x).needs
    }
    /// The threads.
    pub fn threads(&self) -> &Threads {
        &self.w.threads
    }
    /// Whether operations are recorded.
    pub fn is_recording(&self) -> bool {
        self.recording
    }
    /// Whether the tape was started for training: by [`Workspace::tape`], not by [`Workspace::evaluation`].
    pub fn is_training(&self) -> bool {
        self.training
    }
    /// Whether a [checkpoint](Tape::checkpoint) runs once more, in the backward pass: what happens once a step is not to happen again.
    pub fn is_replaying(&self) -> bool {
        self.replaying
    }
    /// A number that differs from draw to draw of one tape, and is the same in each repetition: for random operations.
    pub fn draw(&mut self) -> u64 {
        self.draws += 1;
        self.draws
    }
    /// Holds a copy of whole numbers for an operation.
    pub fn codes(&mut self, codes: &[u32]) -> Codes {
        let start = self.w.codes.len();
        self.w.codes.extend_from_slice(codes);
        Codes { start, len: codes.len() }
    }

    /// Runs an operation on its inputs.
    ///
    /// # Panics
    /// When inputs or result have no numbers, and when the inputs do not fit the operation.
    #[track_caller]
    pub fn apply<O: Op<N>>(&mut self, mut op: O, inputs: &[Var]) -> Var {
        let x = self.inputs(inputs);
        (0..x.count()).for_each(|i| refuse_empty(op.name(), x.shape(i)));
        let shape = op.shape(&x);
        refuse_empty(op.name(), shape);
        let needs = self.tracking && inputs.iter().any(|&v| x.node(v).needs);
        let record = self.recording && needs;
        let codes_mark = self.w.codes.len();
        let w = &mut *self.w;
        let mut y = w.pool.take(shape.count());
        let mut f = Forward {
            inputs: Inputs { nodes: &w.nodes, theta: self.theta, borrowed: &self.borrowed, vars: inputs },
            pool: &mut w.pool,
            codes: &mut w.codes,
            saved: [const { None }; SAVED],
            work: Work { threads: &w.threads, multiply_adds: &w.multiply_adds },
            recording: record,
        };
        op.forward(&mut f, &mut y);
        let mut saved = f.saved;
        if !record {
            for block in saved.iter_mut().filter_map(Option::take) {
                w.pool.give(block);
            }
            w.codes.truncate(codes_mark);
        }
        let var = self.push(shape, Value::Block(y), needs);
        self.record(var, op, inputs, saved, record);
        var
    }

    /// A tensor that shares memory with `of`, from its number `at` on; `op` takes its gradient back and has no forward direction.
    #[track_caller]
    pub(crate) fn alias<O: Op<N>>(&mut self, op: O, of: Var, at: usize, shape: Shape) -> Var {
        refuse_empty(op.name(), self.shape(of));
        refuse_empty(op.name(), shape);
        let needs = self.inputs(&[]).node(of).needs && self.tracking;
        let var = self.push(shape, Value::Alias(of, at), needs);
        self.record(var, op, &[of], [const { None }; SAVED], needs && self.recording);
        var
    }

    fn record<O: Op<N>>(
        &mut self,
        var: Var,
        op: O,
        inputs: &[Var],
        saved: [Option<Block<N>>; SAVED],
        record: bool,
    ) {
        if record {
            let op = self.w.boxed(op);
            let start = self.w.edges.len();
            self.w.edges.extend_from_slice(inputs);
            let node = &mut self.w.nodes[var.id as usize];
            node.op = Some(op);
            node.edges = (start, inputs.len());
            node.saved = saved;
        }
    }

    fn push(&mut self, shape: Shape, value: Value<N>, needs: bool) -> Var {
        self.w.serial = self.w.serial.wrapping_add(1);
        let serial = self.w.serial;
        let id = u32::try_from(self.w.nodes.len()).expect("a tape has fewer than 2³² nodes");
        self.w.nodes.push(Node {
            shape,
            value,
            saved: [const { None }; SAVED],
            op: None,
            edges: (self.w.edges.len(), 0),
            checkpoint: None,
            needs,
            keep: false,
            serial,
        });
        self.w.grads.push(None);
        Var { id, serial }
    }

    fn inputs<'t>(&'t self, vars: &'t [Var]) -> Inputs<'t, N> {
        Inputs { nodes: &self.w.nodes, theta: self.theta, borrowed: &self.borrowed, vars }
    }

    /// Runs `f` without recording: what it makes are constants.
    pub fn no_grad<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        let before = (self.recording, self.tracking);
        (self.recording, self.tracking) = (false, false);
        let result = f(self);
        (self.recording, self.tracking) = before;
        result
    }

    /// Runs `f`; where nothing is recorded, all that it made but its result is freed at once. Layers run inside a scope.
    pub fn scope(&mut self, f: impl FnOnce(&mut Self) -> Var) -> Var {
        let [y] = self.scope_of(|tape| [f(tape)]);
        y
    }

    /// As [`Tape::scope`], with several results.
    pub fn scope_of<const K: usize>(&mut self, f: impl FnOnce(&mut Self) -> [Var; K]) -> [Var; K] {
        if self.recording {
            return f(self);
        }
        let (mark, codes) = (self.w.nodes.len(), self.w.codes.len());
        let results = f(self);
        // Copies of what lies inside another tensor of the scope, then the results' own memory.
        let results = results.map(|y| {
            let node = self.inputs(&[]).node(y);
            match node.value {
                Value::Alias(of, _) if self.root(of) >= mark => self.copy(y),
                _ => y,
            }
        });
        let mut moved = results.map(|y| (y, None));
        for k in 0..K {
            let y = results[k];
            if y.id as usize >= mark && !results[..k].contains(&y) {
                let node = &mut self.w.nodes[y.id as usize];
                let value = std::mem::replace(&mut node.value, Value::Freed);
                moved[k].1 = Some((node.shape, value, node.needs));
            }
        }
        self.w.truncate(mark);
        self.w.codes.truncate(codes);
        let mut out = results;
        for (k, (y, parts)) in moved.into_iter().enumerate() {
            if let Some((shape, value, needs)) = parts {
                out[k] = self.push(shape, value, needs);
            } else if let Some(first) = results[..k].iter().position(|&other| other == y) {
                out[k] = out[first];
            }
        }
        out
    }

    /// The node whose memory a tensor is in.
    fn root(&self, x: Var) -> usize {
        match self.w.nodes[x.id as usize].value {
            Value::Alias(of, _) => self.root(of),
            _ => x.id as usize,
        }
    }

    fn copy(&mut self, x: Var) -> Var {
        let shape = self.shape(x);
        let mut block = self.w.pool.take(shape.count());
        block.copy_from_slice(self.value(x));
        let needs = self.w.nodes[x.id as usize].needs;
        self.push(shape, Value::Block(block), needs)
    }

    /// Frees a tensor's numbers where nothing is recorded; elsewhere does nothing. For chains of layers in evaluation.
    pub fn release(&mut self, x: Var) {
        self.inputs(&[]).node(x);
        if !self.recording {
            self.w.free(x.id as usize);
        }
    }

    /// Runs `f` and forgets all but its result; the backward pass runs it again to find what it needs. Less memory for one more
    /// forward pass, and the same bits. `f` must do the same each time; what it changes outside the tape it changes where
    /// [`Tape::is_replaying`] is false.
    pub fn checkpoint(&mut self, f: impl Fn(&mut Self) -> Var + 'a) -> Var {
        if !self.recording {
            return self.scope(f);
        }
        let (draws, mark) = (self.draws, self.w.nodes.len());
        self.recording = false;
        let y = self.scope(&f);
        self.recording = true;
        let made = y.id as usize >= mark;
        if made && self.w.nodes[y.id as usize].needs {
            let closure = self.closures.len();
            self.closures.push(Some(Box::new(f)));
            self.w.nodes[y.id as usize].checkpoint = Some(Checkpoint { closure, draws });
        }
        y
    }

    /// Finds the gradient of `loss`, a single number, and **adds** it to `grads`, a flat buffer of the parameters' layout that may
    /// end where they are frozen. Frees the numbers of all other tensors on its way, but those that are kept.
    ///
    /// # Panics
    /// When `loss` is not a single number, when the buffer is too short, or when called a second time: add losses first.
    #[track_caller]
    pub fn backward(&mut self, loss: Var, grads: &mut [N]) {
        let shape = self.shape(loss);
        assert_eq!(shape.count(), 1, "backward: the loss has the shape {shape}, not that of a single number");
        self.backward_from(loss, &[N::one()], grads);
    }

    /// As [`Tape::backward`], from the gradient `dy` of any tensor.
    ///
    /// # Panics
    /// When `dy` has not the size of `y`, and as [`Tape::backward`].
    #[track_caller]
    pub fn backward_from(&mut self, y: Var, dy: &[N], grads: &mut [N]) {
        assert!(!self.swept, "backward was called before on this tape: add the losses up first");
        let shape = self.shape(y);
        assert_eq!(dy.len(), shape.count(), "backward: {} numbers do not fill {shape}", dy.len());
        let needed = self.theta.len().min(self.trained);
        assert!(
            grads.len() >= needed,
            "backward: {} numbers do not hold a gradient of {needed}",
            grads.len()
        );
        self.swept = true;
        self.keep(y);
        if self.needs_grad(y) {
            if let Value::Param(at) = self.w.nodes[y.id as usize].value {
                for (g, &dy) in grads[at..at + dy.len()].iter_mut().zip(dy) {
                    *g = *g + dy;
                }
            } else {
                let mut seed = self.w.pool.take(dy.len());
                seed.copy_from_slice(dy);
                self.w.grads[y.id as usize] = Some(seed);
            }
        }
        self.sweep(0, grads);
    }

    /// Takes the gradient back through the nodes from `mark` on, last first.
    fn sweep(&mut self, mark: usize, flat: &mut [N]) {
        for id in (mark..self.w.nodes.len()).rev() {
            let w = &mut *self.w;
            let node = &mut w.nodes[id];
            let serial = node.serial;
            if let Some(checkpoint) = node.checkpoint.take() {
                if let Some(dy) = w.grads[id].take() {
                    self.replay(checkpoint, dy, flat);
                }
            } else if let Some(op) = node.op.take() {
                if let Some(mut dy) = w.grads[id].take() {
                    let (start, len) = node.edges;
                    let mut b = Backward {
                        inputs: Inputs {
                            nodes: &w.nodes,
                            theta: self.theta,
                            borrowed: &self.borrowed,
                            vars: &w.edges[start..start + len],
                        },
                        output: &w.nodes[id],
                        output_var: Var { id: id as u32, serial },
                        grads: &mut w.grads,
                        flat,
                        pool: &mut w.pool,
                        codes: &w.codes,
                        work: Work { threads: &w.threads, multiply_adds: &w.multiply_adds },
                    };
                    op.backward(&mut b, &mut dy);
                    w.pool.give(dy);
                }
                w.shelve(op);
            }
            if !self.w.nodes[id].keep {
                self.w.free(id);
            }
        }
    }

    /// Makes a checkpointed node again, recorded this time, and takes its gradient back.
    fn replay(&mut self, checkpoint: Checkpoint, dy: Block<N>, flat: &mut [N]) {
        let Some(f) = self.closures[checkpoint.closure].take() else { return };
        let (mark, codes) = (self.w.nodes.len(), self.w.codes.len());
        let draws = std::mem::replace(&mut self.draws, checkpoint.draws);
        let replaying = std::mem::replace(&mut self.replaying, true);
        let y = f(self);
        self.replaying = replaying;
        self.draws = draws;
        assert_eq!(
            dy.len(),
            self.shape(y).count(),
            "checkpoint: the closure made another shape the second time"
        );
        let slot = &mut self.w.grads[y.id as usize];
        match (slot, &self.w.nodes[y.id as usize].value) {
            (_, Value::Param(at)) => {
                for (g, &dy) in flat[*at..at + dy.len()].iter_mut().zip(dy.iter()) {
                    *g = *g + dy;
                }
                self.w.pool.give(dy);
            }
            (Some(sum), _) => {
                for (g, &dy) in sum.iter_mut().zip(dy.iter()) {
                    *g = *g + dy;
                }
                self.w.pool.give(dy);
            }
            (slot, _) => *slot = Some(dy),
        }
        self.sweep(mark, flat);
        self.w.truncate(mark);
        self.w.codes.truncate(codes);
    }
}
