//! What the admin port says of the controller.

use config::Generation;
use config::xds::ClientState;
use serde::Serialize;

use crate::telemetry::Telemetry;

/// How a role and its controller get on, as it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Controller {
    connected: bool,
    /// What is in use.
    generation: Option<Generation>,
    /// Whether what is in use comes from the controller, not only from the snapshot.
    confirmed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_problem: Option<String>,
    /// Names that are rejected and cannot be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown: Vec<String>,
}

impl Controller {
    /// `None` where there is no controller.
    pub(super) fn of(telemetry: &Telemetry) -> Option<Self> {
        let ClientState {
            is_connected, generation, is_confirmed, problem, unknown, snapshot_problem, ..
        } = telemetry.controller()?;
        let confirmed = is_confirmed;
        Some(Self { connected: is_connected, generation, confirmed, problem, snapshot_problem, unknown })
    }

    /// One line for each thing to say; without control characters.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        lines.push(match (&self.problem, self.connected) {
            (_, true) => "controller: connected".to_owned(),
            (Some(problem), false) => format!("controller: not connected: {problem}"),
            (None, false) => "controller: not connected yet".to_owned(),
        });
        if self.generation.is_some() && !self.confirmed {
            lines.push("controller: what is served comes from the snapshot and is not confirmed".to_owned());
        }
        lines.extend(self.snapshot_problem.clone());
        if !self.unknown.is_empty() {
            lines.push(format!(
                "rejected, because this version does not know them: {}",
                self.unknown.join(", ")
            ));
        }
        for line in &mut lines {
            *line = line.replace(char::is_control, " ");
        }
        lines
    }
}
