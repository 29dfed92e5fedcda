//! The service map.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::Scrape;
use crate::telemetry::edges::EdgeStats;
use crate::telemetry::metrics::families::{self, Open};

impl Scrape {
    fn edges(&self) -> impl Iterator<Item = ([(&str, &str); 3], &EdgeStats)> {
        self.roles.iter().flat_map(|role| {
            role.edges.iter().map(|(name, stats)| {
                let labels =
                    [("role", role.telemetry.role), ("source", &*name.source), ("service", &*name.service)];
                (labels, &**stats)
            })
        })
    }

    pub(super) fn encode_edges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut requests = Open::new(encoder, &families::SERVICE_REQUESTS)?;
        for ([role, source, service], stats) in self.edges() {
            for (class, count) in stats.requests() {
                requests.counter(&[role, source, service, ("code", class)], &count)?;
            }
        }
        let mut durations = Open::new(encoder, &families::SERVICE_DURATIONS)?;
        for (labels, stats) in self.edges() {
            if stats.requests().next().is_some() {
                durations.histogram(&labels, &stats.durations)?;
            }
        }
        let carried = || self.edges().filter(|(_, stats)| stats.connections() > 0);
        let mut connections = Open::new(encoder, &families::SERVICE_CONNECTIONS)?;
        for (labels, stats) in carried() {
            connections.counter(&labels, &stats.connections())?;
        }
        let mut bytes = Open::new(encoder, &families::SERVICE_BYTES)?;
        for ([role, source, service], stats) in carried() {
            for (direction, count) in stats.bytes() {
                bytes.counter(&[role, source, service, ("direction", direction)], &count)?;
            }
        }
        Ok(())
    }
}
