//! Candidates of one kind by host name, oldest first.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::contest::Rank;

/// In order.
pub(super) type Ranks = BTreeSet<Arc<Rank>>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    any: Ranks,
    /// Those that want every host.
    all: Ranks,
    /// By name, with or without wildcard.
    names: FxHashMap<Box<str>, Ranks>,
    /// By every parent domain of every name, `.com` and `.example.com` for `a.example.com`: what a wildcard would
    /// cover.
    domains: FxHashMap<Box<str>, Ranks>,
}

impl Hosts {
    /// Adds a candidate; `*` alone is every host.
    pub(super) fn insert(&mut self, hostnames: &[String], rank: &Arc<Rank>) {
        self.any.insert(Arc::clone(rank));
        for hostname in hostnames {
            if hostname == "*" {
                self.all.insert(Arc::clone(rank));
                continue;
            }
            self.names.entry(hostname.as_str().into()).or_default().insert(Arc::clone(rank));
            for domain in domains(hostname) {
                self.domains.entry(domain.into()).or_default().insert(Arc::clone(rank));
            }
        }
    }

    pub(super) fn remove(&mut self, hostnames: &[String], rank: &Rank) {
        self.any.remove(rank);
        self.all.remove(rank);
        for hostname in hostnames {
            take(&mut self.names, hostname, rank);
            domains(hostname).for_each(|domain| take(&mut self.domains, domain, rank));
        }
    }

    /// Sets of candidates that have some host in common with a name; together they are all of them.
    pub(super) fn overlapping<'h>(&'h self, hostname: &'h str) -> impl Iterator<Item = &'h Ranks> {
        let is_all = hostname == "*";
        let covering = domains(hostname).filter_map(move |domain| {
            // `*.example.com` has the key it was given by the user.
            self.names.get(format!("*{domain}").as_str())
        });
        let covered = hostname.strip_prefix('*').and_then(|suffix| self.domains.get(suffix));
        let some = [Some(&self.all), self.names.get(hostname), covered].into_iter().flatten().chain(covering);
        is_all.then_some(&self.any).into_iter().chain(some.filter(move |_| !is_all))
    }
}

fn take(map: &mut FxHashMap<Box<str>, Ranks>, key: &str, rank: &Rank) {
    if let Some(ranks) = map.get_mut(key) {
        ranks.remove(rank);
        if ranks.is_empty() {
            map.remove(key);
        }
    }
}

/// `.b.c` and `.c` of `a.b.c`; of `*.b.c` they are `.b.c` and `.c` too.
fn domains(hostname: &str) -> impl Iterator<Item = &str> {
    hostname.match_indices('.').filter_map(move |(at, _)| hostname.get(at..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::hostname;

    #[test]
    fn hosts_agree_with_pairwise_overlap() {
        let names =
            ["*", "a.com", "*.a.com", "b.a.com", "*.b.a.com", "c.b.a.com", "*.com", "x.org", "*.x.org"];
        for taken in names {
            let (mut hosts, rank) = (Hosts::default(), Arc::new(Rank::default()));
            hosts.insert(&[taken.to_owned()], &rank);
            for asked in names {
                let precise = |h: &'static str| (h != "*").then_some(h);
                let want = hostname::overlap(precise(taken), precise(asked));
                let found = hosts.overlapping(asked).any(|ranks| !ranks.is_empty());
                assert_eq!(found, want, "{taken} {asked}");
            }
            hosts.remove(&[taken.to_owned()], &rank);
            assert!(hosts.names.is_empty() && hosts.domains.is_empty() && hosts.all.is_empty());
        }
    }
}
