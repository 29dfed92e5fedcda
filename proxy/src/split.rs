//! Traffic splitting by weight: exact in the long run, smooth in the short, without a lock.
//!
//! A split of total weight T (weights reduced by their greatest common divisor) is a circle of T places; a share of
//! weight w owns w neighbouring ones. The n-th request takes place `n · step mod T`. `step` is coprime to T, so any T
//! requests in a row visit every place once: each share gets exactly its weight. `step / T` is close to the golden
//! ratio, so visits are spread evenly: in any window of n requests a share's count is within `2 + log2(T)` of
//! `n · w / T` (tested), and a share is never served in a burst. Random choice would be off by the root of n.
//!
//! What a reader would get wrong: the counter does not start at 0 but somewhere else in each split, else every
//! recompile of a route would send its next request to the first share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use policies::traffic_split::TargetBackend;
use policies::{BackendRef, Chain, Upstream, stable};
use smallvec::SmallVec;

use crate::upstream::Cluster;

/// A weighted choice.
#[derive(Debug)]
pub struct Split {
    wheel: Wheel,
    /// One lies here itself: no step to another place in memory.
    shares: SmallVec<[Share; 1]>,
}

/// One share of a split.
#[derive(Debug)]
pub struct Share {
    /// Who answers; the error is the log's reason for a 500 (Gateway API: an invalid backend's share).
    pub target: Result<Arc<Cluster>, Box<str>>,
    /// Policies of this backend reference.
    pub chain: Chain,
}

impl Split {
    /// A split of `(weight, share)`; shares of weight 0 are never picked.
    #[must_use]
    pub fn new(shares: Vec<(u32, Share)>) -> Self {
        let (weights, shares): (Vec<u32>, SmallVec<[Share; 1]>) = shares.into_iter().unzip();
        Self {
            wheel: Wheel::new(&weights, shares.iter().enumerate().map(|(at, share)| share.id(at))),
            shares,
        }
    }

    /// The share of the next request; `None` when there are no shares or all weigh 0.
    #[must_use]
    pub fn pick(&self) -> Option<&Share> {
        self.wheel.next().and_then(|share| self.shares.get(share))
    }

    /// The share of all requests with this key, in every proxy. When weights change, or shares come and go, keys move only to
    /// shares that get a greater part, and only as many as that takes. `None` as for [`pick`](Self::pick).
    #[must_use]
    pub fn pick_by(&self, key: u64) -> Option<&Share> {
        self.wheel.of(key).and_then(|share| self.shares.get(share))
    }

    /// All shares, for explanation and metrics.
    #[must_use]
    pub fn shares(&self) -> &[Share] {
        &self.shares
    }
}

impl Share {
    /// Whether it is of this backend.
    #[must_use]
    pub fn is(&self, wanted: &TargetBackend) -> bool {
        let TargetBackend { name, port } = wanted;
        let is_it =
            |backend: &BackendRef| backend.name == *name && port.is_none_or(|port| backend.port == port);
        self.target.as_ref().is_ok_and(|cluster| is_it(&cluster.backend))
    }

    /// What keys know it by: its backend, wherever it stands in the list.
    fn id(&self, at: usize) -> u64 {
        self.target.as_ref().map_or(at as u64, |cluster| stable::hash(Upstream::name(&**cluster).as_bytes()))
    }
}

/// The arithmetic of a split, over indexes.
#[derive(Debug)]
enum Wheel {
    /// Every weight is 0.
    Never,
    /// One share has all the weight: no counter to contend for.
    Always(usize),
    Turning(Box<Turning>),
}

/// A wheel of several shares.
#[derive(Debug)]
struct Turning {
    /// Where each share's places end.
    ends: SmallVec<[u64; 4]>,
    /// What keys know the shares by.
    ids: SmallVec<[u64; 4]>,
    step: u64,
    turn: AtomicU64,
}

impl Wheel {
    fn new(weights: &[u32], ids: impl Iterator<Item = u64>) -> Self {
        let divisor = weights.iter().fold(0, |divisor, &weight| gcd(divisor, u64::from(weight)));
        let mut weighted = weights.iter().enumerate().filter(|(_, weight)| **weight > 0);
        match (weighted.next(), weighted.next()) {
            (None, _) => return Self::Never,
            (Some((only, _)), None) => return Self::Always(only),
            (Some(_), Some(_)) => {}
        }
        let mut total = 0;
        let ends = weights
            .iter()
            .map(|&weight| {
                // At most 2^32 per share: the sum of any list that fits in memory fits.
                total += u64::from(weight) / divisor;
                total
            })
            .collect();
        Self::Turning(Box::new(Turning {
            ends,
            ids: ids.take(weights.len()).collect(),
            step: step(total),
            turn: AtomicU64::new(start()),
        }))
    }

    fn of(&self, key: u64) -> Option<usize> {
        match self {
            Self::Never => None,
            Self::Always(only) => Some(*only),
            Self::Turning(turning) => turning.of(key),
        }
    }

    fn next(&self) -> Option<usize> {
        match self {
            Self::Never => None,
            Self::Always(only) => Some(*only),
            Self::Turning(turning) => turning.next(),
        }
    }
}

impl Turning {
    fn next(&self) -> Option<usize> {
        let total = *self.ends.last()?;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % total;
        let place = if total <= u64::from(u32::MAX) {
            turn * self.step % total
        } else {
            (u128::from(turn) * u128::from(self.step) % u128::from(total)) as u64
        };
        // A share of weight 0 ends where the one before it does, so it is never the first beyond `place`.
        Some(self.ends.partition_point(|end| *end <= place))
    }

    /// Weighted rendezvous hashing (Schindelhauer, Schomaker 2005): each share draws a time that its weight makes short; the
    /// first has the key. Others' weights are nothing to it, so a key moves only when its own share's shrinks, or another's
    /// grows past it.
    fn of(&self, key: u64) -> Option<usize> {
        let mut first: Option<(f64, usize)> = None;
        let mut before = 0;
        for (at, (end, id)) in self.ends.iter().zip(&self.ids).enumerate() {
            let weight = end - before;
            before = *end;
            // 53 bits between 0 and 1, without 0.
            let draw = ((stable::mixed(key, *id) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
            let time = -draw.ln() / weight as f64;
            if weight > 0 && first.is_none_or(|(least, _)| time < least) {
                first = Some((time, at));
            }
        }
        first.map(|(_, at)| at)
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The step of a wheel of `total` places (at least 2): coprime to it and, among those nearest to the golden section,
/// the one whose multiples are spread most evenly.
fn step(total: u64) -> u64 {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    /// Neighbours looked at on either side: of any 100 numbers in a row one is coprime to a total below 2^64.
    const NEAR: u64 = 64;
    let ideal = ((total as f64 * GOLDEN) as u64).clamp(1, total - 1);
    let nearest = ideal.saturating_sub(NEAR).max(1)..=ideal.saturating_add(NEAR).min(total - 1);
    nearest
        .filter_map(|step| unevenness(step, total).map(|uneven| (uneven, step.abs_diff(ideal), step)))
        .min()
        .map_or(1, |(_, _, step)| step)
}

/// The sum of the partial quotients of `step / total`, which bounds how unevenly multiples of `step` fall (Ostrowski);
/// `None` when the two have a common divisor.
fn unevenness(step: u64, total: u64) -> Option<u64> {
    let (mut a, mut b, mut sum) = (total, step, 0);
    while b > 0 {
        sum += a / b;
        (a, b) = (b, a % b);
    }
    (a == 1).then_some(sum)
}

/// A different starting turn for each split of the process.
fn start() -> u64 {
    static SPLITS: AtomicU64 = AtomicU64::new(0);
    // 2^64 over the golden ratio: consecutive multiples spread over all totals.
    SPLITS.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed) >> 16
}

#[cfg(test)]
mod tests;
