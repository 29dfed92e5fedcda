//! Policy + request → verdict, as tables in `testdata/<policy>/*.yaml`.
//!
//! A row names only what it gives and what changes: fields, target and host it does not mention must arrive as they
//! were sent, so an unwanted change fails every row.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read its table has failed")]

#[path = "golden/body.rs"]
mod body;
#[path = "golden/caller.rs"]
mod caller;
mod service;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task;

use fairway_policies::{
    BackendRef, Chain, ChainState, Context, Duration, Incoming, Inherit as _, Invalid, Lookup, Material, Net,
    ObjectRef, Parts as _, PolicySet, Reply, Request, Response, Scheme, SecuritySet, TrafficSet, Upstream,
};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Uri};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Table {
    /// Policies of the rows that name none.
    #[serde(default)]
    policies: Policies,
    /// What is in Secrets and ConfigMaps, by `Kind namespace/name` and key.
    #[serde(default)]
    objects: Objects,
    #[serde(default)]
    rows: Vec<Row>,
    /// Policies that must not compile.
    #[serde(default)]
    invalid: Vec<Broken>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Row {
    it: String,
    policies: Option<Policies>,
    /// `METHOD scheme://host[:port]/target`.
    send: String,
    /// The listener's port, when Host does not say it.
    port: Option<u16>,
    /// Send it as HTTP/2: the authority is in the URI, there is no Host.
    #[serde(default)]
    h2: bool,
    /// The path prefix the route matched.
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    entropy: u64,
    /// Address of the client.
    client: Option<IpAddr>,
    /// What a service that is asked says.
    service: Option<service::Says>,
    /// What is known of the caller.
    #[serde(default)]
    caller: caller::CallerRow,
    #[serde(default)]
    headers: Vec<String>,
    /// Body of the request.
    body: Option<String>,
    /// Fields of the backend's response.
    #[serde(default)]
    backend: Vec<String>,
    #[serde(default)]
    want: Want,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Want {
    /// `status reason`; absent: forwarded.
    reply: Option<String>,
    target: Option<String>,
    host: Option<String>,
    request: Option<Vec<String>>,
    response: Option<Vec<String>>,
    timeouts: Option<String>,
    retry: Option<String>,
    #[serde(default)]
    mirrors: Vec<String>,
    /// What the chain learned: `client NAME` of an API key, `user NAME`.
    #[serde(default)]
    caller: Vec<String>,
    /// Reasons of refusals in shadow mode.
    #[serde(default)]
    would_deny: Vec<String>,
    /// Body of a refusal.
    body: Option<String>,
    /// What the service is asked: `backend METHOD target`, and fields by name.
    asked: Option<Vec<String>>,
    /// The rule that refused, or would have.
    denied_by: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Broken {
    policies: Policies,
    says: String,
}

type Objects = BTreeMap<String, BTreeMap<String, String>>;

/// Those of a rule, of a SecurityPolicy and of a BackendTrafficPolicy, side by side.
#[derive(Default)]
struct Policies {
    native: PolicySet,
    security: SecuritySet,
    traffic: TrafficSet,
}

impl<'de> Deserialize<'de> for Policies {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = serde_json::Map::deserialize(deserializer)?;
        let (native, attached): (_, serde_json::Map<_, _>) =
            all.into_iter().partition(|(name, _)| PolicySet::NAMES.contains(&&*snake(name)));
        let (traffic, security) =
            attached.into_iter().partition(|(name, _)| TrafficSet::NAMES.contains(&&*snake(name)));
        let read = |fields| serde_json::Value::Object(fields);
        Ok(Self {
            native: serde_json::from_value(read(native)).map_err(serde::de::Error::custom)?,
            security: serde_json::from_value(read(security)).map_err(serde::de::Error::custom)?,
            traffic: serde_json::from_value(read(traffic)).map_err(serde::de::Error::custom)?,
        })
    }
}

impl Policies {
    fn compile(&self, lookup: &dyn Lookup) -> Result<Chain, (&'static str, Invalid)> {
        let (chain, mut guards) = (self.native.compile(lookup)?, self.security.compile(lookup)?);
        guards.inherit(&self.traffic.compile(lookup)?);
        guards.inherit(&chain.guards());
        Ok(chain.guarded(guards))
    }

    /// Backends and objects that policies say they point at: what the translator checks grants of, and publishes.
    fn references(&self) -> BTreeSet<String> {
        let (native, security, traffic) = (&self.native, &self.security, &self.traffic);
        let backends = native.backends().into_iter().chain(security.backends()).chain(traffic.backends());
        let objects = native.objects().into_iter().chain(security.objects()).chain(traffic.objects());
        backends.map(ToString::to_string).chain(objects.map(ToString::to_string)).collect()
    }
}

fn snake(name: &str) -> String {
    name.chars().fold(String::new(), |mut out, c| {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
        out
    })
}

/// Has every backend, save those in the namespace `nowhere`, and these objects.
struct Scene<'t> {
    objects: &'t Objects,
    /// What was looked up.
    asked: RefCell<BTreeSet<String>>,
}

impl<'t> Scene<'t> {
    fn new(objects: &'t Objects) -> Self {
        Self { objects, asked: RefCell::default() }
    }
}

impl Lookup for Scene<'_> {
    fn backend(&self, backend: &BackendRef) -> Option<Arc<dyn Upstream>> {
        self.asked.borrow_mut().insert(backend.to_string());
        (backend.namespace != "nowhere").then(|| Arc::new(Backend(backend.to_string())) as Arc<dyn Upstream>)
    }

    fn material(&self, object: &ObjectRef) -> Option<Arc<Material>> {
        self.asked.borrow_mut().insert(object.to_string());
        let entries = self.objects.get(&object.to_string())?;
        let entries = entries.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
        Some(Arc::new(Material(entries)))
    }
}

#[derive(Debug)]
struct Backend(String);

impl Upstream for Backend {
    fn name(&self) -> &str {
        &self.0
    }
}

#[test]
fn every_row_of_every_table_holds() {
    let (mut rows, mut failures) = (0, String::new());
    for file in tables() {
        let text = std::fs::read_to_string(&file).unwrap();
        let table: Table =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        rows += table.rows.len() + table.invalid.len();
        for row in &table.rows {
            let policies = row.policies.as_ref().unwrap_or(&table.policies);
            for difference in run(policies, &Scene::new(&table.objects), row) {
                writeln!(failures, "{}: {}: {difference}", file.display(), row.it).unwrap();
            }
        }
        for Broken { policies, says } in &table.invalid {
            let said = match policies.compile(&Scene::new(&table.objects)) {
                Ok(_) => "compiles".into(),
                Err((policy, invalid)) => format!("{policy}: {invalid}"),
            };
            if said != *says {
                writeln!(failures, "{}: want {says}\n     got  {said}", file.display()).unwrap();
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
    assert!(rows >= 60, "only {rows} rows were found");
}

#[test]
fn policies_look_up_what_they_say_they_point_at_and_nothing_else() {
    let mut seen = BTreeSet::new();
    for file in tables() {
        let text = std::fs::read_to_string(&file).unwrap();
        let table: Table = serde_saphyr::from_str(&text).unwrap();
        for policies in table.rows.iter().map(|row| row.policies.as_ref().unwrap_or(&table.policies)) {
            let scene = Scene::new(&table.objects);
            policies.compile(&scene).unwrap();
            let asked = scene.asked.into_inner();
            assert_eq!(asked, policies.references(), "{}", file.display());
            seen.extend(asked);
        }
    }
    let kinds = ["Secret ", "authz/"];
    assert!(kinds.iter().all(|kind| seen.iter().any(|name| name.starts_with(kind))), "{seen:?}");
}

#[test]
fn every_policy_has_a_table() {
    let names = PolicySet::NAMES.iter().chain(SecuritySet::NAMES).chain(TrafficSet::NAMES);
    let policies: BTreeSet<String> = names.map(|name| (*name).to_owned()).collect();
    let folders: BTreeSet<String> = tables()
        .iter()
        .map(|file| file.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(folders, policies, "each policy has a folder of its name in testdata, and nobody else");
}

fn tables() -> Vec<PathBuf> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let mut files: Vec<PathBuf> = list(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata"))
        .iter()
        .flat_map(|folder| list(folder))
        .collect();
    files.sort();
    files
}

/// What differs from what the row wants.
fn run(policies: &Policies, scene: &Scene<'_>, row: &Row) -> Vec<String> {
    let (method, url) = row.send.split_once(' ').unwrap();
    let url: Uri = url.parse().unwrap();
    let scheme = if url.scheme_str() == Some("https") { Scheme::Https } else { Scheme::Http };
    let sent_target = url.path_and_query().unwrap().as_str();
    let sent_host = url.authority().unwrap().as_str();

    let mut req = Request::build(method, sent_target.as_bytes(), None).unwrap();
    if row.h2 {
        req.set_uri(url.clone());
    } else {
        req.insert_header("Host", sent_host).unwrap();
    }
    for (name, value) in row.headers.iter().map(|line| field(line)) {
        req.append_header(name.to_owned(), value).unwrap();
    }
    let mut ctx = Context {
        scheme,
        port: row.port.or(url.port_u16()).unwrap_or(scheme.default_port()),
        matched_prefix: row.prefix.trim_end_matches('/').len(),
        entropy: row.entropy,
        client: row.client,
        caller: row.caller.caller(),
        ..Context::default()
    };
    let service = row.service.clone().map(service::Service::new);
    ctx.incoming = row.body.clone().map(|body| Arc::new(body::Body(body.into())) as Arc<dyn Incoming>);
    ctx.net = service.clone().map(|service| service as Arc<dyn Net>);
    let chain = policies.compile(scene).unwrap_or_else(|invalid| panic!("{}: {invalid:?}", row.it));
    let mut state = ChainState::default();
    let reply = request(&chain, &mut req, &mut ctx, &mut state).map(|reply| ctx.denials.dress(reply));
    // What `body` tells of a refusal.
    let is_dressed = reply.as_ref().is_some_and(|reply| reply.status.as_u16() >= 400);

    let mut rsp = Response::build(reply.as_ref().map_or(200, |reply| reply.status.as_u16()), None).unwrap();
    match &reply {
        Some(reply) => {
            for (name, value) in &reply.headers {
                if !is_dressed || name != CONTENT_TYPE {
                    rsp.append_header(name, value).unwrap();
                }
            }
        }
        None => {
            for (name, value) in row.backend.iter().map(|line| field(line)) {
                rsp.append_header(name.to_owned(), value).unwrap();
            }
        }
    }
    chain.response(&mut rsp, &ctx, &state);
    // Panics when the map of name cases is out of step.
    rsp.map(|_, _| Ok(())).unwrap();
    req.map(|_, _| Ok(())).unwrap();

    let mut differences = Differences(Vec::new());
    let want = &row.want;
    if want.asked.is_some() {
        differences.check("asked", &want.asked, &service.map(|service| service.asked()));
    }
    if want.body.is_some() {
        differences.check("body", &want.body, &reply.as_ref().map(body));
    }
    let replied = reply.map(|reply| format!("{} {}", reply.status.as_u16(), reply.reason));
    differences.check("reply", &want.reply, &replied);
    let target = req.uri.path_and_query().unwrap().as_str();
    differences.check("target", want.target.as_deref().unwrap_or(sent_target), target);
    let want_host = want.host.as_deref().unwrap_or(sent_host);
    if let Some(authority) = req.uri.authority() {
        differences.check("authority", want_host, authority.as_str());
    }
    if let Some(host) = req.headers.get("host") {
        differences.check("host", want_host, host.to_str().unwrap());
    }
    let want_request = want.request.as_ref().unwrap_or(&row.headers);
    differences.check("request", &lines(want_request), &fields(&req.headers));
    let default_response: &[String] = if want.reply.is_some() { &[] } else { &row.backend };
    let want_response = want.response.as_deref().unwrap_or(default_response);
    differences.check("response", &lines(want_response), &fields(&rsp.headers));
    differences.check("timeouts", &want.timeouts, &timeouts(&ctx));
    differences.check("retry", &want.retry, &retry(&ctx));
    let mirrors: Vec<String> = ctx.mirrors.iter().map(|mirror| mirror.name().to_owned()).collect();
    differences.check("mirrors", &want.mirrors, &mirrors);
    differences.check_learned(row, &ctx);
    differences.0
}

struct Differences(Vec<String>);

impl Differences {
    /// What policies told each other of the caller, and of refusals.
    fn check_learned(&mut self, row: &Row, ctx: &Context) {
        let want = &row.want;
        // What a row gives the chain it need not tell again.
        if !row.caller.is_given() {
            self.check("caller", &want.caller, &caller(ctx));
        }
        let would_deny: Vec<String> = ctx.would_deny.iter().map(|reason| (*reason).to_owned()).collect();
        self.check("would deny", &want.would_deny, &would_deny);
        if want.denied_by.is_some() {
            self.check("denied by", &want.denied_by, &ctx.denied_by.as_deref().map(str::to_owned));
        }
    }

    fn check<T: PartialEq + std::fmt::Debug + ?Sized>(&mut self, what: &str, want: &T, got: &T) {
        if want != got {
            self.0.push(format!("{what}\n    want {want:?}\n    got  {got:?}"));
        }
    }
}

/// Runs the request side; no policy of a table waits for anything.
fn request(chain: &Chain, req: &mut Request, ctx: &mut Context, state: &mut ChainState) -> Option<Reply> {
    match pin!(chain.request(req, ctx, state)).poll(&mut task::Context::from_waker(task::Waker::noop())) {
        task::Poll::Ready(verdict) => verdict.err(),
        task::Poll::Pending => panic!("a policy waits"),
    }
}

fn field(line: &str) -> (&str, &str) {
    line.split_once(": ").unwrap_or_else(|| panic!("{line:?} is not `Name: value`"))
}

/// Sorted by name in lower case; values of one name keep their order.
fn lines(lines: &[String]) -> Vec<String> {
    let mut lines: Vec<(String, &str)> = lines
        .iter()
        .map(|line| field(line))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    lines.sort_by(|(a, _), (b, _)| a.cmp(b));
    lines.into_iter().map(|(name, value)| format!("{name}: {value}")).collect()
}

fn fields(headers: &HeaderMap) -> Vec<String> {
    let fields: Vec<String> = headers
        .iter()
        .filter(|(name, _)| *name != "host")
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines(&fields)
}

/// `content-type body` of a refusal.
fn body(reply: &Reply) -> String {
    let form = reply.headers.iter().find(|(name, _)| name == CONTENT_TYPE);
    let form = form.map_or("", |(_, form)| form.to_str().unwrap());
    format!("{form} {}", std::str::from_utf8(&reply.body).unwrap()).trim().to_owned()
}

fn caller(ctx: &Context) -> Vec<String> {
    let client = ctx.caller.api_client.iter().map(|name| format!("client {name}"));
    client.chain(ctx.caller.user.iter().map(|name| format!("user {name}"))).collect()
}

/// `request, attempt`, with `none` for no limit; absent when neither is limited.
fn timeouts(ctx: &Context) -> Option<String> {
    let limit =
        |limit: Option<std::time::Duration>| limit.map_or("none".into(), |limit| Duration(limit).to_string());
    let limits = ctx.timeouts;
    (limits.request.is_some() || limits.attempt.is_some())
        .then(|| format!("{}, {}", limit(limits.request), limit(limits.attempt)))
}

/// `attempts × codes after backoff`.
fn retry(ctx: &Context) -> Option<String> {
    let plan = ctx.retry.as_ref()?;
    Some(format!("{} x {:?} after {}", plan.attempts, plan.codes, Duration(plan.backoff)))
}
