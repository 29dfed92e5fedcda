//! The real binary on the real examples: its curl lines, its reactions to saves, its end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{PATIENCE, Running, free_port};

/// A free port; the process says which.
const ADMIN: &str = "127.0.0.1:0";

fn fairway() -> Command {
    Command::new(env!("CARGO_BIN_EXE_fairway"))
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// A copy of an example whose ports are free ones.
fn copy_of(example: &str, into: &Path) {
    for entry in fs::read_dir(examples().join(example)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let mut text = fs::read_to_string(&path).unwrap();
            for port in ["8080", "8443"] {
                text = text.replace(&format!("port: {port}"), &format!("port: {}", free_port()));
            }
            fs::write(into.join(path.file_name().unwrap()), text).unwrap();
        }
    }
}

impl Running {
    fn curls(&self) -> Vec<String> {
        self.seen
            .iter()
            .filter_map(|line| line.strip_prefix("  curl "))
            .map(|line| format!("curl {line}"))
            .collect()
    }

    fn interrupt(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    }
}

/// What a line for a shell prints.
fn shell(line: &str) -> String {
    let out = Command::new("sh").args(["-c", &format!("{line} -i --max-time 30")]).output().unwrap();
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from:?} is not in {}", file.display());
    fs::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn the_quickstart_serves_what_it_prints_and_follows_its_files() {
    let dir = tempfile::tempdir().unwrap();
    copy_of("quickstart", dir.path());
    let mut running = Running::start(dir.path(), ADMIN, &[]);
    let table = running.seen.join("\n");
    for row in ["demo/edge/http ", "demo/edge/https ", "waypoint basket/cart:80 ", "HTTPRoute/demo/shop "] {
        assert!(table.contains(row), "{row} is not in\n{table}");
    }

    let curls = running.curls();
    assert_eq!(curls.len(), 3, "{table}");
    for (curl, service) in curls.iter().zip(["demo/catalog-v1", "demo/catalog-v1", "basket/cart"]) {
        let answer = shell(curl);
        assert!(answer.contains(" 200"), "{curl}: {answer}");
        let is_demo =
            answer.contains(service) || (service.ends_with("v1") && answer.contains("demo/catalog-v2"));
        assert!(is_demo, "{curl}: {answer}");
    }
    assert!(shell(&curls[2]).to_lowercase().contains("x-through: waypoint"));

    // gRPC: the health check's answer is SERVING.
    let health = curls[0]
        .replace("shop.example.com", "orders.example.com")
        .replace("/catalog'", "/grpc.health.v1.Health/Check'");
    let health = format!(
        "{health} --http2-prior-knowledge -H 'content-type: application/grpc' -H 'te: trailers' --data-binary @- | od -An -tx1"
    );
    let out =
        Command::new("sh").args(["-c", &format!("printf '\\0\\0\\0\\0\\0' | {health}")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), "00 00 00 00 02 08 01");

    // The admin port knows both roles.
    let admin = running.seen.iter().find_map(|line| line.strip_prefix("admin: http://")).unwrap();
    let admin = format!("curl -s http://{}", admin.split('/').next().unwrap());
    assert!(shell(&format!("{admin}/readyz")).contains(" 200"));
    let metrics = shell(&format!("{admin}/metrics"));
    assert!(metrics.contains("gateway") && metrics.contains("waypoint"), "{metrics}");

    // A saved change is served once it is told.
    let shop = dir.path().join("shop.yaml");
    let api = curls[0].replace("/catalog'", "/api/x'");
    assert!(shell(&api).contains("x-served-by: fairway"));
    edit(&shop, "value: fairway", "value: the-edit");
    let line = running.wait_for("changed HTTPRoute/demo/shop");
    assert!(line.starts_with("live v2 after "), "{line}");
    assert!(shell(&api).contains("x-served-by: the-edit"));

    // A status that flips is told, and back.
    edit(&shop, "name: catalog-v2, port: 80, weight: 10", "name: catalog-v9, port: 80, weight: 10");
    running.wait_for("ResolvedRefs True -> False (BackendNotFound)");
    edit(&shop, "catalog-v9", "catalog-v2");
    running.wait_for("ResolvedRefs False -> True");

    // A broken file is refused, at its place, and what it said last serves on; other files are not held up.
    edit(&shop, "value: the-edit}", "valeu: the-edit}");
    let refused = running.wait_for("refused ");
    for part in
        ["shop.yaml:", "FW0107", "HTTPRoute demo/shop", "spec.rules[2].filters[2]", "did you mean `value`?"]
    {
        assert!(refused.contains(part), "{part} is not in {refused}");
    }
    assert!(shell(&api).contains("x-served-by: the-edit"));
    edit(&dir.path().join("basket.yaml"), "value: waypoint", "value: basket");
    running.wait_for("changed HTTPRoute/basket/cart");
    assert!(shell(&curls[2]).contains("x-through: basket"));
    edit(&shop, "valeu: the-edit}", "value: mended}");
    running.wait_for("changed HTTPRoute/demo/shop");
    running.wait_for("good again: ");
    assert!(shell(&api).contains("x-served-by: mended"));

    // A request in flight is answered during the drain.
    let slow = api.replace("/api/x'", "/catalog?delay=1s'");
    let slow = std::thread::spawn(move || shell(&slow));
    std::thread::sleep(Duration::from_millis(400));
    running.interrupt();
    running.wait_for("draining");
    assert!(slow.join().unwrap().contains(" 200"));
    running.wait_for("drained");
    let until = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = running.child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < until, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(0));
}

#[test]
fn every_example_is_valid_and_its_requests_work() {
    let mut tried = 0;
    for example in
        fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        let name = example.file_name().unwrap().to_str().unwrap().to_owned();
        let dir = tempfile::tempdir().unwrap();
        copy_of(&name, dir.path());
        if name == "books" {
            // As its guide does with kubectl.
            let label = "metadata: {name: books, labels: {fairway.dev/use-waypoint: auto}}";
            edit(&dir.path().join("books.yaml"), "metadata: {name: books}", label);
        }
        let out = fairway().args(["validate", "-f"]).arg(dir.path()).output().unwrap();
        assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stdout));
        // One has a test of its own, and the other's pods run in a cluster only (`testbed books`).
        if name == "quickstart" || name == "books" {
            continue;
        }
        let running = Running::start(dir.path(), ADMIN, &["--no-watch"]);
        for curl in running.curls() {
            let answer = shell(&curl);
            assert!(answer.contains(" 200") && answer.contains("\"pod\""), "{name}: {curl}: {answer}");
            tried += 1;
        }
    }
    assert!(tried >= 3, "only {tried} requests were printed");
}

#[test]
fn connections_and_datagrams_go_where_their_routes_say() {
    let dir = tempfile::tempdir().unwrap();
    copy_of("l4", dir.path());
    let text = fs::read_to_string(dir.path().join("l4.yaml")).unwrap();
    let port_of = |listener: &str| -> u16 {
        let text = text.split_once(listener).unwrap().1.split_once("port: ").unwrap().1;
        text.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    let running = Running::start(dir.path(), ADMIN, &["--no-watch"]);
    let table = running.seen.join("\n");
    for row in ["TLSRoute/default/passthrough ", "TCPRoute/default/tcp ", "UDPRoute/default/udp "] {
        assert!(table.contains(row), "{row} is not in\n{table}");
    }

    let (tcp, tls) = (port_of("- {name: tcp"), port_of("name: terminate"));
    assert!(shell(&format!("curl -s http://127.0.0.1:{tcp}/")).contains("default/echo"));
    let resolve = format!("curl -sk --resolve tls.example.test:{tls}:127.0.0.1");
    assert!(shell(&format!("{resolve} https://tls.example.test:{tls}/")).contains("default/echo"));
    // No endpoints: the connection is reset, and nothing is shown that is not the backend's.
    let reset = Command::new("curl")
        .args(["-sk", "--max-time", "30", "--resolve", &format!("db.example.test:{tls}:127.0.0.1")])
        .arg(format!("https://db.example.test:{tls}/"))
        .status()
        .unwrap();
    assert!(!reset.success());

    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(b"hello", ("127.0.0.1", port_of("- {name: udp"))).unwrap();
    let mut answer = [0; 1024];
    let length = socket.recv(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.contains("default/echo") && answer.contains("hello"), "{answer}");
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    copy_of("quickstart", dir.path());
    let mut running = Running::start(dir.path(), ADMIN, &["--drain", "50s"]);
    let slow = running.curls()[0].replace("/catalog'", "/catalog?delay=45s'");
    let mut client = Command::new("sh").args(["-c", &slow]).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(400));
    running.interrupt();
    running.wait_for("draining");
    running.interrupt();
    running.wait_for("ended at once");
    assert_eq!(running.child.wait().unwrap().code(), Some(1));
    let _ = client.kill();
    let _ = client.wait();
}

const BROKEN: &str = "
apiVersion: fairway.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: closed, namespace: demo}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: shop}]
  ipAllowList: {cidrs: 127.0.0.0/8}
";

#[test]
fn a_fresh_start_leaves_nothing_open_that_a_broken_policy_was_to_close() {
    let dir = tempfile::tempdir().unwrap();
    copy_of("quickstart", dir.path());
    let file = dir.path().join("closed.yaml");
    fs::write(&file, BROKEN).unwrap();
    let mut running = Running::start(dir.path(), ADMIN, &[]);
    let curls = running.curls();
    assert!(shell(&curls[0]).contains(" 500"), "its target refuses");
    assert!(shell(&curls[2]).contains(" 200"), "others are served");
    assert!(running.seen.iter().any(|line| line.contains("closed.yaml:") && line.contains("FW01")));
    fs::write(&file, BROKEN.replace("cidrs: 127.0.0.0/8", "cidrs: [127.0.0.0/8]")).unwrap();
    running.wait_for("changed SecurityPolicy/demo/closed");
    assert!(shell(&curls[0]).contains(" 200"), "it is mended");
    drop(running);

    // Nobody can tell what these are about.
    for unknowable in ["kind: SecurityPolicy\nspec: {", &BROKEN.replace("name: shop", "nam: shop")] {
        fs::write(&file, unknowable).unwrap();
        let out = fairway().arg("standalone").arg(dir.path()).output().unwrap();
        let error = String::from_utf8(out.stderr).unwrap();
        assert!(error.contains("does not start") && error.contains("closed.yaml:1:1: FW0113"), "{error}");
        assert_eq!(out.status.code(), Some(2));
    }
}

#[test]
fn what_cannot_start_says_why() {
    let refused = |args: &[&str]| {
        let out = fairway().args(args).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{args:?}");
        String::from_utf8(out.stderr).unwrap()
    };
    assert!(refused(&["standalone", "does/not/exist"]).contains("does/not/exist: FW0101 cannot be read"));
    assert!(refused(&["standalone"]).contains("name a directory"));
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    assert!(refused(&["standalone", dir, "--admin", "192.0.2.1:1"]).contains("is no loopback address"));
    assert!(refused(&["standalone", dir, "--waypoint-ports", "9-1"]).contains("FROM-TO"));
}

/// A limit of the captured Service, and a way to it through the Gateway.
const LIMITS: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: edge, namespace: basket}
spec:
  parentRefs: [{name: edge, namespace: demo, sectionName: http}]
  hostnames: [cart.example.com]
  rules: [{backendRefs: [{name: cart, port: 80}]}]
---
apiVersion: fairway.dev/v1alpha1
kind: BackendTrafficPolicy
metadata: {name: cart, namespace: basket}
spec:
  targetRefs: [{group: \"\", kind: Service, name: cart}]
  rateLimit:
    global: {rules: [{name: all, shared: true, limit: {requests: 60, unit: Hour}}]}
";

#[test]
fn gateway_and_waypoint_hold_one_limit_together_and_it_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    copy_of("quickstart", dir.path());
    let hostname = "      hostname: \"*.example.com\"\n    - name: https";
    let open = hostname.replace("    - name", "      allowedRoutes: {namespaces: {from: All}}\n    - name");
    edit(&dir.path().join("gateway.yaml"), hostname, &open);
    fs::write(dir.path().join("limits.yaml"), LIMITS).unwrap();
    let running = Running::start(dir.path(), ADMIN, &["--no-watch"]);
    let curls = running.curls();
    let through_waypoint = curls.iter().find(|curl| curl.ends_with("/cart")).unwrap().clone();
    let through_gateway =
        curls[0].replace("shop.example.com", "cart.example.com").replace("/catalog'", "/cart'");
    let mut admitted = [0, 0];
    for _ in 0..50 {
        for (count, curl) in admitted.iter_mut().zip([&through_gateway, &through_waypoint]) {
            let answer = shell(curl);
            assert!(answer.contains(" 200") || answer.contains(" 429"), "{answer}");
            *count += usize::from(answer.contains(" 200"));
        }
    }
    let sum = admitted[0] + admitted[1];
    assert!((40..=60).contains(&sum) && admitted.iter().all(|one| *one >= 10), "{admitted:?}");

    let admin = running.seen.iter().find_map(|line| line.strip_prefix("admin: ")).unwrap();
    let admin = admin.split("/metrics").next().unwrap();
    let limits = |more: &[&str]| {
        let out = fairway().args(["limits", admin]).args(more).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let text = limits(&[]);
    for part in [
        "quota server: 2 proxies, ",
        "gateway: quota server connected, ",
        "waypoint: quota server connected, ",
        "basket/cart/all  60 in 3600s, 60 at once",
        "2 active",
        "gateway/standalone/gateway (gateway)",
        "waypoint/standalone/waypoint (waypoint)",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&limits(&["-o", "json"])).unwrap();
    let shown = &json["proxies"][0]["limits"]["BackendTrafficPolicy/basket/cart/all"];
    assert_eq!((shown["requests"].as_u64(), shown["proxies"].as_u64()), (Some(60), Some(2)));
    assert_eq!(shown["admitted"].as_u64(), u64::try_from(admitted[0]).ok());

    let refused = fairway().args(["limits", "http://127.0.0.1:1"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cannot be asked for /limits"));
}
