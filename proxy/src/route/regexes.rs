//! Regular expression matches whose literal prefixes are the same.

use std::sync::Arc;

use regex::bytes::RegexSet;

use super::condition::Probe;
use super::matches::{Match, MatchPath};
use super::pattern;
use super::precedence::Precedence;

/// Most matches of a chunk: a change compiles the set of its chunk again, a request asks each chunk's set.
const CHUNK: usize = 16;
/// Fewer are tried one by one.
const WORTH_A_SET: usize = 4;

/// Matches in chunks, in no order between chunks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Regexes(Vec<Arc<Chunk>>);

#[derive(Debug)]
struct Chunk {
    /// The one to be preferred first.
    matches: Vec<Arc<Match>>,
    /// Tells in one pass whether any can match.
    set: Option<RegexSet>,
}

impl Regexes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|chunk| chunk.matches.len()).sum()
    }

    /// The match that wins, if it goes before `best`.
    pub(crate) fn best<'t>(
        &'t self,
        probe: &Probe<'_>,
        best: Option<&'t Arc<Match>>,
    ) -> Option<&'t Arc<Match>> {
        self.0.iter().fold(best, |best, chunk| chunk.best(probe, best))
    }

    /// Takes matches out and puts others in.
    pub(crate) fn apply(&mut self, removed: &[&Arc<Match>], mut added: &[&Arc<Match>]) {
        let is_removed = |m: &Arc<Match>| removed.iter().any(|r| r.precedence == m.precedence);
        let mut chunks = Vec::with_capacity(self.0.len());
        for chunk in self.0.drain(..) {
            let keeps = chunk.matches.iter().filter(|m| !is_removed(m)).count();
            let room = CHUNK.saturating_sub(keeps).min(added.len());
            if keeps == chunk.matches.len() && room == 0 {
                chunks.push(chunk);
            } else if keeps + room > 0 {
                let (now, later) = added.split_at(room);
                added = later;
                let kept = chunk.matches.iter().filter(|m| !is_removed(m));
                chunks.push(Arc::new(Chunk::new(kept.chain(now.iter().copied()))));
            }
        }
        chunks.extend(added.chunks(CHUNK).map(|added| Arc::new(Chunk::new(added.iter().copied()))));
        self.0 = chunks;
    }
}

impl Chunk {
    fn new<'m>(matches: impl Iterator<Item = &'m Arc<Match>>) -> Self {
        let mut matches: Vec<_> = matches.cloned().collect();
        matches.sort_by(|a, b| a.precedence.cmp(&b.precedence));
        let set = (matches.len() >= WORTH_A_SET).then(|| {
            pattern::set(matches.iter().filter_map(|m| match &m.path {
                MatchPath::Regex(pattern, _) => Some(&**pattern),
                MatchPath::Exact(_) | MatchPath::Prefix(_) | MatchPath::GrpcMethod(_) => None,
            }))
        });
        Self { matches, set: set.flatten() }
    }

    fn best<'t>(&'t self, probe: &Probe<'_>, best: Option<&'t Arc<Match>>) -> Option<&'t Arc<Match>> {
        let goes_before = |p: &Precedence| best.is_none_or(|best| *p < best.precedence);
        if !self.matches.first().is_some_and(|m| goes_before(&m.precedence)) {
            return best;
        }
        if self.set.as_ref().is_some_and(|set| !set.is_match(probe.path.as_bytes())) {
            return best;
        }
        let found = self
            .matches
            .iter()
            .take_while(|m| goes_before(&m.precedence))
            // Cheap conditions first.
            .find(|m| m.holds(probe) && m.matches_path(probe.path));
        found.or(best)
    }
}

impl Match {
    fn matches_path(&self, path: &str) -> bool {
        match &self.path {
            MatchPath::Regex(pattern, _) => pattern.is_match(path.as_bytes()),
            MatchPath::Exact(_) | MatchPath::Prefix(_) | MatchPath::GrpcMethod(_) => false,
        }
    }
}
