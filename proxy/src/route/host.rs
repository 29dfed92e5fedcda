//! The routes of one host name: exact path, regular expression, longest prefix, gRPC method, everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::condition::Probe;
use super::map::{CowMap, Keyed, Vacant};
use super::matches::{Bucket, Match, MatchPath};
use super::tree::Node;

/// The routes of one host name.
#[derive(Debug, Clone)]
// In the order in which a request reads it.
#[repr(C)]
pub(crate) struct HostTable {
    exact: CowMap<Bucket>,
    /// Number of regular expressions in the tree.
    regexes: usize,
    /// Its root is named by the host.
    tree: Node,
    methods: CowMap<Bucket>,
}

/// What changes in the table of one host.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    pub(crate) removed: Vec<Arc<Match>>,
    pub(crate) added: Vec<Arc<Match>>,
}

impl Keyed for HostTable {
    type Key = [u8];

    fn key(&self) -> &[u8] {
        self.tree.key()
    }
}

impl Vacant for HostTable {
    fn is_vacant(&self) -> bool {
        self.exact.is_empty() && self.tree.is_vacant() && self.methods.is_empty()
    }
}

impl HostTable {
    pub(crate) fn new(host: &str) -> Self {
        Self { exact: CowMap::default(), regexes: 0, tree: Node::new(host), methods: CowMap::default() }
    }

    /// The winning match, and the length of the path prefix it stands for (`policies::Context::matched_prefix`).
    pub(crate) fn find(&self, probe: &Probe<'_>) -> Option<(&Arc<Match>, usize)> {
        if let Some(found) =
            self.exact.get(probe.path.as_bytes()).and_then(|bucket| bucket.matches.first(probe))
        {
            return Some((found, probe.path.len()));
        }
        if self.regexes > 0
            && let Some(found) = self.tree.regex(probe)
        {
            return Some((found, 0));
        }
        if let Some(found) = self.tree.longest_prefix(probe.path, 0, probe) {
            return Some(found);
        }
        let method = || self.methods.get(grpc_method(probe.path)?.as_bytes())?.matches.first(probe);
        if !self.methods.is_empty()
            && let Some(found) = method()
        {
            return Some((found, 0));
        }
        self.tree.prefixes.first(probe).map(|found| (found, 0))
    }

    /// Takes matches out, then puts others in.
    pub(crate) fn apply(&mut self, edits: &Edits) {
        // By pattern: the matches that go and those that come.
        type Edited<'e> = (Vec<&'e Arc<Match>>, Vec<&'e Arc<Match>>);
        let mut regexes: BTreeMap<&str, Edited<'_>> = BTreeMap::new();
        for old in &edits.removed {
            let precedence = &old.precedence;
            match &old.path {
                MatchPath::Exact(path) => {
                    self.exact.edit(
                        path.as_bytes(),
                        || Bucket::new(path),
                        |bucket| bucket.matches.remove(precedence),
                    );
                }
                MatchPath::Prefix(path) => self.tree.edit(path, |node| node.prefixes.remove(precedence)),
                MatchPath::Regex(_, prefix) => regexes.entry(prefix).or_default().0.push(old),
                MatchPath::GrpcMethod(name) => {
                    self.methods.edit(
                        name.as_bytes(),
                        || Bucket::new(name),
                        |bucket| bucket.matches.remove(precedence),
                    );
                }
            }
        }
        for new in &edits.added {
            match &new.path {
                MatchPath::Exact(path) => {
                    self.exact.edit(
                        path.as_bytes(),
                        || Bucket::new(path),
                        |bucket| bucket.matches.insert(new.clone()),
                    );
                }
                MatchPath::Prefix(path) => self.tree.edit(path, |node| node.prefixes.insert(new.clone())),
                MatchPath::Regex(_, prefix) => regexes.entry(prefix).or_default().1.push(new),
                MatchPath::GrpcMethod(name) => {
                    self.methods.edit(
                        name.as_bytes(),
                        || Bucket::new(name),
                        |bucket| bucket.matches.insert(new.clone()),
                    );
                }
            }
        }
        for (prefix, (removed, added)) in regexes {
            let count = &mut self.regexes;
            self.tree.edit(prefix, |node| {
                *count -= node.regexes.len();
                node.regexes.apply(&removed, &added);
                *count += node.regexes.len();
            });
        }
    }
}

/// `/any.Service/This` → `This`.
fn grpc_method(path: &str) -> Option<&str> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (!service.is_empty() && !method.is_empty() && !method.contains('/')).then_some(method)
}
