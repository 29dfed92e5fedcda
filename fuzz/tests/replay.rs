//! Every input of the corpora through its target, so that what was once found stays fixed.

use std::fs;
use std::path::{Path, PathBuf};

use fuzz::TARGETS;

fn corpus(name: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[test]
fn every_input_of_every_corpus_passes_its_target() {
    for (name, run) in TARGETS {
        for file in corpus(name) {
            let data = fs::read(&file).unwrap();
            if std::panic::catch_unwind(|| run(&data)).is_err() {
                panic!("{}: see above", file.display());
            }
        }
    }
}

#[test]
fn a_corpus_is_small_and_belongs_to_a_target() {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(TARGETS.iter().any(|(target, _)| *target == name), "{name} is no target");
    }
    for (name, _) in TARGETS {
        let files = corpus(name);
        let bytes: u64 = files.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
        assert!((1..=200).contains(&files.len()), "{name}: {} inputs", files.len());
        assert!(bytes <= 200_000, "{name}: {bytes} bytes");
    }
}

#[test]
fn every_target_is_a_program_too() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"fuzz-{name}\"")), "{name} is not in Cargo.toml");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("targets/{name}.rs"));
        assert!(fs::read_to_string(source).unwrap().contains(&format!("fuzz::target!({name})")));
    }
}
