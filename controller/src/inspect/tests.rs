//! Golden cases: `tests/inspect/<case>.in.yaml`, a heading and objects of a cluster, to `<case>.out.yaml`, what is found
//! and shown. `UPDATE_GOLDEN=1 cargo test` writes them.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::cluster::{BUNDLE_VERSION, WATCHED};
use crate::install::{self, Installation};

/// What a case begins with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Heading {
    stage: String,
    now: String,
    version: String,
    /// Version of Gateway API's CRDs; without, there are none.
    gateway_api: Option<String>,
    /// Whether everything `fairway install` prints is there.
    installed: bool,
    /// Only this namespace is shown.
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    unreadable: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    forbidden: Vec<String>,
    #[serde(default)]
    certificates: Vec<Shown>,
}

/// A Secret with a certificate.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    namespace: String,
    name: String,
    key: String,
    names: Vec<String>,
    begins: String,
    ends: String,
}

fn seconds(text: &str) -> i64 {
    text.parse::<k8s_openapi::jiff::Timestamp>().unwrap().as_second()
}

fn secret(shown: &Shown) -> Value {
    let mut params = CertificateParams::new(shown.names.clone()).unwrap();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since = |text| std::time::Duration::from_secs(seconds(text).try_into().unwrap());
    params.not_before = epoch + since(&shown.begins);
    params.not_after = epoch + since(&shown.ends);
    let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let data = serde_json::to_value(k8s_openapi::ByteString(pem.into_bytes())).unwrap();
    json!({ "apiVersion": "v1", "kind": "Secret", "data": { &shown.key: data },
        "metadata": { "name": shown.name, "namespace": shown.namespace } })
}

fn gateway_api_crds(version: &str) -> impl Iterator<Item = Value> {
    let watched = WATCHED.iter().map(|kind| (kind.resource)());
    watched.filter(|(group, _)| group == "gateway.networking.k8s.io").map(move |(group, plural)| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.{group}"), "annotations": {
                BUNDLE_VERSION: version, "gateway.networking.k8s.io/channel": "standard",
            } },
            "spec": { "group": group, "names": { "plural": plural } },
        })
    })
}

fn read(text: &str) -> (Cluster, Heading) {
    let mut documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    let heading: Heading = serde_json::from_value(documents.remove(0)).unwrap();
    let mut objects: Vec<Value> = heading.certificates.iter().map(secret).collect();
    objects.extend(heading.gateway_api.iter().flat_map(|version| gateway_api_crds(version)));
    if heading.installed {
        let is_replaced = |object: &Value| {
            let name = |object: &Value| (object["kind"].clone(), object["metadata"]["name"].clone());
            documents.iter().any(|document| name(document) == name(object))
        };
        let all = install::crds().into_iter().chain(install::objects(&Installation::default()));
        objects.extend(all.filter(|object| !is_replaced(object)));
    }
    objects.extend(documents);
    let cluster = Cluster {
        namespace: "fairway-system".into(),
        now: seconds(&heading.now),
        version: heading.version.clone(),
        objects,
        unreadable: heading.unreadable.clone(),
        forbidden: heading.forbidden.clone(),
    };
    (cluster, heading)
}

#[test]
fn what_is_found_in_a_cluster_is_as_written_down() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inspect");
    let mut cases = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let Some(case) = path.to_str().unwrap().strip_suffix(".in.yaml") else { continue };
        cases += 1;
        let (cluster, heading) = read(&fs::read_to_string(&path).unwrap());
        let (stage, overview) = match heading.stage.as_str() {
            "before" => (Stage::Before, None),
            _ => (Stage::Installed, Some(overview(&cluster, heading.namespace.as_deref()))),
        };
        let mut text = serde_saphyr::to_string(&check(&cluster, stage)).unwrap();
        if let Some(overview) = overview {
            text.push_str("---\n");
            text.push_str(&serde_saphyr::to_string(&overview).unwrap());
        }
        let out = format!("{case}.out.yaml");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&out, &text).unwrap();
        }
        assert_eq!(text, fs::read_to_string(&out).unwrap_or_default(), "{out}: UPDATE_GOLDEN=1 writes it");
    }
    assert!(cases > 5, "{cases} cases");
}

#[test]
fn every_check_is_documented() {
    let docs = include_str!("../../../docs/cli.md");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inspect");
    let mut seen = std::collections::BTreeSet::new();
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_str().unwrap().ends_with(".in.yaml") {
            continue;
        }
        let (cluster, heading) = read(&fs::read_to_string(&path).unwrap());
        let stage = if heading.stage == "before" { Stage::Before } else { Stage::Installed };
        seen.extend(check(&cluster, stage).lines().map(|line| line.check));
    }
    assert!(seen.len() > 20, "{seen:?}");
    for name in seen {
        assert!(docs.contains(&format!("`{name}`")), "docs/cli.md lacks {name}");
    }
}

/// A captured Service in a cluster: its slices, those of its shadow, and ours. `steered`: Kubernetes' slices step aside.
fn captured(steered: bool, ready: bool) -> Cluster {
    use serde_json::json;
    let slice = |name: &str, labels: serde_json::Value, port: u16, conditions: serde_json::Value| {
        json!({ "kind": "EndpointSlice", "metadata": { "name": name, "namespace": "shop", "labels": labels,
            "annotations": { "fairway.dev/waypoint": "shop/waypoint" } },
            "ports": [{ "name": "http", "port": port }],
            "endpoints": [{ "addresses": [format!("10.0.0.{port}")], "conditions": conditions }] })
    };
    let labels = |service: &str, manager: &str| json!({ "kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": manager });
    let kubernetes = "endpointslice-controller.k8s.io";
    Cluster {
        objects: vec![
            json!({ "kind": "Service", "metadata": { "name": "cart", "namespace": "shop", "labels":
                { "fairway.dev/captured": "shop.waypoint", "fairway.dev/capture-failure-mode": "closed" } },
                "spec": { "ports": [{ "name": "http", "port": 80 }, { "name": "new", "port": 81 },
                    { "name": "dns", "port": 53, "protocol": "UDP" }] },
                "status": { "conditions": [{ "type": "fairway.dev/WaypointBound", "status": "True", "reason": "Captured",
                    "message": "m" }] } }),
            json!({ "kind": "Service", "metadata": { "name": "cart-mesh-1", "namespace": "shop",
                "labels": { "fairway.dev/shadow-of": "cart" } } }),
            json!({ "kind": "Service", "metadata": { "name": "alone", "namespace": "shop" } }),
            slice("a", labels("cart", kubernetes), 1, json!({ "ready": !steered })),
            slice("b", labels("cart-mesh-1", kubernetes), 2, json!({ "ready": true })),
            slice("c", labels("cart", "waypoint.fairway.dev"), 3, json!({ "ready": ready })),
        ],
        ..Cluster::default()
    }
}

#[test]
fn a_captured_service_tells_what_keeps_clients_from_its_waypoint() {
    let rows = mesh(&captured(true, true), None);
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.waypoint.as_str(), row.waypoint_endpoints, row.pods), ("shop/waypoint", 1, 1));
    assert_eq!((row.reason.as_str(), row.failure_mode.as_str()), ("Captured", "closed"));
    assert_eq!(row.problems, ["port 81 leads nowhere"]);
    let problems = |cluster: &Cluster| mesh(cluster, Some("shop")).remove(0).problems.join("; ");
    assert!(problems(&captured(false, true)).starts_with("1 pods are reached around the waypoint"));
    assert!(
        problems(&captured(true, false))
            .starts_with("no pod of the waypoint is ready: clients reach nothing")
    );
    let mut gone = captured(true, true);
    gone.objects.remove(1);
    assert!(problems(&gone).starts_with("its headless Service is gone"));
    assert_eq!(mesh(&captured(true, true), Some("else")), []);
}
