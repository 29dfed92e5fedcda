//! Everything let go, before Fairway goes: by the controller that still runs, in the order that keeps traffic whole.

use std::time::Duration;

use kube::Client;
use kube::api::ListParams;
use tokio::time::{Instant, sleep};

use super::fetch::{Access, AccessError, failed};
use super::mesh::{MeshRow, mesh};
use crate::cluster::{FINALIZER, write};
use crate::translate::WAYPOINT_CLASS;

/// How often to look whether it is done.
const EVERY: Duration = Duration::from_secs(1);

/// What still depends on a controller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Services whose clients are led to a waypoint.
    pub services: Vec<MeshRow>,
    /// A Gateway could not be deleted without one.
    pub gateways: bool,
}

impl Held {
    /// Whether nothing does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && !self.gateways
    }
}

impl Access {
    /// Takes GatewayClass `fairway-waypoint` away, so that the controller lets every Service go, and waits until none is led to a
    /// waypoint any more and no Gateway waits for a controller to be deleted, for `patience` at most. `news` is told how many Services are left whenever that changes.
    ///
    /// Returns what is left: nothing, unless no controller runs.
    ///
    /// # Errors
    /// When the API server cannot be reached, or refuses.
    pub async fn release_all(
        &self,
        patience: Duration,
        mut news: impl FnMut(usize),
    ) -> Result<Held, AccessError> {
        const CLASS: (&str, &str) = ("gateway.networking.k8s.io/v1", "GatewayClass");
        let client = self.client().await?;
        write::delete(&client, CLASS, "", WAYPOINT_CLASS).await.map_err(|error| failed(&error))?;
        let everywhere = Self { scope: None, ..self.clone() };
        let end = Instant::now() + patience;
        let mut last = usize::MAX;
        loop {
            let services = led(mesh(&everywhere.read_mesh().await?, None));
            if services.len() != last {
                news(services.len());
                last = services.len();
            }
            let held = Held { services, gateways: is_any_held(&client).await? };
            if held.is_empty() || Instant::now() >= end {
                return Ok(held);
            }
            sleep(EVERY).await;
        }
    }
}

/// Whether a Gateway could not be deleted without a controller.
async fn is_any_held(client: &Client) -> Result<bool, AccessError> {
    let gateways = write::api(client, &write::resource("gateway.networking.k8s.io/v1", "Gateway"), "");
    let all = gateways.list_metadata(&ListParams::default()).await.map_err(|error| failed(&error))?;
    let finalizers = all.items.iter().flat_map(|gateway| gateway.metadata.finalizers.iter().flatten());
    Ok(finalizers.into_iter().any(|finalizer| finalizer == FINALIZER))
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
