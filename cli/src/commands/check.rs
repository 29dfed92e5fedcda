//! `fairway check`.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use controller::inspect::{Access, AccessError, Level, Report, Stage, check};
use serde_json::json;
use tokio::runtime::Builder;

use crate::args::{self, Check, Explanation};
use crate::findings::{plural, remedy};
use crate::output;

/// Between two looks while waiting.
const PAUSE: Duration = Duration::from_secs(2);

pub(crate) fn run(args: &Check) -> anyhow::Result<bool> {
    let runtime = Builder::new_current_thread().enable_all().build().context("cannot start threads")?;
    let report = runtime.block_on(waited(args))?;
    let is_fine = is_fine(&report, args.strict);
    output::line(&match args.output {
        Explanation::Text => text(&report, output::is_coloured()),
        Explanation::Json => {
            serde_json::to_string_pretty(&json!({ "ok": is_fine, "sections": report.sections }))?
        }
    });
    Ok(is_fine)
}

/// How a cluster is reached.
pub(super) fn access(args: &args::Cluster) -> Access {
    Access {
        kubeconfig: args.kubeconfig.clone(),
        context: args.context.clone(),
        namespace: args.controller_namespace.clone(),
        scope: args.namespace.clone(),
    }
}

async fn waited(args: &Check) -> Result<Report, AccessError> {
    let access = access(&args.cluster);
    let stage = if args.pre { Stage::Before } else { Stage::Installed };
    let end = Instant::now() + args.wait;
    loop {
        let report = access.read(stage).await.map(|cluster| completed(check(&cluster, stage)));
        let is_done = report.as_ref().is_ok_and(|report| is_fine(report, args.strict));
        if is_done || Instant::now() + PAUSE > end {
            return report;
        }
        if std::io::stderr().is_terminal() {
            let why = match &report {
                Ok(report) => plural(report.count(Level::Error), "error"),
                Err(error) => error.to_string(),
            };
            output::error(&format!("waiting: {why}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn is_fine(report: &Report, is_strict: bool) -> bool {
    report.count(Level::Error) == 0 && (!is_strict || report.count(Level::Warning) == 0)
}

/// With the remedies of conditions' reasons.
fn completed(mut report: Report) -> Report {
    for line in report.lines_mut() {
        let reason = line.reason.as_deref().and_then(remedy);
        line.remedy = line.remedy.take().or_else(|| reason.map(str::to_owned));
    }
    report
}

fn text(report: &Report, is_coloured: bool) -> String {
    let mut text = String::new();
    for section in &report.sections {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", section.name);
        for line in &section.lines {
            let (mark, colour) = match line.level {
                Level::Ok => ("✔", "32"),
                Level::Warning => ("!", "33"),
                Level::Error => ("✖", "31"),
            };
            let mark = if is_coloured { format!("\u{1b}[{colour}m{mark}\u{1b}[0m") } else { mark.to_owned() };
            let _ = writeln!(text, "  {mark} {}", line.message);
            if let Some(remedy) = &line.remedy {
                let _ = writeln!(text, "    {remedy}");
            }
        }
        text.push('\n');
    }
    let (errors, warnings) = (report.count(Level::Error), report.count(Level::Warning));
    text + &match (errors, warnings) {
        (0, 0) => "everything is as it should be".to_owned(),
        (errors, warnings) => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
    }
}
