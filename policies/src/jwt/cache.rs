//! Tokens that were verified, by SHA-256 digest, beside the keys that verified them: who replaces keys forgets them all.
//!
//! Reading takes no lock and writes nothing shared. A slot is a place for one token, chosen by its digest among two; what
//! falls out is verified again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwapOption, Guard};

use super::claims::Verified;

/// SHA-256 of a token.
pub(super) type Digest = [u8; 32];

/// Slots, made with the first token: 32 KiB.
const SLOTS: usize = 4096;
/// Bytes of claims that are kept, as estimated.
const MOST_BYTES: usize = 32 << 20;

/// Verified tokens of one key set.
#[derive(Default)]
pub(super) struct Cache {
    slots: OnceLock<Box<[ArcSwapOption<Verified>]>>,
    bytes: AtomicUsize,
    /// Which slot is emptied next when there are too many bytes.
    hand: AtomicUsize,
}

impl Cache {
    /// The token of this digest.
    pub(super) fn get(&self, digest: &Digest) -> Option<Guard<Option<Arc<Verified>>>> {
        let slots = self.slots.get()?;
        places(digest)
            .into_iter()
            .filter_map(|place| slots.get(place))
            .map(ArcSwapOption::load)
            .find(|found| found.as_ref().is_some_and(|verified| verified.digest == *digest))
    }

    /// Keeps a token; `now`: seconds since 1970.
    pub(super) fn put(&self, verified: Arc<Verified>, now: i64) {
        let slots = self.slots.get_or_init(|| (0..SLOTS).map(|_| ArcSwapOption::empty()).collect());
        let [first, second] = places(&verified.digest).map(|place| slots.get(place));
        let (Some(first), Some(second)) = (first, second) else { return };
        // Who expires first makes place; an empty one has expired.
        let expires = |slot: &ArcSwapOption<Verified>| {
            slot.load().as_ref().map_or(i64::MIN, |old| if old.exp <= now { i64::MIN } else { old.exp })
        };
        let slot = if expires(first) <= expires(second) { first } else { second };
        self.bytes.fetch_add(verified.weight, Ordering::Relaxed);
        self.forget(slot.swap(Some(verified)));
        for _ in 0..SLOTS {
            if self.bytes.load(Ordering::Relaxed) <= MOST_BYTES {
                return;
            }
            let next = self.hand.fetch_add(1, Ordering::Relaxed) % SLOTS;
            if let Some(slot) = slots.get(next) {
                self.forget(slot.swap(None));
            }
        }
    }

    fn forget(&self, old: Option<Arc<Verified>>) {
        if let Some(old) = old {
            self.bytes.fetch_sub(old.weight, Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Two slots a digest may be in.
fn places(digest: &Digest) -> [usize; 2] {
    let [a, b, c, d, ..] = *digest;
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])].map(|bits| usize::from(bits) % SLOTS)
}
