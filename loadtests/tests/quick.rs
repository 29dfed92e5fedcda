//! The harness works: it starts a proxy, loads it, and writes a report. The figures are not looked at.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn loadtests(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtests")).args(args).output().unwrap()
}

#[test]
fn compare_measures_the_floor_and_reports() {
    let out = tempfile::tempdir().unwrap();
    let dir = out.path().to_str().unwrap();
    let scenarios = "h1,h1-10k,tls-h1,tls-h2,grpc,routes-1000,new,new-tls,idle";
    let run = loadtests(&["compare", "--quick", "--peers", "floor", "--scenario", scenarios, "--out", dir]);
    let (text, log) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{text}\n{log}");
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(out.path().join("compare.json")).unwrap()).unwrap();
    assert_eq!(report["valid"], true, "{text}");
    assert_eq!(report["scenarios"].as_array().unwrap().len(), 8);
    for scenario in report["scenarios"].as_array().unwrap() {
        let floor = &scenario["contestants"][0];
        assert_eq!(floor["fullSpeed"].as_array().unwrap().len(), 2, "{scenario}");
        for sample in
            floor["fullSpeed"].as_array().unwrap().iter().chain(floor["fixedRate"].as_array().unwrap())
        {
            assert!(sample["requests"].as_u64().unwrap() > 0, "{scenario}");
        }
        assert_eq!(floor["ratios"]["floor"], 1.0);
    }
    assert!(report["idle"][0]["plainWithUpstream"]["pooled"].as_u64().unwrap() >= 50, "{}", report["idle"]);
    let plot = std::fs::read_to_string(out.path().join("compare.svg")).unwrap();
    assert!(plot.contains("gRPC unary") && plot.ends_with("</svg>\n"));
    assert!(std::fs::read_to_string(out.path().join("compare.md")).unwrap().contains("## idle"));
}

/// Processes below `pid`, found by the parent in /proc/PID/stat.
fn below(pid: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let parents: Vec<(u32, u32)> = processes
        .filter_map(|entry| {
            let child = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((child, stat[stat.rfind(')')? + 2..].split(' ').nth(1)?.parse().ok()?))
        })
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(child, _)| *child));
        next += 1;
    }
    found.split_off(1)
}

#[test]
fn a_run_that_is_killed_leaves_no_process_behind() {
    let out = tempfile::tempdir().unwrap();
    let dir = out.path().to_str().unwrap();
    let program = env!("CARGO_BIN_EXE_loadtests");
    // Long enough to be seen on a busy machine; it is killed before.
    let mut run = Command::new(program)
        .args("compare --peers floor --scenario h1 --seconds 60".split(' '))
        .args(["--floor", program, "--out", dir])
        .env("TMPDIR", out.path())
        .spawn()
        .unwrap();
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(60);
        while !holds() {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    // The leash and the proxy.
    until("no proxy was started", &|| below(run.id()).len() >= 2);
    let children = below(run.id());
    run.kill().unwrap();
    run.wait().unwrap();
    let is_alive =
        |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s.contains(") Z "));
    until("a process was left behind", &|| !children.iter().any(is_alive));
}

#[test]
fn a_name_that_does_not_exist_is_answered_with_those_that_do() {
    for (args, names) in [
        (&["compare", "--scenario", "h3", "--peers", "floor"][..], "routes-5000"),
        (&["compare", "--peers", "apache"], "haproxy"),
        (&["churn", "--only", "chaos"], "restarts"),
    ] {
        let run = loadtests(args);
        let log = String::from_utf8_lossy(&run.stderr);
        assert!(!run.status.success() && log.contains(names), "{args:?}: {log}");
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in ["compare", "propagate", "churn", "soak", "overload", "hop", "wire", "floor", "origin"] {
        let run = loadtests(&[command, "--help"]);
        let text = String::from_utf8_lossy(&run.stdout);
        assert!(text.contains("Example") && text.contains(&format!("loadtests {command}")), "{text}");
    }
}
