//! `fairway waypoint`.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use controller::inspect::{Access, Enrolled, MeshRow, breaking_glass, enrolling, mesh, releasing};
use tokio::runtime::Builder;

use super::check::access;
use crate::args::{Explanation, Waypoint, WaypointCommand};
use crate::output;
use crate::table::aligned;

pub(crate) fn run(args: &Waypoint) -> anyhow::Result<bool> {
    let runtime = Builder::new_current_thread().enable_all().build().context("cannot start threads")?;
    let access = access(&args.cluster);
    runtime.block_on(async {
        match &args.command {
            WaypointCommand::List { output: form } => {
                let rows = rows(&access).await?;
                output::line(&match form {
                    Explanation::Text => list(&rows),
                    Explanation::Json => serde_json::to_string_pretty(&rows)?,
                });
                Ok(true)
            }
            WaypointCommand::Status { service } => {
                let row = row(&access, service).await?;
                output::line(&status(&row));
                Ok(true)
            }
            WaypointCommand::Verify => {
                let rows = rows(&access).await?;
                Ok(verify(&rows))
            }
            WaypointCommand::Enroll { what, waypoint, capture } => {
                let what = Enrolled::parse(what).map_err(|problem| anyhow!(problem))?;
                access.label(&what, &enrolling(waypoint, capture.as_str())).await?;
                output::line("Labelled. `fairway waypoint list` shows what comes of it.");
                Ok(true)
            }
            WaypointCommand::Release { what: Some(what), break_glass: false, .. } => {
                let what = Enrolled::parse(what).map_err(|problem| anyhow!(problem))?;
                access.label(&what, &releasing(&what)).await?;
                output::line(
                    "Labelled. Clients are led back to the pods; `fairway waypoint list` shows how far it is.",
                );
                Ok(true)
            }
            WaypointCommand::Release { what: None, break_glass: false, wait, .. } => {
                release_all(&access, *wait).await
            }
            WaypointCommand::Release { what, break_glass: true, .. } => {
                break_glass(&access, what.as_deref()).await
            }
        }
    })
}

async fn rows(access: &Access) -> anyhow::Result<Vec<MeshRow>> {
    let cluster = access.read_mesh().await?;
    for (kind, why) in &cluster.unreadable {
        output::error(&format!("{kind} cannot be read: {why}"));
    }
    Ok(mesh(&cluster, access.scope.as_deref()))
}

async fn row(access: &Access, service: &str) -> anyhow::Result<MeshRow> {
    let Ok(Enrolled::Service(namespace, name)) = Enrolled::parse(service) else {
        return Err(anyhow!("{service:?}: write NAMESPACE/SERVICE"));
    };
    let access = Access { scope: Some(namespace.clone()), ..access.clone() };
    let found = rows(&access).await?.into_iter().find(|row| row.namespace == namespace && row.name == name);
    found.ok_or_else(|| anyhow!("no waypoint has to do with Service {namespace}/{name}"))
}

/// Takes away what the controller has written on all of these.
async fn break_glass(access: &Access, what: Option<&str>) -> anyhow::Result<bool> {
    let what = what.map(Enrolled::parse).transpose().map_err(|problem| anyhow!(problem))?;
    let (scope, only) = match &what {
        None => (None, None),
        Some(Enrolled::Namespace(namespace)) => (Some(namespace.clone()), None),
        Some(Enrolled::Service(namespace, name)) => (Some(namespace.clone()), Some(name)),
    };
    let access = Access { scope, ..access.clone() };
    let is_meant = |row: &&MeshRow| only.is_none_or(|name| row.name == *name);
    for row in rows(&access).await?.iter().filter(is_meant) {
        let service = Enrolled::Service(row.namespace.clone(), row.name.clone());
        access.label(&service, &breaking_glass()).await?;
        output::line(&format!("{}/{}: pods come back", row.namespace, row.name));
    }
    Ok(true)
}

/// Lets everything go by the controller that runs; false: it did not.
async fn release_all(access: &Access, wait: Duration) -> anyhow::Result<bool> {
    let news = |left| output::line(&format!("{left} Services are led to a waypoint"));
    let held = access.release_all(wait, news).await?;
    for row in &held.services {
        output::line(&format!("{}/{}: {} {}", row.namespace, row.name, row.reason, row.message));
    }
    if held.gateways {
        output::line(
            "Gateways have the finalizer fairway.dev/release-services: only a controller lets them go",
        );
    }
    if !held.is_empty() {
        output::error(
            "Is a controller running? If none can be had: fairway waypoint release --all --break-glass",
        );
    }
    Ok(held.is_empty())
}

fn list(rows: &[MeshRow]) -> String {
    let mut table: Vec<Vec<String>> = vec![
        ["NAMESPACE", "SERVICE", "WAYPOINT", "BOUND", "REASON", "WITHOUT", "WAYPOINTS", "PODS", "PROBLEM"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let shown = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    table.extend(rows.iter().map(|row| {
        let problem = row.problems.first().map_or("", String::as_str);
        vec![
            shown(&row.namespace),
            shown(&row.name),
            shown(&row.waypoint),
            shown(&row.bound),
            shown(&row.reason),
            shown(&row.failure_mode),
            row.waypoint_endpoints.to_string(),
            row.pods.to_string(),
            problem.to_owned(),
        ]
    }));
    aligned(&table).trim_end().to_owned()
}

fn status(row: &MeshRow) -> String {
    let mut text = format!(
        "Service {}/{}: {} {}\n  {}\n  {} endpoints of waypoint {}, {} ready pods behind it",
        row.namespace,
        row.name,
        if row.bound.is_empty() { "nothing is said" } else { &row.bound },
        row.reason,
        row.message,
        row.waypoint_endpoints,
        if row.waypoint.is_empty() { "-" } else { &row.waypoint },
        row.pods,
    );
    for problem in &row.problems {
        text.push_str("\n  PROBLEM ");
        text.push_str(problem);
    }
    text
}

/// Prints what is not as it shall be; whether nothing is.
fn verify(rows: &[MeshRow]) -> bool {
    let mut is_fine = true;
    for row in rows {
        for problem in &row.problems {
            is_fine = false;
            output::line(&format!("{}/{}: {problem}", row.namespace, row.name));
        }
    }
    let captured = rows.iter().filter(|row| row.reason == "Captured").count();
    output::line(&format!("{captured} Services captured, {} others looked at", rows.len() - captured));
    is_fine
}
