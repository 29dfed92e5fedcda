//! Golden cases of translation: `testdata/<area>/<case>.in.yaml` → `<case>.out.yaml`.
//!
//! An input is ordinary manifests; `testdata/base.yaml` is there beside it, and an object of the case
//! replaces the one of its name in the base. An output holds only what the case adds to what the base says
//! alone: `resources` and `status`, with each condition on one line (`type status reason: message`). A
//! leading `# options: {…}` comment sets `fairway_controller::Options`. `UPDATE_GOLDEN=1` writes outputs,
//! `CASE=part/of/name` runs some.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod golden;

use std::fs;
use std::path::PathBuf;

use fairway_controller::{Resources, Translator, translate};
use golden::{Case, cases, objects, orphans, print};

#[test]
fn every_case_translates_as_its_golden_file_says() {
    let filter = std::env::var("CASE").unwrap_or_default();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for case in cases().into_iter().filter(|case| case.name.contains(&filter)) {
        count += 1;
        let out = case.path.with_file_name(case.file_stem() + ".out.yaml");
        let got = match outcome(&case) {
            Ok(got) => got,
            Err(error) => {
                wrong.push(format!("{}: {error}", case.name));
                continue;
            }
        };
        if update {
            fs::write(&out, got).unwrap();
        } else if fs::read_to_string(&out).unwrap_or_default() != got {
            wrong.push(format!("{}: differs from {}; it is now\n{got}", case.name, out.display()));
        }
    }
    assert!(count > 0, "no case is named like {filter:?}");
    assert!(wrong.is_empty(), "UPDATE_GOLDEN=1 accepts this:\n{}", wrong.join("\n"));
}

#[test]
fn every_golden_output_has_an_input() {
    let orphans: Vec<PathBuf> = orphans();
    assert!(orphans.is_empty(), "{orphans:?}");
}

#[test]
fn every_case_is_what_the_specification_says() {
    let filter = std::env::var("CASE").unwrap_or_default();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for case in cases().into_iter().filter(|case| case.name.contains(&filter)) {
        let text = fs::read_to_string(&case.path).unwrap();
        let own = match objects(&text) {
            Ok(own) => own,
            Err(error) => {
                wrong.push(format!("{}: {error}", case.name));
                continue;
            }
        };
        let resources = Resources::collect(golden::base(&case.name).into_iter().chain(own));
        let translation = translate(&resources, &golden::options(&text).unwrap());
        count += text.lines().filter(|line| line.starts_with("# expect:")).count();
        let disappointments = golden::expect::disappointments(&text, &translation);
        wrong.extend(disappointments.iter().map(|what| format!("{}: {what}", case.name)));
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Translates a case three ways: alone, after the base (so that memory is full of something else), and again.
fn outcome(case: &Case) -> Result<String, String> {
    let base = golden::base(&case.name);
    let text = fs::read_to_string(&case.path).map_err(|e| e.to_string())?;
    let options = golden::options(&text)?;
    let own = objects(&text)?;
    let before = Resources::collect(base.iter().cloned());
    let resources = Resources::collect(base.iter().cloned().chain(own));

    let mut translator = Translator::new(options.clone());
    let base = translator.translate(&before);
    let remembered = translator.translate(&resources);
    let alone = translate(&resources, &options);
    if remembered != alone {
        return Err("a translator that remembers the base says something else than one that does not".into());
    }
    let again = translator.translate(&resources);
    if again != alone || !config::Update::between(1, &remembered.resources, &again.resources).is_empty() {
        return Err("translating twice says two things".into());
    }
    Ok(print(&alone, &base))
}
