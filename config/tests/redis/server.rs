//! A Redis of one test, on a port and in a directory of its own.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fairway_config::Redacted;
use fairway_config::redis::{Redis, RedisSettings};
use tempfile::TempDir;
use tokio::time::sleep;

/// Longest wait for anything; loaded machines are slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Ends with its test.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    pub(crate) dir: TempDir,
    more: Vec<String>,
}

impl Server {
    pub(crate) fn start(more: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::start_in(tempfile::tempdir().unwrap(), port, more)
    }

    /// In a directory that there is already.
    pub(crate) fn start_in(dir: TempDir, port: u16, more: &[&str]) -> Self {
        let more: Vec<String> = more.iter().map(ToString::to_string).collect();
        Self { child: run(&dir, port, &more), port, dir, more }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/1", self.port)
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// After a kill: empty, on the same port.
    pub(crate) fn again(&mut self) {
        self.child = run(&self.dir, self.port, &self.more);
    }

    /// `STOP`: connections stay, and nothing is answered; `CONT` ends that.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    /// A connection that is there.
    pub(crate) async fn connect(&self) -> Redis {
        let redis = Redis::open(&settings(&self.url())).unwrap();
        until("a connection", || redis.is_connected()).await;
        redis
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn run(dir: &TempDir, port: u16, more: &[String]) -> Child {
    let port = port.to_string();
    Command::new("redis-server")
        .args([
            "--bind",
            "127.0.0.1",
            "--port",
            &port,
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
        ])
        .args(more)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is missing: run .ci/install")
}

pub(crate) fn settings(url: &str) -> RedisSettings {
    RedisSettings { url: Redacted::new(url), password: None, authority: None, prefix: "test:".into() }
}

pub(crate) async fn until(what: &str, is: impl Fn() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "{what} did not come");
        sleep(Duration::from_millis(10)).await;
    }
}
