//! Mutation tests: which changes of the code no test notices. One build holds all mutants, and the environment says which of
//! them is alive (`MUTANT=42`), because a build for each would take days.
//!
//! ```text
//! plant:  source ─► mutants (edits of its text) ─► a copy of the workspace ─► cargo check ─► without those that do not compile
//! run:    baseline, which notes what each test reaches ─► for each mutant the tests that reach it, then all others
//! report: how many were caught, by file, and each that was not
//! ```

mod mutate;
mod plant;
mod predicates;
mod render;
mod report;
mod results;
mod run;
mod values;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const USAGE: &str = "mutants plant SCRATCH FILE|FOLDER…   in the root of the workspace; below policies/src
mutants run SCRATCH [--sample N --seed S] [--limit N] [--again]
mutants report SCRATCH";

/// What of the mutants is run.
#[derive(Debug, Default)]
struct Choice {
    /// So many of all, drawn by `seed`.
    sample: Option<usize>,
    seed: u64,
    /// So many now; the others by the next call.
    limit: Option<usize>,
    /// Only those that were not caught before.
    again: bool,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, scratch, rest) = match arguments.as_slice() {
        [command, scratch, rest @ ..] => (command.as_str(), Path::new(scratch), rest),
        _ => bail!("{USAGE}"),
    };
    match command {
        "plant" => plant::plant(scratch, &rest.iter().map(PathBuf::from).collect::<Vec<_>>()),
        "run" => run::run(scratch, &choice(rest)?),
        "report" => report::report(scratch),
        _ => bail!("{USAGE}"),
    }
}

fn choice(rest: &[String]) -> Result<Choice> {
    let mut choice = Choice::default();
    let mut rest = rest.iter();
    while let Some(option) = rest.next() {
        if option == "--again" {
            choice.again = true;
            continue;
        }
        let number = rest.next().with_context(|| format!("{option} wants a number"))?.parse::<u64>()?;
        match option.as_str() {
            "--sample" => choice.sample = Some(number as usize),
            "--seed" => choice.seed = number,
            "--limit" => choice.limit = Some(number as usize),
            _ => bail!("{USAGE}"),
        }
    }
    Ok(choice)
}
