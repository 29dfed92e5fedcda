//! Puts all mutants into a copy of the workspace and takes out those that do not compile.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::mutate::{Mutant, mutants};
use crate::render::{Mutated, render};
use crate::results::{self, Row};

/// A source file with its mutants.
struct Source {
    /// From the root of the workspace.
    path: PathBuf,
    text: String,
    mutants: Vec<Mutant>,
}

/// Below the scratch folder.
pub const TREE: &str = "tree";
const TARGET: &str = "target";
const PROGRAMS: &str = "programs";

pub fn plant(scratch: &Path, chosen: &[PathBuf]) -> Result<()> {
    let package =
        chosen.first().and_then(|path| path.components().next()).context("name files or folders")?;
    let package = PathBuf::from(package.as_os_str());
    let tree = scratch.join(TREE);
    let files = copy(&tree)?;
    let mut sources = Vec::new();
    let mut next = 1;
    for path in
        files.iter().filter(|path| chosen.iter().any(|chosen| path.starts_with(chosen)) && is_source(path))
    {
        let text = std::fs::read_to_string(path)?;
        let mutants = mutants(&text, &mut next).with_context(|| path.display().to_string())?;
        sources.push(Source { path: path.clone(), text, mutants });
    }
    ensure!(next > 1, "there is nothing to change in these files");

    std::fs::write(tree.join(&package).join("src/mutant.rs"), include_str!("../planted/mutant.rs"))?;
    let library = tree.join(&package).join("src/lib.rs");
    let text = std::fs::read_to_string(&library)?;
    std::fs::write(&library, text + "\n#[doc(hidden)]\n#[allow(missing_docs)]\npub mod mutant;\n")?;

    let without = without_broken(&tree, &package, &sources)?;
    println!("{} mutants, and {} that do not compile", next as usize - 1 - without.len(), without.len());
    build(scratch, &package)?;
    let rows = sources.iter().flat_map(|source| {
        let path = source.path.display();
        source.mutants.iter().map(move |mutant| Row {
            id: mutant.id,
            file: path.to_string(),
            line: mutant.line,
            function: mutant.function.clone(),
            what: mutant.what.clone(),
        })
    });
    results::write_table(scratch, rows.filter(|row| !without.contains(&row.id)))
}

fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|is| is == "rs")
        && !path
            .components()
            .any(|part| ["tests", "tests.rs", "benches"].iter().any(|test| part.as_os_str() == *test))
}

/// What git knows of the workspace, as it lies there.
fn copy(tree: &Path) -> Result<Vec<PathBuf>> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()?;
    ensure!(listed.status.success(), "not in a git tree");
    let mut files: Vec<PathBuf> = String::from_utf8(listed.stdout)?
        .split_terminator('\0')
        .map(PathBuf::from)
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    for path in &files {
        write(&tree.join(path), &std::fs::read(path)?)?;
    }
    Ok(files)
}

/// Leaves what is the same alone, so that cargo does.
fn write(path: &Path, content: &[u8]) -> Result<()> {
    if std::fs::read(path).is_ok_and(|there| there == content) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, content).with_context(|| path.display().to_string())
}

/// Checks until nothing is wrong; what is wrong loses its mutants.
fn without_broken(tree: &Path, package: &Path, sources: &[Source]) -> Result<BTreeSet<u32>> {
    let mut without = BTreeSet::new();
    loop {
        let mutated: Vec<(&Path, Mutated)> = sources
            .iter()
            .map(|source| (source.path.as_path(), render(&source.text, &source.mutants, &without)))
            .collect();
        for (path, mutated) in &mutated {
            write(&tree.join(path), mutated.text.as_bytes())?;
        }
        let output = cargo(tree, package, "check").args(["--lib", "--message-format=json"]).output()?;
        if output.status.success() {
            return Ok(without);
        }
        let before = without.len();
        let messages = String::from_utf8(output.stdout)?;
        let errors: Vec<Value> = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .map(|mut message| message["message"].take())
            .filter(|message| message["level"] == "error")
            .collect();
        for error in &errors {
            let primary = |span: &&Value| span["is_primary"] == true;
            let spans = error["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
            let (first, others): (Vec<&Value>, Vec<&Value>) = spans.iter().partition(primary);
            let blame = |spans: &[&Value]| -> Vec<u32> {
                spans.iter().flat_map(|span| blamed(span, &mutated)).collect()
            };
            let mut found = blame(&first);
            if found.is_empty() {
                found = blame(&others);
            }
            without.extend(found);
        }
        println!("{} errors, {} mutants less", errors.len(), without.len() - before);
        if without.len() == before {
            let said = errors.iter().filter_map(|error| error["rendered"].as_str()).collect::<String>();
            bail!("no mutant is at fault:\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

fn blamed(span: &Value, mutated: &[(&Path, Mutated)]) -> Vec<u32> {
    let number = |name: &str| span[name].as_u64().map(|number| number as usize);
    let (Some(start), Some(end), Some(file)) =
        (number("byte_start"), number("byte_end"), span["file_name"].as_str())
    else {
        return Vec::new();
    };
    let error: Range<usize> = start..end;
    let file = mutated.iter().find(|(path, _)| Path::new(file).ends_with(path));
    let found = file.map(|(_, mutated)| mutated.blamed(&error)).unwrap_or_default();
    // In a macro: where it is used.
    if found.is_empty() && span["expansion"].is_object() {
        blamed(&span["expansion"]["span"], mutated)
    } else {
        found
    }
}

/// Builds what holds tests, and notes where it is.
fn build(scratch: &Path, package: &Path) -> Result<()> {
    let output = cargo(&scratch.join(TREE), package, "test")
        .args(["--lib", "--tests", "--no-run", "--message-format=json"])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    ensure!(
        output.status.success(),
        "the tests do not compile:\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let messages = String::from_utf8(output.stdout)?;
    let built = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["profile"]["test"] == true)
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    // Apart from what cargo may build anew.
    let folder = std::path::absolute(scratch.join(PROGRAMS))?;
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let mut programs = Vec::new();
    for program in built {
        let copy = folder.join(program.file_name().unwrap_or_default());
        std::fs::copy(&program, &copy)?;
        programs.push(copy);
    }
    results::write_programs(scratch, package, &programs)
}

/// Dependencies are optimized: tests of passwords and signatures are slow otherwise. Warnings say nothing here.
fn cargo(tree: &Path, package: &Path, command: &str) -> Command {
    let mut cargo = Command::new("cargo");
    cargo
        .arg(command)
        .args(["--locked", "--config", "profile.dev.package.\"*\".opt-level=2", "--manifest-path"])
        .arg(Path::new(package).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(Path::new("..").join(TARGET))
        .env("RUSTFLAGS", "--cap-lints=allow")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .current_dir(tree);
    cargo
}
