//! Sixteen bytes of a file at once: where a field ends, and the number that a short field is.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    _mm_sub_epi8,
};

/// How many bytes must follow the last field in a buffer.
pub(crate) const PAD: usize = 32;

/// Sixteen bytes.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub lo: u64,
    pub hi: u64,
}

/// Bit `i` tells of byte `i`.
struct Masks {
    end: u32,
    dot: u32,
    digit: u32,
}

#[inline(always)]
fn eight(buffer: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(buffer[at..at + 8].try_into().expect("eight bytes"))
}

impl Window {
    #[inline(always)]
    pub fn at(buffer: &[u8], at: usize) -> Self {
        Self { lo: eight(buffer, at), hi: eight(buffer, at + 8) }
    }

    /// The same window with zeros from byte `len` (at most 16) on.
    #[inline(always)]
    pub fn first(self, len: usize) -> Self {
        let keep = |bytes: usize| if bytes >= 8 { u64::MAX } else { (1 << (8 * bytes)) - 1 };
        Self { lo: self.lo & keep(len), hi: self.hi & keep(len.saturating_sub(8)) }
    }
}

/// The position in the sixteen bytes from `at` of the first that ends a field (`delimiter`, line feed, carriage return); 16 if
/// there is none.
#[inline(always)]
pub(crate) fn field_end(buffer: &[u8], at: usize, delimiter: u8) -> usize {
    (masks(sixteen(buffer, at), delimiter).end | 1 << 16).trailing_zeros() as usize
}

#[inline(always)]
fn sixteen(buffer: &[u8], at: usize) -> &[u8; 16] {
    buffer[at..at + 16].try_into().expect("sixteen bytes")
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn masks(bytes: &[u8; 16], delimiter: u8) -> Masks {
    #[target_feature(enable = "sse2")]
    #[inline]
    fn sse2(bytes: &[u8; 16], delimiter: u8) -> Masks {
        // SAFETY: the sixteen bytes are there, and the load asks for no alignment.
        let v = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
        let is = |b: u8| _mm_cmpeq_epi8(v, _mm_set1_epi8(b as i8));
        let ends = _mm_or_si128(is(delimiter), _mm_or_si128(is(b'\n'), is(b'\r')));
        let d = _mm_sub_epi8(v, _mm_set1_epi8(b'0' as i8));
        let digits = _mm_cmpeq_epi8(_mm_min_epu8(d, _mm_set1_epi8(9)), d);
        Masks {
            end: _mm_movemask_epi8(ends) as u32,
            dot: _mm_movemask_epi8(is(b'.')) as u32,
            digit: _mm_movemask_epi8(digits) as u32,
        }
    }
    // SAFETY: every x86-64 has SSE2.
    unsafe { sse2(bytes, delimiter) }
}

#[cfg(not(target_arch = "x86_64"))]
use masks_bytewise as masks;

/// The same for machines without SSE2.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn masks_bytewise(bytes: &[u8; 16], delimiter: u8) -> Masks {
    let mut m = Masks { end: 0, dot: 0, digit: 0 };
    for (i, &b) in bytes.iter().enumerate() {
        m.end |= u32::from(b == delimiter || b == b'\n' || b == b'\r') << i;
        m.dot |= u32::from(b == b'.') << i;
        m.digit |= u32::from(b.is_ascii_digit()) << i;
    }
    m
}

/// 10⁰ to 10⁸: exact.
const TEN: [f64; 9] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];
const TEN_INT: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The number in the field that starts at `at`, and the field's length: `-`, up to eight digits, `.`, up to eight digits,
/// at most 15 bytes in all. Nothing for any other field, number or not.
///
/// The digits make a whole number below 10¹⁴ and the power of ten is below 10⁹: both are exact, so that the one division
/// rounds as a correct parser does.
#[inline(always)]
pub(crate) fn short_number(buffer: &[u8], at: usize, delimiter: u8) -> Option<(f64, usize)> {
    let masks = masks(sixteen(buffer, at), delimiter);
    let len = masks.end.trailing_zeros() as usize; // 32 if there is none
    let negative = buffer[at] == b'-';
    let sign = usize::from(negative);
    let within = (1u32 << (len & 31)).wrapping_sub(1) & !(negative as u32);
    let (dot, digit) = (masks.dot & within, masks.digit & within);
    // The number of digits before and after the dot.
    let point = (dot | 1 << (len & 31)).trailing_zeros() as usize;
    let (whole, part) = (point.wrapping_sub(sign), (len - point).saturating_sub(1));
    let plain = len < 16 && (dot | digit) == within && dot & dot.wrapping_sub(1) == 0 && digit != 0;
    if !plain || whole > 8 || part > 8 {
        return None;
    }
    let a = digits(eight(buffer, at + sign), whole);
    let b = digits(eight(buffer, at + point + 1), part);
    // By way of i64, for which there is one instruction; the sign without a branch, which half of all numbers would mispredict.
    let x = (a * TEN_INT[part] + b) as i64 as f64 / TEN[part];
    Some((f64::from_bits(x.to_bits() ^ u64::from(negative) << 63), len))
}

/// The whole number that the first `n ≤ 8` bytes of `word`, all digits, make.
#[inline(always)]
fn digits(word: u64, n: usize) -> u64 {
    // Shifted so that the digits are the last of eight and zeros come before them.
    let v = (word ^ 0x3030_3030_3030_3030).checked_shl(64 - 8 * n as u32).unwrap_or(0);
    // Neighbours join: pairs, fours, eight.
    let v = v.wrapping_mul(10).wrapping_add(v >> 8);
    let low = (v & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let high = (v >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    low.wrapping_add(high) >> 32 & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn short(text: &str) -> Option<(f64, usize)> {
        let mut buffer = text.as_bytes().to_vec();
        buffer.extend([b'\n'; PAD]);
        short_number(&buffer, 0, b',')
    }

    #[test]
    fn short_numbers_are_the_parsers_numbers() {
        for text in
            ["0", "-0", "1", "-1.5", ".5", "5.", "12345678", "99999999", "0.00000001", "-999999.9999999"]
        {
            let (x, len) = short(text).unwrap();
            assert_eq!((x.to_bits(), len), (text.parse::<f64>().unwrap().to_bits(), text.len()), "{text}");
        }
        for text in [
            "",
            "-",
            ".",
            "-.",
            "+1",
            "1e5",
            "1.2.3",
            "--1",
            "1-",
            " 1",
            "123456789",
            "1234567890123456",
            "NaN",
            "a",
        ] {
            assert_eq!(short(text), None, "{text}");
        }
        assert_eq!(short("12,3"), Some((12.0, 2)));
        assert_eq!(short("1.5\r\n"), Some((1.5, 3)));
    }

    proptest! {
        #[test]
        fn any_short_field_agrees(text in "-?[0-9]{0,9}\\.?[0-9]{0,9}") {
            if let Some((x, len)) = short(&text) {
                prop_assert_eq!(len, text.len());
                prop_assert_eq!(x.to_bits(), text.parse::<f64>().unwrap().to_bits());
            }
        }

        #[test]
        fn any_bytes_agree_with_the_bytewise_masks(bytes: [u8; 16], delimiter: u8) {
            let (a, b) = (masks(&bytes, delimiter), masks_bytewise(&bytes, delimiter));
            prop_assert_eq!((a.end, a.dot, a.digit), (b.end, b.dot, b.digit));
        }

        #[test]
        fn any_text_is_a_number_only_if_the_parser_says_so(text in "[-+.0-9eE,a]{0,18}") {
            if let Some((x, len)) = short(&text) {
                prop_assert_eq!(Some(x.to_bits()), text[..len].parse::<f64>().ok().map(f64::to_bits));
            }
        }
    }
}
