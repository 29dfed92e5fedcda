//! Numbers of 256 bits: four words, the lowest first.
//!
//! What is computed of signatures and public keys is known to everybody, so its time may depend on it. Selections are
//! without branches all the same, because no processor could foretell them.

pub(super) type Words = [u64; 4];

/// `a + b * c + d`: low and high word. It cannot overflow.
#[inline(always)]
pub(super) const fn mac(a: u64, b: u64, c: u64, d: u64) -> (u64, u64) {
    let sum = a as u128 + b as u128 * c as u128 + d as u128;
    (sum as u64, (sum >> 64) as u64)
}

/// `a + b + carry`, and what is carried.
#[inline(always)]
pub(super) const fn adc(a: u64, b: u64, carry: u64) -> (u64, u64) {
    let sum = a as u128 + b as u128 + carry as u128;
    (sum as u64, (sum >> 64) as u64)
}

/// `a - b - borrow`, and what is borrowed.
#[inline(always)]
const fn sbb(a: u64, b: u64, borrow: u64) -> (u64, u64) {
    let (less, one) = a.overflowing_sub(b);
    let (less, other) = less.overflowing_sub(borrow);
    (less, (one | other) as u64)
}

/// A sum, and what is carried.
#[inline(always)]
pub(super) const fn add([a0, a1, a2, a3]: Words, [b0, b1, b2, b3]: Words) -> (Words, u64) {
    let (c0, carry) = adc(a0, b0, 0);
    let (c1, carry) = adc(a1, b1, carry);
    let (c2, carry) = adc(a2, b2, carry);
    let (c3, carry) = adc(a3, b3, carry);
    ([c0, c1, c2, c3], carry)
}

/// A difference, and what is borrowed.
#[inline(always)]
pub(super) const fn sub([a0, a1, a2, a3]: Words, [b0, b1, b2, b3]: Words) -> (Words, u64) {
    let (c0, borrow) = sbb(a0, b0, 0);
    let (c1, borrow) = sbb(a1, b1, borrow);
    let (c2, borrow) = sbb(a2, b2, borrow);
    let (c3, borrow) = sbb(a3, b3, borrow);
    ([c0, c1, c2, c3], borrow)
}

/// `high` times 2^256 and `low`, together less than twice `modulus`, modulo that.
#[inline(always)]
pub(super) const fn reduce(low: Words, high: u64, modulus: Words) -> Words {
    let (less, borrow) = sub(low, modulus);
    // All ones when it was less before.
    let kept = 0_u64.wrapping_sub((borrow > high) as u64);
    let [l0, l1, l2, l3] = low;
    let [m0, m1, m2, m3] = less;
    [
        (l0 & kept) | (m0 & !kept),
        (l1 & kept) | (m1 & !kept),
        (l2 & kept) | (m2 & !kept),
        (l3 & kept) | (m3 & !kept),
    ]
}

pub(super) const fn is_less(a: Words, b: Words) -> bool {
    sub(a, b).1 == 1
}

/// Half of it; `top` is what comes in from above.
pub(super) const fn half([a0, a1, a2, a3]: Words, top: u64) -> Words {
    [a0 >> 1 | a1 << 63, a1 >> 1 | a2 << 63, a2 >> 1 | a3 << 63, a3 >> 1 | top << 63]
}

/// From 32 bytes, the highest first; `None`: there are more or fewer.
pub(super) fn from_bytes(bytes: &[u8]) -> Option<Words> {
    let bytes: &[u8; 32] = bytes.try_into().ok()?;
    let mut words = Words::default();
    for (word, eight) in words.iter_mut().rev().zip(bytes.as_chunks().0) {
        *word = u64::from_be_bytes(*eight);
    }
    Some(words)
}
