//! The JSON Web Signature vectors of Wycheproof. They are read from where Go keeps modules; `.ci/install` fetches them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::super::jws::Jws;
use super::KeySet;

/// Vectors that are valid and refused here, each with the rule that is stricter.
fn is_refused_by_choice(id: u64, key: &Value) -> Option<&'static str> {
    match (id, key["kty"].as_str()) {
        (_, Some("oct")) => Some("HMAC: who can verify could sign"),
        (_, Some("EC")) if key["crv"] == "P-521" => Some("ES512 is not accepted"),
        // RFC 7520 figure 20 is a PS384 token; the vector's key says PS256.
        (346 | 350, _) => Some("the token's alg is not the key's"),
        _ => None,
    }
}

fn file(name: &str) -> PathBuf {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/vectors");
    let found = Command::new("go")
        .args(["mod", "download", "-json", "github.com/c2sp/wycheproof"])
        .current_dir(module)
        .output()
        .expect("Go is missing: it fetches the vectors of Wycheproof (README.md)");
    let found: Value = serde_json::from_slice(&found.stdout).expect("what `go mod download -json` says");
    let dir = found["Dir"].as_str();
    let dir =
        dir.unwrap_or_else(|| panic!("the vectors of Wycheproof cannot be had; run .ci/install: {found}"));
    Path::new(dir).join("testvectors_v1").join(name)
}

fn groups(name: &str) -> Vec<Value> {
    let vectors: Value = serde_json::from_slice(&std::fs::read(file(name)).unwrap()).unwrap();
    vectors["testGroups"].as_array().unwrap().clone()
}

#[test]
fn every_signature_vector_comes_out_right() {
    let (mut valid, mut invalid, mut refused, mut wrong) = (0, 0, 0, Vec::new());
    for group in groups("json_web_signature_test.json") {
        let key = group.get("public").or_else(|| group.get("private")).unwrap();
        let set = KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes());
        for test in group["tests"].as_array().unwrap() {
            let id = test["tcId"].as_u64().unwrap();
            let token = test["jws"].as_str().map_or_else(|| test["jws"].to_string(), str::to_owned);
            let is_verified = set
                .as_ref()
                .is_ok_and(|set| Jws::parse(token.as_bytes()).and_then(|jws| set.verify(&jws)).is_ok());
            match (test["result"].as_str().unwrap(), is_verified) {
                ("valid", true) => valid += 1,
                ("invalid", false) => invalid += 1,
                ("valid", false) if is_refused_by_choice(id, key).is_some() => refused += 1,
                (result, _) => wrong.push(format!("{id} {}: {result}", test["comment"])),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!((valid, invalid, refused), (32, 355, 14), "vectors came or went: look at them");
}

#[test]
fn every_key_vector_comes_out_right() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for group in groups("json_web_key_test.json") {
        let keys = group.get("public").or_else(|| group.get("private")).unwrap();
        let keys = if keys.get("keys").is_some() { keys.clone() } else { json!({ "keys": [keys] }) };
        let set = KeySet::parse(keys.to_string().as_bytes());
        for test in group["tests"].as_array().unwrap() {
            seen += 1;
            let token = test["jws"].as_str().unwrap_or_default();
            let is_verified = set
                .as_ref()
                .is_ok_and(|set| Jws::parse(token.as_bytes()).and_then(|jws| set.verify(&jws)).is_ok());
            if is_verified && test["result"] == "invalid" {
                wrong.push(format!("{} {}", test["tcId"], test["comment"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(seen, 26, "vectors came or went: look at them");
}
