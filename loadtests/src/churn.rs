//! `churn`: configuration changes and backend restarts under load.

mod changes;
mod restarts;

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::args::ChurnArgs;
use crate::proxy::Scratch;
use crate::report::say;

const PARTS: [&str; 3] = ["changes", "restarts", "kills"];

/// Runs the parts; false when a request failed that must not, or an answer was wrong.
pub(crate) async fn run(args: &ChurnArgs) -> Result<bool> {
    if let Some(unknown) = args.only.iter().find(|p| !PARTS.contains(&p.as_str())) {
        bail!("--only {unknown}: there are {}", PARTS.join(", "));
    }
    let plan = Plan::new(args)?;
    let is_wanted = |part: &str| args.only.is_empty() || args.only.iter().any(|p| p == part);
    let scratch = Scratch::create()?;
    let fairway = args.fairway.as_deref();
    let mut parts = Vec::new();
    if is_wanted("changes") {
        parts.push(changes::run(fairway, scratch.path(), &plan).await?);
    }
    for way in [restarts::Way::Removed, restarts::Way::Terminated] {
        if is_wanted("restarts") {
            parts.push(restarts::run(fairway, scratch.path(), &plan, way).await?);
        }
    }
    if is_wanted("kills") {
        parts.push(restarts::run(fairway, scratch.path(), &plan, restarts::Way::Killed).await?);
    }
    for part in &parts {
        say(format_args!("{} {}: {}", if part.is_good { "PASS" } else { "FAIL" }, part.name, part.text));
    }
    if let Some(path) = &args.json {
        write(path, &parts)?;
    }
    Ok(parts.iter().all(|p| p.is_good))
}

/// How much.
#[derive(Debug, Clone, Copy)]
struct Plan {
    changes: usize,
    rate: f64,
    restarts: usize,
    requests: u64,
    restart_rate: f64,
}

impl Plan {
    fn new(args: &ChurnArgs) -> Result<Self> {
        let ChurnArgs { changes, rate, restarts, requests, restart_rate, .. } = *args;
        if args.quick {
            return Ok(Self { changes: 10, rate: 200.0, restarts: 2, requests: 2000, restart_rate: 400.0 });
        }
        if !(1.0..=20_000.0).contains(&rate) || !(1.0..=20_000.0).contains(&restart_rate) {
            bail!("--rate and --restart-rate: 1 to 20000 requests per second");
        }
        if !(1..=100_000).contains(&changes) || !(1..=1000).contains(&restarts) || requests > 10_000_000 {
            bail!("--changes: 1 to 100000; --restarts: 1 to 1000; --requests: up to 10000000");
        }
        Ok(Self { changes, rate, restarts, requests, restart_rate })
    }
}

/// What a part found.
#[derive(Debug)]
struct Part {
    name: &'static str,
    is_good: bool,
    text: String,
    figures: serde_json::Value,
}

fn write(path: &Path, parts: &[Part]) -> Result<()> {
    let all: Vec<_> =
        parts.iter().map(|p| json!({ "part": p.name, "good": p.is_good, "figures": p.figures })).collect();
    std::fs::write(path, serde_json::to_string_pretty(&all)?).with_context(|| path.display().to_string())
}
