//! `fairway status`.

use std::time::Duration;

use anyhow::Context as _;
use controller::inspect::{Overview, Stage, overview};
use tokio::runtime::Builder;

use super::check::access;
use crate::args::{Explanation, Status};
use crate::output;
use crate::table::{aligned, short};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(2);

pub(crate) fn run(args: &Status) -> anyhow::Result<bool> {
    let runtime = Builder::new_current_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(async {
        let access = access(&args.cluster);
        let mut before = String::new();
        loop {
            let cluster = access.read(Stage::Installed).await;
            match cluster {
                Ok(cluster) => {
                    let overview = overview(&cluster, args.cluster.namespace.as_deref());
                    let now = rendered(&overview, args.output)?;
                    if now != before {
                        output::line(&now);
                    }
                    before = now;
                    for (kind, why) in &cluster.unreadable {
                        output::error(&format!("{kind} cannot be read: {why}"));
                    }
                }
                // Whoever watches wants to see it come back.
                Err(error) if args.watch => output::error(&error.to_string()),
                Err(error) => return Err(error.into()),
            }
            if !args.watch {
                return Ok(true);
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
}

fn rendered(overview: &Overview, form: Explanation) -> anyhow::Result<String> {
    Ok(match form {
        Explanation::Text => text(overview),
        Explanation::Json => serde_json::to_string_pretty(overview)?,
    })
}

fn text(overview: &Overview) -> String {
    let tables = [controllers(overview), gateways(overview), routes(overview)];
    let shown: Vec<String> = tables.iter().map(|rows| aligned(rows)).collect();
    shown.join("\n").trim_end().to_owned()
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { (*cell).to_owned() }).collect()
}

/// What is right has an empty last cell, so that the eye finds what is wrong.
fn with_problem(mut cells: Vec<String>, problem: &str) -> Vec<String> {
    cells.push(problem.to_owned());
    cells
}

const fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

fn controllers(overview: &Overview) -> Vec<Vec<String>> {
    let mut rows = vec![row(&["NAMESPACE", "CONTROLLER", "READY", "LEADS", "VERSION", "PROBLEM"])];
    rows.extend(overview.controllers.iter().map(|one| {
        let cells = [&*one.namespace, &*one.name, yes(one.ready), yes(one.leader), &*one.version];
        with_problem(row(&cells), &one.problem)
    }));
    rows
}

fn gateways(overview: &Overview) -> Vec<Vec<String>> {
    let heading = [
        "NAMESPACE",
        "GATEWAY",
        "CLASS",
        "ADDRESS",
        "LISTENERS",
        "ROUTES",
        "PROGRAMMED",
        "PROXIES",
        "VERSION",
        "PROBLEM",
    ];
    let mut rows = vec![row(&heading)];
    rows.extend(overview.gateways.iter().map(|one| {
        let cells = [
            &*one.namespace,
            &*one.name,
            &*one.class,
            &*short(&one.addresses, 2),
            &*format!("{}/{}", one.listeners_ready, one.listeners),
            &*one.attached_routes.to_string(),
            &*one.programmed,
            &*format!("{}/{}", one.proxies_ready, one.proxies),
            &*short(&one.versions, 2),
        ];
        with_problem(row(&cells), &one.problem)
    }));
    rows
}

fn routes(overview: &Overview) -> Vec<Vec<String>> {
    let heading = ["NAMESPACE", "KIND", "ROUTE", "HOSTNAMES", "PARENT", "ACCEPTED", "RESOLVED", "PROBLEM"];
    let mut rows = vec![row(&heading)];
    rows.extend(overview.routes.iter().map(|one| {
        let cells = [
            &*one.namespace,
            &*one.kind,
            &*one.name,
            &*short(&one.hostnames, 2),
            &*one.parent,
            &*one.accepted,
            &*one.resolved,
        ];
        with_problem(row(&cells), &one.problem)
    }));
    rows
}
