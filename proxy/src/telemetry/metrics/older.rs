//! Prometheus text 0.0.4, from OpenMetrics.

use std::fmt::{self, Write};

use prometheus_client::metrics::MetricType;

use super::families::FAMILIES;

/// Turns OpenMetrics into the older text format: there the name of a counter's family ends in `_total` too, and no
/// other comments than help and type are known.
pub(super) struct OlderText<'o, W> {
    out: &'o mut W,
    line: String,
}

impl<'o, W: Write> OlderText<'o, W> {
    pub(super) fn new(out: &'o mut W) -> Self {
        Self { out, line: String::new() }
    }
}

impl<W: Write> OlderText<'_, W> {
    fn end_line(&mut self) -> fmt::Result {
        let line = std::mem::take(&mut self.line);
        let Some(comment) = line.strip_prefix("# ") else { return self.out.write_str(&line) };
        let mut words = comment.splitn(3, ' ');
        if let (Some(keyword @ ("HELP" | "TYPE")), Some(name), Some(rest)) =
            (words.next(), words.next(), words.next())
        {
            let is_counter = FAMILIES.iter().any(|f| f.name == name && matches!(f.kind, MetricType::Counter));
            let suffix = if is_counter { "_total" } else { "" };
            write!(self.out, "# {keyword} {name}{suffix} {rest}")?;
        }
        Ok(())
    }
}

impl<W: Write> Write for OlderText<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive('\n') {
            self.line.push_str(piece);
            if piece.ends_with('\n') {
                self.end_line()?;
            }
        }
        Ok(())
    }
}
