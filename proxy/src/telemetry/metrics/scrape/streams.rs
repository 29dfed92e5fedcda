//! Connections and flows that are not requests.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{Scrape, row_labels};
use crate::telemetry::StreamStats;
use crate::telemetry::metrics::families::{self, Open};

impl Scrape {
    fn streams(&self) -> impl Iterator<Item = ([(&str, &str); 4], &StreamStats)> {
        self.roles.iter().flat_map(|role| {
            role.streams.iter().filter(|(_, stats)| stats.is_used()).map(|(name, stats)| {
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

    pub(super) fn encode_streams(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut ended = Open::new(encoder, &families::STREAMS)?;
        for ([role, kind, route, rule], stats) in self.streams() {
            for (row, count) in stats.reasons().rows() {
                ended.counter(&[role, kind, route, rule, ("reason", row_labels(row).1)], &count)?;
            }
        }
        let mut open = Open::new(encoder, &families::STREAMS_OPEN)?;
        for (labels, stats) in self.streams() {
            open.gauge(&labels, &stats.open())?;
        }
        let mut bytes = Open::new(encoder, &families::STREAM_BYTES)?;
        for ([role, kind, route, rule], stats) in self.streams() {
            for (direction, count) in stats.bytes() {
                bytes.counter(&[role, kind, route, rule, ("direction", direction)], &count)?;
            }
        }
        let mut unmatched = Open::new(encoder, &families::STREAMS_UNMATCHED)?;
        for ([role, listener], stats) in self.listeners() {
            for (row, count) in stats.refused.rows() {
                unmatched.counter(&[role, listener, ("reason", row_labels(row).1)], &count)?;
            }
        }
        let mut dropped = Open::new(encoder, &families::DATAGRAMS_DROPPED)?;
        for ([role, listener], stats) in self.listeners() {
            for (row, count) in stats.dropped.rows() {
                dropped.counter(&[role, listener, ("reason", row_labels(row).1)], &count)?;
            }
        }
        Ok(())
    }
}
