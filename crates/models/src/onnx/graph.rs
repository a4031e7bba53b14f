//! [`Graph`]: operators and numbers, on their way into a file.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use prost::Message;

use super::proto;

/// The operator set of the files: that of ONNX 1.12.
pub const OPSET: i64 = 17;
/// The set of operators on texts and tables.
const ML_OPSET: i64 = 2;
/// The version of the file format that belongs to [`OPSET`].
const IR_VERSION: i64 = 8;
const ML: &str = "ai.onnx.ml";
/// What the axis of rows is called.
const ROWS: &str = "rows";
/// The most bytes that a protobuf message can have.
const MOST_BYTES: usize = i32::MAX as usize;

/// Why there is no file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// Larger than the format allows.
    #[error(
        "the model would be {bytes} bytes of ONNX, and a file holds at most {MOST_BYTES}; take a smaller model"
    )]
    TooLarge {
        /// The file's size.
        bytes: usize,
    },
}

/// What a tensor holds, with ONNX's number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// f32.
    Float = 1,
    /// u8.
    Byte = 2,
    /// i64.
    Whole = 7,
    /// UTF-8.
    Text = 8,
    /// f64.
    Double = 11,
}

impl Type {
    /// ONNX's name.
    pub fn name(self) -> &'static str {
        match self {
            Type::Float => "float",
            Type::Byte => "uint8",
            Type::Whole => "int64",
            Type::Text => "string",
            Type::Double => "double",
        }
    }
}

/// A number that a constant can hold.
pub trait Element: Copy {
    /// Its type.
    const TYPE: Type;
    /// Its bytes, little-endian.
    fn bytes(self) -> impl IntoIterator<Item = u8>;
}

macro_rules! elements {
    ($($number:ty: $name:ident),*) => {
        $(impl Element for $number {
            const TYPE: Type = Type::$name;
            fn bytes(self) -> impl IntoIterator<Item = u8> {
                self.to_le_bytes()
            }
        })*
    };
}

elements!(f32: Float, f64: Double, i64: Whole);

/// What an operator makes, or what goes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge(Rc<str>);

/// A setting of an operator.
#[derive(Clone, Debug)]
pub struct Attribute(proto::Attribute);

impl Attribute {
    fn of(name: &str, kind: i32) -> proto::Attribute {
        proto::Attribute { name: name.into(), kind, ..Default::default() }
    }
    /// A number.
    pub fn number(name: &str, x: f64) -> Self {
        Self(proto::Attribute { f: Some(x as f32), ..Self::of(name, 1) })
    }
    /// A whole number.
    pub fn whole(name: &str, x: i64) -> Self {
        Self(proto::Attribute { i: Some(x), ..Self::of(name, 2) })
    }
    /// Whole numbers.
    pub fn wholes(name: &str, x: &[i64]) -> Self {
        Self(proto::Attribute { ints: x.into(), ..Self::of(name, 7) })
    }
    /// Texts.
    pub fn texts<T: AsRef<str>>(name: &str, x: &[T]) -> Self {
        Self(proto::Attribute { strings: bytes(x), ..Self::of(name, 8) })
    }
}

fn bytes<T: AsRef<str>>(texts: &[T]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_ref().as_bytes().to_vec()).collect()
}

/// What goes into a graph, or comes out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Type,
    /// Its sizes; the rows, of which there may be any number, have none.
    pub shape: Vec<Option<usize>>,
    /// What it means.
    pub doc: String,
}

impl Port {
    fn info(&self) -> proto::ValueInfo {
        let dim = |size: &Option<usize>| proto::Dimension {
            dim_value: size.map(|size| size as i64),
            dim_param: size.is_none().then(|| ROWS.into()),
        };
        let shape = Some(proto::TensorShape { dim: self.shape.iter().map(dim).collect() });
        let tensor = proto::TensorType { elem_type: self.kind as i32, shape };
        proto::ValueInfo {
            name: self.name.clone(),
            kind: Some(proto::Type { tensor_type: Some(tensor) }),
            doc_string: self.doc.clone(),
        }
    }
}

/// A file, and what it takes and gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The file.
    pub bytes: Vec<u8>,
    /// What goes in.
    pub inputs: Vec<Port>,
    /// What comes out.
    pub outputs: Vec<Port>,
}

/// A graph while it is built. A name that is taken gets a number, so what comes first keeps its own: inputs should.
///
/// ```
/// use thalweg_models::onnx::{Graph, Type};
/// let mut graph = Graph::default();
/// let x = graph.input("x", Type::Float, &[None, Some(1)], "a length in mm");
/// let scale = graph.constant("scale", &[1], &[0.001f32]);
/// let y = graph.node("Mul", &[&x, &scale], []);
/// graph.output("metres", Type::Float, &[None, Some(1)], "", &y);
/// let file = graph.finish("millimetres to metres", &[])?;
/// assert_eq!((file.inputs[0].name.as_str(), file.outputs[0].name.as_str()), ("x", "metres"));
/// # Ok::<(), thalweg_models::onnx::OnnxError>(())
/// ```
#[derive(Debug, Default)]
pub struct Graph {
    graph: proto::Graph,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    names: HashSet<Rc<str>>,
    /// How often each name was asked for.
    asked: HashMap<String, usize>,
    /// What names of operators start with: the place in the network.
    scope: String,
    /// Whether there are operators of [`ML`].
    ml: bool,
}

impl Graph {
    /// `name`, or with a number behind it if it is taken.
    fn fresh(&mut self, name: String) -> Edge {
        let asked = self.asked.entry(name.clone()).or_insert(0);
        loop {
            *asked += 1;
            let candidate: Rc<str> =
                if *asked == 1 { name.as_str().into() } else { format!("{name}_{asked}").into() };
            if self.names.insert(candidate.clone()) {
                return Edge(candidate);
            }
        }
    }

    fn port(&mut self, name: &str, kind: Type, shape: &[Option<usize>], doc: &str) -> (Port, Edge) {
        let value = self.fresh(name.into());
        (Port { name: value.0.to_string(), kind, shape: shape.into(), doc: doc.into() }, value)
    }

    /// Something that is given with each call.
    pub fn input(&mut self, name: &str, kind: Type, shape: &[Option<usize>], doc: &str) -> Edge {
        let (port, value) = self.port(name, kind, shape, doc);
        self.inputs.push(port);
        value
    }

    /// Makes `value` a result.
    pub fn output(&mut self, name: &str, kind: Type, shape: &[Option<usize>], doc: &str, value: &Edge) {
        let (port, result) = self.port(name, kind, shape, doc);
        self.outputs.push(port);
        self.graph.node.push(proto::Node {
            input: vec![value.0.to_string()],
            output: vec![result.0.to_string()],
            name: result.0.to_string(),
            op_type: "Identity".into(),
            ..Default::default()
        });
    }

    fn tensor(
        &mut self,
        name: String,
        shape: &[usize],
        kind: Type,
        fill: impl FnOnce(&mut proto::Tensor),
    ) -> Edge {
        let value = self.fresh(name);
        let mut tensor = proto::Tensor {
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type: kind as i32,
            name: value.0.to_string(),
            ..Default::default()
        };
        fill(&mut tensor);
        self.graph.initializer.push(tensor);
        value
    }

    /// Numbers, row by row. The name counts from the root, whatever the scope: parameters have names of their own.
    ///
    /// # Panics
    /// When there are not as many as the shape says: a mistake in the caller's code.
    pub fn constant<T: Element>(&mut self, name: &str, shape: &[usize], values: &[T]) -> Edge {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "{name} has the shape {shape:?}");
        let raw = values.iter().flat_map(|x| x.bytes()).collect();
        self.tensor(name.into(), shape, T::TYPE, |tensor| tensor.raw_data = Some(raw))
    }

    /// One number without axes.
    pub fn scalar<T: Element>(&mut self, x: T) -> Edge {
        let name = format!("{}number", self.scope);
        self.constant(&name, &[], &[x])
    }

    /// Whole numbers in a row: axes, shapes, indices.
    pub fn wholes(&mut self, x: &[i64]) -> Edge {
        let name = format!("{}numbers", self.scope);
        self.constant(&name, &[x.len()], x)
    }

    /// Texts in a row.
    pub fn texts<T: AsRef<str>>(&mut self, name: &str, x: &[T]) -> Edge {
        self.tensor(name.into(), &[x.len()], Type::Text, |tensor| tensor.string_data = bytes(x))
    }

    fn add(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&Edge],
        attributes: impl IntoIterator<Item = Attribute>,
    ) -> Edge {
        let value = self.fresh(format!("{}{op}", self.scope));
        self.graph.node.push(proto::Node {
            input: inputs.iter().map(|x| x.0.to_string()).collect(),
            output: vec![value.0.to_string()],
            name: value.0.to_string(),
            op_type: op.into(),
            attribute: attributes.into_iter().map(|a| a.0).collect(),
            domain: domain.into(),
        });
        value
    }

    /// The first result of an operator.
    pub fn node(
        &mut self,
        op: &str,
        inputs: &[&Edge],
        attributes: impl IntoIterator<Item = Attribute>,
    ) -> Edge {
        self.add("", op, inputs, attributes)
    }

    /// The first result of an operator of `ai.onnx.ml`.
    pub fn ml_node(
        &mut self,
        op: &str,
        inputs: &[&Edge],
        attributes: impl IntoIterator<Item = Attribute>,
    ) -> Edge {
        self.ml = true;
        self.add(ML, op, inputs, attributes)
    }

    /// Numbers as another type.
    pub fn cast(&mut self, x: &Edge, to: Type) -> Edge {
        self.node("Cast", &[x], [Attribute::whole("to", to as i64)])
    }

    /// The part of `x` at `index` of an axis, without that axis.
    pub fn select(&mut self, x: &Edge, axis: i64, index: i64) -> Edge {
        let index = self.scalar(index);
        self.node("Gather", &[x, &index], [Attribute::whole("axis", axis)])
    }

    /// `x` with other sizes; 0 keeps the size that it has there.
    pub fn reshape(&mut self, x: &Edge, shape: &[i64]) -> Edge {
        let shape = self.wholes(shape);
        self.node("Reshape", &[x, &shape], [])
    }

    /// `x` with its axes in another order.
    pub fn transpose(&mut self, x: &Edge, axes: &[i64]) -> Edge {
        self.node("Transpose", &[x], [Attribute::wholes("perm", axes)])
    }

    /// `x` without an axis of size 1.
    pub fn squeeze(&mut self, x: &Edge, axis: i64) -> Edge {
        let axes = self.wholes(&[axis]);
        self.node("Squeeze", &[x, &axes], [])
    }

    /// All of `parts` along an axis; one stays itself.
    ///
    /// # Panics
    /// Without parts: a mistake in the caller's code.
    pub fn concat(&mut self, parts: &[Edge], axis: i64) -> Edge {
        match parts {
            [] => panic!("there is nothing to join"),
            [one] => one.clone(),
            _ => {
                let parts: Vec<&Edge> = parts.iter().collect();
                self.node("Concat", &parts, [Attribute::whole("axis", axis)])
            }
        }
    }

    /// Calls `f`; names of operators inside start with `part` and a stroke.
    pub fn within<R>(&mut self, part: &str, f: impl FnOnce(&mut Self) -> R) -> R {
        let before = self.enter(part);
        let result = f(self);
        self.leave(before);
        result
    }

    /// From now on, names start with `part` too; returns what [`Graph::leave`] wants.
    pub(super) fn enter(&mut self, part: &str) -> usize {
        let before = self.scope.len();
        self.scope.push_str(part);
        self.scope.push('/');
        before
    }

    /// Ends what [`Graph::enter`] began.
    pub(super) fn leave(&mut self, before: usize) {
        self.scope.truncate(before);
    }

    /// The file: with a line about the model, and what else is to be said of it, by name.
    ///
    /// # Errors
    /// [`OnnxError::TooLarge`].
    pub fn finish(mut self, doc: &str, properties: &[(&str, &str)]) -> Result<Exported, OnnxError> {
        self.graph.name = "thalweg".into();
        self.graph.input = self.inputs.iter().map(Port::info).collect();
        self.graph.output = self.outputs.iter().map(Port::info).collect();
        let set = |domain: &str, version| proto::OperatorSet { domain: domain.into(), version };
        let mut opset_import = vec![set("", OPSET)];
        opset_import.extend(self.ml.then(|| set(ML, ML_OPSET)));
        let entry = |&(key, value): &(&str, &str)| proto::Entry { key: key.into(), value: value.into() };
        let model = proto::Model {
            ir_version: IR_VERSION,
            producer_name: "thalweg".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            doc_string: doc.into(),
            graph: Some(self.graph),
            opset_import,
            metadata_props: properties.iter().map(entry).collect(),
        };
        let bytes = model.encoded_len();
        if bytes > MOST_BYTES {
            return Err(OnnxError::TooLarge { bytes });
        }
        Ok(Exported { bytes: model.encode_to_vec(), inputs: self.inputs, outputs: self.outputs })
    }
}
