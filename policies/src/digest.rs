//! Digests of secrets under a key that this process draws at its start and shows nobody.
//!
//! What is looked up or compared by such a digest takes no time that tells anything: nobody outside can compute it, so
//! nobody can come nearer to a secret byte by byte. No digest holds beyond the process.

use std::sync::LazyLock;

use ring::{hmac, rand};

/// HMAC-SHA-256 under the key of this process.
pub(crate) type Digest = [u8; 32];

static KEY: LazyLock<hmac::Key> = LazyLock::new(|| {
    hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())
        .expect("the kernel gives random bytes to whoever has come as far as to serve")
});

/// The digest of some parts, each with its length, so that no two lists of parts are one text.
pub(crate) fn keyed(parts: &[&[u8]]) -> Digest {
    let mut context = hmac::Context::with_key(&KEY);
    for part in parts {
        context.update(&part.len().to_le_bytes());
        context.update(part);
    }
    let mut digest = Digest::default();
    // Both are 32 bytes long.
    digest.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_tells_parts_apart_and_repeats_itself() {
        assert_eq!(keyed(&[b"ab", b"c"]), keyed(&[b"ab", b"c"]));
        for other in [&[&b"a"[..], b"bc"][..], &[b"abc"], &[b"ab", b"c", b""], &[b"", b"ab", b"c"]] {
            assert_ne!(keyed(&[b"ab", b"c"]), keyed(other));
        }
    }
}
