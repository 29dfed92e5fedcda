//! Random numbers for load balancing, sampling and trace ids: fast, per thread, not for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};

thread_local! {
    static STATE: Cell<[u64; 4]> = Cell::new(seed());
}

/// 64 fresh random bits. Whoever sees enough of them can foretell the next: never make a secret of them.
#[must_use]
pub fn entropy() -> u64 {
    // xoshiro256++ 1.0 (Blackman and Vigna, public domain): 2^256 - 1 long, so that threads do not meet.
    STATE.with(|state| {
        let [mut s0, mut s1, mut s2, mut s3] = state.get();
        let result = s0.wrapping_add(s3).rotate_left(23).wrapping_add(s0);
        let t = s1 << 17;
        s2 ^= s0;
        s3 ^= s1;
        s1 ^= s2;
        s0 ^= s3;
        s2 ^= t;
        s3 = s3.rotate_left(45);
        state.set([s0, s1, s2, s3]);
        result
    })
}

/// The standard library keys its hash maps from the operating system's randomness, once per thread; a keyed hash of
/// different words is as random.
fn seed() -> [u64; 4] {
    let keyed = RandomState::new();
    // Not all zero, which the generator would never leave.
    [1, 2, 3, 4].map(|word: u64| {
        let mut hasher = keyed.build_hasher();
        hasher.write_u64(word);
        hasher.finish() | u64::from(word == 1)
    })
}
