//! Golden cases: `tests/provision/<case>.in.yaml`, manifests, to `<case>.out.yaml`, what is applied for each Gateway.
//! `UPDATE_GOLDEN=1 cargo test` writes them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::{Object, api};

fn environment() -> Environment {
    Environment {
        image: "example.com/gateway:1".into(),
        waypoint_image: "example.com/waypoint:1".into(),
        controller: "https://fairway-controller.fairway-system.svc:15010".into(),
        trust: "PEM\n".into(),
    }
}

fn resources(text: &str) -> Resources {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    Resources::collect(documents.into_iter().map(|document| -> Object {
        match document["kind"].as_str().unwrap() {
            "GatewayClass" => serde_json::from_value::<api::GatewayClass>(document).unwrap().into(),
            "Gateway" => serde_json::from_value::<api::Gateway>(document).unwrap().into(),
            "FairwayProxy" => serde_json::from_value::<api::FairwayProxy>(document).unwrap().into(),
            other => panic!("{other}"),
        }
    }))
}

fn all(resources: &Resources) -> Vec<(String, Option<Provision>)> {
    let provisions = resources.gateways.iter().map(|gateway| {
        let ports = apply::spec_ports(gateway).collect();
        let provision = parameters_of(gateway, resources)
            .map(|parameters| provision(gateway, &parameters, &ports, &environment()));
        (gateway.name().to_owned(), provision)
    });
    provisions.collect()
}

#[test]
fn what_runs_for_a_gateway_is_as_written_down() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/provision");
    let mut cases = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let Some(case) = path.to_str().unwrap().strip_suffix(".in.yaml") else { continue };
        cases += 1;
        let mut text = String::new();
        for (gateway, provision) in all(&resources(&fs::read_to_string(&path).unwrap())) {
            let (objects, absent) = provision.map(|p| (p.objects, p.absent)).unwrap_or_default();
            let document = json!({ "gateway": gateway, "absent": absent, "apply": objects });
            text.push_str("---\n");
            text.push_str(&serde_saphyr::to_string(&document).unwrap());
        }
        let out = format!("{case}.out.yaml");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&out, &text).unwrap();
        }
        assert_eq!(text, fs::read_to_string(&out).unwrap_or_default(), "{out}: UPDATE_GOLDEN=1 writes it");
    }
    assert!(cases > 3, "{cases} cases");
}

#[test]
fn another_listener_restarts_no_pod() {
    let manifest = |listener: &str| {
        let text = fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/provision/defaults.in.yaml"),
        );
        format!("{}{listener}", text.unwrap())
    };
    let of = |manifest: &str, kind: &str| {
        let objects = all(&resources(manifest)).remove(0).1.unwrap().objects;
        objects.into_iter().find(|object| object["kind"] == kind).unwrap()
    };
    let (before, after) = (manifest(""), manifest("    - { name: more, port: 8443, protocol: HTTPS }\n"));
    assert_eq!(of(&before, "Deployment"), of(&after, "Deployment"));
    assert_ne!(of(&before, "Service"), of(&after, "Service"));
}
