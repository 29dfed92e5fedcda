//! Runs the decision tables of `testdata/routing`: resources and requests in, decisions out.
//!
//! A table lists `resources` (the IR, by key), `backends` that exist, and `requests`. What a request `want`s:
//! `rule` (`namespace/name#rule`), `reply` (status, when nothing is forwarded), `backend`, `split` (how often each backend
//! answers in as many requests), `path` and `headers` the backend sees (`null`: absent), `response` fields the client sees and
//! `mirrors`. What a row does not name is not looked at, save that `reply` or a backend must be as wanted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use config::Key;
use fairway_proxy::rule::{self, Rule};
use fairway_proxy::snapshot::Snapshot;
use fairway_proxy::split::Share;
use http::HeaderMap;
use policies::{Chain, ChainState, Context, Reply, Request, Response, Scheme};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::support::{Plain, bind, compile, messages};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    resources: Map<String, Value>,
    /// `namespace/name:port`.
    #[serde(default)]
    backends: Vec<String>,
    /// For anchors.
    #[serde(default, rename = "let")]
    _let: Value,
    #[serde(default = "default_host")]
    host: String,
    #[serde(default = "default_port")]
    port: u16,
    /// Rejections of the compiler.
    #[serde(default)]
    rejections: Vec<String>,
    requests: Vec<Row>,
}

fn default_host() -> String {
    "example.com".to_owned()
}

fn default_port() -> u16 {
    80
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Row {
    get: Option<String>,
    post: Option<String>,
    /// Any other method, with `path`.
    method: Option<String>,
    path: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    #[serde(default)]
    headers: BTreeMap<String, OneOrMany>,
    /// Fields of the backend's response.
    #[serde(default)]
    upstream: BTreeMap<String, String>,
    want: Want,
}

#[derive(Deserialize, Debug)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Want {
    rule: Option<String>,
    reply: Option<u16>,
    backend: Option<String>,
    split: Option<BTreeMap<String, usize>>,
    path: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    #[serde(default)]
    response: BTreeMap<String, Option<String>>,
    #[serde(default)]
    mirrors: Vec<String>,
}

impl Row {
    fn request(&self, default_host: &str) -> Request {
        let (method, path) = match (&self.get, &self.post, &self.method, &self.path) {
            (Some(path), None, None, None) => ("GET", path),
            (None, Some(path), None, None) => ("POST", path),
            (None, None, Some(method), Some(path)) => (method.as_str(), path),
            _ => panic!("write get, post, or method and path: {self:?}"),
        };
        let mut req = Request::build(method, path.as_bytes(), None).unwrap();
        req.insert_header("host", self.host.as_deref().unwrap_or(default_host)).unwrap();
        for (name, values) in &self.headers {
            let values = match values {
                OneOrMany::One(value) => std::slice::from_ref(value),
                OneOrMany::Many(values) => values,
            };
            for value in values {
                req.append_header(name.clone(), value.as_str()).unwrap();
            }
        }
        req
    }
}

/// What became of a request.
struct Outcome {
    rule: Option<String>,
    req: Request,
    /// The backend, or the status of a reply.
    end: Result<String, u16>,
    response: HeaderMap,
    mirrors: Vec<String>,
}

/// As the engine does it: rule, chain, share, chain, and back.
async fn run(snapshot: &Snapshot, port: u16, host: &str, mut req: Request, upstream: &Row) -> Outcome {
    let table = snapshot.ports.get(&bind(port)).map(|port| &port.routes);
    let found = table.and_then(|table| table.find(&req, host, req.uri.path(), req.uri.query()));
    let Some(found) = found else {
        return Outcome { rule: None, req, end: Err(404), response: HeaderMap::new(), mirrors: Vec::new() };
    };
    let scheme = if port == 443 { Scheme::Https } else { Scheme::Http };
    let mut ctx = Context { scheme, port, matched_prefix: found.matched_prefix, ..Context::default() };
    let (mut of_rule, mut of_share) = (ChainState::default(), ChainState::default());
    let mut share = None;
    let end =
        forward((found.rule, found.chain), &mut req, &mut ctx, &mut of_rule, &mut of_share, &mut share).await;
    let mut rsp =
        Response::build(end.as_ref().err().map_or(200, |reply| reply.status.as_u16()), None).unwrap();
    match &end {
        Ok(_) => {
            upstream.upstream.iter().for_each(|(k, v)| rsp.insert_header(k.clone(), v.as_str()).unwrap())
        }
        Err(reply) => reply.headers.iter().for_each(|(k, v)| drop(rsp.append_header(k.clone(), v.clone()))),
    }
    if let Some(share) = share {
        share.chain.response(&mut rsp, &ctx, &of_share);
    }
    found.chain.response(&mut rsp, &ctx, &of_rule);
    Outcome {
        rule: Some(format!("{}#{}", found.rule.name.route, found.rule.name.rule)),
        req,
        end: end.map_err(|reply| reply.status.as_u16()),
        response: rsp.headers.clone(),
        mirrors: ctx.mirrors.iter().map(|upstream| upstream.name().to_owned()).collect(),
    }
}

async fn forward<'r>(
    (rule, chain): (&'r Rule, &Chain),
    req: &mut Request,
    ctx: &mut Context,
    of_rule: &mut ChainState,
    of_share: &mut ChainState,
    picked: &mut Option<&'r Share>,
) -> Result<String, Reply> {
    let fail = || Reply::new(http::StatusCode::INTERNAL_SERVER_ERROR, "rule_invalid");
    chain.request(req, ctx, of_rule).await?;
    let rule::Action::Forward(split) = &rule.action else { return Err(fail()) };
    let share = split.pick().ok_or_else(fail)?;
    let Ok(cluster) = &share.target else { return Err(fail()) };
    *picked = Some(share);
    share.chain.request(req, ctx, of_share).await?;
    Ok(cluster.backend.to_string())
}

/// What of a row does not hold.
struct Differences(Vec<String>);

impl Differences {
    fn expect<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, got: T, wanted: T) {
        if got != wanted {
            self.0.push(format!("{what}: {got:?} instead of {wanted:?}"));
        }
    }

    fn expect_fields(&mut self, what: &str, fields: &HeaderMap, wanted: &BTreeMap<String, Option<String>>) {
        for (name, wanted) in wanted {
            let values: Vec<&str> =
                fields.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
            let joined = (!values.is_empty()).then(|| values.join(", "));
            self.expect(&format!("{what} {name}"), joined, wanted.clone());
        }
    }
}

async fn check(table: &Table, snapshot: &Snapshot, row: &Row) -> Vec<String> {
    let host = row.host.as_deref().unwrap_or(&table.host);
    let port = row.port.unwrap_or(table.port);
    let got = run(snapshot, port, host, row.request(&table.host), row).await;
    let (want, mut differences) = (&row.want, Differences(Vec::new()));
    if want.rule.is_some() {
        differences.expect("rule", got.rule.as_ref(), want.rule.as_ref());
    }
    if let Some(wanted) = &want.split {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..wanted.values().sum() {
            let end = run(snapshot, port, host, row.request(&table.host), row).await.end;
            *counts.entry(end.unwrap_or_else(|status| status.to_string())).or_default() += 1;
        }
        differences.expect("split", &counts, wanted);
    } else {
        let wanted = match (want.reply, &want.backend) {
            (Some(status), None) => Err(status),
            (None, Some(backend)) => Ok(backend.clone()),
            _ => panic!("want a reply, a backend or a split: {row:?}"),
        };
        differences.expect("end", got.end, wanted);
    }
    if want.path.is_some() {
        let path = got.req.uri.path_and_query().map(http::uri::PathAndQuery::as_str);
        differences.expect("path", path, want.path.as_deref());
    }
    differences.expect_fields("request field", &got.req.headers, &want.headers);
    differences.expect_fields("response field", &got.response, &want.response);
    differences.expect("mirrors", &got.mirrors, &want.mirrors);
    differences.0
}

fn resources(table: &Table) -> Plain {
    let backends = table.backends.iter().map(|name| {
        let (namespace, name) = name.split_once('/').unwrap();
        (format!("Backend/{namespace}/{name}"), Value::Object(Map::new()))
    });
    let written = table.resources.iter().map(|(key, value)| (key.clone(), value.clone()));
    backends
        .chain(written)
        .map(|(key, mut value)| {
            let key: Key = key.parse().unwrap();
            value["kind"] = key.kind.as_str().into();
            let resource = serde_json::from_value(value).unwrap_or_else(|e| panic!("{key}: {e}"));
            (key, resource)
        })
        .collect()
}

#[test]
fn every_decision_table_holds() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/routing");
    let (mut rows, mut failures) = (0, Vec::new());
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap();
        let value: Value = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let table: Table = serde_json::from_value(value).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (snapshot, rejections) = compile(resources(&table));
        assert_eq!(messages(&rejections), table.rejections, "{name}");
        for (at, row) in table.requests.iter().enumerate() {
            rows += 1;
            let differences = runtime.block_on(check(&table, &snapshot, row));
            failures.extend(
                differences.into_iter().map(|difference| format!("{name}: requests[{at}]: {difference}")),
            );
        }
    }
    assert!(failures.is_empty(), "{} of {rows} rows:\n{}", failures.len(), failures.join("\n"));
    assert!(rows >= 150, "only {rows} rows");
}
