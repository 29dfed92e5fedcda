//! Keys of token issuers.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{Scrape, families};
use crate::telemetry::metrics::families::Open;

impl Scrape {
    pub(super) fn encode_keys(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let roles = self.roles.iter().map(|role| &role.telemetry);
        let counts: Vec<_> = roles.filter_map(|role| Some((role.role, role.keys.get()?.counts()))).collect();
        let all =
            || counts.iter().flat_map(|(role, all)| all.iter().map(|(uri, one)| (*role, uri.as_str(), one)));
        let mut age = Open::new(encoder, &families::JWKS_AGE)?;
        for (role, uri, one) in all() {
            if let Some(seconds) = one.age {
                age.gauge(&[("role", role), ("uri", uri)], &seconds)?;
            }
        }
        let mut fetches = Open::new(encoder, &families::JWKS_FETCHES)?;
        for (role, uri, one) in all() {
            for (outcome, count) in [("success", one.fetched), ("failure", one.failed)] {
                fetches.counter(&[("role", role), ("uri", uri), ("outcome", outcome)], &count)?;
            }
        }
        Ok(())
    }
}
