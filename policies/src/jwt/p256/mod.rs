//! ES256 with a key that is known beforehand: ECDSA (FIPS 186-5 section 6.4.2) over P-256 with SHA-256.
//!
//! `ring` works out multiples of a key's point with each signature that it verifies, which is most of what that costs. Here
//! it is done once for a key, and a token that was never seen before costs less than half as much. Nothing here is secret:
//! keys are public, and so is whatever a client sends. What `ring` says of the same signatures, the vectors of Wycheproof
//! and points at the edges are its tests.

mod field;
mod point;
mod scalar;
mod table;
mod words;

use std::fmt;
use std::sync::{LazyLock, OnceLock};

use ring::digest::{SHA256, digest};

use self::point::{Affine, GENERATOR, Point};
use self::scalar::{N, Scalar};
use self::table::Table;

/// A public key, and the multiples of its point, from its first signature on.
pub(super) struct Key {
    point: Affine,
    table: OnceLock<Table>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.point.fmt(f)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.point == other.point
    }
}

impl Key {
    /// From 65 bytes, uncompressed (SEC 1 section 2.3.4); `None`: it is no point of the curve.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        Affine::read(bytes).map(|point| Self { point, table: OnceLock::new() })
    }

    /// True when `shown`, r and s of 32 bytes each, is a signature of `message`.
    pub(super) fn verifies(&self, message: &[u8], shown: &[u8]) -> bool {
        self.has_signed(digest(&SHA256, message).as_ref(), shown).unwrap_or(false)
    }

    fn has_signed(&self, digest: &[u8], shown: &[u8]) -> Option<bool> {
        static GENERATORS: LazyLock<Table> = LazyLock::new(|| Table::new(GENERATOR));
        let (r, s) = shown.split_at_checked(32)?;
        let (r, s) = (Scalar::read(r)?, Scalar::read(s)?);
        let inverse = s.inverse();
        let sum = GENERATORS.add(Point::INFINITY, Scalar::of_digest(digest)?.times(inverse));
        let table = self.table.get_or_init(|| Table::new(self.point));
        Some(table.add(sum, r.times(inverse)).has_x(r.0, N))
    }
}

#[cfg(test)]
mod tests;
