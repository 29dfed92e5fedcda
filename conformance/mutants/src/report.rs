//! What was caught, as Markdown.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use crate::results::{Outcome, Row, read_outcomes, read_table};

pub fn report(scratch: &Path) -> Result<()> {
    let (rows, outcomes) = (read_table(scratch)?, read_outcomes(scratch)?);
    let run: Vec<(&Row, &Outcome)> =
        rows.iter().filter_map(|row| Some((row, outcomes.get(&row.id)?))).collect();
    let mut by_file: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for (row, outcome) in &run {
        by_file.entry(&row.file).or_default().push(outcome);
    }
    println!("| file | mutants | caught | of them late or crashed | survived | unreached | caught, % |");
    println!("|---|---|---|---|---|---|---|");
    for (file, outcomes) in &by_file {
        line(file, outcomes);
    }
    line("all", &run.iter().map(|(_, outcome)| *outcome).collect::<Vec<_>>());
    println!("\n{} of {} were run. Not caught:\n", run.len(), rows.len());
    for (row, outcome) in run.iter().filter(|(_, outcome)| !outcome.is_caught()) {
        let outcome = if **outcome == Outcome::Unreached { ", unreached" } else { "" };
        println!("{} {}:{} {}: {}{outcome}", row.id, row.file, row.line, row.function, row.what);
    }
    Ok(())
}

fn line(name: &str, outcomes: &[&Outcome]) {
    let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| is(outcome)).count();
    let caught = count(Outcome::is_caught);
    println!(
        "| {name} | {} | {caught} | {} | {} | {} | {:.1} |",
        outcomes.len(),
        count(|outcome| matches!(outcome, Outcome::Late | Outcome::Crashed)),
        count(|outcome| *outcome == Outcome::Survived),
        count(|outcome| *outcome == Outcome::Unreached),
        100.0 * caught as f64 / outcomes.len().max(1) as f64,
    );
}
