//! Which of two configurations is the older one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Orders configurations over restarts and replicas of the controller. A proxy refuses what is older than what it has,
/// so a replica that lags behind, or starts with old caches, cannot undo a change.
///
/// `revision` comes from what the configuration was made of, never from a counter or clock of the publisher: in
/// Kubernetes the newest etcd revision known to be included. Then two replicas that saw the same agree, and a restarted
/// one goes on where it stopped. Take it as the larger of (a) `metadata.resourceVersion` of some *list* answer got
/// before the watches' own first lists (after deletions the objects alone have forgotten the newest revision) and (b) the
/// resource versions of all watch events since, deletions included.
///
/// `epoch` counts how often that history broke: etcd restored from a backup starts again at a smaller revision, and
/// proxies would wait for it to grow past theirs. The operator raises the epoch then. Default 0.
///
/// Written `epoch.revision`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation {
    /// Histories before this one. More significant than `revision`.
    pub epoch: u64,
    /// Newest change included.
    pub revision: u64,
}

impl Generation {
    /// A generation.
    #[must_use]
    pub const fn new(epoch: u64, revision: u64) -> Self {
        Self { epoch, revision }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.revision)
    }
}

impl FromStr for Generation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (epoch, revision) = text.split_once('.')?;
            Some(Self { epoch: epoch.parse().ok()?, revision: revision.parse().ok()? })
        };
        parse().ok_or_else(|| format!("{text:?} is not a generation: write EPOCH.REVISION"))
    }
}

impl Serialize for Generation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Generation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_counts_more_than_the_revision() {
        assert!(Generation::new(1, 1) > Generation::new(0, 9));
        assert!(Generation::new(1, 10) > Generation::new(1, 9));
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let generation = Generation::new(3, 123_456);
        assert_eq!(generation.to_string().parse(), Ok(generation));
        for wrong in ["", "1", "1.", ".1", "1.2.3", "-1.2", "1.x"] {
            assert!(wrong.parse::<Generation>().is_err(), "{wrong}");
        }
    }
}
