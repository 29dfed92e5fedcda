//! Requests beside golden cases of the translator, `controller/testdata/<area>/<case>.requests.yaml`: from manifests to
//! decisions.

use std::fs;
use std::path::{Path, PathBuf};

use controller::{Object, Resources as Objects, Translation, api, translate};
use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::input::local_options;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// Of a Gateway's listener.
    #[serde(default = "any_port")]
    port: u16,
    /// Or `namespace/name:port` of a Service with a waypoint.
    service: Option<String>,
    /// Path of a GET,
    get: Option<String>,
    /// or of a CORS preflight, with the origin it comes from.
    preflight: Option<String>,
    origin: Option<String>,
    #[serde(default)]
    headers: Vec<String>,
    /// `status reason`, or the backend.
    want: String,
}

const fn any_port() -> u16 {
    80
}

impl Row {
    fn asked(&self) -> Asked {
        let (method, path) = match (&self.get, &self.preflight) {
            (Some(path), None) => ("GET", path),
            (None, Some(path)) => ("OPTIONS", path),
            _ => panic!("write get or preflight: {self:?}"),
        };
        let mut words = vec![method.to_owned(), format!("http://any.example:{}{path}", self.port)];
        let origin = self.origin.iter().map(|origin| format!("Origin: {origin}"));
        let preflight = self.preflight.iter().map(|_| "Access-Control-Request-Method: POST".to_owned());
        for field in origin.chain(preflight).chain(self.headers.iter().cloned()) {
            words.extend(["-H".to_owned(), field]);
        }
        Asked::parse(&words).unwrap()
    }
}

/// Lenient, as golden cases are read: what an API server would refuse must not harm anybody either.
fn objects(text: &str) -> Vec<Object> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    let read = |document: Value| -> Object {
        macro_rules! kinds {
            ($($kind:literal => $type:ident),*) => {
                match document["kind"].as_str().unwrap_or_default() {
                    $( $kind => serde_json::from_value::<api::$type>(document).unwrap().into(), )*
                    other => panic!("kind {other:?}"),
                }
            };
        }
        kinds! {
            "GatewayClass" => GatewayClass, "Gateway" => Gateway, "ListenerSet" => ListenerSet,
            "HTTPRoute" => HttpRoute, "GRPCRoute" => GrpcRoute, "TCPRoute" => TcpRoute,
            "ReferenceGrant" => ReferenceGrant, "SecurityPolicy" => SecurityPolicy,
            "BackendTrafficPolicy" => BackendTrafficPolicy, "Service" => Service, "EndpointSlice" => EndpointSlice, "Pod" => Pod, "Secret" => Secret, "ConfigMap" => ConfigMap, "Namespace" => Namespace
        }
    };
    documents.into_iter().filter(|document| !document.is_null()).map(read).collect()
}

fn translation(texts: &[&str]) -> Translation {
    translate(&Objects::collect(texts.iter().flat_map(|text| objects(text))), &local_options())
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../controller/testdata")
}

#[test]
fn every_request_beside_a_golden_case_ends_as_it_says() {
    let base = fs::read_to_string(testdata().join("base.yaml")).unwrap();
    let (mut rows, mut wrong) = (0, Vec::new());
    for area in
        fs::read_dir(testdata()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        for file in fs::read_dir(area).unwrap().map(|entry| entry.unwrap().path()) {
            let Some(case) = file.to_str().unwrap().strip_suffix(".requests.yaml") else { continue };
            let input = fs::read_to_string(format!("{case}.in.yaml")).unwrap();
            let translation = translation(&[&base, &input]);
            let table: Vec<Row> = serde_saphyr::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
            for row in table {
                rows += 1;
                let traced = trace(&row.asked(), row.service.as_deref(), &translation.resources);
                let end = traced.as_ref().map_or_else(ToString::to_string, |traced| traced.end.clone());
                if end != row.want {
                    wrong.push(format!("{case}: {row:?}\n    {end}: {traced:#?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows >= 50, "only {rows} rows");
}

#[test]
fn of_a_thousand_policies_the_broken_one_refuses_and_the_others_hold() {
    let base = fs::read_to_string(testdata().join("base.yaml")).unwrap();
    let mut all = vec![base];
    for at in 0..1000 {
        let says = match at {
            500 => "ofTomorrow: {}".to_owned(),
            _ => format!("cors: {{allowOrigins: ['https://{at}.example']}}"),
        };
        all.push(format!(
            "---\nkind: HTTPRoute\nmetadata: {{name: r{at}, namespace: shop}}\nspec: {{parentRefs: [{{name: edge, namespace: \
             infra}}], rules: [{{matches: [{{path: {{value: /r{at}}}}}], backendRefs: [{{name: cart, port: 80}}]}}]}}\n\
             ---\nkind: SecurityPolicy\nmetadata: {{name: p{at}, namespace: shop}}\nspec: {{targetRefs: [{{group: \
             gateway.networking.k8s.io, kind: HTTPRoute, name: r{at}}}], {says}}}\n"
        ));
    }
    let texts: Vec<&str> = all.iter().map(String::as_str).collect();
    let resources = translation(&texts).resources;
    let update = Update { version: 1, upserts: resources, removes: Vec::new() };
    let (snapshot, rejections) = Compiler::new(Arc::new(Telemetry::default())).apply(update);
    assert_eq!(rejections.len(), 1);
    assert_eq!(rejections[0].key.to_string(), "SecurityPolicy/shop/p500");
    let end = |at: usize, origin: usize| {
        let row = Row {
            port: 80,
            service: None,
            get: None,
            preflight: Some(format!("/r{at}")),
            origin: Some(format!("https://{origin}.example")),
            headers: Vec::new(),
            want: String::new(),
        };
        decide(&row.asked(), 80, &snapshot, &mut Vec::new()).unwrap()
    };
    for at in 0..1000 {
        let (own, other) = (end(at, at), end(at, at + 1));
        if at == 500 {
            assert_eq!((&*own, &*other), ("500 security_policy_invalid", "500 security_policy_invalid"));
        } else {
            assert_eq!((&*own, &*other), ("200 cors_preflight", "403 cors_origin_denied"), "{at}");
        }
    }
}

#[test]
fn every_decision_is_told_in_order() {
    let base = fs::read_to_string(testdata().join("base.yaml")).unwrap();
    let case = fs::read_to_string(testdata().join("security/levels.in.yaml")).unwrap();
    let resources = translation(&[&base, &case]).resources;
    let words = ["GET", "http://any.example:8081/shop", "-H", "Origin: https://route.example"];
    let asked = Asked::parse(&words.map(str::to_owned)).unwrap();
    let traced = trace(&asked, None, &resources).unwrap();
    let steps = [
        "listener  infra/main/one",
        "match     HTTPRoute/shop/shop#1",
        "policy    cors of the rule: passes",
        "backend   shop/cart:80",
    ];
    assert_eq!(traced.steps, steps);
    assert_eq!(traced.end, "shop/cart:80");
}

#[test]
fn what_is_no_request_is_told() {
    let parse = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Asked::parse(&words).map(|_| ()).map_err(|error| format!("{error:#}"))
    };
    assert!(parse(&["GET", "http://a/"]).is_ok());
    for words in [
        &["GET"][..],
        &["GET", "a"],
        &["GET", "ftp://a/"],
        &["GET", "http://a/", "-H"],
        &["GET", "http://a/", "x"],
    ] {
        assert!(parse(words).is_err(), "{words:?}");
    }
}
