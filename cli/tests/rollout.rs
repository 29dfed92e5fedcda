//! Rollouts of the real binary under load: two versions as servers of this test, one of them healthy or broken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use support::{Running, free_port};

/// Clients that send one request after the other.
const CLIENTS: usize = 16;

/// How a version answers.
#[derive(Clone, Copy)]
struct Version {
    name: &'static str,
    status: u16,
    delay: Duration,
}

const STABLE: Version = Version { name: "v1", status: 200, delay: Duration::from_millis(2) };

/// Serves a version until the process ends; returns its port.
fn serve(version: Version) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer(version, &stream));
        }
    });
    port
}

/// Answers requests without bodies until the connection ends.
fn answer(version: Version, stream: &TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    loop {
        // A head, up to its empty line.
        while !lines.next()?.ok()?.is_empty() {}
        std::thread::sleep(version.delay);
        let Version { name, status, .. } = version;
        let head = format!("HTTP/1.1 {status} x\r\nx-version: {name}\r\ncontent-length: 0\r\n\r\n");
        (&*stream).write_all(head.as_bytes()).ok()?;
    }
}

/// What clients saw.
#[derive(Default)]
struct Seen {
    is_over: AtomicBool,
    stable: AtomicU64,
    canary: AtomicU64,
    /// Answers of the canary with 5xx.
    canary_failed: AtomicU64,
    /// Whatever else is no 200 of a version, and requests without an answer.
    failed: AtomicU64,
}

impl Seen {
    fn get(count: &AtomicU64) -> u64 {
        count.load(Ordering::Relaxed)
    }
}

/// One client: a connection that is kept, and opened again when it ends.
fn client(port: u16, seen: &Seen) {
    let mut kept: Option<BufReader<TcpStream>> = None;
    while !seen.is_over.load(Ordering::Relaxed) {
        let asked = ask(port, &mut kept);
        let count = match asked {
            Some((200, Some('1'))) => &seen.stable,
            Some((200, Some('2'))) => &seen.canary,
            Some((500..=599, Some('2'))) => &seen.canary_failed,
            _ => &seen.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Status and the version's number; `None`: no answer.
fn ask(port: u16, kept: &mut Option<BufReader<TcpStream>>) -> Option<(u16, Option<char>)> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => BufReader::new(TcpStream::connect(("127.0.0.1", port)).ok()?),
    };
    stream.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: web.example.com\r\n\r\n").ok()?;
    let (mut status, mut version) = (0, None);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest.get(..3)?.parse().ok()?;
        }
        version = line.strip_prefix("x-version: v").and_then(|rest| rest.chars().next()).or(version);
    }
    // Answers of the proxy itself have a body; the connection is not worth reading it.
    *kept = version.is_some().then_some(stream);
    Some((status, version))
}

/// Standalone under load with a stable version and this canary.
struct Loaded {
    fairway: Running,
    seen: Arc<Seen>,
    clients: Vec<JoinHandle<()>>,
    directory: tempfile::TempDir,
}

fn service(name: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: demo}}
spec: {{ports: [{{name: http, port: 80}}]}}
---
"
    )
}

fn endpoints(name: &str, port: u16) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: demo, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: {port}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
---
"
    )
}

fn manifests(port: u16, analysis: &str) -> String {
    let services = [service("web-v1"), service("web-v2"), endpoints("web-v1", serve(STABLE))].concat();
    format!(
        "{services}apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: fairway}}
spec: {{controllerName: fairway.dev/controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge, namespace: demo}}
spec: {{gatewayClassName: fairway, listeners: [{{name: http, port: {port}, protocol: HTTP}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: web, namespace: demo}}
spec:
  parentRefs: [{{name: edge}}]
  rules:
  - backendRefs: [{{name: web-v1, port: 80, weight: 1}}, {{name: web-v2, port: 80, weight: 0}}]
---
apiVersion: fairway.dev/v1alpha1
kind: Rollout
metadata: {{name: web, namespace: demo}}
spec:
  targetRef: {{group: gateway.networking.k8s.io, kind: HTTPRoute, name: web}}
  stable: {{name: web-v1, port: 80}}
  canary: {{name: web-v2, port: 80}}
  steps: [{{weight: 20, pause: 2s}}, {{weight: 60, pause: 2s}}]
  analysis: {{interval: 1s, minRequests: 20{analysis}}}
"
    )
}

impl Loaded {
    fn start(canary: Version, analysis: &str) -> Self {
        let mut running = Self::without_canary(analysis);
        running.deploy(canary);
        running
    }

    /// The canary's endpoints come.
    fn deploy(&mut self, canary: Version) {
        fs::write(self.directory.path().join("canary.yaml"), endpoints("web-v2", serve(canary))).unwrap();
        self.wait_for("added EndpointSlice/demo/web-v2-1");
    }

    /// The canary has no endpoints yet.
    fn without_canary(analysis: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        fs::write(directory.path().join("all.yaml"), manifests(port, analysis)).unwrap();
        let fairway = Running::start(directory.path(), "off", &[]);
        let mut running = Self { fairway, seen: Arc::default(), clients: Vec::new(), directory };
        for _ in 0..CLIENTS {
            let seen = running.seen.clone();
            running.clients.push(std::thread::spawn(move || client(port, &seen)));
        }
        running
    }

    fn wait_for(&mut self, text: &str) {
        self.fairway.wait_for(text);
    }

    /// Lines about the rollout.
    fn course(&self) -> Vec<&str> {
        self.fairway.seen.iter().filter_map(|line| line.strip_prefix("Rollout/demo/web: ")).collect()
    }

    /// What the load of another two seconds goes to: to the stable version, and to the canary.
    fn after(&self) -> (u64, u64) {
        // What was sent before may be answered yet.
        std::thread::sleep(Duration::from_secs(2));
        let count = || {
            let canary = Seen::get(&self.seen.canary) + Seen::get(&self.seen.canary_failed);
            (Seen::get(&self.seen.stable), canary)
        };
        let before = count();
        std::thread::sleep(Duration::from_secs(2));
        let now = count();
        (now.0 - before.0, now.1 - before.1)
    }

    /// Ends the load; nothing but the canary's own answers may have failed.
    fn end(&mut self) {
        self.seen.is_over.store(true, Ordering::Relaxed);
        self.clients.drain(..).for_each(|client| client.join().unwrap());
        assert_eq!(Seen::get(&self.seen.failed), 0);
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.seen.is_over.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_healthy_canary_has_all_in_the_end_and_no_request_fails() {
    let mut running = Loaded::start(Version { name: "v2", ..STABLE }, "");
    running.wait_for("web-v2:80 has all");
    let (stable, canary) = running.after();
    assert!(stable == 0 && canary > 0, "{stable} and {canary}");
    running.end();
    assert_eq!(Seen::get(&running.seen.canary_failed), 0);
    let wanted = ["step 1 of 2: web-v2:80 has 20 %", "step 2 of 2: web-v2:80 has 60 %", "web-v2:80 has all"];
    assert_eq!(running.course(), wanted);
}

#[test]
fn a_canary_without_endpoints_gets_nothing_and_one_that_loses_them_is_back_at_nothing() {
    let mut running = Loaded::without_canary(", failureLimit: 3");
    let (stable, canary) = running.after();
    assert!(
        stable > 0 && canary == 0 && running.course().is_empty(),
        "{stable}, {canary}: {:?}",
        running.course()
    );
    assert_eq!(Seen::get(&running.seen.failed), 0);
    running.deploy(Version { name: "v2", ..STABLE });
    running.wait_for("step 1 of 2: web-v2:80 has 20 %");
    running.seen.is_over.store(true, Ordering::Relaxed);
    fs::remove_file(running.directory.path().join("canary.yaml")).unwrap();
    running.wait_for("web-v2:80 back from 20 % to 0: it has no endpoint that is ready");
}

#[test]
fn a_canary_that_answers_errors_is_back_at_nothing_in_its_first_step() {
    let mut running = Loaded::start(Version { name: "v2", status: 503, ..STABLE }, "");
    running.wait_for("web-v2:80 back from 20 % to 0: 0 % of ");
    let (stable, canary) = running.after();
    assert!(stable > 0 && canary == 0, "{stable} and {canary}");
    running.end();
    assert!(Seen::get(&running.seen.canary_failed) >= 20);
    assert_eq!(running.course().len(), 2, "{:?}", running.course());
}

#[test]
fn a_canary_that_is_slow_is_back_at_nothing_in_its_first_step_and_no_request_fails() {
    let slow = Version { name: "v2", delay: Duration::from_millis(1_500), ..STABLE };
    let mut running = Loaded::start(slow, ", p99: 1s");
    running.wait_for("web-v2:80 back from 20 % to 0: p99 of ");
    let (stable, canary) = running.after();
    assert!(stable > 0 && canary == 0, "{stable} and {canary}");
    running.end();
    assert_eq!(Seen::get(&running.seen.canary_failed), 0);
    assert_eq!(running.course().len(), 2, "{:?}", running.course());
}
