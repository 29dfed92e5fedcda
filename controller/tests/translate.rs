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

use fairway_controller::{Resources, Translator, program, translate};
use golden::{Case, cases, expect, objects, orphans, print, roots};

#[test]
fn every_case_translates_as_its_golden_file_says() {
    let filter = std::env::var("CASE").unwrap_or_default();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let (mut wrong, mut count) = (Vec::new(), 0);
    let bases =
        roots().map(|root| (objects(&fs::read_to_string(root.join("base.yaml")).unwrap()).unwrap(), root));
    let all = bases.iter().flat_map(|(base, root)| cases(root).into_iter().map(move |case| (base, case)));
    for (base, case) in all.filter(|(_, case)| case.name.contains(&filter)) {
        count += 1;
        let out = case.path.with_file_name(case.file_stem() + ".out.yaml");
        let got = match outcome(&case, base) {
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
    let orphans: Vec<PathBuf> = roots().iter().flat_map(|root| orphans(root)).collect();
    assert!(orphans.is_empty(), "{orphans:?}");
}

/// Translates a case three ways: alone, after the base (so that memory is full of something else), and again.
fn outcome(case: &Case, base: &[fairway_controller::Object]) -> Result<String, String> {
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
    let broken = expect::broken(&text, &alone, &program(&alone, &[], true));
    if !broken.is_empty() {
        return Err(format!("the specification asks for\n  {}", broken.join("\n  ")));
    }
    Ok(print(&alone, &base))
}
