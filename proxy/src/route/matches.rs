//! Matches and the buckets they lie in, the one to be preferred first.

use std::sync::Arc;

use policies::Chain;
use smallvec::SmallVec;

use super::condition::{Conditions, Probe};
use super::map::{Keyed, Vacant};
use super::name::Name;
use super::pattern::Pattern;
use super::precedence::Precedence;
use crate::rule::Rule;

/// One match of a rule.
#[derive(Debug)]
// What a plain request reads comes first and lies together.
#[repr(C)]
pub(crate) struct Match {
    pub(crate) rule: Arc<Rule>,
    /// Policies of the rule where it is attached.
    pub(crate) chain: Chain,
    /// Beside its path; none for most.
    pub(crate) conditions: Option<Box<Conditions>>,
    pub(crate) precedence: Precedence,
    pub(crate) path: MatchPath,
}

impl Match {
    /// Whether its conditions beside the path hold.
    pub(crate) fn holds(&self, probe: &Probe<'_>) -> bool {
        self.conditions.as_ref().is_none_or(|conditions| conditions.hold(probe))
    }
}

/// Where in a host's table a match lies.
#[derive(Debug)]
pub(crate) enum MatchPath {
    Exact(Box<str>),
    /// Without a trailing slash: `/a` or, for all paths, empty.
    Prefix(Box<str>),
    /// A pattern, and the whole segments each path it matches begins with.
    Regex(Arc<Pattern>, Box<str>),
    /// The method's name; the service is any.
    GrpcMethod(Box<str>),
}

/// Matches that differ by their other conditions only.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matches(SmallVec<[Arc<Match>; 1]>);

impl Matches {
    /// The match that wins.
    pub(crate) fn first(&self, probe: &Probe<'_>) -> Option<&Arc<Match>> {
        self.0.iter().find(|candidate| candidate.holds(probe))
    }

    pub(crate) fn insert(&mut self, new: Arc<Match>) {
        let (Ok(place) | Err(place)) = self.place(&new.precedence);
        self.0.insert(place, new);
    }

    pub(crate) fn remove(&mut self, precedence: &Precedence) {
        if let Ok(place) = self.place(precedence) {
            self.0.remove(place);
        }
    }

    fn place(&self, precedence: &Precedence) -> Result<usize, usize> {
        self.0.binary_search_by(|other| other.precedence.cmp(precedence))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Matches with one exact path, or one gRPC method.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    key: Name,
    pub(crate) matches: Matches,
}

impl Bucket {
    pub(crate) fn new(key: &str) -> Self {
        Self { key: Name::new(key), matches: Matches::default() }
    }
}

impl Keyed for Bucket {
    type Key = [u8];

    fn key(&self) -> &[u8] {
        self.key.as_bytes()
    }
}

impl Vacant for Bucket {
    fn is_vacant(&self) -> bool {
        self.matches.is_empty()
    }
}
