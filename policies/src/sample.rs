//! Sampling by the random bits of a request.

/// Independent random bits number `index` of one request: splitmix64, whose output passes for random although its
/// inputs are near each other.
pub(crate) const fn mix(entropy: u64, index: u64) -> u64 {
    let mut bits = entropy.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
