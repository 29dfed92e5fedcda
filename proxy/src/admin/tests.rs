use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::{Certificate, Endpoints, Key, Kind, Redacted, Rejection, Resource, Resources, Severity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Admin, Error, Exposure, Status, serve};
use crate::telemetry::{Settings, Telemetry};

const SECRET: &str = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";

fn resources() -> Resources {
    let certificate = Certificate { chain: "public".to_owned(), key: Redacted::new(SECRET) };
    [
        (Key::new(Kind::Certificate, "shop", "tls"), Resource::Certificate(certificate)),
        (Key::new(Kind::Endpoints, "shop", "cart:80"), Resource::Endpoints(Endpoints::default())),
    ]
    .map(|(key, resource)| (key, Arc::new(resource)))
    .into()
}

fn status(role: &'static str) -> Arc<Status> {
    Status::new(Telemetry::new(role, &Settings::default()).unwrap(), resources)
}

async fn start(roles: &[Arc<Status>]) -> Admin {
    serve("127.0.0.1:0".parse().unwrap(), Exposure::Loopback, roles.to_vec(), None).await.unwrap()
}

/// Sends bytes, reads until the other side closes: head and body.
async fn send(address: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A connection refused for its size may be reset after the answer.
    _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}

async fn get(admin: &Admin, target: &str) -> (String, String) {
    send(admin.address(), &format!("GET {target} HTTP/1.0\r\n\r\n")).await
}

fn code(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn a_role_is_ready_once_a_configuration_is_applied_and_until_it_drains() {
    let (gateway, waypoint) = (status("gateway"), status("waypoint"));
    let admin = start(&[gateway.clone(), waypoint.clone()]).await;
    let ready = async || {
        let (head, body) = get(&admin, "/readyz").await;
        (code(&head).to_owned(), body)
    };
    let (code, body) = ready().await;
    assert_eq!(code, "503");
    assert_eq!(body.matches("not ready: no configuration is applied yet\n").count(), 2, "{body}");
    gateway.applied(7, &[]);
    assert_eq!(ready().await.0, "503");
    let rejection = Rejection {
        key: Key::new(Kind::HttpRoute, "shop", "cart"),
        severity: Severity::Refused,
        message: "m".to_owned(),
    };
    waypoint.applied(8, &[rejection]);
    let (code, body) = ready().await;
    let want = "gateway: ready, configuration 7\nwaypoint: ready, configuration 8, 1 rejected, see /config\n";
    assert_eq!((code.as_str(), body.as_str()), ("200", want));
    gateway.draining();
    let (code, body) = ready().await;
    assert_eq!(code, "503");
    assert!(body.starts_with("gateway: not ready: draining\nwaypoint: ready"), "{body}");
    assert_eq!(self::code(&get(&admin, "/livez").await.0), "200");
}

#[tokio::test]
async fn metrics_of_every_role_are_served_in_the_format_asked_for() {
    let (gateway, waypoint) = (status("gateway"), status("waypoint"));
    gateway.applied(7, &[]);
    waypoint.applied(8, &[]);
    let admin = start(&[gateway, waypoint]).await;
    let (head, body) = get(&admin, "/metrics").await;
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(body.contains("fairway_config_version{role=\"gateway\"} 7\n"), "{body}");
    assert!(body.contains("fairway_config_version{role=\"waypoint\"} 8\n"), "{body}");
    assert_eq!(body.matches("# TYPE fairway_config_version ").count(), 1);
    let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                   accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.1\r\n\r\n";
    let (head, body) = send(admin.address(), request).await;
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{head}"
    );
    // Chunked: the last line, and the last chunk.
    assert!(body.ends_with("# EOF\n\r\n0\r\n\r\n"), "{body}");
}

#[tokio::test]
async fn long_metrics_arrive_whole() {
    let gateway = status("gateway");
    for route in 0..2000 {
        let rule =
            crate::rule::RuleName { kind: "HTTPRoute", route: format!("a/{route}").into(), rule: "0".into() };
        let stats = gateway.telemetry.route(&rule);
        gateway.telemetry.finish(&crate::telemetry::Record {
            method: "GET",
            host: "",
            path: "",
            status: 200,
            stats: Some(&stats),
            course: crate::telemetry::Course {
                rule: Some(&rule),
                ..crate::telemetry::Course::new("HTTP/1.1", "ok", "", "127.0.0.1:1".parse().unwrap())
            },
            trace: crate::telemetry::TraceContext::default(),
            user_agent: None,
            denied_by: None,
            would_deny: &[],
            source: None,
        });
    }
    let admin = start(&[gateway]).await;
    let (_, body) = get(&admin, "/metrics").await;
    assert!(body.len() > 1_000_000);
    assert_eq!(body.lines().filter(|line| line.starts_with("fairway_requests_total{")).count(), 2000);
    let last = body.lines().last().unwrap();
    assert!(last.starts_with("process_start_time_seconds "), "{last}");
}

#[tokio::test]
async fn configuration_is_shown_without_keys_and_can_be_read_back() {
    let (gateway, waypoint) = (status("gateway"), status("waypoint"));
    let rejection = Rejection {
        key: Key::new(Kind::HttpRoute, "shop", "cart"),
        severity: Severity::Refused,
        message: "rules[0]: bad\n---\nkey: forged".to_owned(),
    };
    gateway.applied(7, &[rejection]);
    let admin = start(&[gateway, waypoint]).await;
    for target in ["/config", "/config?format=json", "/config?role=gateway&format=yaml"] {
        let (head, body) = get(&admin, target).await;
        assert_eq!(code(&head), "200");
        assert!(!body.contains("c2VjcmV0") && body.contains("[redacted]"), "{body}");
    }
    let (head, body) = get(&admin, "/config?role=gateway").await;
    assert!(head.contains("content-type: application/yaml"), "{head}");
    assert!(
        body.starts_with("# gateway: configuration 7\n# rejected: HttpRoute/shop/cart: rules[0]: bad ---")
    );
    let read = config::decode_documents(&body).unwrap();
    assert_eq!(read.keys().collect::<Vec<_>>(), resources().keys().collect::<Vec<_>>());
    let (head, body) = get(&admin, "/config?format=json").await;
    assert!(head.contains("content-type: application/json"), "{head}");
    let read: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(read[0]["role"], "gateway");
    assert_eq!(read[0]["version"], 7);
    assert_eq!(read[0]["rejections"][0]["key"], "HttpRoute/shop/cart");
    assert_eq!(read[1]["resources"][0]["key"], "Certificate/shop/tls");
    assert_eq!(read[1]["resources"][0]["resource"]["chain"], "public");
    assert_eq!(code(&get(&admin, "/config?fromat=json").await.0), "400");
}

#[tokio::test]
async fn only_reading_of_known_pages_is_answered() {
    let admin = start(&[status("gateway")]).await;
    let (head, index) = get(&admin, "/").await;
    assert_eq!(code(&head), "200");
    for page in ["/livez", "/readyz", "/metrics", "/config"] {
        assert!(index.contains(page), "{index}");
        let (head, body) = send(admin.address(), &format!("HEAD {page} HTTP/1.0\r\n\r\n")).await;
        assert!(matches!(code(&head), "200" | "503") && body.is_empty(), "{head}");
    }
    assert_eq!(code(&get(&admin, "/nothing").await.0), "404");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let (head, _) = send(admin.address(), &format!("{method} /config HTTP/1.0\r\n\r\n")).await;
        assert_eq!(code(&head), "405", "{method}");
        assert!(head.contains("allow: GET, HEAD"), "{head}");
    }
}

#[tokio::test]
async fn a_web_page_that_points_its_name_at_loopback_learns_nothing() {
    let admin = start(&[status("gateway")]).await;
    for (host, want) in [
        ("localhost", "200"),
        ("LOCALHOST:15000", "200"),
        ("127.0.0.1:15000", "200"),
        ("[::1]:15000", "200"),
        ("10.0.0.1", "200"),
        ("evil.example.com", "421"),
        ("evil.example.com:15000", "421"),
        ("localhost.example.com", "421"),
        ("127.0.0.1.example.com", "421"),
        ("", "421"),
        ("a b", "421"),
    ] {
        let request = format!("GET /config HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let (head, body) = send(admin.address(), &request).await;
        assert_eq!(code(&head), want, "{host:?}");
        assert_eq!(body.contains("Certificate"), want == "200", "{host:?}");
    }
}

#[tokio::test]
async fn broken_and_oversized_requests_are_refused() {
    let admin = start(&[status("gateway")]).await;
    let long = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "a: b\r\n".repeat(1000));
    for request in ["\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "GET\r\n\r\n", &long, &many] {
        let (head, _) = send(admin.address(), request).await;
        assert!(!head.starts_with("HTTP/1.1 200"), "{head}");
    }
    assert_eq!(code(&get(&admin, "/livez").await.0), "200");
}

#[tokio::test]
async fn silent_connections_do_not_keep_others_out() {
    let admin = start(&[status("gateway")]).await;
    let mut silent = Vec::new();
    for _ in 0..super::server::CONNECTIONS {
        silent.push(TcpStream::connect(admin.address()).await.unwrap());
    }
    let begun = tokio::time::Instant::now();
    assert_eq!(code(&get(&admin, "/livez").await.0), "200");
    assert!(begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
    // They were closed for their silence.
    let mut byte = [0];
    for mut stream in silent {
        assert!(matches!(stream.read(&mut byte).await, Ok(0) | Err(_)));
    }
}

#[tokio::test]
async fn only_loopback_addresses_are_opened_unless_told() {
    let roles = || vec![status("gateway")];
    for address in ["0.0.0.0:0", "[::]:0", "[::ffff:0.0.0.0]:0"] {
        let refused = serve(address.parse().unwrap(), Exposure::Loopback, roles(), None).await.unwrap_err();
        assert!(matches!(refused, Error::Exposed(_)), "{refused}");
        assert!(refused.to_string().contains("127.0.0.1"), "{refused}");
    }
    let admin = serve("0.0.0.0:0".parse().unwrap(), Exposure::Anyone, roles(), None).await.unwrap();
    let request = "GET /livez HTTP/1.1\r\nhost: gateway.shop.svc\r\nconnection: close\r\n\r\n";
    let address = SocketAddr::from(([127, 0, 0, 1], admin.address().port()));
    assert_eq!(code(&send(address, request).await.0), "200");
    let taken = serve(admin.address(), Exposure::Anyone, roles(), None).await.unwrap_err();
    assert!(matches!(taken, Error::Bind { .. }), "{taken}");
}

#[tokio::test]
async fn an_admin_port_that_is_dropped_is_closed() {
    let admin = start(&[status("gateway")]).await;
    let address = admin.address();
    drop(admin);
    let is_closed = async || {
        for _ in 0..100 {
            if TcpStream::connect(address).await.is_err() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    };
    assert!(is_closed().await);
}

#[tokio::test]
async fn how_the_controller_is_doing_is_shown_where_there_is_one() {
    let gateway = status("gateway");
    let state = config::xds::ClientState {
        generation: Some(config::Generation::new(0, 7)),
        problem: Some("10.0.0.1:15010 cannot be reached\nnow".to_owned()),
        snapshot_problem: Some("/s: the snapshot cannot be written: disk full".to_owned()),
        unknown: vec!["Teapot/a/b".to_owned()],
        ..config::xds::ClientState::default()
    };
    let (changes, state) = tokio::sync::watch::channel(state);
    gateway.telemetry.follow_controller(state);
    gateway.applied(7, &[]);
    let admin = start(&[gateway]).await;
    let (_, body) = get(&admin, "/readyz").await;
    let want = "gateway: ready, configuration 7\n\
                gateway: controller: not connected: 10.0.0.1:15010 cannot be reached now\n\
                gateway: controller: what is served comes from the snapshot and is not confirmed\n\
                gateway: /s: the snapshot cannot be written: disk full\n\
                gateway: rejected, because this version does not know them: Teapot/a/b\n";
    assert_eq!(body, want);
    let (_, body) = get(&admin, "/config").await;
    assert!(body.contains("# gateway: controller: not connected: "), "{body}");
    let (_, body) = get(&admin, "/config?format=json").await;
    let shown: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(shown[0]["controller"]["generation"], "0.7");
    assert_eq!(shown[0]["controller"]["connected"], false);
    changes.send_modify(|state| {
        (state.is_connected, state.is_confirmed, state.snapshot_problem) = (true, true, None)
    });
    let (_, body) = get(&admin, "/readyz").await;
    assert!(body.starts_with("gateway: ready, configuration 7\ngateway: controller: connected\n"), "{body}");
    let (_, body) = get(&admin, "/metrics").await;
    assert!(body.contains("fairway_controller_connected{role=\"gateway\"} 1\n"), "{body}");
    assert!(body.contains("fairway_snapshot_failed{role=\"gateway\"} 0\n"), "{body}");
}

#[test]
fn a_rejection_is_counted_once_while_it_is_in_force() {
    let stats = crate::telemetry::Telemetry::new("gateway", &Settings::default()).unwrap();
    let rejection = |name: &str| Rejection {
        key: Key::new(Kind::HttpRoute, "shop", name),
        severity: Severity::Refused,
        message: "m".to_owned(),
    };
    let mut metrics = String::new();
    for (version, names) in [(1, vec!["a"]), (2, vec!["a", "b"]), (3, vec!["b"])] {
        let rejections: Vec<_> = names.into_iter().map(rejection).collect();
        stats.config_applied(version, &rejections);
        metrics.clear();
        crate::telemetry::render(std::slice::from_ref(&stats), crate::telemetry::Format::Text, &mut metrics)
            .unwrap();
    }
    assert!(
        metrics.contains("fairway_config_rejections_total{role=\"gateway\",severity=\"refused\"} 2\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("fairway_config_rejected{role=\"gateway\",severity=\"refused\"} 1\n"),
        "{metrics}"
    );
}
