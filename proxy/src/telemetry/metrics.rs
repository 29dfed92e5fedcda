//! Renders what is counted for Prometheus: OpenMetrics 1.0, or the older text format for scrapers that do not ask.
//!
//! Each family comes once, with the series of every role in it. What was never counted has no series, so that 5,000
//! routes of which ten are used cost ten routes' series.

mod families;
mod older;
mod scrape;

use std::fmt::{self, Write};
use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use self::older::OlderText;
use self::scrape::Scrape;
use super::Telemetry;

/// How to write metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics text, version 1.0.0.
    OpenMetrics,
    /// Prometheus text, version 0.0.4.
    Text,
}

impl Format {
    /// What a scraper's `accept` header asks for.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Text }
    }

    /// For `content-type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Writes the metrics of all roles of the process.
///
/// # Errors
/// Those of `out`.
pub fn render(roles: &[Arc<Telemetry>], format: Format, out: &mut impl Write) -> fmt::Result {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape::take(roles)));
    match format {
        Format::OpenMetrics => encode(out, &registry),
        Format::Text => encode(&mut OlderText::new(out), &registry),
    }
}
