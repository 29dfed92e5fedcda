//! Numbers modulo the prime of P-256, 2^256 − 2^224 + 2^192 + 2^96 − 1, in Montgomery's form: times 2^256.

use super::words::{Words, adc, add, from_bytes, is_less, mac, reduce, sub};

/// The prime.
const P: Words = [u64::MAX, 0xffff_ffff, 0, P3];
/// Its highest word: what is taken modulo P is multiplied by no other, because the lower ones are sums of powers of two.
const P3: u64 = 0xffff_ffff_0000_0001;
/// 2^512 modulo P.
const RR: Words = [3, 0xffff_fffb_ffff_ffff, 0xffff_ffff_ffff_fffe, 0x4_ffff_fffd];

/// One of them, less than the prime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field(Words);

impl Field {
    pub(super) const ZERO: Self = Self([0; 4]);
    pub(super) const ONE: Self = Self([1, 0xffff_ffff_0000_0000, u64::MAX, 0xffff_fffe]);

    /// Of a number that is less than the prime.
    pub(super) const fn of(words: Words) -> Self {
        Self(words).times(Self(RR))
    }

    /// From 32 bytes, the highest first; `None`: there are more or fewer, or the number is not less than the prime.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        from_bytes(bytes).filter(|words| is_less(*words, P)).map(Self::of)
    }

    /// The number that is so much more, if it is less than the prime.
    pub(super) fn beyond(words: Words, more: Words) -> Option<Self> {
        let (sum, carry) = add(words, more);
        (carry == 0 && is_less(sum, P)).then(|| Self::of(sum))
    }

    /// As a number.
    #[cfg(test)]
    pub(super) const fn words(self) -> Words {
        self.times(Self([1, 0, 0, 0])).0
    }

    pub(super) fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        let (sum, carry) = add(self.0, other.0);
        Self(reduce(sum, carry, P))
    }

    pub(super) const fn minus(self, other: Self) -> Self {
        let (less, borrow) = sub(self.0, other.0);
        // Where it would be less than nothing, the prime more.
        let all = 0_u64.wrapping_sub(borrow);
        let [p0, p1, p2, p3] = P;
        Self(add(less, [p0 & all, p1 & all, p2 & all, p3 & all]).0)
    }

    pub(super) const fn twice(self) -> Self {
        self.plus(self)
    }

    /// Montgomery's product, word by word: what is added to make the lowest word vanish is the prime times that word, for the
    /// prime is −1 modulo 2^64.
    #[inline]
    pub(super) const fn times(self, other: Self) -> Self {
        let [b0, b1, b2, b3] = other.0;
        let sum = Self::step([0; 5], self.0, b0);
        let sum = Self::step(sum, self.0, b1);
        let sum = Self::step(sum, self.0, b2);
        let [s0, s1, s2, s3, s4] = Self::step(sum, self.0, b3);
        Self(reduce([s0, s1, s2, s3], s4, P))
    }

    /// (`sum` + `a` × `b`) / 2^64, modulo P. Less than twice P, if `sum` is.
    #[inline(always)]
    const fn step([s0, s1, s2, s3, s4]: [u64; 5], [a0, a1, a2, a3]: Words, b: u64) -> [u64; 5] {
        let (low, carry) = mac(s0, a0, b, 0);
        let (s1, carry) = mac(s1, a1, b, carry);
        let (s2, carry) = mac(s2, a2, b, carry);
        let (s3, carry) = mac(s3, a3, b, carry);
        let (s4, s5) = adc(s4, carry, 0);
        // P × low is low × (2^96 − 1) and low × P3 × 2^192.
        let (s1, carry) = adc(s1, low << 32, 0);
        let (s2, carry) = adc(s2, low >> 32, carry);
        let (s3, high) = mac(s3, low, P3, carry);
        let (s4, carry) = adc(s4, high, 0);
        [s1, s2, s3, s4, s5 + carry]
    }

    pub(super) const fn square(self) -> Self {
        self.times(self)
    }

    /// What gives one with it (Fermat); zero for zero.
    pub(super) fn inverse(self) -> Self {
        let [p0, p1, p2, p3] = P;
        let bits = [p0 - 2, p1, p2, p3]
            .into_iter()
            .rev()
            .flat_map(|word| (0..64).rev().map(move |at| word >> at & 1));
        bits.fold(Self::ONE, |power, bit| {
            let square = power.square();
            if bit == 1 { square.times(self) } else { square }
        })
    }
}
