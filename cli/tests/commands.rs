//! The commands that start nothing: their output, their exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn fairway(args: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fairway")).args(args).arg("-f").arg(dir).output().unwrap()
}

fn quickstart() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart")
}

fn stdout(out: &Output) -> String {
    String::from_utf8(out.stdout.clone()).unwrap()
}

fn json(out: &Output) -> Value {
    serde_json::from_slice(&out.stdout).unwrap()
}

/// A directory with one manifest that does not load and one whose status is bad.
fn broken() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("a.yaml"),
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 0}]}\n",
    )
    .unwrap();
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: f}\nspec: {controllerName: fairway.dev/controller}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec: {gatewayClassName: f, listeners: [{name: l, port: 8080, protocol: HTTP}]}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: nowhere, port: 80}]}]}\n";
    fs::write(dir.path().join("b.yaml"), route).unwrap();
    dir
}

#[test]
fn findings_have_places_codes_and_exit_code_one() {
    let dir = broken();
    let out = fairway(&["validate"], dir.path());
    assert_eq!(out.status.code(), Some(1));
    let text = stdout(&out);
    assert!(
        text.contains("a.yaml:4:23: FW0110 Service default/a: spec.ports[0].port: 0 is not allowed"),
        "{text}"
    );
    assert!(
        text.contains("b.yaml:11:1: FW0233 HTTPRoute/default/r: parent Gateway/g: ResolvedRefs is False"),
        "{text}"
    );
    assert!(text.ends_with("2 findings\n"), "{text}");
}

#[test]
fn findings_come_in_forms_for_tools() {
    let dir = broken();
    let found = json(&fairway(&["validate", "-o", "json"], dir.path()));
    let codes: Vec<_> = found.as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["FW0110", "FW0233"]);
    let sarif = json(&fairway(&["validate", "-o", "sarif"], dir.path()));
    assert_eq!(sarif["version"], "2.1.0");
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), 2);
    let github = stdout(&fairway(&["validate", "-o", "github"], dir.path()));
    assert!(github.lines().all(|line| line.starts_with("::error file=")), "{github}");
}

#[test]
fn a_clean_directory_has_exit_code_zero() {
    let out = fairway(&["validate"], &quickstart());
    assert_eq!(out.status.code(), Some(0));
    assert!(stdout(&out).ends_with("no findings\n"));
}

#[test]
fn wrong_usage_has_exit_code_two() {
    let out = Command::new(env!("CARGO_BIN_EXE_fairway")).arg("validate").output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert_eq!(fairway(&["validate"], Path::new("does/not/exist")).status.code(), Some(2));
}

#[test]
fn a_translation_hides_private_keys_and_is_read_back() {
    let out = fairway(&["translate", "--resources-only"], &quickstart());
    let text = stdout(&out);
    assert!(text.contains("[redacted]") && !text.contains("PRIVATE KEY"), "{text}");
    let resources = config::decode_documents(&text).unwrap();
    assert!(resources.keys().any(|key| key.to_string() == "Listener/demo/edge/http"));
    let whole = json(&fairway(&["translate", "-o", "json"], &quickstart()));
    assert!(whole["resources"]["HttpRoute/demo/shop"]["rules"].is_array());
    assert!(whole["statuses"]["HTTPRoute/demo/shop"]["parents"].is_array());
    assert!(!whole.to_string().contains("PRIVATE KEY"));
}

#[test]
fn an_explanation_says_order_sources_and_backends() {
    let text = stdout(&fairway(&["explain", "httproute/shop.demo"], &quickstart()));
    for part in [
        "rule testers\n    when     path under /catalog, header x-tester = yes\n             1 of 4 on demo/edge/http",
        "from HTTPRoute/demo/shop spec.rules[2].filters[0]",
        "from HTTPRoute/demo/shop spec.rules[2].timeouts",
        "90 %  demo/catalog-v1:80 (http)",
        "parent     Gateway/edge  Accepted, ResolvedRefs",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let explained = json(&fairway(&["explain", "orders", "-o", "json"], &quickstart()));
    assert_eq!(explained["route"], "GRPCRoute/demo/orders");
    assert_eq!(explained["rules"][1]["policies"][0]["policy"], "requestHeaders");
    assert_eq!(explained["rules"][1]["backends"][0]["share"], 100.0);
}

#[test]
fn a_route_of_connections_or_datagrams_is_explained_too() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/l4");
    let text = stdout(&fairway(&["explain", "tlsroute/terminate"], &example));
    for part in [
        "hostnames  tls.example.test",
        "90 %  default/echo:80 (tcp)",
        "parent     Gateway/edge#terminate  Accepted",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let explained = json(&fairway(&["explain", "udproute/udp", "-o", "json"], &example));
    assert_eq!(explained["route"], "UDPRoute/default/udp");
    assert_eq!(explained["rules"][0]["backends"][0]["protocol"], "udp");
    assert_eq!(fairway(&["explain", "tcproutes/tcp"], &example).status.code(), Some(0));
}

#[test]
fn an_unknown_route_is_named_with_those_there_are() {
    let out = fairway(&["explain", "nothing"], &quickstart());
    assert_eq!(out.status.code(), Some(2));
    let text = String::from_utf8(out.stderr).unwrap();
    assert!(text.contains("there are httproute/cart.basket"), "{text}");
    assert_eq!(fairway(&["explain", "service/cart"], &quickstart()).status.code(), Some(2));
}

#[test]
fn every_command_explains_itself_with_examples() {
    for command in ["standalone", "translate", "validate", "explain"] {
        let out = Command::new(env!("CARGO_BIN_EXE_fairway")).args([command, "--help"]).output().unwrap();
        assert!(stdout(&out).contains("Examples:"), "{command}");
    }
}

/// The examples of a document, as one file.
fn examples(document: &str) -> String {
    let blocks = document.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.collect::<Vec<_>>().join("---\n")
}

/// The Gateway that `docs/client-traffic.md` speaks of, with a route; and the service of `docs/exact-limits.md`.
const EDGE: &str = "apiVersion: v1
kind: Service
metadata: {name: ratelimit, namespace: demo}
spec: {ports: [{port: 8081}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: fairway}
spec: {controllerName: fairway.dev/controller}
---
apiVersion: v1
kind: Secret
metadata: {name: certificate, namespace: demo, annotations: {fairway.dev/self-signed: 'true'}}
type: kubernetes.io/tls
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: demo}
spec:
  gatewayClassName: fairway
  listeners:
  - {name: web, port: 8080, protocol: HTTP}
  - {name: payments, port: 8443, protocol: HTTPS, hostname: pay.example.com, tls: {certificateRefs: [{name: certificate}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: demo}
spec:
  parentRefs: [{name: edge}]
  rules: [{filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]}]
";

#[test]
fn the_examples_of_client_traffic_hold_and_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("edge.yaml"), EDGE).unwrap();
    let policies = examples(include_str!("../../docs/client-traffic.md"));
    assert!(policies.matches("kind: ClientTrafficPolicy").count() >= 2);
    fs::write(dir.path().join("policies.yaml"), policies).unwrap();
    let found = fairway(&["validate"], dir.path());
    assert_eq!(found.status.code(), Some(0), "{}", stdout(&found));
    let text = stdout(&fairway(&["explain", "shop"], dir.path()));
    for line in [
        "  listener   demo/edge/web\n",
        "  listener   demo/edge/payments\n",
        "             limits.requestBodyBytes \"64Ki\"  from ClientTrafficPolicy/demo/payments\n",
        "             limits.requestBodyBytes \"10Mi\"  from ClientTrafficPolicy/demo/edge\n",
        "             tls.minVersion \"1.3\"  from ClientTrafficPolicy/demo/payments\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    let explained = json(&fairway(&["explain", "shop", "-o", "json"], dir.path()));
    assert_eq!(explained["listeners"][0]["traffic"][0]["from"], "ClientTrafficPolicy/demo/edge");
}

#[test]
fn the_examples_of_limits_hold_and_are_explained() {
    for (page, policies, line) in [
        (
            include_str!("../../docs/backend-traffic-policy.md"),
            2,
            "from BackendTrafficPolicy/demo/payments overrides, not from BackendTrafficPolicy/demo/edge defaults\n",
        ),
        (include_str!("../../docs/exact-limits.md"), 1, "from BackendTrafficPolicy/demo/exact defaults\n"),
        (include_str!("../../docs/global-limits.md"), 1, "from BackendTrafficPolicy/demo/edge defaults\n"),
        (include_str!("../../docs/rate-limits.md"), 1, "from BackendTrafficPolicy/demo/plans defaults\n"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("edge.yaml"), EDGE).unwrap();
        let examples = examples(page);
        let count = examples.matches("kind: BackendTrafficPolicy").count();
        assert!(count >= policies);
        // The two of limits have one target: one at a time.
        let kept =
            examples.rsplit_once("---").filter(|_| count > policies).map_or(&*examples, |(_, last)| last);
        fs::write(dir.path().join("policies.yaml"), kept).unwrap();
        let found = fairway(&["validate"], dir.path());
        assert_eq!(found.status.code(), Some(0), "{}", stdout(&found));
        let text = stdout(&fairway(&["explain", "shop"], dir.path()));
        assert!(text.contains(line), "{line}{text}");
    }
}

#[test]
fn the_examples_of_security_hold_are_explained_and_traced() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("edge.yaml"), EDGE).unwrap();
    let policies = examples(include_str!("../../docs/security-policy.md"));
    assert!(policies.matches("kind: SecurityPolicy").count() >= 4);
    fs::write(dir.path().join("policies.yaml"), policies).unwrap();
    let found = fairway(&["validate"], dir.path());
    assert_eq!(found.status.code(), Some(0), "{}", stdout(&found));
    let text = stdout(&fairway(&["explain", "shop"], dir.path()));
    for line in [
        "    attached demo/edge/web\n",
        "    attached demo/edge/payments\n",
        "from SecurityPolicy/demo/shop defaults, not from SecurityPolicy/demo/edge defaults, \
         SecurityPolicy/demo/everything defaults\n",
        "from SecurityPolicy/demo/payments overrides, not from SecurityPolicy/demo/edge defaults, \
         SecurityPolicy/demo/everything defaults, SecurityPolicy/demo/shop defaults\n",
        "  from SecurityPolicy/fairway-system/everywhere defaults\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    let preflight = |origin: &str| {
        let origin = format!("Origin: {origin}");
        let request =
            ["OPTIONS", "http://localhost:8080/", "-H", &origin, "-H", "Access-Control-Request-Method: PUT"];
        let mut trace = Command::new(env!("CARGO_BIN_EXE_fairway"));
        stdout(&trace.args(["trace", "-f"]).arg(dir.path()).arg("--").args(request).output().unwrap())
    };
    assert!(preflight("https://app.example.com").ends_with("=> 200 cors_preflight\n"));
    let refused = preflight("https://shop.example.com");
    let steps = "listener  demo/edge/web\nmatch     HTTPRoute/demo/shop#0\n\
                 policy    cors of the rule: 403 cors_origin_denied\n=> 403 cors_origin_denied\n";
    assert_eq!(refused, steps);
}

#[test]
fn where_the_controller_is_decides_who_may_speak_of_a_class() {
    let dir = tempfile::tempdir().unwrap();
    let class = "{group: gateway.networking.k8s.io, kind: GatewayClass, name: fairway}";
    let policy = format!(
        "apiVersion: fairway.dev/v1alpha1\nkind: SecurityPolicy\nmetadata: {{name: all, namespace: platform}}\n\
         spec: {{targetRefs: [{class}], cors: {{}}}}\n"
    );
    fs::write(dir.path().join("all.yaml"), format!("{EDGE}---\n{policy}")).unwrap();
    let found = fairway(&["validate"], dir.path());
    assert_eq!(found.status.code(), Some(1));
    let said = stdout(&found);
    assert!(said.contains("FW0207 SecurityPolicy/platform/all"), "{said}");
    assert!(said.contains("only policies of the controller's namespace, fairway-system, can be"), "{said}");
    let found = fairway(&["validate", "--controller-namespace", "platform"], dir.path());
    assert_eq!(found.status.code(), Some(0), "{}", stdout(&found));
    let text = stdout(&fairway(&["explain", "shop", "--controller-namespace", "platform"], dir.path()));
    assert!(text.contains("  from SecurityPolicy/platform/all defaults\n"), "{text}");
}

#[test]
fn an_invalid_client_traffic_policy_is_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    let target = "{group: gateway.networking.k8s.io, kind: Gateway, name: edge}";
    let policy = format!(
        "apiVersion: fairway.dev/v1alpha1\nkind: ClientTrafficPolicy\nmetadata: {{name: wrong, namespace: demo}}\n\
         spec: {{targetRefs: [{target}], tls: {{minVersion: '1.1'}}, http3: {{}}}}\n"
    );
    fs::write(dir.path().join("all.yaml"), format!("{EDGE}---\n{policy}")).unwrap();
    let out = fairway(&["validate"], dir.path());
    assert_eq!(out.status.code(), Some(1));
    let text = stdout(&out);
    for part in
        ["FW0224 ClientTrafficPolicy/demo/wrong", "http3: not supported: remove it", "tls.minVersion: 1.1"]
    {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn the_examples_of_splits_hold() {
    let dir = tempfile::tempdir().unwrap();
    let (edge, _) = EDGE.rsplit_once("---").unwrap();
    let backends = ["basket-v1", "basket-v2", "shop-v1", "shop-v2"].map(|name| {
        format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: demo}}\nspec: {{ports: [{{port: 80}}]}}\n")
    });
    let splits = examples(include_str!("../../docs/traffic-splitting.md"));
    assert!(splits.contains("sessionPersistence:") && splits.contains("trafficSplit:"));
    fs::write(dir.path().join("edge.yaml"), [edge, &splits, &backends.join("---\n")].join("---\n")).unwrap();
    let found = fairway(&["validate"], dir.path());
    assert_eq!(found.status.code(), Some(0), "{}", stdout(&found));
}

#[test]
fn the_example_of_waypoints_holds_and_captures_what_has_a_route() {
    let dir = tempfile::tempdir().unwrap();
    let example = examples(include_str!("../../docs/waypoint.md"));
    fs::write(dir.path().join("shop.yaml"), example).unwrap();
    let found = fairway(&["validate"], dir.path());
    assert_eq!(found.status.code(), Some(0), "{}", stdout(&found));
    let text = stdout(&fairway(&["translate"], dir.path()));
    assert!(
        text.contains("key: Listener/shop/cart:80") && text.contains("waypoint: shop/waypoint"),
        "{text}"
    );
}

#[test]
fn the_example_of_rollouts_holds_and_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let (edge, _) = EDGE.rsplit_once("---").unwrap();
    let backends = ["shop-v1", "shop-v2"].map(|name| {
        format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: demo}}\nspec: {{ports: [{{port: 80}}]}}\n")
    });
    let example = examples(include_str!("../../docs/rollout.md"));
    assert!(example.contains("kind: Rollout"));
    let all = [edge, &example, &backends.join("---\n")].join("---\n");
    let file = dir.path().join("edge.yaml");
    fs::write(&file, &all).unwrap();
    let found = fairway(&["validate"], dir.path());
    assert_eq!(found.status.code(), Some(0), "{}", stdout(&found));
    let line = "    rollout  demo/shop-v2:80 has 0 %  from Rollout/demo/shop\n      100 %  demo/shop-v1:80";
    let text = stdout(&fairway(&["explain", "shop"], dir.path()));
    assert!(text.contains(line), "{text}");
    // As `kubectl get -o yaml` shows it on its way, and in a dry run.
    let status = "status:\n  weight: 25\n  subject:\n    targetRef: { group: gateway.networking.k8s.io, kind: HTTPRoute, \
                  name: shop, sectionName: all }\n    stable: { name: shop-v1, port: 80 }\n    canary: { name: shop-v2, \
                  port: 80 }\n    dryRun: false\n";
    fs::write(&file, all.replace("    p99: 300ms\n", &format!("    p99: 300ms\n{status}"))).unwrap();
    let explained = json(&fairway(&["explain", "shop", "-o", "json"], dir.path()));
    let rule = &explained["rules"][0];
    assert_eq!(
        (&rule["rollouts"][0]["weight"], &rule["backends"][1]["weight"]),
        (&25.into(), &25.into()),
        "{rule}"
    );
    fs::write(&file, all.replace("    p99: 300ms\n", "    p99: 300ms\n  dryRun: true\n")).unwrap();
    let text = stdout(&fairway(&["explain", "shop"], dir.path()));
    assert!(text.contains("rollout  Rollout/demo/shop is a dry run"), "{text}");
    // What no rollout can be is a finding.
    fs::write(&file, all.replace("{ weight: 25, pause: 5m }", "{ weight: 5, pause: 5m }")).unwrap();
    let found = fairway(&["validate"], dir.path());
    assert_eq!(found.status.code(), Some(1));
    let text = stdout(&found);
    assert!(
        text.contains("FW0207 Rollout/demo/shop") && text.contains("steps[1].weight: 5 is not more than 5"),
        "{text}"
    );
}
