//! What is written in the scratch folder, as lines of fields with tabs between them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A mutant that is planted.
#[derive(Debug, Clone)]
pub struct Row {
    pub id: u32,
    pub file: String,
    pub line: usize,
    pub function: String,
    pub what: String,
}

/// What became of a mutant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// By this test.
    Caught(String),
    /// It takes too long.
    Late,
    /// It ends the process.
    Crashed,
    Survived,
    /// No test runs its code.
    Unreached,
}

impl Outcome {
    pub fn is_caught(&self) -> bool {
        matches!(self, Self::Caught(_) | Self::Late | Self::Crashed)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caught(test) => write!(f, "caught\t{test}"),
            Self::Late => f.write_str("late\t"),
            Self::Crashed => f.write_str("crashed\t"),
            Self::Survived => f.write_str("survived\t"),
            Self::Unreached => f.write_str("unreached\t"),
        }
    }
}

const TABLE: &str = "mutants.tsv";
const OUTCOMES: &str = "outcomes.tsv";
const PROGRAMS: &str = "programs.tsv";

/// A new table: outcomes of an older one say nothing of it.
pub fn write_table(scratch: &Path, rows: impl Iterator<Item = Row>) -> Result<()> {
    let lines =
        rows.map(|row| format!("{}\t{}\t{}\t{}\t{}\n", row.id, row.file, row.line, row.function, row.what));
    let new: String = lines.collect();
    let path = scratch.join(TABLE);
    if std::fs::read_to_string(&path).is_ok_and(|old| without_lines(&old) != without_lines(&new)) {
        let _ = std::fs::remove_file(scratch.join(OUTCOMES));
    }
    Ok(std::fs::write(path, new)?)
}

/// The same mutants, wherever they are: tests beside code may move them.
fn without_lines(table: &str) -> Vec<Vec<&str>> {
    let fields = |line: &'_ str| -> Vec<usize> { line.match_indices('\t').map(|(at, _)| at).collect() };
    table
        .lines()
        .map(|line| match fields(line).as_slice() {
            [_, second, third, ..] => vec![&line[..*second], &line[*third..]],
            _ => vec![line],
        })
        .collect()
}

pub fn read_table(scratch: &Path) -> Result<Vec<Row>> {
    let text = read(scratch, TABLE)?;
    let rows = text.lines().map(|line| {
        let mut fields = line.splitn(5, '\t');
        let mut next = || fields.next().context("a field is missing");
        Ok(Row {
            id: next()?.parse()?,
            file: next()?.to_owned(),
            line: next()?.parse()?,
            function: next()?.to_owned(),
            what: next()?.to_owned(),
        })
    });
    rows.collect()
}

/// The last of each mutant.
pub fn read_outcomes(scratch: &Path) -> Result<BTreeMap<u32, Outcome>> {
    let text = std::fs::read_to_string(scratch.join(OUTCOMES)).unwrap_or_default();
    let outcomes = text.lines().map(|line| {
        let mut fields = line.splitn(3, '\t');
        let id = fields.next().unwrap_or_default().parse()?;
        let outcome = match (fields.next(), fields.next()) {
            (Some("caught"), Some(test)) => Outcome::Caught(test.to_owned()),
            (Some("late"), _) => Outcome::Late,
            (Some("crashed"), _) => Outcome::Crashed,
            (Some("survived"), _) => Outcome::Survived,
            (Some("unreached"), _) => Outcome::Unreached,
            _ => anyhow::bail!("{line:?} is no outcome"),
        };
        Ok((id, outcome))
    });
    outcomes.collect()
}

pub fn append_outcome(scratch: &Path, id: u32, outcome: &Outcome) -> Result<()> {
    let mut file = File::options().append(true).create(true).open(scratch.join(OUTCOMES))?;
    Ok(writeln!(file, "{id}\t{outcome}")?)
}

pub fn write_programs(scratch: &Path, package: &Path, programs: &[PathBuf]) -> Result<()> {
    let line = |program: &PathBuf| format!("{}\t{}\n", package.display(), program.display());
    let lines = programs.iter().map(line);
    Ok(std::fs::write(scratch.join(PROGRAMS), lines.collect::<String>())?)
}

/// Folders of packages, and programs with their tests.
pub fn read_programs(scratch: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let text = read(scratch, PROGRAMS)?;
    let programs = text.lines().filter_map(|line| line.split_once('\t'));
    Ok(programs.map(|(package, program)| (package.into(), program.into())).collect())
}

fn read(scratch: &Path, name: &str) -> Result<String> {
    let path = scratch.join(name);
    std::fs::read_to_string(&path).with_context(|| format!("{}: plant mutants first", path.display()))
}
