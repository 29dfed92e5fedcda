//! Everything let go, before Fairway goes: by the controller that still runs, in the order that keeps traffic whole.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::fetch::{Access, AccessError, failed};
use super::mesh::{MeshRow, mesh};
use crate::cluster::write;
use crate::translate::WAYPOINT_CLASS;

/// How often to look whether it is done.
const EVERY: Duration = Duration::from_secs(1);

impl Access {
    /// Takes GatewayClass `fairway-waypoint` away, so that the controller lets every Service go, and waits until none is led to a
    /// waypoint any more, for `patience` at most. `news` is told what is left whenever that changes.
    ///
    /// Returns what is left: nothing, unless no controller runs.
    ///
    /// # Errors
    /// When the API server cannot be reached, or refuses.
    pub async fn release_all(
        &self,
        patience: Duration,
        mut news: impl FnMut(&[MeshRow]),
    ) -> Result<Vec<MeshRow>, AccessError> {
        const CLASS: (&str, &str) = ("gateway.networking.k8s.io/v1", "GatewayClass");
        let client = self.client().await?;
        write::delete(&client, CLASS, "", WAYPOINT_CLASS).await.map_err(|error| failed(&error))?;
        let everywhere = Self { scope: None, ..self.clone() };
        let end = Instant::now() + patience;
        let mut last = usize::MAX;
        loop {
            let left = led(mesh(&everywhere.read_mesh().await?, None));
            if left.len() != last {
                news(&left);
                last = left.len();
            }
            if left.is_empty() || Instant::now() >= end {
                return Ok(left);
            }
            sleep(EVERY).await;
        }
    }
}

/// Those whose clients are led to a waypoint, or will be as soon as Kubernetes writes their EndpointSlices again.
fn led(rows: Vec<MeshRow>) -> Vec<MeshRow> {
    rows.into_iter().filter(|row| row.is_captured || !row.waypoint.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_talked_of_is_not_led() {
        let row = |name: &str, is_captured: bool, waypoint: &str| MeshRow {
            name: name.into(),
            is_captured,
            waypoint: waypoint.into(),
            bound: "False".into(),
            ..MeshRow::default()
        };
        let rows = vec![row("a", false, ""), row("b", true, ""), row("c", false, "shop/waypoint")];
        let names: Vec<String> = led(rows).into_iter().map(|row| row.name).collect();
        assert_eq!(names, ["b", "c"]);
    }
}
