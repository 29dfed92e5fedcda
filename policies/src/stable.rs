//! Hashes that are the same in every proxy, after every restart and in every release: clients carry what they lead to.

use ring::digest::{SHA256, digest};

/// Of a text. Nobody is kept from making up another text of the same hash.
#[must_use]
pub fn hash(text: &[u8]) -> u64 {
    digest(&SHA256, text).as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Of a hash and something to tell its uses apart.
#[must_use]
pub const fn mixed(hash: u64, with: u64) -> u64 {
    crate::sample::mix(hash, with)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_every_release() {
        assert_eq!(hash(b""), 0xe3b0_c442_98fc_1c14);
        // SplitMix64 of seed 0, its first number.
        assert_eq!(mixed(0, 0), 0xe220_a839_7b1d_cdaf);
    }
}
