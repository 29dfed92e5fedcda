//! Lookup by host name, from the most to the least specific: exact name, longest wildcard, any.

use std::sync::Arc;

use super::map::{CowMap, Keyed, Vacant};

/// A host name as a listener or a route writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostPattern<'a> {
    Exact(&'a str),
    /// `*.example.com` as `example.com`: one or more labels more than this.
    Wildcard(&'a str),
    Any,
}

impl<'a> HostPattern<'a> {
    /// Reads a name that is lower-case already.
    pub(crate) fn parse(name: &'a str) -> Self {
        match name.strip_prefix("*.") {
            Some(suffix) => Self::Wildcard(suffix),
            None if name == "*" => Self::Any,
            None => Self::Exact(name),
        }
    }

    /// The key of an entry for this pattern.
    pub(crate) fn key(self) -> &'a str {
        match self {
            Self::Exact(name) | Self::Wildcard(name) => name,
            Self::Any => "",
        }
    }
}

/// Entries by host name.
#[derive(Debug)]
pub(crate) struct Hosts<T> {
    exact: CowMap<T>,
    /// By what follows `*.`.
    wildcard: CowMap<T>,
    any: Option<Arc<T>>,
}

impl<T> Default for Hosts<T> {
    fn default() -> Self {
        Self { exact: CowMap::default(), wildcard: CowMap::default(), any: None }
    }
}

impl<T> Clone for Hosts<T> {
    fn clone(&self) -> Self {
        Self { exact: self.exact.clone(), wildcard: self.wildcard.clone(), any: self.any.clone() }
    }
}

impl<T: Keyed<Key = [u8]>> Hosts<T> {
    /// The first answer of the entries that serve `host`, the most specific asked first.
    ///
    /// Gateway API: "Hostnames that are prefixed with a wildcard label (`*.`) are interpreted as a suffix match", and
    /// "the higher the number of dots in the hostname to the right of the wildcard character, the higher the
    /// precedence".
    pub(crate) fn find<'t, R>(
        &'t self,
        host: &str,
        mut ask: impl FnMut(&'t Arc<T>) -> Option<R>,
    ) -> Option<R> {
        if let Some(found) = self.exact.get(host.as_bytes()).and_then(&mut ask) {
            return Some(found);
        }
        if !self.wildcard.is_empty() {
            let mut rest = host;
            while let Some((_, suffix)) = rest.split_once('.') {
                if let Some(found) = self.wildcard.get(suffix.as_bytes()).and_then(&mut ask) {
                    return Some(found);
                }
                rest = suffix;
            }
        }
        self.any.as_ref().and_then(ask)
    }

    /// The entry of exactly this pattern.
    pub(crate) fn get(&self, pattern: HostPattern<'_>) -> Option<&Arc<T>> {
        match pattern {
            HostPattern::Exact(name) => self.exact.get(name.as_bytes()),
            HostPattern::Wildcard(suffix) => self.wildcard.get(suffix.as_bytes()),
            HostPattern::Any => self.any.as_ref(),
        }
    }

    /// Puts an entry in, in the place of one with the same pattern.
    pub(crate) fn insert(&mut self, pattern: HostPattern<'_>, item: Arc<T>) {
        match pattern {
            HostPattern::Exact(_) => self.exact.insert(item),
            HostPattern::Wildcard(_) => self.wildcard.insert(item),
            HostPattern::Any => self.any = Some(item),
        }
    }
}

impl<T: Keyed<Key = [u8]> + Vacant + Clone> Hosts<T> {
    /// Changes the entry of a pattern, made by `vacant` if there is none, and drops it when nothing is left in it.
    pub(crate) fn edit(
        &mut self,
        pattern: HostPattern<'_>,
        vacant: impl FnOnce() -> T,
        change: impl FnOnce(&mut T),
    ) {
        match pattern {
            HostPattern::Exact(name) => self.exact.edit(name.as_bytes(), vacant, change),
            HostPattern::Wildcard(suffix) => self.wildcard.edit(suffix.as_bytes(), vacant, change),
            HostPattern::Any => {
                let any = self.any.get_or_insert_with(|| Arc::new(vacant()));
                let item = Arc::make_mut(any);
                change(item);
                if item.is_vacant() {
                    self.any = None;
                }
            }
        }
    }
}
