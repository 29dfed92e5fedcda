//! Tokens that were verified, beside the keys that verified them: who replaces keys forgets them all.
//!
//! A token is found by a fast hash under a key of the process, and known by all of its bytes: those that are signed are
//! compared, the signature, without which they open nothing, by its SHA-256. So no hash need be strong, and no token that
//! could be used stays in memory. A wrong signature has another hash, so that no time tells how near a guess is.
//!
//! Reading takes no lock and writes nothing shared. A slot is a place for one token, chosen by its hash among two; what
//! falls out is verified again.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use arc_swap::{ArcSwapOption, Guard};
use foldhash::quality::RandomState;
use ring::digest::{SHA256, digest};

use super::claims::Verified;

/// Slots, made with the first token: 32 KiB.
const SLOTS: usize = 4096;
/// Bytes of tokens that are kept, as estimated.
const MOST_BYTES: usize = 32 << 20;
/// Bytes of one of them. Claims that take more, such as thousands of small objects, are read and verified each time.
const MOST_OF_ONE: usize = 64 << 10;

/// A token that is looked for.
#[derive(Clone, Copy)]
pub(super) struct Sought<'t> {
    token: &'t [u8],
    hash: u64,
}

impl<'t> Sought<'t> {
    pub(super) fn new(token: &'t [u8]) -> Self {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::default);
        let mut hasher = KEY.build_hasher();
        hasher.write(token);
        Self { token, hash: hasher.finish() }
    }

    /// With the hash of another token.
    #[cfg(test)]
    pub(super) fn colliding(token: &'t [u8], other: &Mark) -> Self {
        Self { token, hash: other.hash }
    }

    /// Whether there are two places for it.
    #[cfg(test)]
    pub(super) fn has_two_places(self) -> bool {
        let [first, second] = places(self.hash);
        first != second
    }

    /// What it is known by from now on. `signed`: how many of its bytes are before the last dot.
    pub(super) fn mark(self, signed: usize) -> Mark {
        let (signed, signature) = self.token.split_at_checked(signed + 1).unwrap_or((self.token, &[]));
        Mark { hash: self.hash, signed: signed.into(), signature: sha256(signature) }
    }
}

/// What a token is known by.
pub(super) struct Mark {
    hash: u64,
    /// With the dot that follows.
    signed: Box<[u8]>,
    signature: [u8; 32],
}

impl Mark {
    pub(super) fn is_of(&self, sought: Sought<'_>) -> bool {
        let signature = || sought.token.strip_prefix(&*self.signed);
        self.hash == sought.hash && signature().is_some_and(|signature| sha256(signature) == self.signature)
    }

    /// Bytes.
    pub(super) fn weight(&self) -> usize {
        self.signed.len()
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    // Both are 32 bytes long.
    out.iter_mut().zip(digest(&SHA256, bytes).as_ref()).for_each(|(to, from)| *to = *from);
    out
}

/// Verified tokens of one key set.
#[derive(Default)]
pub(super) struct Cache {
    slots: OnceLock<Box<[ArcSwapOption<Verified>]>>,
    bytes: AtomicUsize,
    /// Which slot is emptied next when there are too many bytes.
    hand: AtomicUsize,
}

impl Cache {
    /// The token, if it was verified.
    pub(super) fn get(&self, sought: Sought<'_>) -> Option<Guard<Option<Arc<Verified>>>> {
        let slots = self.slots.get()?;
        places(sought.hash)
            .into_iter()
            .filter_map(|place| slots.get(place))
            .map(ArcSwapOption::load)
            .find(|found| found.as_ref().is_some_and(|verified| verified.mark.is_of(sought)))
    }

    /// Keeps a token; `now`: seconds since 1970.
    pub(super) fn put(&self, verified: Arc<Verified>, now: i64) {
        if verified.weight > MOST_OF_ONE {
            return;
        }
        let slots = self.slots.get_or_init(|| (0..SLOTS).map(|_| ArcSwapOption::empty()).collect());
        let [first, second] = places(verified.mark.hash).map(|place| slots.get(place));
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

/// Two slots a hash may be in.
fn places(hash: u64) -> [usize; 2] {
    let [a, b, c, d, ..] = hash.to_be_bytes();
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])].map(|bits| usize::from(bits) % SLOTS)
}
