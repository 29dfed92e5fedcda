//! Every attack of `conformance/wire` against the gateway of this workspace.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::Path;
use std::process::Command;

/// The gateway lies beside this test's own program, where `cargo test --workspace` has built it; else it is built now.
#[test]
fn nothing_on_the_wire_gets_further_than_it_should() {
    let loadtests = Path::new(env!("CARGO_BIN_EXE_loadtests"));
    let gateway = loadtests.with_file_name("fairway-gateway");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--package", "fairway-gateway", "--bin", "fairway-gateway"]);
    if loadtests.parent().is_some_and(|dir| dir.ends_with("release")) {
        build.arg("--release");
    }
    assert!(gateway.is_file() || build.status().unwrap().success());
    let run = Command::new(loadtests).arg("wire").arg("--fairway").arg(gateway).output().unwrap();
    let (text, log) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{text}\n{log}");
}
