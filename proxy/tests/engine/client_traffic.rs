//! How a listener treats its clients, as far as requests are concerned.

use fairway_proxy::telemetry::{AccessLog, Settings, Telemetry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::certs::{Authority, Issued, client, connect, indented};
use crate::harness::{
    Http2, Mesh, Origin, Raw, backend, forward, full, get, listener, one_backend, parse, raw, read_one,
    route, route_on, text, within,
};

/// A listener of the Gateway `default/gw`, with `traffic` (YAML, inline).
fn treating(section: &str, hostname: &str, traffic: &str) -> String {
    format!(
        "---\nkey: Listener/default/gw/{section}\nresource: {{kind: Listener, port: 0, protocol: HTTP, hostname: \
         {hostname}, scope: gateway, traffic: {traffic}}}\n"
    )
}

/// One backend behind `a.test`, whose clients are treated like this.
fn one(traffic: &str, origin: &Origin) -> String {
    treating("a", "a.test", traffic)
        + &backend("a", "http", &[origin.address])
        + &route_on("ra", "a", "a.test", &format!("  - action: {}", forward("a")))
}

/// GET of `/` with these fields.
async fn ask(mesh: &Mesh, fields: &str) -> Raw {
    let head = format!("GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n{fields}\r\n");
    raw(mesh.address(), &head).await
}

#[tokio::test]
async fn a_client_behind_trusted_proxies_is_who_they_say() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let settings = Settings { access_log: AccessLog::File(log.path().into()), ..Settings::default() };
    let telemetry = Telemetry::new("gateway", &settings).unwrap();
    let origin = Origin::named("a").await;
    let traffic = "{clientIPDetection: {xForwardedFor: {trustedCIDRs: [127.0.0.0/8, 10.0.0.0/8]}}}";
    let options = fairway_proxy::Options::new("gateway");
    let mesh = Mesh::told(options, telemetry.clone(), &one(traffic, &origin)).await;
    let fields = "x-forwarded-for: 6.6.6.6, 9.9.9.9, 10.1.1.1\r\nx-forwarded-proto: https\r\nforwarded: for=9.9.9.9\r\n\
                  x-real-ip: 6.6.6.6\r\n";
    let response = ask(&mesh, fields).await;
    assert_eq!(response.field("seen-x-forwarded-for"), Some("6.6.6.6, 9.9.9.9, 10.1.1.1, 127.0.0.1"));
    assert_eq!(response.field("seen-x-forwarded-proto"), Some("https"));
    assert_eq!(response.field("seen-forwarded"), Some("for=9.9.9.9"));
    assert_eq!(response.field("seen-x-real-ip"), None);
    // The log line is written when the exchange ends, after the answer.
    let logged = within(async {
        loop {
            telemetry.flush();
            let text = std::fs::read_to_string(log.path()).unwrap();
            if !text.is_empty() {
                return text;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(logged.contains(r#""client":"9.9.9.9","#), "{logged}");
}

#[tokio::test]
async fn a_client_that_must_be_known_and_is_not_is_refused_and_may_go_on() {
    let origin = Origin::named("a").await;
    let mesh =
        Mesh::start(&one("{clientIPDetection: {customHeader: {name: cf, failClosed: true}}}", &origin)).await;
    let response = ask(&mesh, "").await;
    assert_eq!((response.status, &*response.body), (403, "client_unknown"));
    assert_eq!(ask(&mesh, "cf: 9.9.9.9\r\n").await.status, 200);
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn a_request_is_held_to_the_rules_of_the_listener_its_host_names() {
    let origin = Origin::named("a").await;
    let lax = "{headers: {withUnderscoresAction: Allow}, limits: {requestHeadersCount: 90}, path: {escapedSlashesAction: \
               KeepUnchanged}}";
    let mesh = Mesh::start(
        &(one(lax, &origin)
            + &treating(
                "b",
                "b.test",
                "{headers: {withUnderscoresAction: DropHeader}, limits: {requestHeadersCount: 50}}",
            )
            + &route_on("rb", "b", "b.test", &format!("  - action: {}", forward("a")))),
    )
    .await;
    let sent = |host: &str, path: &str, fields: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{fields}\r\n")
    };
    let many = "x: y\r\n".repeat(60);
    for (host, path, fields, status, reason) in [
        ("a.test", "/", "x_y: 1\r\n", 200, ""),
        ("a.test", "/a%2Fb", "", 200, ""),
        ("a.test", "/", &*many, 200, ""),
        ("b.test", "/", "x_y: 1\r\n", 200, ""),
        ("b.test", "/a%2Fb", "", 400, "bad_path"),
        ("b.test", "/", &many, 431, "head_too_large"),
        ("c.test", "/", "x_y: 1\r\n", 400, "bad_header"),
        ("c.test", "/", &*"x: y\r\n".repeat(120), 431, "head_too_large"),
        ("c.test", "/", &many, 404, "route_not_found"),
    ] {
        let response = raw(mesh.address(), &sent(host, path, fields)).await;
        assert_eq!(response.status, status, "{host}{path}");
        if status != 200 {
            assert_eq!(response.body, reason, "{host}{path}");
        } else if fields.starts_with("x_y") {
            assert_eq!(response.field("seen-x_y"), (host == "a.test").then_some("1"), "{host}");
        }
    }
}

#[tokio::test]
async fn an_escaped_slash_sends_the_client_to_the_plain_path_over_the_same_connection() {
    let origin = Origin::named("a").await;
    let mesh = Mesh::start(&one("{path: {escapedSlashesAction: UnescapeAndRedirect}}", &origin)).await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    for target in ["/a%2F..%5cb?c=%2F", "/b?c=%2F"] {
        tcp.write_all(format!("GET {target} HTTP/1.1\r\nhost: a.test\r\n\r\n").as_bytes()).await.unwrap();
        let response = read_one(&mut tcp).await;
        match response.status {
            307 => assert_eq!(response.field("location"), Some("/b?c=%2F")),
            200 => assert_eq!(response.field("path"), Some("/b?c=%2F")),
            status => panic!("{status}"),
        }
    }
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn a_health_check_needs_no_route_and_fails_once_the_port_drains() {
    let mut mesh = Mesh::start(&treating("a", "a.test", "{healthCheck: {path: /healthz}}")).await;
    let health = |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\nhost: a.test\r\n\r\n");
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    tcp.write_all(health("GET", "/healthz").as_bytes()).await.unwrap();
    assert_eq!(read_one(&mut tcp).await.status, 200);
    for (method, path, status) in [
        ("HEAD", "/healthz", 200),
        ("POST", "/healthz", 404),
        ("GET", "/healthz/", 404),
        ("GET", "/other", 404),
    ] {
        let asked = health(method, path).replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        assert_eq!(raw(mesh.address(), &asked).await.status, status, "{method} {path}");
    }
    mesh.serve("").await;
    tcp.write_all(health("GET", "/healthz").as_bytes()).await.unwrap();
    assert_eq!(read_one(&mut tcp).await.status, 503);
}

#[tokio::test]
async fn fields_are_changed_before_routing_and_after_everything_else() {
    let origin = Origin::named("a").await;
    let traffic = "{headers: {earlyRequestHeaders: {set: [{name: X-Way, value: b}], addIfAbsent: [{name: x-a, value: ours}], \
                   remove: [x-gone]}, lateResponseHeaders: {set: [{name: x-late, value: l}], addIfAbsent: [{name: origin, \
                   value: none}], remove: [seen-x-a]}}}";
    let rules = format!(
        "  - matches: [{{headers: [{{name: x-way, value: b}}]}}]\n    action: {}\n  - matches: [{{path: {{exact: \
         /never}}}}]\n    action: {}",
        forward("a"),
        forward("a")
    );
    let yaml = treating("a", "a.test", traffic)
        + &backend("a", "http", &[origin.address])
        + &route_on("ra", "a", "a.test", &rules);
    let mesh = Mesh::start(&yaml).await;
    let response = ask(&mesh, "x-way: a\r\nx-gone: 1\r\nx-a: theirs\r\n").await;
    assert_eq!((response.status, response.field("origin")), (200, Some("a")), "matched as changed");
    assert_eq!((response.field("seen-x-gone"), response.field("seen-x-way")), (None, Some("b")));
    assert_eq!((response.field("x-late"), response.field("seen-x-a")), (Some("l"), None));

    let refused = raw(mesh.address(), "GET /%00 HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n").await;
    assert_eq!(
        (refused.status, refused.field("x-late"), refused.field("origin")),
        (400, Some("l"), Some("none"))
    );
    let foreign = raw(mesh.address(), "GET / HTTP/1.1\r\nhost: b.test\r\nconnection: close\r\n\r\n").await;
    assert_eq!((foreign.status, foreign.field("x-late")), (404, None));
}

#[tokio::test]
async fn heads_are_as_large_as_the_port_says() {
    let origin = Origin::start(|_| async { http::Response::new(full("ok")) }).await;
    let field = |bytes: usize| format!("x: {}\r\n", "y".repeat(bytes));
    let over_http2 = async |mesh: &Mesh, bytes: usize| {
        let asked =
            http::Request::get("http://a.test/").header("x", "y".repeat(bytes)).body(full("")).unwrap();
        Http2::plain(mesh.address()).await.send(asked).await.unwrap().status().as_u16()
    };
    for (limit, fits, over) in [("2Ki", 1024, 3000), ("128Ki", 100 * 1024, 140 * 1024)] {
        let mesh = Mesh::start(&one(&format!("{{limits: {{requestHeadersBytes: {limit}}}}}"), &origin)).await;
        assert_eq!(ask(&mesh, &field(fits)).await.status, 200, "{limit}");
        assert_eq!(ask(&mesh, &field(over)).await.status, 431, "{limit}");
        assert_eq!(over_http2(&mesh, fits).await, 200, "{limit}");
        assert_eq!(over_http2(&mesh, over).await, 431, "{limit}");
    }
}

/// An HTTPS listener for `a.test` that asks clients for certificates in this mode, and tells of them in that.
fn verifying(own: &Issued, clients: &Authority, mode: &str, xfcc: &str, origin: &Origin) -> String {
    own.resource("a")
        + &format!(
            "---\nkey: Listener/default/gw/a\nresource:\n  kind: Listener\n  port: 0\n  protocol: HTTPS\n  hostname: \
             a.test\n  scope: gateway\n  traffic: {{headers: {{xForwardedClientCert: {{mode: {xfcc}, \
             certDetailsToAdd: [DNS, Subject]}}}}}}\n  tls:\n    certificates: [default/a]\n    clientValidation:\n      \
             mode: {mode}\n      ca: |\n{}",
            indented(&clients.pem(), 8)
        )
        + &backend("a", "http", &[origin.address])
        + &route_on("ra", "a", "a.test", &format!("  - action: {}", forward("a")))
}

#[tokio::test]
async fn a_certificate_says_nothing_once_nobody_is_verified() {
    let (ca, clients) = (Authority::new("servers"), Authority::new("clients"));
    let (own, me, origin) = (ca.issue(&["a.test"]), clients.issue(&["me.test"]), Origin::named("o").await);
    let mut mesh = Mesh::start(&verifying(&own, &clients, "AllowValidOnly", "SanitizeSet", &origin)).await;
    let tls = connect(&client(&ca, Some(&me), &[b"h2"]), mesh.address(), "a.test").await.unwrap();
    let mut http2 = Http2::over(tls).await;
    let field = "seen-x-forwarded-client-cert";
    assert!(http2.get("https://a.test/").await.unwrap().headers().contains_key(field));
    mesh.serve(&verifying(&own, &clients, "AllowInsecureFallback", "SanitizeSet", &origin)).await;
    let response = http2.get("https://a.test/").await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers().get(field)), (200, None));
}

/// What a verified client has shown, over both versions; and nothing where nobody was verified.
#[tokio::test]
async fn a_verified_certificate_is_told_to_backends() {
    let (ca, clients) = (Authority::new("servers"), Authority::new("clients"));
    let (own, origin) = (ca.issue(&["a.test"]), Origin::named("o").await);
    let yaml = |mode: &str, xfcc: &str| verifying(&own, &clients, mode, xfcc, &origin);
    let me = clients.issue(&["me.test"]);
    for (mode, xfcc, sent, theirs) in [
        ("AllowValidOnly", "SanitizeSet", true, false),
        ("AllowValidOnly", "AppendForward", true, true),
        ("AllowValidOnly", "ForwardOnly", false, true),
        ("AllowValidOnly", "Sanitize", false, false),
        ("AllowInsecureFallback", "SanitizeSet", false, false),
        ("AllowInsecureFallback", "AppendForward", false, false),
    ] {
        let mesh = Mesh::start(&yaml(mode, xfcc)).await;
        let mut seen = Vec::new();
        let mut tls =
            connect(&client(&ca, Some(&me), &[b"http/1.1"]), mesh.address(), "a.test").await.unwrap();
        tls.write_all(
            b"GET / HTTP/1.1\r\nhost: a.test\r\nx-forwarded-client-cert: Hash=00\r\nconnection: close\r\n\r\n",
        )
        .await
        .unwrap();
        let mut bytes = Vec::new();
        within(tls.read_to_end(&mut bytes)).await.unwrap();
        seen.push(parse(&bytes).field("seen-x-forwarded-client-cert").map(str::to_owned));
        let tls = connect(&client(&ca, Some(&me), &[b"h2"]), mesh.address(), "a.test").await.unwrap();
        let asked = http::Request::get("https://a.test/").header("x-forwarded-client-cert", "Hash=00");
        let response = Http2::over(tls).await.send(asked.body(full("")).unwrap()).await.unwrap();
        let field = response.headers().get("seen-x-forwarded-client-cert");
        seen.push(field.map(|value| value.to_str().unwrap().to_owned()));
        text(response).await;
        for seen in seen {
            let seen = seen.unwrap_or_default();
            assert_eq!(seen.contains(";DNS=me.test"), sent, "{mode} {xfcc}: {seen}");
            assert_eq!(seen.contains(";Subject=\""), sent, "{mode} {xfcc}: {seen}");
            assert_eq!(seen.starts_with("Hash=00"), theirs, "{mode} {xfcc}: {seen}");
        }
    }
}

/// Laxer rules, health checks and redirects of a listener are not to be had over a connection made for another.
#[tokio::test]
async fn a_misdirected_request_gets_nothing_of_the_other_listeners_rules() {
    let ca = Authority::new("servers");
    let origin = Origin::named("o").await;
    let https = |section: &str, host: &str, traffic: &str| {
        ca.issue(&[host]).resource(section)
            + &format!(
                "---\nkey: Listener/default/gw/{section}\nresource: {{kind: Listener, port: 0, protocol: HTTPS, hostname: \
                 {host}, scope: gateway, traffic: {traffic}, tls: {{certificates: [default/{section}]}}}}\n"
            )
            + &route_on(section, section, host, &format!("  - action: {}", forward("a")))
    };
    let lax = "{headers: {withUnderscoresAction: Allow}, path: {escapedSlashesAction: UnescapeAndRedirect}, healthCheck: \
               {path: /healthz}}";
    let yaml =
        https("a", "a.test", "{}") + &https("b", "b.test", lax) + &backend("a", "http", &[origin.address]);
    let mesh = Mesh::start(&yaml).await;
    let tls = client(&ca, None, &[b"h2"]);
    for (sni, status) in [("a.test", 421), ("b.test", 0)] {
        let mut http2 = Http2::over(connect(&tls, mesh.address(), sni).await.unwrap()).await;
        for (path, own) in [("/healthz", 200), ("/x%2Fy", 307), ("/", 200)] {
            let asked = http::Request::get(format!("https://b.test{path}")).header("x_y", "1");
            let response = http2.send(asked.body(full("")).unwrap()).await.unwrap();
            assert_eq!(response.status(), if status == 0 { own } else { status }, "{sni} {path}");
        }
    }
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn a_listener_without_a_policy_is_as_before() {
    let origin = Origin::named("a").await;
    let mesh = Mesh::start(&one_backend("http", &[origin.address])).await;
    assert_eq!(get(mesh.address(), "/").await.status, 200);
    let mut mesh = mesh;
    let broken = listener(0).replace("scope: gateway", "scope: gateway, traffic: {healthCheck: {path: x}}")
        + &route("r", &format!("  - action: {}", forward("a")));
    let answer = mesh.serve(&broken).await;
    assert!(
        answer.rejections.iter().any(|r| r.message.starts_with("traffic.healthCheck.path")),
        "{answer:?}"
    );
}
