//! The log line of what never became a request.

use tokio::time::Instant;

use super::connection::Connection;
use super::serve::Server;
use crate::telemetry::{Course, Record, TraceContext};

/// What a client was told instead of an answer to a request.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) version: &'static str,
    /// 0: nothing that has a status.
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
    pub(crate) begun: Instant,
}

impl Refused {
    /// Writes the line and counts it, under the port's name.
    pub(crate) fn account(&self, connection: &Connection, server: &Server) {
        server.telemetry.finish(&Record {
            method: "",
            host: "",
            path: "",
            status: self.status,
            stats: None,
            course: Course {
                duration: self.begun.elapsed(),
                ..Course::new(self.version, self.reason, &connection.gate.name, connection.peer)
            },
            trace: TraceContext::default(),
            user_agent: None,
            denied_by: None,
            would_deny: &[],
            source: None,
        });
    }
}
