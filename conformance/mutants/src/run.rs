//! Runs tests on one mutant after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::Choice;
use crate::plant::TREE;
use crate::results::{Outcome, Row, append_outcome, read_outcomes, read_programs, read_table};

/// A program with tests, and how it does without mutants.
struct Program {
    path: PathBuf,
    /// Where it runs.
    folder: PathBuf,
    /// By mutant: tests that reach it.
    reaching: BTreeMap<u32, BTreeSet<String>>,
    /// By file: tests that reach a mutant in it.
    by_file: BTreeMap<String, BTreeSet<String>>,
    takes: Duration,
}

/// Time of a processor for any tests.
const ALWAYS: Duration = Duration::from_secs(20);

/// How processes end that took longer.
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;

/// A thread without a name, of some test.
const NOBODY: &str = "?";

pub fn run(scratch: &Path, choice: &Choice) -> Result<()> {
    let all = read_table(scratch)?;
    let rows = chosen(scratch, all.clone(), choice)?;
    let programs = read_programs(scratch)?.into_iter();
    let programs: Vec<Program> = programs
        .map(|(package, path)| baseline(scratch, &all, path, scratch.join(TREE).join(package)))
        .collect::<Result<_>>()?;
    let total = rows.len();
    for (at, row) in rows.into_iter().enumerate() {
        let start = Instant::now();
        let outcome = outcome(scratch, &row, &programs)?;
        append_outcome(scratch, row.id, &outcome)?;
        let took = start.elapsed().as_millis();
        println!("{}/{total} {took} ms {}:{} {}: {outcome}", at + 1, row.file, row.line, row.what);
    }
    Ok(())
}

fn chosen(scratch: &Path, mut rows: Vec<Row>, choice: &Choice) -> Result<Vec<Row>> {
    if let Some(size) = choice.sample {
        shuffle(&mut rows, choice.seed);
        rows.truncate(size);
    }
    let outcomes = read_outcomes(scratch)?;
    rows.retain(|row| outcomes.get(&row.id).is_none_or(|outcome| choice.again && !outcome.is_caught()));
    rows.truncate(choice.limit.unwrap_or(usize::MAX));
    Ok(rows)
}

/// Fisher and Yates, with the numbers of SplitMix64.
fn shuffle<T>(list: &mut [T], seed: u64) {
    let mut state = seed;
    for at in (1..list.len()).rev() {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        list.swap(at, ((z ^ (z >> 31)) % (at as u64 + 1)) as usize);
    }
}

/// All tests must pass without a mutant; and they are watched.
fn baseline(scratch: &Path, rows: &[Row], path: PathBuf, folder: PathBuf) -> Result<Program> {
    let trace = std::path::absolute(scratch.join("trace.tsv"))?;
    let _ = std::fs::remove_file(&trace);
    let start = Instant::now();
    let status = command(&path, &folder, Duration::from_mins(10))
        .env("MUTANT_TRACE", &trace)
        .stdout(Stdio::null())
        .status()
        .with_context(|| path.display().to_string())?;
    ensure!(status.success(), "{}: its tests fail without a mutant", path.display());
    let takes = start.elapsed();
    let mut reaching: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for line in std::fs::read_to_string(&trace).unwrap_or_default().lines() {
        let (id, test) = line.split_once('\t').context("the trace is broken")?;
        let tests = reaching.entry(id.parse()?).or_default();
        // Its test reaches other mutants of the file.
        if test != NOBODY {
            tests.insert(test.to_owned());
        }
    }
    let mut by_file: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        let tests = reaching.get(&row.id).into_iter().flatten().cloned();
        by_file.entry(row.file.clone()).or_default().extend(tests);
    }
    println!("{}: {} mutants in {} ms", path.display(), reaching.len(), takes.as_millis());
    Ok(Program { path, folder, reaching, by_file, takes })
}

/// Which tests are run on a mutant, one step after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Those of its own module that reach it.
    Own,
    /// Others that reach it.
    Reaching,
    /// Others that reach its file: what is made once for all tests is reached by the first of them only.
    Near,
}

fn outcome(scratch: &Path, row: &Row, programs: &[Program]) -> Result<Outcome> {
    if !programs.iter().any(|program| program.reaching.contains_key(&row.id)) {
        return Ok(Outcome::Unreached);
    }
    let own = module(&row.file);
    for step in [Step::Own, Step::Reaching, Step::Near] {
        for program in programs {
            let reaching = program.reaching.get(&row.id);
            let is_chosen = |test: &&String| {
                let (is_reaching, is_own) =
                    (reaching.is_some_and(|all| all.contains(*test)), test.starts_with(&own));
                match step {
                    Step::Own => is_reaching && is_own,
                    Step::Reaching => is_reaching && !is_own,
                    Step::Near => !is_reaching,
                }
            };
            let tests = program.by_file.get(&row.file).into_iter().flatten();
            let tests: Vec<&String> = tests.filter(is_chosen).collect();
            let most = ALWAYS + if step == Step::Own { Duration::ZERO } else { program.takes * 3 };
            if !tests.is_empty() {
                let outcome = tested(scratch, program, row.id, &tests, most)?;
                if outcome != Outcome::Survived {
                    return Ok(outcome);
                }
            }
        }
    }
    Ok(Outcome::Survived)
}

/// `policies/src/jwt/filter.rs`: tests in `jwt::`.
fn module(file: &str) -> String {
    let path = file.split_once("/src/").map_or(file, |(_, path)| path);
    let first = path.split('/').next().unwrap_or_default();
    format!("{}::", first.trim_end_matches(".rs"))
}

fn tested(scratch: &Path, program: &Program, id: u32, tests: &[&String], most: Duration) -> Result<Outcome> {
    let output = scratch.join("output.txt");
    let mut child = command(&program.path, &program.folder, most)
        .arg("--exact")
        .args(tests)
        .env("MUTANT", id.to_string())
        .stdout(File::create(&output)?)
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| program.path.display().to_string())?;
    // What waits for ever takes no processor.
    let end = Instant::now() + most * 10;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > end {
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(3));
    };
    if status.success() {
        return Ok(Outcome::Survived);
    }
    if matches!(status.signal(), Some(SIGKILL | SIGXCPU)) {
        return Ok(Outcome::Late);
    }
    let said = String::from_utf8_lossy(&std::fs::read(output)?).into_owned();
    let failed = said.lines().find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    Ok(failed.map_or(Outcome::Crashed, |test| Outcome::Caught(test.to_owned())))
}

/// `most`: time of a processor, which other work on the machine does not take. What never ends shall not eat its memory either.
fn command(program: &Path, folder: &Path, most: Duration) -> Command {
    let limits = format!("ulimit -v 4000000; ulimit -t {}; exec \"$@\"", most.as_secs());
    let mut command = Command::new("sh");
    command
        .args(["-c", &limits, "sh"])
        .arg(program)
        .arg("--test-threads=2")
        // The same cases for every mutant; what fails is not written down for the next.
        .env("PROPTEST_RNG_SEED", "1")
        .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")
        .current_dir(folder)
        .stderr(Stdio::null());
    command
}
