//! Judges a cluster: one section per layer, each building on those before it.

mod access;
pub(super) mod certificates;
pub(super) mod controller;
mod gateways;
mod platform;
pub(super) mod proxies;
pub(super) mod routes;

use super::cluster::Cluster;
use super::report::{Report, Section};

/// When a check is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before `fairway install`: can it be installed?
    Before,
    /// After it: does it work?
    Installed,
}

/// What is as it should be, what is not, and what to do about it.
#[must_use]
pub fn check(cluster: &Cluster, stage: Stage) -> Report {
    let sections: &[fn(&Cluster) -> Section] = match stage {
        Stage::Before => &[platform::kubernetes, platform::gateway_api, platform::before],
        Stage::Installed => &[
            platform::kubernetes,
            platform::gateway_api,
            platform::own_kinds,
            access::rights,
            controller::controller,
            certificates::certificates,
            gateways::classes,
            gateways::gateways,
            proxies::proxies,
            routes::routes,
            routes::policies,
        ],
    };
    Report { sections: sections.iter().map(|section| section(cluster)).collect() }
}

/// `1 Gateway`, `2 Gateways`.
fn count(n: usize, what: &str) -> String {
    let plural = match what.strip_suffix('y') {
        Some(stem) if n != 1 && !what.ends_with("ay") => format!("{stem}ies"),
        _ if n != 1 && what.ends_with("ss") => format!("{what}es"),
        _ if n != 1 => format!("{what}s"),
        _ => what.to_owned(),
    };
    format!("{n} {plural}")
}
