//! The dashboard asks for metrics and labels that are documented; that those exist is tested where they are made.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde_json::Value;

const METRICS: &str = include_str!("../../docs/metrics.md");

/// Names of metrics, with the labels of each.
fn documented() -> BTreeMap<&'static str, Vec<&'static str>> {
    let quoted = |cell: &'static str| cell.split('`').skip(1).step_by(2);
    let rows = METRICS.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let mut cells = row.split('|').skip(1);
        let name = quoted(cells.next().unwrap()).next().unwrap();
        (name, quoted(cells.nth(1).unwrap()).collect())
    })
    .collect()
}

/// What an expression asks for: a metric, and the labels in braces after it.
fn asked(expr: &str) -> Vec<(&str, Vec<&str>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = |at: usize| !expr[..at].ends_with(is_name);
    let starts = ["fairway_", "process_"].iter().flat_map(|prefix| expr.match_indices(prefix));
    let found = starts.filter(|(at, _)| begins(*at)).map(|(at, _)| {
        let rest = &expr[at..];
        let (name, rest) = rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()));
        let labels =
            rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(labels, _)| labels);
        let labels = labels.split("\",").map(|label| label.split(['=', '!']).next().unwrap());
        (name, labels.filter(|label| !label.is_empty()).collect())
    });
    found.collect()
}

#[test]
fn the_dashboard_asks_for_what_is_documented() {
    let dashboard: Value = serde_json::from_str(include_str!("../../deploy/grafana/fairway.json")).unwrap();
    let (metrics, mut count) = (documented(), 0);
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let (title, expr) = (&panel["title"], target["expr"].as_str().unwrap());
            let asked = asked(expr);
            assert!(!asked.is_empty(), "{title}: {expr}");
            for (name, labels) in asked {
                let of = metrics.get(name).or_else(|| metrics.get(name.strip_suffix("_bucket")?));
                let of = of.unwrap_or_else(|| panic!("{title}: docs/metrics.md has no {name}"));
                for label in labels {
                    assert!(label == "role" || of.contains(&label), "{title}: {name} has no label {label}");
                }
                count += 1;
            }
        }
    }
    assert!(count > 30, "{count} metrics are asked for");
}
