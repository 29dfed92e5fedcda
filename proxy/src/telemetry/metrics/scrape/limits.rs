//! Limits that are held together with other proxies.

use std::fmt;

use config::quota::QuotaState;
use config::quota::view::{ProxyLimit, ProxyView};
use prometheus_client::encoding::DescriptorEncoder;

use super::{Scrape, families};
use crate::telemetry::metrics::families::Open;

/// A limit and its labels.
type Row<'v> = ([(&'v str, &'v str); 3], &'v ProxyLimit);

fn rows(views: &[ProxyView]) -> impl Iterator<Item = Row<'_>> {
    views.iter().flat_map(|view| {
        view.limits.iter().filter_map(|(name, limit)| {
            // `KIND/NAMESPACE/POLICY/RULE`.
            let (policy, rule) = name.split_once('/')?.1.rsplit_once('/')?;
            Some(([("role", view.role.as_str()), ("policy", policy), ("limit", rule)], limit))
        })
    })
}

fn integer(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Scrape {
    pub(super) fn encode_limits(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let views: Vec<ProxyView> = self.roles.iter().filter_map(|role| role.telemetry.limits()).collect();
        let mut requests = Open::new(encoder, &families::LIMIT_REQUESTS)?;
        for ([role, policy, limit], row) in rows(&views) {
            for (decision, count) in [("admitted", row.admitted), ("denied", row.denied)] {
                requests.counter(&[role, policy, limit, ("decision", decision)], &count)?;
            }
        }
        let mut keys = Open::new(encoder, &families::LIMIT_KEYS)?;
        for (labels, row) in rows(&views) {
            keys.gauge(&labels, &integer(row.keys))?;
        }
        let mut buckets = Open::new(encoder, &families::LIMIT_BUCKETS)?;
        for ([role, policy, limit], row) in rows(&views) {
            for (state, count) in &row.state {
                buckets.gauge(&[role, policy, limit, ("state", state)], &integer(*count))?;
            }
        }
        let mut overflowed = Open::new(encoder, &families::LIMIT_OVERFLOWED)?;
        for (labels, row) in rows(&views) {
            overflowed.counter(&labels, &row.overflowed)?;
        }
        self.encode_quota(encoder)
    }

    fn encode_quota(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let states: Vec<(&str, QuotaState)> = self
            .roles
            .iter()
            .filter_map(|role| Some((role.telemetry.role, role.telemetry.quota()?)))
            .filter(|(_, state)| state.has_server)
            .collect();
        for (family, read) in [
            (
                &families::QUOTA_CONNECTED,
                (|state: &QuotaState| state.is_connected) as fn(&QuotaState) -> bool,
            ),
            (&families::QUOTA_LOST, |state: &QuotaState| state.is_lost),
        ] {
            let mut open = Open::new(encoder, family)?;
            for (role, state) in &states {
                open.gauge(&[("role", *role)], &i64::from(read(state)))?;
            }
        }
        let mut streams = Open::new(encoder, &families::QUOTA_STREAMS)?;
        for (role, state) in &states {
            streams.counter(&[("role", *role)], &state.streams)?;
        }
        let mut messages = Open::new(encoder, &families::QUOTA_MESSAGES)?;
        for (role, state) in &states {
            for (direction, count) in [("sent", state.client.sent), ("received", state.received)] {
                messages.counter(&[("role", *role), ("direction", direction)], &count)?;
            }
        }
        let mut assignments = Open::new(encoder, &families::QUOTA_ASSIGNMENTS)?;
        for (role, state) in &states {
            for (outcome, count) in [("used", state.client.assigned), ("late", state.client.late)] {
                assignments.counter(&[("role", *role), ("outcome", outcome)], &count)?;
            }
        }
        Ok(())
    }
}
