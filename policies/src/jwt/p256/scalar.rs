//! Numbers modulo the order of P-256, as they are.

use super::words::{Words, adc, add, from_bytes, half, is_less, mac, reduce, sub};

/// The order: how many points there are.
pub(super) const N: Words = [0xf3b9_cac2_fc63_2551, 0xbce6_faad_a717_9e84, u64::MAX, 0xffff_ffff_0000_0000];
/// −1 / N modulo 2^64.
const INVERSE: u64 = 0xccd1_c8aa_ee00_bc4f;
/// 2^512 modulo N.
const RR: Words =
    [0x8324_4c95_be79_eea2, 0x4699_799c_49bd_6fa6, 0x2845_b239_2b6b_ec59, 0x66e1_2d94_f3d9_5620];

/// One of them, less than the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scalar(pub(super) Words);

impl Scalar {
    /// From 32 bytes, the highest first; `None`: it is no number from 1 to N − 1, as a signature's have to be.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let words = from_bytes(bytes).filter(|words| *words != [0; 4] && is_less(*words, N))?;
        Some(Self(words))
    }

    /// A digest of 32 bytes, modulo N.
    pub(super) fn of_digest(bytes: &[u8]) -> Option<Self> {
        from_bytes(bytes).map(|words| Self(reduce(words, 0, N)))
    }

    pub(super) const fn times(self, other: Self) -> Self {
        Self(montgomery(montgomery(self.0, RR), other.0))
    }

    /// What gives one with it; not for zero (Kaliski, The Montgomery Inverse and its Applications, 1995).
    pub(super) fn inverse(self) -> Self {
        let (mut u, mut v) = (N, self.0);
        // With their fifth words: they stay less than twice N.
        let (mut r, mut s) = (([0; 4], 0), ([1, 0, 0, 0], 0));
        let mut power = 0_u32;
        while v != [0; 4] {
            let [u0, ..] = u;
            let [v0, ..] = v;
            if u0 & 1 == 0 {
                (u, s) = (half(u, 0), twice(s));
            } else if v0 & 1 == 0 {
                (v, r) = (half(v, 0), twice(r));
            } else if is_less(v, u) {
                (u, r, s) = (half(sub(u, v).0, 0), sum(r, s), twice(s));
            } else {
                (v, s, r) = (half(sub(v, u).0, 0), sum(s, r), twice(r));
            }
            power += 1;
        }
        // Now −r is 2^power / self; power is 256 to 512.
        let r = reduce(r.0, r.1, N);
        let positive = sub(N, r).0;
        let once = montgomery(positive, [1, 0, 0, 0]);
        let rest = power.saturating_sub(256);
        if rest == 0 {
            return Self(once);
        }
        let mut two = Words::default();
        let bit = 256 - rest;
        for (word, at) in two.iter_mut().zip([0, 64, 128, 192]) {
            if (at..at + 64).contains(&bit) {
                *word = 1 << (bit - at);
            }
        }
        Self(montgomery(once, two))
    }
}

/// `a` × `b` / 2^256 modulo N.
const fn montgomery(a: Words, [b0, b1, b2, b3]: Words) -> Words {
    let sum = step([0; 5], a, b0);
    let sum = step(sum, a, b1);
    let sum = step(sum, a, b2);
    let [s0, s1, s2, s3, s4] = step(sum, a, b3);
    reduce([s0, s1, s2, s3], s4, N)
}

const fn step([s0, s1, s2, s3, s4]: [u64; 5], [a0, a1, a2, a3]: Words, b: u64) -> [u64; 5] {
    let [n0, n1, n2, n3] = N;
    let (s0, carry) = mac(s0, a0, b, 0);
    let (s1, carry) = mac(s1, a1, b, carry);
    let (s2, carry) = mac(s2, a2, b, carry);
    let (s3, carry) = mac(s3, a3, b, carry);
    let (s4, s5) = adc(s4, carry, 0);
    let times = s0.wrapping_mul(INVERSE);
    let (_, carry) = mac(s0, times, n0, 0);
    let (s1, carry) = mac(s1, times, n1, carry);
    let (s2, carry) = mac(s2, times, n2, carry);
    let (s3, carry) = mac(s3, times, n3, carry);
    let (s4, carry) = adc(s4, carry, 0);
    [s1, s2, s3, s4, s5 + carry]
}

/// With a fifth word.
type Long = (Words, u64);

const fn sum((a, a4): Long, (b, b4): Long) -> Long {
    let (low, carry) = add(a, b);
    (low, a4 + b4 + carry)
}

const fn twice(a: Long) -> Long {
    sum(a, a)
}
