//! One scrape: what is counted now, family by family.

mod controller;
mod edges;
mod keys;
mod limits;
mod overload;
mod streams;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use config::BackendRef;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::families::{self, Open};
use crate::rule::RuleName;
use crate::telemetry::counters::{Row, Table};
use crate::telemetry::edges::{EdgeName, EdgeStats};
use crate::telemetry::process::Process;
use crate::telemetry::stats::BackendCounters;
use crate::telemetry::{BackendStats, ListenerStats, RouteStats, StreamStats, Telemetry};

/// What is rendered, gathered first so that no lock is held while a slow scraper reads.
#[derive(Debug)]
pub(super) struct Scrape {
    roles: Vec<Role>,
    process: Process,
}

#[derive(Debug)]
struct Role {
    telemetry: Arc<Telemetry>,
    routes: Vec<(RuleName, Arc<RouteStats>)>,
    streams: Vec<(RuleName, Arc<StreamStats>)>,
    backends: Vec<(String, Arc<BackendStats>)>,
    listeners: Vec<(String, Arc<ListenerStats>)>,
    edges: Vec<(EdgeName, Arc<EdgeStats>)>,
}

impl Scrape {
    pub(super) fn take(roles: &[Arc<Telemetry>]) -> Self {
        let roles = roles.iter().map(Role::take).collect();
        Self { roles, process: Process::read() }
    }
}

impl Role {
    fn take(telemetry: &Arc<Telemetry>) -> Self {
        telemetry.sweep();
        let by_name =
            |a: &RuleName, b: &RuleName| (a.kind, &a.route, &a.rule).cmp(&(b.kind, &b.route, &b.rule));
        let backends = telemetry.backends.all(BackendRef::cmp);
        Self {
            routes: telemetry.routes.all(by_name),
            streams: telemetry.streams.all(by_name),
            backends: backends.into_iter().map(|(name, stats)| (name.to_string(), stats)).collect(),
            listeners: telemetry.listeners.all(String::cmp),
            edges: telemetry.edges.all(EdgeName::cmp),
            telemetry: telemetry.clone(),
        }
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_routes(&mut encoder)?;
        self.encode_backends(&mut encoder)?;
        self.encode_streams(&mut encoder)?;
        self.encode_edges(&mut encoder)?;
        self.encode_listeners(&mut encoder)?;
        self.encode_overload(&mut encoder)?;
        self.encode_keys(&mut encoder)?;
        self.encode_limits(&mut encoder)?;
        self.encode_config(&mut encoder)?;
        self.encode_controller(&mut encoder)?;
        self.encode_losses(&mut encoder)?;
        self.encode_process(&mut encoder)
    }
}

/// The text of a row's labels.
fn row_labels(row: Row) -> (String, &'static str) {
    match row {
        Row::Of(code, reason) => (code.to_string(), reason),
        Row::Other => ("other".to_owned(), "other"),
    }
}

impl Scrape {
    fn routes(&self) -> impl Iterator<Item = ([(&str, &str); 4], &RouteStats)> {
        self.roles.iter().flat_map(|role| {
            role.routes.iter().map(|(name, stats)| {
                let labels = [
                    ("role", role.telemetry.role),
                    ("kind", name.kind),
                    ("route", &*name.route),
                    ("rule", &*name.rule),
                ];
                (labels, &**stats)
            })
        })
    }

    fn encode_routes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut requests = Open::new(encoder, &families::REQUESTS)?;
        for ([role, kind, route, rule], stats) in self.routes() {
            for (row, count) in stats.replies.rows() {
                let (code, reason) = row_labels(row);
                requests.counter(&[role, kind, route, rule, ("code", &code), ("reason", reason)], &count)?;
            }
        }
        let mut durations = Open::new(encoder, &families::DURATIONS)?;
        for (labels, stats) in self.routes() {
            if stats.is_seen() {
                durations.histogram(&labels, &stats.durations)?;
            }
        }
        let mut in_flight = Open::new(encoder, &families::IN_FLIGHT)?;
        for (labels, stats) in self.routes() {
            if stats.in_flight() != 0 || stats.is_seen() {
                in_flight.gauge(&labels, &stats.in_flight())?;
            }
        }
        let mut would_deny = Open::new(encoder, &families::WOULD_DENY)?;
        for ([role, kind, route, rule], stats) in self.routes() {
            for (row, count) in stats.would_denied().into_iter().flat_map(Table::rows) {
                would_deny.counter(&[role, kind, route, rule, ("reason", row_labels(row).1)], &count)?;
            }
        }
        Ok(())
    }

    fn backends(&self) -> impl Iterator<Item = ([(&str, &str); 2], &BackendCounters)> {
        self.roles.iter().flat_map(|role| {
            role.backends.iter().filter_map(|(name, stats)| {
                Some(([("role", role.telemetry.role), ("backend", name.as_str())], stats.counters()?))
            })
        })
    }

    fn encode_backends(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut attempts = Open::new(encoder, &families::ATTEMPTS)?;
        for ([role, backend], counters) in self.backends() {
            for (outcome, code, count) in counters.attempts() {
                attempts.counter(&[role, backend, ("outcome", outcome), ("code", code)], &count)?;
            }
        }
        let mut durations = Open::new(encoder, &families::ATTEMPT_DURATIONS)?;
        for (labels, counters) in self.backends() {
            durations.histogram(&labels, &counters.durations)?;
        }
        let mut connections = Open::new(encoder, &families::BACKEND_CONNECTIONS)?;
        for ([role, backend], counters) in self.backends() {
            for (from, count) in counters.connections() {
                connections.counter(&[role, backend, ("from", from)], &count)?;
            }
        }
        let mut mirrored = Open::new(encoder, &families::MIRRORED)?;
        for ([role, backend], counters) in self.backends() {
            for (outcome, count) in counters.mirrors().into_iter().filter(|(_, count)| *count > 0) {
                mirrored.counter(&[role, backend, ("outcome", outcome)], &count)?;
            }
        }
        Ok(())
    }

    fn listeners(&self) -> impl Iterator<Item = ([(&str, &str); 2], &ListenerStats)> {
        self.roles.iter().flat_map(|role| {
            role.listeners
                .iter()
                .map(|(name, stats)| ([("role", role.telemetry.role), ("listener", name.as_str())], &**stats))
        })
    }

    fn encode_listeners(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut unmatched = Open::new(encoder, &families::UNMATCHED)?;
        for ([role, listener], stats) in self.listeners() {
            for (row, count) in stats.unmatched.rows() {
                let (code, reason) = row_labels(row);
                unmatched.counter(&[role, listener, ("code", &code), ("reason", reason)], &count)?;
            }
        }
        // Who counts connections under an address and requests under a listener's name has both.
        let is_connected = |stats: &ListenerStats| stats.connections().any(|(_, open, n)| open != 0 || n > 0);
        let connected = || self.listeners().filter(|(_, stats)| is_connected(stats));
        let mut open = Open::new(encoder, &families::CONNECTIONS)?;
        for ([role, listener], stats) in connected() {
            for (spoken, count, _) in stats.connections() {
                open.gauge(&[role, listener, ("protocol", spoken.as_str())], &count)?;
            }
        }
        let mut opened = Open::new(encoder, &families::CONNECTIONS_OPENED)?;
        for ([role, listener], stats) in connected() {
            for (spoken, _, count) in stats.connections() {
                opened.counter(&[role, listener, ("protocol", spoken.as_str())], &count)?;
            }
        }
        let mut turned_away = Open::new(encoder, &families::TURNED_AWAY)?;
        for ([role, listener], stats) in self.listeners() {
            for (row, count) in stats.turned_away.rows() {
                turned_away.counter(&[role, listener, ("reason", row_labels(row).1)], &count)?;
            }
        }
        let mut handshakes = Open::new(encoder, &families::HANDSHAKES)?;
        for ([role, listener], stats) in self.listeners() {
            for (row, count) in stats.handshakes.rows() {
                handshakes.counter(&[role, listener, ("reason", row_labels(row).1)], &count)?;
            }
        }
        Ok(())
    }

    fn encode_config(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let roles = || self.roles.iter().map(|role| (("role", role.telemetry.role), &role.telemetry.config));
        let mut updates = Open::new(encoder, &families::CONFIG_UPDATES)?;
        for (role, config) in roles() {
            updates.counter(&[role], &config.updates())?;
        }
        let mut version = Open::new(encoder, &families::CONFIG_VERSION)?;
        for (role, config) in roles() {
            if let Some((served, _)) = config.served() {
                version.gauge(&[role], &i64::try_from(served).unwrap_or(i64::MAX))?;
            }
        }
        let mut age = Open::new(encoder, &families::CONFIG_AGE)?;
        for (role, config) in roles() {
            if let Some((_, seconds)) = config.served() {
                age.gauge(&[role], &seconds)?;
            }
        }
        let mut rejections = Open::new(encoder, &families::CONFIG_REJECTIONS)?;
        for (role, config) in roles() {
            for (severity, count) in config.rejections() {
                rejections.counter(&[role, ("severity", severity)], &count)?;
            }
        }
        let mut rejected = Open::new(encoder, &families::CONFIG_REJECTED)?;
        for (role, config) in roles() {
            for (severity, count) in config.rejected() {
                rejected.gauge(&[role, ("severity", severity)], &count)?;
            }
        }
        let mut workloads = Open::new(encoder, &families::WORKLOADS)?;
        for role in &self.roles {
            let known = role.telemetry.workloads.load(Ordering::Relaxed);
            workloads.gauge(&[("role", role.telemetry.role)], &i64::try_from(known).unwrap_or(i64::MAX))?;
        }
        Ok(())
    }

    fn encode_losses(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let roles = || self.roles.iter().map(|role| (("role", role.telemetry.role), &role.telemetry));
        let mut lines = Open::new(encoder, &families::LOG_DROPPED)?;
        for (role, telemetry) in roles() {
            if let Some(count) = telemetry.dropped_lines() {
                lines.counter(&[role], &count)?;
            }
        }
        let mut exported = Open::new(encoder, &families::SPANS_EXPORTED)?;
        for (role, telemetry) in roles() {
            if let Some((count, _)) = telemetry.spans() {
                exported.counter(&[role], &count)?;
            }
        }
        let mut dropped = Open::new(encoder, &families::SPANS_DROPPED)?;
        for (role, telemetry) in roles() {
            if let Some((_, count)) = telemetry.spans() {
                dropped.counter(&[role], &count)?;
            }
        }
        Ok(())
    }

    fn encode_process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        Open::new(encoder, &families::BUILD)?.gauge(&version, &1i64)?;
        let integers = [
            (&families::RESIDENT, self.process.resident_bytes),
            (&families::OPEN_FDS, self.process.open_fds),
            (&families::MAX_FDS, self.process.max_fds),
        ];
        for (family, value) in integers {
            if let Some(value) = value {
                Open::new(encoder, family)?.gauge(&[], &i64::try_from(value).unwrap_or(i64::MAX))?;
            }
        }
        if let Some(cpu) = self.process.cpu_seconds {
            Open::new(encoder, &families::CPU)?.counter(&[], &cpu)?;
        }
        if let Some(start) = self.process.start_seconds {
            Open::new(encoder, &families::START)?.gauge(&[], &start)?;
        }
        Ok(())
    }
}
