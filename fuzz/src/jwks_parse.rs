//! A key set: what is taken of it, against a reading of the same JSON by `serde_json`.

use std::collections::HashSet;

use policies::jwt::{KeySet, MOST_KEYS};
use serde_json::Value;

use crate::memory::bounded;

/// The set.
pub fn run(data: &[u8]) {
    let read = bounded(data.len(), 1 << 16, || KeySet::parse(data).map(|set| set.len()));
    let Ok(taken) = read else { return };
    let set: Value = serde_json::from_slice(data).expect("what is taken is JSON");
    let keys = set["keys"].as_array().expect("a list");
    assert!((1..=MOST_KEYS).contains(&keys.len()) && (1..=keys.len()).contains(&taken));
    let mut kids = HashSet::new();
    for key in keys {
        for secret in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            assert!(key.get(secret).is_none(), "a secret: {key}");
        }
        if let Some(kid) = key.get("kid") {
            assert!(kids.insert(kid.as_str().expect("text")), "twice: {kid}");
        }
    }
    // No more than those that could be of a kind that is known, and are for signatures.
    let could = |key: &&Value| {
        let known = matches!(key["kty"].as_str(), Some("RSA" | "EC" | "OKP"));
        let usage = key.get("use").is_none_or(|usage| usage == "sig");
        let alg = key
            .get("alg")
            .is_none_or(|alg| !alg.as_str().is_some_and(|alg| alg.starts_with("HS") || alg == "none"));
        known && usage && alg
    };
    assert!(taken <= keys.iter().filter(could).count());
    // Reading is stable.
    let again = serde_json::to_vec(&set).expect("JSON");
    assert_eq!(KeySet::parse(&again).map(|set| set.len()), Ok(taken));
}
