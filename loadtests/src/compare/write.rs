//! The report: a table to print, Markdown, JSON and a plot.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::results::{Contestant, Idle, Outcome, Report};
use super::{job_name, plot};
use crate::peers::Kind;
use crate::report::{Table, figure, say};

/// Those whose CPU others are divided by.
const REFERENCES: [Kind; 4] = [Kind::Floor, Kind::Envoy, Kind::Haproxy, Kind::Nginx];

pub(super) fn all(report: &Report, out: &Path) -> Result<()> {
    let mut markdown = format!(
        "# Fairway beside its peers\n\nOne worker on one CPU; load and backend on another. {} interleaved rounds; \
         medians. Ratios (×) are of CPU time per request at full speed, taken within each round. Latencies are at a \
         fixed rate, counted from when a request was due. Absolute figures belong to the machine: compare ratios.\n",
        report.rounds
    );
    if report.is_quick {
        markdown.push_str("\n**Quick run: it proves that the program works and measures nothing.**\n");
    }
    for outcome in &report.outcomes {
        let table = outcome_table(outcome);
        say(format_args!("\n{}: {}", outcome.name, outcome.title));
        say(table.aligned());
        let _ = write!(markdown, "\n## {}: {}\n\n{}", outcome.name, outcome.title, table.markdown());
        if let Some((most, is)) = outcome.judged() {
            let held = if is <= most { "holds" } else { "DOES NOT HOLD" };
            let note =
                format!("Fairway takes {is:.2} of Envoy's CPU; at most {most} is wanted, which {held}.");
            say(format_args!("  {note}"));
            let _ = writeln!(markdown, "\n{note}");
        }
        if outcome.is_disturbed() {
            let note = format!(
                "Other programs used {:.0} % of the CPUs meanwhile: the figures say little.",
                outcome.foreign * 100.0
            );
            say(format_args!("  DISTURBED: {note}"));
            let _ = writeln!(markdown, "\n**{note}**");
        }
        for (who, why) in errors(outcome) {
            say(format_args!("  INVALID {who}: {why}"));
            let _ = writeln!(markdown, "\n**Invalid: {who}:** {why}");
        }
    }
    if !report.idle.is_empty() {
        let table = idle_table(&report.idle);
        let title = "idle: memory in KiB for each idle connection";
        say(format_args!("\n{title}"));
        say(table.aligned());
        let _ = write!(markdown, "\n## {title}\n\n{}", table.markdown());
        for idle in &report.idle {
            if let Some(why) = &idle.error {
                say(format_args!("  INVALID {}: {why}", idle.peer));
                let _ = writeln!(markdown, "\n**Invalid: {}:** {why}", idle.peer);
            }
        }
    }
    let write = |name: &str, text: &str| {
        let path = out.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())
    };
    write("compare.md", &markdown)?;
    write("compare.json", &serde_json::to_string_pretty(&json(report))?)?;
    write("compare.svg", &plot::svg(report))?;
    say(format_args!("written: {0}/compare.md, {0}/compare.json, {0}/compare.svg", out.display()));
    Ok(())
}

fn errors(outcome: &Outcome) -> impl Iterator<Item = (String, &str)> {
    let failed = |c: &'_ Contestant| c.error.is_some();
    outcome
        .contestants
        .iter()
        .filter(move |c| failed(c))
        .map(|c| (job_name(c.kind, c.job, outcome.jobs), c.error.as_deref().unwrap_or_default()))
}

fn outcome_table(outcome: &Outcome) -> Table {
    let mut headings = vec!["proxy".to_owned(), "CPU µs".to_owned(), "best".to_owned()];
    headings.extend(REFERENCES.map(|k| format!("× {}", k.name())));
    if let (2.., Some(first)) = (outcome.jobs, outcome.contestants.first()) {
        headings.push(format!("× {}", first.job.label()));
    }
    headings.extend(["req/s".to_owned(), format!("p50 µs at {}/s", outcome.rate), "p99 µs".to_owned()]);
    headings.extend(["MiB start".to_owned(), "loaded".to_owned()]);
    let mut table = Table::new(&headings.iter().map(String::as_str).collect::<Vec<_>>());
    for contestant in &outcome.contestants {
        let mut cells = vec![job_name(contestant.kind, contestant.job, outcome.jobs)];
        cells.push(figure(contestant.closed(|s| s.cpu_micros_per_request)));
        cells.push(figure(contestant.best()));
        cells.extend(REFERENCES.map(|k| figure(outcome.ratio(contestant, k))));
        if outcome.jobs > 1 {
            cells.push(figure(outcome.growth(contestant)));
        }
        cells.push(figure(contestant.closed(|s| s.requests_per_second)));
        cells.push(figure(contestant.open(|s| s.p50_micros)));
        cells.push(figure(contestant.open(|s| s.p99_micros)));
        cells.push(figure(mib(contestant.start_kib)));
        cells.push(figure(mib(contestant.loaded_kib)));
        table.row(cells);
    }
    table
}

fn mib(kib: u64) -> Option<f64> {
    (kib > 0).then_some(kib as f64 / 1024.0)
}

fn idle_table(idle: &[Idle]) -> Table {
    let mut table = Table::new(&[
        "proxy",
        "MiB start",
        "client",
        "TLS client",
        "with upstream",
        "TLS with upstream",
        "pooled",
    ]);
    for idle in idle {
        let kib = |f: Option<super::results::IdleFigure>| figure(f.map(|f| f.kib_per_connection));
        table.row(vec![
            idle.peer.to_owned(),
            figure(idle.start_mib),
            kib(idle.plain),
            kib(idle.tls),
            kib(idle.plain_with_upstream),
            kib(idle.tls_with_upstream),
            idle.plain_with_upstream.map_or_else(|| "–".to_owned(), |f| f.pooled.to_string()),
        ]);
    }
    table
}

fn json(report: &Report) -> Value {
    let contestant = |outcome: &Outcome, c: &Contestant| {
        json!({
            "peer": c.kind.name(),
            "routes": c.job.routes,
            "asked": c.job.asked,
            "job": (outcome.jobs > 1).then(|| c.job.label()),
            "error": c.error,
            "cpuMicrosPerRequest": c.closed(|s| s.cpu_micros_per_request),
            "bestCpuMicrosPerRequest": c.best(),
            "ratios": REFERENCES.iter().map(|k| (k.name().to_owned(), json!(outcome.ratio(c, *k)))).collect::<serde_json::Map<_, _>>(),
            "toFirstJob": outcome.growth(c),
            "requestsPerSecond": c.closed(|s| s.requests_per_second),
            "p50Micros": c.open(|s| s.p50_micros),
            "p99Micros": c.open(|s| s.p99_micros),
            "startMib": mib(c.start_kib),
            "loadedMib": mib(c.loaded_kib),
            "fullSpeed": c.closed,
            "fixedRate": c.open,
        })
    };
    let limit = |o: &Outcome| {
        let judged = o.judged();
        judged.map(
            |(most, is)| json!({ "peer": Kind::Envoy.name(), "most": most, "is": is, "holds": is <= most }),
        )
    };
    let outcome = |o: &Outcome| {
        let contestants: Vec<Value> = o.contestants.iter().map(|c| contestant(o, c)).collect();
        json!({
            "scenario": o.name,
            "title": o.title,
            "rate": o.rate,
            "foreignCpuShare": o.foreign,
            "limit": limit(o),
            "contestants": contestants,
        })
    };
    json!({
        "valid": report.is_valid(),
        "quick": report.is_quick,
        "rounds": report.rounds,
        "scenarios": report.outcomes.iter().map(outcome).collect::<Vec<_>>(),
        "idle": report.idle,
    })
}
