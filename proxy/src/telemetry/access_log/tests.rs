use std::fs;
use std::thread;
use std::time::Duration;

use super::{ENOUGH, LIMIT, Log};
use crate::telemetry::settings::AccessLog;
use crate::telemetry::{Course, Error, Record, TraceContext};

fn record(path: &str) -> Record<'_> {
    Record {
        method: "GET",
        host: "h",
        path,
        status: 200,
        stats: None,
        course: Course::new("HTTP/1.1", "ok", "l", "127.0.0.1:1".parse().unwrap()),
        trace: TraceContext::default(),
        user_agent: None,
        denied_by: None,
        would_deny: &[],
        source: None,
    }
}

/// Asks again until it is so, for 30 s at most.
fn soon(mut is_so: impl FnMut() -> bool) -> bool {
    (0..600).any(|_| {
        thread::sleep(Duration::from_millis(50));
        is_so()
    })
}

#[test]
fn every_line_of_many_threads_is_written_once_and_whole() {
    const THREADS: usize = 8;
    const LINES: usize = 500;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let log = Log::open(&AccessLog::File(path.clone())).unwrap().unwrap();
    thread::scope(|scope| {
        for t in 0..THREADS {
            let log = &log;
            scope.spawn(move || {
                for n in 0..LINES {
                    log.log("gateway", &record(&format!("/{t}/{n}")));
                }
            });
        }
    });
    log.flush();
    assert_eq!(log.dropped(), 0);
    let mut seen: Vec<String> = fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["path"].to_string())
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), THREADS * LINES);
}

#[test]
fn a_line_is_written_without_a_flush_after_the_writer_slept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let log = Log::open(&AccessLog::File(path.clone())).unwrap().unwrap();
    for round in 1..=3 {
        // The writer sleeps once it found nothing to do; nothing but the line wakes it.
        thread::sleep(Duration::from_millis(250));
        log.log("gateway", &record("/"));
        let is_written = || fs::read_to_string(&path).unwrap().lines().count() == round;
        assert!(soon(is_written), "line {round} is not written");
    }
}

#[test]
fn a_log_that_is_dropped_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let log = Log::open(&AccessLog::File(path.clone())).unwrap().unwrap();
    log.log("gateway", &record("/last"));
    drop(log);
    assert!(fs::read_to_string(&path).unwrap().contains("/last"));
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let log = Log::open(&AccessLog::File(path.clone())).unwrap().unwrap();
    log.log("gateway", &record("/before"));
    log.flush();
    fs::rename(&path, dir.path().join("access.log.1")).unwrap();
    let is_reopened = || {
        log.log("gateway", &record("/after"));
        log.flush();
        path.exists()
    };
    assert!(soon(is_reopened), "the file is not opened anew");
    assert!(fs::read_to_string(&path).unwrap().contains("/after"));
    assert!(!fs::read_to_string(&path).unwrap().contains("/before"));
}

#[test]
fn what_cannot_be_written_is_dropped_and_counted() {
    // A device that is always full.
    let log = Log::open(&AccessLog::File("/dev/full".into())).unwrap().unwrap();
    for _ in 0..7 {
        log.log("gateway", &record("/"));
    }
    log.flush();
    assert_eq!(log.dropped(), 7);
}

#[test]
fn a_reader_that_stalls_holds_nobody_up() {
    // A pipe nobody reads: the writer blocks once the system's 64 KiB are full.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let opened = thread::spawn({
        let path = path.clone();
        move || fs::File::open(path).unwrap()
    });
    let log = Log::open(&AccessLog::File(path)).unwrap().unwrap();
    let reader = opened.join().unwrap();
    let long = "x".repeat(2000);
    let mut pushed = 0;
    while log.dropped() == 0 {
        log.log("gateway", &record(&long));
        pushed += 2000;
        assert!(pushed < 4 * (LIMIT + ENOUGH) * super::SHARDS, "nothing was dropped");
    }
    // The writer sees a broken pipe and ends.
    drop(reader);
}

#[test]
fn a_log_that_cannot_be_opened_says_which_file() {
    let error = Log::open(&AccessLog::File("/nowhere/access.log".into())).unwrap_err();
    assert!(matches!(error, Error::AccessLog { .. }));
    assert!(error.to_string().contains("/nowhere/access.log"), "{error}");
    assert!(Log::open(&AccessLog::Off).unwrap().is_none());
}
