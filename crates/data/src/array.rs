//! [`Array`]: numbers with a shape, as IDX and NumPy's files hold them.

/// Numbers with a shape, in C order: the last axis varies fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The length of each axis; none for a single number.
    pub shape: Vec<usize>,
    /// The numbers, as many as the product of the lengths.
    pub elements: Elements,
}

macro_rules! elements {
    ($($variant:ident $type:ident),*) => {
        /// The numbers of an [`Array`].
        #[derive(Clone, Debug, PartialEq)]
        pub enum Elements {
            $(#[doc = concat!("Numbers of type `", stringify!($type), "`.")] $variant(Vec<$type>),)*
        }

        /// What type the numbers of an [`Array`] have.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum ElementType { $($variant,)* }

        impl ElementType {
            /// Bytes of one number.
            pub fn size(self) -> usize {
                match self { $(Self::$variant => size_of::<$type>(),)* }
            }
        }

        impl Elements {
            /// How many there are.
            pub fn len(&self) -> usize {
                match self { $(Self::$variant(x) => x.len(),)* }
            }

            /// Their type, as Rust names it.
            pub fn type_name(&self) -> &'static str {
                match self { $(Self::$variant(_) => stringify!($type),)* }
            }

            /// The `i`-th number; one of 64 bits is rounded to the nearest.
            pub fn get(&self, i: usize) -> f64 {
                match self { $(Self::$variant(x) => x[i] as f64,)* }
            }

            /// All numbers, rounded to the nearest `f32`.
            pub fn to_f32(&self) -> Vec<f32> {
                match self { $(Self::$variant(x) => x.iter().map(|&x| x as f32).collect(),)* }
            }

            /// Numbers from their bytes, a whole number of them.
            pub(crate) fn from_bytes(kind: ElementType, bytes: Vec<u8>, order: ByteOrder) -> Self {
                if kind == ElementType::U8 {
                    return Self::U8(bytes);
                }
                match kind {
                    $(ElementType::$variant => {
                        let numbers = bytes.chunks_exact(size_of::<$type>()).map(|b| {
                            let b = b.try_into().expect("a chunk has the size of the type");
                            match order {
                                ByteOrder::Big => $type::from_be_bytes(b),
                                ByteOrder::Little => $type::from_le_bytes(b),
                            }
                        });
                        Self::$variant(numbers.collect())
                    })*
                }
            }

            /// The same numbers from Fortran order (the first axis varies fastest) in C order.
            pub(crate) fn from_fortran(self, shape: &[usize]) -> Self {
                match self { $(Self::$variant(x) => Self::$variant(transposed(&x, shape)),)* }
            }
        }
    };
}

elements!(U8 u8, I8 i8, U16 u16, I16 i16, U32 u32, I32 i32, U64 u64, I64 i64, F32 f32, F64 f64);

/// Which byte of a number comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Big,
    Little,
}

impl Elements {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `i`-th number, if it is whole and an `i64` holds it.
    pub fn whole(&self, i: usize) -> Option<i64> {
        match self {
            Self::I64(x) => Some(x[i]),
            Self::U64(x) => i64::try_from(x[i]).ok(),
            _ => {
                let x = self.get(i);
                // Every whole f64 below 2⁶³ is an i64.
                (x.fract() == 0.0 && x.abs() < 9.223_372_036_854_775_8e18).then_some(x as i64)
            }
        }
    }
}

impl Array {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }
}

/// How many numbers a shape has, and their bytes; `None` if that is more than can be counted.
pub(crate) fn volume(shape: &[usize], size: usize) -> Option<(usize, usize)> {
    // An axis of length 0 makes any other length harmless.
    if shape.contains(&0) {
        return Some((0, 0));
    }
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    let bytes = count.checked_mul(size)?;
    isize::try_from(bytes).ok()?;
    Some((count, bytes))
}

/// Fortran order to C order: `out[i₀, …, iₖ] = x[i₀ + d₀·(i₁ + d₁·(…))]`.
fn transposed<T: Copy>(x: &[T], shape: &[usize]) -> Vec<T> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1usize;
    for &d in shape {
        strides.push(stride);
        stride = stride.saturating_mul(d);
    }
    let (mut out, mut index, mut at) = (Vec::with_capacity(x.len()), vec![0; shape.len()], 0);
    for _ in 0..x.len() {
        out.push(x[at]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    out
}
