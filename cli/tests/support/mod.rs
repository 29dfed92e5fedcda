//! The real binary, running.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longest wait for a line; loaded machines are slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A running standalone; killed when dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: Receiver<String>,
    /// What it has printed so far.
    pub(crate) seen: Vec<String>,
}

impl Running {
    /// Serves a directory, with further arguments, and waits until it is ready. `admin`: its admin port.
    pub(crate) fn start(dir: &Path, admin: &str, more: &[&str]) -> Self {
        let waypoint = free_port();
        let mut child = Command::new(env!("CARGO_BIN_EXE_fairway"))
            .arg("standalone")
            .arg(dir)
            .args(["--admin", admin, "--workers", "1", "--waypoint-ports"])
            .arg(format!("{waypoint}-{}", waypoint.saturating_add(9)))
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut running = Self { child, lines, seen: Vec::new() };
        running.wait_for("ready; ");
        running
    }

    /// The next line that holds a text.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with {text:?} in:\n{}", self.seen.join("\n"));
            };
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
