//! The real binary: who calls a waypoint is told by Pods in files, and follows them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::process::Command;

use support::Running;

const SERVICE: &str = r#"
apiVersion: v1
kind: Service
metadata:
  name: cart
  namespace: shop
  labels: {fairway.dev/use-waypoint: waypoint}
  annotations: {fairway.dev/demo: "1"}
spec:
  ports: [{name: http, port: 80}]
---
apiVersion: fairway.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: cart-clients, namespace: shop}
spec:
  targetRefs: [{group: "", kind: Service, name: cart}]
  authorization:
    rules:
    - {name: bff, action: Allow, principal: {serviceAccounts: [{namespace: web, name: bff}], minAssurance: Network}}
"#;

fn pod(name: &str, address: &str, phase: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: web, uid: {name}-1, labels: {{app: {name}}}}}\n\
         spec: {{serviceAccountName: {name}, containers: [{{name: main, image: x}}]}}\n\
         status: {{phase: {phase}, podIPs: [{{ip: {address}}}], qosClass: BestEffort}}\n"
    )
}

/// The status of a request from this address.
fn status(running: &Running, from: &str) -> String {
    let curl = running.seen.iter().find_map(|line| line.strip_prefix("  curl ")).expect("a line with curl");
    let line = format!("curl {curl} --interface {from} -o /dev/null -w '%{{http_code}}' --max-time 30");
    let out = Command::new("sh").args(["-c", &line]).output().unwrap();
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn a_policy_names_a_service_account_and_pods_tell_who_that_is() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("service.yaml"), SERVICE).unwrap();
    let pods = dir.path().join("pods.yaml");
    let batch = pod("batch", "127.0.0.3", "Running");
    fs::write(&pods, pod("bff", "127.0.0.2", "Running") + &batch).unwrap();
    let mut running = Running::start(dir.path(), "127.0.0.1:0", &[]);
    let seen = |running: &Running| ["127.0.0.2", "127.0.0.3", "127.0.0.4"].map(|from| status(running, from));
    assert_eq!(seen(&running), ["200", "403", "403"]);
    fs::write(&pods, pod("bff", "127.0.0.2", "Succeeded") + &batch).unwrap();
    running.wait_for("changed Pod/web/bff");
    assert_eq!(seen(&running), ["403", "403", "403"]);
    fs::write(&pods, pod("bff", "127.0.0.4", "Running") + &batch).unwrap();
    running.wait_for("changed Pod/web/bff");
    assert_eq!(seen(&running), ["403", "403", "200"]);
}
