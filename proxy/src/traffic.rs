//! How listeners treat their clients, compiled once: what a connection and what a request is held to.

pub(crate) mod connection;
pub(crate) mod request;

use std::sync::Arc;

use policies::client_traffic::ClientTraffic;

use self::connection::ConnectionRules;
use self::request::RequestRules;

/// How a listener treats its clients.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) connection: ConnectionRules,
    pub(crate) request: RequestRules,
}

impl Traffic {
    /// Nothing said: every default.
    ///
    /// # Errors
    /// Field, reason and remedy.
    pub(crate) fn compile(spec: Option<&ClientTraffic>) -> Result<Arc<Self>, String> {
        let Some(spec) = spec else { return Ok(Arc::default()) };
        // The controller refuses the same; what comes from elsewhere is judged here.
        let problems = spec.problems();
        if !problems.is_empty() {
            return Err(problems.join("; "));
        }
        let connection = ConnectionRules::compile(spec);
        Ok(Arc::new(Self { connection, request: RequestRules::compile(spec)? }))
    }
}
