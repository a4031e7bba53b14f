//! [`Memory`]: a piece of an optimizer's state, as it is saved and restored.

/// A piece of state, to be read or written in place.
#[derive(Debug)]
pub enum Memory<'a> {
    /// Numbers in single precision.
    F32(&'a mut [f32]),
    /// Numbers in double precision.
    F64(&'a mut [f64]),
    /// Numbers in bf16, by their bits.
    Bf16(&'a mut [u16]),
    /// Codes of a compressed format.
    U8(&'a mut [u8]),
    /// One number.
    Scalar(&'a mut f64),
    /// A count.
    Count(&'a mut u64),
    /// Counts, one for each row.
    Counts(&'a mut [u64]),
}

impl Memory<'_> {
    /// How many numbers it has.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(x) => x.len(),
            Self::F64(x) => x.len(),
            Self::Bf16(x) => x.len(),
            Self::U8(x) => x.len(),
            Self::Counts(x) => x.len(),
            Self::Scalar(_) | Self::Count(_) => 1,
        }
    }
    /// Whether it has no numbers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The kind of its numbers, as files name it.
    pub fn dtype(&self) -> &'static str {
        match self {
            Self::F32(_) => "F32",
            Self::F64(_) | Self::Scalar(_) => "F64",
            Self::Bf16(_) => "BF16",
            Self::U8(_) => "U8",
            Self::Count(_) | Self::Counts(_) => "U64",
        }
    }
    /// Its bytes, little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::F64(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::Bf16(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::U8(x) => x.to_vec(),
            Self::Scalar(x) => x.to_le_bytes().to_vec(),
            Self::Count(x) => x.to_le_bytes().to_vec(),
            Self::Counts(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }
    /// Takes the numbers of `bytes`, little-endian; false, and nothing is written, when their count differs.
    pub fn copy_from(&mut self, bytes: &[u8]) -> bool {
        fn fill<T, const N: usize>(to: &mut [T], bytes: &[u8], read: fn([u8; N]) -> T) -> bool {
            let same = bytes.len() == to.len() * N;
            if same {
                for (x, b) in to.iter_mut().zip(bytes.chunks_exact(N)) {
                    *x = read(std::array::from_fn(|i| b[i]));
                }
            }
            same
        }
        match self {
            Self::F32(x) => fill(x, bytes, f32::from_le_bytes),
            Self::F64(x) => fill(x, bytes, f64::from_le_bytes),
            Self::Bf16(x) => fill(x, bytes, u16::from_le_bytes),
            Self::U8(x) => fill(x, bytes, |[b]| b),
            Self::Scalar(x) => fill(std::slice::from_mut(*x), bytes, f64::from_le_bytes),
            Self::Count(x) => fill(std::slice::from_mut(*x), bytes, u64::from_le_bytes),
            Self::Counts(x) => fill(x, bytes, u64::from_le_bytes),
        }
    }
}
