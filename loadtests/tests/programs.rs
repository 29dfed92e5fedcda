//! Every attack of `conformance/wire` against the gateway of this workspace; and one hop through its waypoint.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// A program lies beside this test's own, where `cargo test --workspace` has built it; else it is built now.
fn built(program: &str) -> (&'static Path, PathBuf) {
    let loadtests = Path::new(env!("CARGO_BIN_EXE_loadtests"));
    let path = loadtests.with_file_name(program);
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--package", program, "--bin", program]);
    if loadtests.parent().is_some_and(|dir| dir.ends_with("release")) {
        build.arg("--release");
    }
    assert!(path.is_file() || build.status().unwrap().success());
    (loadtests, path)
}

fn succeeds(command: &mut Command) {
    let run = command.output().unwrap();
    let (text, log) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{text}\n{log}");
}

#[test]
fn nothing_on_the_wire_gets_further_than_it_should() {
    let (loadtests, gateway) = built("fairway-gateway");
    succeeds(Command::new(loadtests).arg("wire").arg("--fairway").arg(gateway));
}

#[test]
fn requests_pass_a_waypoint_with_fifty_services() {
    let (loadtests, waypoint) = built("fairway-waypoint");
    succeeds(Command::new(loadtests).args(["hop", "--quick"]).arg("--waypoint").arg(waypoint));
}
