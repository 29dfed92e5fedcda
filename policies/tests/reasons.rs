//! `docs/reasons.md` is what operators build alerts on: it must know every token the proxy can answer with.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its sources has failed")]

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;

#[test]
fn the_table_of_reasons_lists_every_token_and_none_that_no_policy_uses() {
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
    sources(&root.join("src"), &mut |path, source| {
        let calls = source.matches("Reply::new(").count();
        let found = tokens_of(r#"Reply::new\(\s*[^"]*?"([a-z_]+)"\s*,?\s*\)"#, source);
        assert_eq!(found.len(), calls, "{}: a reply without a literal token", path.display());
        used.extend(found);
    });
    assert_eq!(of_policies, used, "docs/reasons.md and the replies in policies/src differ");

    // The engine's replies are made in several ways; most name a status and a token side by side.
    sources(&root.join("../proxy/src"), &mut |path, source| {
        for token in tokens_of(r#"StatusCode::[A-Z_]+,\s*"([a-z_]+)"\s*\)"#, source) {
            assert!(tokens.contains(&*token), "{}: {token} is not in docs/reasons.md", path.display());
        }
    });
}

fn tokens_of(pattern: &str, source: &str) -> Vec<String> {
    Regex::new(pattern).unwrap().captures_iter(source).map(|call| call[1].to_owned()).collect()
}

/// Every source file below a folder, with its text.
fn sources(folder: &Path, visit: &mut dyn FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, visit);
        } else {
            visit(&path, &std::fs::read_to_string(&path).unwrap());
        }
    }
}
