//! The program's own words. Load tests start it beside them: with a test of its own it is built wherever tests are.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fairway-waypoint")).args(args).output().unwrap()
}

#[test]
fn help_says_what_it_needs_and_without_that_it_does_not_start() {
    let help = run(&["--help"]);
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success());
    for flag in ["--config-file", "--controller", "--gateway", "--snapshot", "127.0.0.1:15001", "Examples:"] {
        assert!(text.contains(flag), "{flag}: {text}");
    }
    for (args, said) in [
        (&[][..], "--config-file <FILE>"),
        (&["--config-file", "a", "--controller", "https://b:1"], "cannot be used with"),
        (&["--config-file", "a", "--workers", "0"], "--workers"),
    ] {
        let out = run(args);
        let text = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.code() == Some(2) && text.contains(said), "{args:?}: {text}");
    }
}
