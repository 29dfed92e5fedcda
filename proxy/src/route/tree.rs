//! Prefixes and regular expressions of one host, by path segment.
//!
//! A request walks down as far as the configuration goes, one hash per segment, so neither the number of routes nor a
//! path of a thousand slashes makes it slower.

use std::sync::Arc;

use super::condition::Probe;
use super::map::{CowMap, Keyed, Vacant};
use super::matches::{Match, Matches};
use super::name::Name;
use super::regexes::Regexes;

/// One path segment; the root stands for `/`, and its segment for the host name.
#[derive(Debug, Clone)]
// What a plain request reads comes first and lies together.
#[repr(C)]
pub(crate) struct Node {
    segment: Name,
    children: CowMap<Self>,
    /// Prefixes that end here.
    pub(crate) prefixes: Matches,
    /// Patterns all of whose paths pass here.
    pub(crate) regexes: Regexes,
}

impl Keyed for Node {
    type Key = [u8];

    fn key(&self) -> &[u8] {
        self.segment.as_bytes()
    }
}

impl Vacant for Node {
    fn is_vacant(&self) -> bool {
        self.prefixes.is_empty() && self.regexes.is_empty() && self.children.is_empty()
    }
}

/// `/a/b` → `a` and `/b`; `/a` → `a` and nothing.
fn split(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix('/')?;
    Some(rest.find('/').and_then(|slash| rest.split_at_checked(slash)).unwrap_or((rest, "")))
}

impl Node {
    pub(crate) fn new(segment: &str) -> Self {
        Self {
            segment: Name::new(segment),
            prefixes: Matches::default(),
            regexes: Regexes::default(),
            children: CowMap::default(),
        }
    }

    /// Changes the node of a prefix such as `/a/b`. Recursion is as deep as the prefix has segments, which
    /// `compile` limits.
    pub(crate) fn edit(&mut self, prefix: &str, change: impl FnOnce(&mut Self)) {
        match split(prefix) {
            Some((segment, rest)) => {
                // Boxed: each level of the recursion would otherwise be another type.
                let change: Box<dyn FnOnce(&mut Self) + '_> = Box::new(change);
                self.children.edit(
                    segment.as_bytes(),
                    || Self::new(segment),
                    |child| child.edit(rest, change),
                );
            }
            None => change(self),
        }
    }

    fn child<'p>(&self, path: &'p str) -> Option<(&Arc<Self>, &'p str)> {
        if self.children.is_empty() {
            return None;
        }
        let (segment, rest) = split(path)?;
        Some((self.children.get(segment.as_bytes())?, rest))
    }

    /// The winning match of the longest prefix below this node that has one, with the length of that prefix. `path` is
    /// what is left of the request's path, after `at` bytes.
    pub(crate) fn longest_prefix(
        &self,
        path: &str,
        at: usize,
        probe: &Probe<'_>,
    ) -> Option<(&Arc<Match>, usize)> {
        let (child, rest) = self.child(path)?;
        let at = at + path.len() - rest.len();
        child.longest_prefix(rest, at, probe).or_else(|| child.prefixes.first(probe).map(|found| (found, at)))
    }

    /// The winning match among the regular expressions.
    pub(crate) fn regex(&self, probe: &Probe<'_>) -> Option<&Arc<Match>> {
        let mut best = self.regexes.best(probe, None);
        let (mut node, mut path) = (self, probe.path);
        while let Some((child, rest)) = node.child(path) {
            best = child.regexes.best(probe, best);
            (node, path) = (child, rest);
        }
        best
    }
}
