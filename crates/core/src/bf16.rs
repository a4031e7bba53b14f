//! bfloat16: the upper 16 bits of an `f32`.

/// The number that bf16 bits stand for.
#[inline(always)]
pub fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The nearest bf16 (ties to even), by its bits; NaN stays NaN.
#[inline(always)]
pub fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + ((bits >> 16) & 1));
    let rounded = if x.abs() < f32::INFINITY { rounded } else { bits | u32::from(x.is_nan()) << 22 };
    (rounded >> 16) as u16
}
