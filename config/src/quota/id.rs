//! Names of buckets.

use std::collections::BTreeMap;
use std::sync::Arc;

use policies::lease::Key;
use serde::{Deserialize, Serialize};

use super::proto::BucketId;

const LIMIT: &str = "limit";
const KEY: &str = "key";
const MAX_PAIRS: usize = 16;
const MAX_BYTES: usize = 2048;

/// The name of a bucket: pairs, whose order means nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Id(Arc<BTreeMap<String, String>>);

/// A name that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBucket {
    /// There must be a pair.
    #[error("bucket_id is missing or empty: send at least one pair")]
    Empty,
    /// There must be a name and a value in each.
    #[error("bucket_id has an empty name or value")]
    EmptyPair,
    /// They are bounded.
    #[error("bucket_id is greater than 16 pairs or 2,048 bytes")]
    TooLarge,
}

impl Id {
    /// The bucket of a limit, and of a key where it has keys.
    pub fn new(limit: &str, key: Option<&Key>) -> Self {
        let key = key.map(|key| (KEY.to_owned(), key.as_str().to_owned()));
        Self(Arc::new([(LIMIT.to_owned(), limit.to_owned())].into_iter().chain(key).collect()))
    }

    /// Which limit it is of; `None` when it is not one of ours.
    pub fn limit(&self) -> Option<&str> {
        self.0.get(LIMIT).map(String::as_str)
    }

    /// Which key it is for.
    pub fn key(&self) -> Option<&str> {
        self.0.get(KEY).map(String::as_str)
    }

    /// Its pairs.
    pub fn pairs(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    pub(super) fn decode(id: Option<&BucketId>) -> Result<Self, BadBucket> {
        let pairs = id.map(|id| &id.bucket).filter(|pairs| !pairs.is_empty()).ok_or(BadBucket::Empty)?;
        let bytes: usize = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
        if pairs.len() > MAX_PAIRS || bytes > MAX_BYTES {
            return Err(BadBucket::TooLarge);
        }
        if pairs.iter().any(|(name, value)| name.is_empty() || value.is_empty()) {
            return Err(BadBucket::EmptyPair);
        }
        Ok(Self(Arc::new(pairs.iter().map(|(name, value)| (name.clone(), value.clone())).collect())))
    }

    pub(crate) fn encode(&self) -> BucketId {
        BucketId { bucket: self.0.iter().map(|(name, value)| (name.clone(), value.clone())).collect() }
    }
}
