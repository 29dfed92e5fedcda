//! `fairway demo`: servers and a client.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

fn stdout(out: &Output) -> String {
    String::from_utf8(out.stdout.clone()).unwrap()
}

/// A server that runs until this is dropped.
struct Served(Child, String);

impl Served {
    fn new(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fairway"))
            .args(["demo", "serve"])
            .args(if args.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] })
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self(child, line.trim().trim_start_matches("ready at ").to_owned())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that begins in a moment, and where.
fn later() -> (String, std::thread::JoinHandle<Served>) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let start = move || {
        std::thread::sleep(std::time::Duration::from_millis(500));
        Served::new(&["--service", "books/late", "--listen", &free.to_string()])
    };
    (format!("http://{free}/"), std::thread::spawn(start))
}

#[test]
fn demo_servers_call_each_other_and_answers_are_counted() {
    let ask = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_fairway")).args(["demo", "ask"]).args(args).output().unwrap()
    };
    let ratings = Served::new(&["--service", "books/ratings"]);
    let url = format!("http://{}/", ratings.1);
    let reviews = Served::new(&["--service", "books/reviews", "--call", &url]);
    let out = ask(&[&format!("http://{}/", reviews.1), "-n", "3"]);
    assert_eq!(
        (stdout(&out).as_str(), out.status.code()),
        ("     3  200 books/reviews, 200 books/ratings\n", Some(0))
    );
    let out = ask(&[&format!("http://{}/?status=503", ratings.1), "-H", "x-user: ann"]);
    assert_eq!((stdout(&out).as_str(), out.status.code()), ("     1  503 books/ratings\n", Some(0)));
    let (url_later, later) = later();
    let out = ask(&[&url_later, "--wait", "20s"]);
    assert_eq!(stdout(&out), "     1  200 books/late\n", "who is not there yet is waited for");
    drop(later.join().unwrap());
    drop(ratings);
    let out = ask(&[&url]);
    assert!(stdout(&out).contains("failed:") && out.status.code() == Some(1), "{}", stdout(&out));
    let out = ask(&[&format!("http://{}/", reviews.1)]);
    assert!(stdout(&out).starts_with("     1  200 books/reviews, - http://"), "{}", stdout(&out));
}
