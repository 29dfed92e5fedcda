//! What is short.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{Scrape, families};
use crate::overload::Overload;
use crate::telemetry::metrics::families::Open;

impl Scrape {
    pub(super) fn encode_overload(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let overloads = || -> Vec<(&str, &Overload)> {
            let roles = self.roles.iter();
            roles.filter_map(|role| Some((role.telemetry.role, role.telemetry.overload()?))).collect()
        };
        let mut level = Open::new(encoder, &families::MEMORY_LEVEL)?;
        for (role, (now, _, _)) in memory(&overloads()) {
            level.gauge(&[("role", role)], &i64::from(now))?;
        }
        let integer = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let mut used = Open::new(encoder, &families::MEMORY_USED)?;
        for (role, (_, now, _)) in memory(&overloads()) {
            used.gauge(&[("role", role)], &integer(now))?;
        }
        let mut limit = Open::new(encoder, &families::MEMORY_LIMIT)?;
        for (role, (_, _, most)) in memory(&overloads()) {
            limit.gauge(&[("role", role)], &integer(most))?;
        }
        let mut delay = Open::new(encoder, &families::DELAY)?;
        for (role, overload) in overloads() {
            let latest = overload.loads.iter().map(|load| load.read().0).fold(0.0, f64::max);
            delay.gauge(&[("role", role)], &latest)?;
        }
        let mut shed = Open::new(encoder, &families::SHED)?;
        for (role, overload) in overloads() {
            let most = overload.loads.iter().map(|load| load.read().1).fold(0.0, f64::max);
            shed.gauge(&[("role", role)], &most)?;
        }
        Ok(())
    }
}

fn memory<'a>(overloads: &[(&'a str, &Overload)]) -> Vec<(&'a str, (u8, u64, u64))> {
    overloads.iter().filter_map(|(role, overload)| Some((*role, overload.pressure.read()?))).collect()
}
