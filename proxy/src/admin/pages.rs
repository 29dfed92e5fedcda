//! What the admin port answers.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use config::quota::Quotas;
use config::quota::view::{Page as LimitsPage, ServerView};
use config::{Key, Rejection, Resource};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde::Serialize;
use tokio::sync::mpsc;

use super::Status;
use super::body::{Page, Pieces};
use super::controller::Controller;
use crate::telemetry::{Format, render};

const INDEX: &str = "\
/livez    200 while the process runs
/readyz   200 once a configuration is served, 503 before and while draining
/metrics  metrics for Prometheus
/config   what is served, as YAML; ?format=json, ?role=NAME
/limits   global rate limits, as JSON; `fairway limits` shows them
";

const TEXT: &str = "text/plain; charset=utf-8";

/// What is shown.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) roles: Vec<Arc<Status>>,
    pub(super) quotas: Option<Quotas>,
    /// Only this host can reach it.
    pub(super) is_loopback: bool,
}

/// Answers one request.
pub(super) async fn answer<B>(site: Arc<Site>, req: &Request<B>) -> Response<Page> {
    if site.is_loopback && !is_local(req.headers().get(header::HOST)) {
        // A page of the web whose name was pointed at 127.0.0.1 (DNS rebinding) may read what it gets from there.
        return text(
            StatusCode::MISDIRECTED_REQUEST,
            "ask for this port as localhost or by its IP address\n",
        );
    }
    if !matches!(*req.method(), Method::GET | Method::HEAD) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match req.uri().path() {
        "/" => text(StatusCode::OK, INDEX),
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" => readyz(&site.roles),
        "/metrics" => metrics(&site, req.headers().get(header::ACCEPT)),
        "/limits" => limits(site).await,
        "/config" => config(site, req.uri().query().unwrap_or_default()).await,
        _ => text(StatusCode::NOT_FOUND, INDEX),
    }
}

/// True for an IP address or `localhost`, with or without a port, and when HTTP/1.0 sends none.
fn is_local(host: Option<&HeaderValue>) -> bool {
    let Some(host) = host else { return true };
    let Ok(host) = host.to_str() else { return false };
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host();
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

fn readyz(roles: &[Arc<Status>]) -> Response<Page> {
    let mut body = String::new();
    let mut status = StatusCode::OK;
    for role in roles {
        let (name, version) = (role.role(), role.version());
        // Writing to a String cannot fail.
        _ = match role.unready() {
            Some(reason) => {
                status = StatusCode::SERVICE_UNAVAILABLE;
                writeln!(body, "{name}: not ready: {reason}")
            }
            None => match role.rejections.lock().len() {
                0 => writeln!(body, "{name}: ready, configuration {version}"),
                rejected => {
                    writeln!(body, "{name}: ready, configuration {version}, {rejected} rejected, see /config")
                }
            },
        };
        for line in Controller::of(&role.telemetry).iter().flat_map(Controller::lines) {
            _ = writeln!(body, "{name}: {line}");
        }
    }
    text(status, body)
}

fn metrics(site: &Site, accept: Option<&HeaderValue>) -> Response<Page> {
    let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    let telemetries: Vec<_> = site.roles.iter().map(|role| role.telemetry.clone()).collect();
    // In pieces: 5,000 routes in use make 15 MB. The scraper's pace holds the writer back.
    let (chunks, pieces) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        let mut pieces = Pieces::new(chunks);
        // Fails only when the scraper went away.
        _ = render(&telemetries, format, &mut pieces).and_then(|()| pieces.send());
    });
    page(StatusCode::OK, format.content_type(), Page::Pieces(pieces))
}

async fn limits(site: Arc<Site>) -> Response<Page> {
    // Every key is looked at.
    let rendered = tokio::task::spawn_blocking(move || {
        let proxies = site.roles.iter().filter_map(|role| role.telemetry.limits()).collect();
        let server = site.quotas.as_ref().map(ServerView::of);
        serde_json::to_string_pretty(&LimitsPage { server, proxies })
    });
    match rendered.await {
        Ok(Ok(body)) => page(StatusCode::OK, "application/json", Page::whole(body)),
        Ok(Err(error)) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn config(site: Arc<Site>, query: &str) -> Response<Page> {
    let mut is_json = false;
    let mut wanted = None;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("format", "json")) => is_json = true,
            Some(("format", "yaml")) => is_json = false,
            Some(("role", role)) => wanted = Some(role.to_owned()),
            _ => return text(StatusCode::BAD_REQUEST, "parameters: format=yaml, format=json, role=NAME\n"),
        }
    }
    let rendered = tokio::task::spawn_blocking(move || {
        let is_wanted = |role: &&Arc<Status>| wanted.as_deref().is_none_or(|wanted| wanted == role.role());
        let roles: Vec<_> = site.roles.iter().filter(is_wanted).map(Served::of).collect();
        if is_json { json(&roles) } else { yaml(&roles) }
    });
    match rendered.await {
        Ok(Ok(body)) if is_json => page(StatusCode::OK, "application/json", Page::whole(body)),
        Ok(Ok(body)) => page(StatusCode::OK, "application/yaml", Page::whole(body)),
        Ok(Err(error)) => text(StatusCode::INTERNAL_SERVER_ERROR, error),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// What one role serves.
#[derive(Debug, Serialize)]
struct Served {
    role: &'static str,
    version: u64,
    /// All that are in force, whatever update they came with.
    rejections: Vec<Rejection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    controller: Option<Controller>,
    #[serde(skip)]
    all: config::Resources,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    key: &'a Key,
    resource: Resource,
}

impl Served {
    fn of(status: &Arc<Status>) -> Self {
        Self {
            role: status.role(),
            version: status.version(),
            rejections: status.rejections.lock().clone(),
            controller: Controller::of(&status.telemetry),
            all: (status.resources)(),
        }
    }
}

fn yaml(roles: &[Served]) -> Result<String, String> {
    let mut out = String::new();
    for served in roles {
        // Comments, so that one role's part is a file a proxy can start from. Writing to a String cannot fail.
        _ = writeln!(out, "# {}: configuration {}", served.role, served.version);
        for line in served.controller.iter().flat_map(Controller::lines) {
            _ = writeln!(out, "# {}: {line}", served.role);
        }
        for Rejection { key, message, .. } in &served.rejections {
            let message = message.replace(char::is_control, " ");
            _ = writeln!(out, "# rejected: {}: {message}", key.to_string().replace(char::is_control, " "));
        }
        out.push_str(&config::encode_documents(&served.all, false)?);
    }
    Ok(out)
}

fn json(roles: &[Served]) -> Result<String, String> {
    #[derive(Serialize)]
    struct Role<'a> {
        #[serde(flatten)]
        served: &'a Served,
        resources: Vec<Document<'a>>,
    }
    let roles: Vec<_> = roles
        .iter()
        .map(|served| {
            let resources = served.all.iter();
            let resources = resources.map(|(key, resource)| Document { key, resource: resource.redacted() });
            Role { served, resources: resources.collect() }
        })
        .collect();
    serde_json::to_string_pretty(&roles).map_err(|e| e.to_string())
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Page> {
    page(status, TEXT, Page::whole(body))
}

fn page(status: StatusCode, content_type: &'static str, page: Page) -> Response<Page> {
    let mut response = Response::new(page);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
