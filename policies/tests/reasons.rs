//! `docs/reasons.md` is what operators build alerts on: it must know every token a policy can answer with.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its sources has failed")]

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;

#[test]
fn the_table_of_reasons_lists_what_policies_answer_and_nothing_else_of_theirs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("../docs/reasons.md")).unwrap();
    let row = Regex::new(r"(?m)^\| `([a-z_]+)` \| [^|]+ \| ([^|]+) \|").unwrap();
    let rows: Vec<(&str, &str)> = row
        .captures_iter(&table)
        .map(|row| (row.get(1).unwrap().as_str(), row.get(2).unwrap().as_str()))
        .collect();

    let tokens: BTreeSet<&str> = rows.iter().map(|(token, _)| *token).collect();
    assert_eq!(tokens.len(), rows.len(), "a token stands in the table twice");
    assert!(tokens.contains("ok"), "the table was not read");

    let of_policies: BTreeSet<String> =
        rows.iter().filter(|(_, whose)| *whose != "engine").map(|(token, _)| (*token).to_owned()).collect();
    let mut used = BTreeSet::new();
    collect(&root.join("src"), &mut used);
    assert_eq!(of_policies, used, "docs/reasons.md and the replies in policies/src differ");
}

/// Every token given to `Reply::new`.
fn collect(folder: &Path, used: &mut BTreeSet<String>) {
    let reply = Regex::new(r#"Reply::new\(\s*[^"]*?"([a-z_]+)"\s*,?\s*\)"#).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, used);
        } else {
            let source = std::fs::read_to_string(&path).unwrap();
            let calls = source.matches("Reply::new(").count();
            let tokens: Vec<String> = reply.captures_iter(&source).map(|call| call[1].to_owned()).collect();
            assert_eq!(tokens.len(), calls, "{}: a reply without a literal token", path.display());
            used.extend(tokens);
        }
    }
}
