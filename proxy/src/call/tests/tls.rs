use super::*;

const H1: &[&[u8]] = &[b"http/1.1"];
const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];

fn secure(protocol: AppProtocol, hostname: &str, ca: &Authority) -> Backend {
    let tls =
        BackendTls { hostname: hostname.into(), subject_alt_names: Vec::new(), ca: TrustedCa::Pem(ca.pem()) };
    Backend { protocol, tls: Some(tls), max_connections: None }
}

#[tokio::test]
async fn the_right_authority_and_name_are_accepted() {
    let (net, ca) = (Net::new(8), Authority::new());
    let server = Server::echo(Some(ca.server("cart.test", BOTH))).await;
    for (protocol, version) in
        [(AppProtocol::Http, http::Version::HTTP_11), (AppProtocol::H2c, http::Version::HTTP_2)]
    {
        let cluster = cluster(&secure(protocol, "cart.test", &ca), &[server.address]);
        let reply = get(&net, &cluster, "/").await.expect("verified");
        assert_eq!(reply.head.status, 200);
        assert_eq!(server.seen().last().expect("a request").head.version, version);
    }
    let h2 = server.seen().last().expect("a request").head.uri.to_string();
    assert_eq!(
        h2, "https://cart.example/",
        "the scheme is that of the connection, the Host that of the request"
    );
}

#[tokio::test]
async fn another_authority_is_refused_before_a_byte_of_the_request() {
    let (net, ca) = (Net::new(8), Authority::new());
    let server = Server::echo(Some(ca.server("cart.test", BOTH))).await;
    let cluster = cluster(&secure(AppProtocol::Http, "cart.test", &Authority::new()), &[server.address]);
    let error = get(&net, &cluster, "/").await.expect_err("not verified");
    assert!(matches!(error, CallError::Upstream(_)), "{error:?}");
    assert_eq!(server.seen().len(), 0);
    assert!(cluster.endpoints()[0].is_shut, "as if it refused the connection");
}

#[tokio::test]
async fn another_name_is_refused() {
    let (net, ca) = (Net::new(8), Authority::new());
    let server = Server::echo(Some(ca.server("cart.test", BOTH))).await;
    for name in ["other.test", "test", "a.cart.test"] {
        let cluster = cluster(&secure(AppProtocol::Http, name, &ca), &[server.address]);
        assert!(matches!(get(&net, &cluster, "/").await, Err(CallError::Upstream(_))), "{name}");
    }
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn the_systems_authorities_do_not_trust_ours() {
    let (net, ca) = (Net::new(8), Authority::new());
    let server = Server::echo(Some(ca.server("cart.test", BOTH))).await;
    let tls =
        BackendTls { hostname: "cart.test".into(), subject_alt_names: Vec::new(), ca: TrustedCa::System };
    let spec = Backend { tls: Some(tls), ..Backend::default() };
    let backend = BackendRef { namespace: "shop".into(), name: "cart".into(), port: 443 };
    // A machine without a CA bundle refuses the backend instead.
    let Ok(secure) = Cluster::new(backend, &spec, Arc::default()) else { return };
    secure.set_endpoints(&Endpoints { endpoints: vec![Endpoint { address: server.address, zone: None }] });
    assert!(matches!(get(&net, &Arc::new(secure), "/").await, Err(CallError::Upstream(_))));
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn a_changed_policy_does_not_use_the_connections_of_the_old_one() {
    let (net, old) = (Net::new(8), Authority::new());
    let server = Server::echo(Some(old.server("cart.test", BOTH))).await;
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        let before = cluster(&secure(protocol, "cart.test", &old), &[server.address]);
        get(&net, &before, "/").await.expect("verified");
        get(&net, &before, "/").await.expect("verified");
        let (connections, requests) = (server.connections(), server.seen().len());
        let change = |hostname: &str, ca: &Authority| {
            Arc::new(Cluster::succeed(&before, &secure(protocol, hostname, ca)).expect("valid"))
        };
        for changed in [change("cart.test", &Authority::new()), change("other.test", &old)] {
            let error = get(&net, &changed, "/")
                .await
                .expect_err("the pooled connection is not verified by this policy");
            assert!(matches!(error, CallError::Upstream(_)), "{error:?}");
        }
        assert_eq!(server.seen().len(), requests, "{protocol:?}");
        let connections_after = server.connections();
        assert!(connections_after > connections);
        let back = change("cart.test", &old);
        get(&net, &back, "/").await.expect("the same policy again");
        assert_eq!(server.connections(), connections_after, "uses its old connection");
    }
}

#[tokio::test]
async fn grpc_never_falls_back_to_http1() {
    let (net, ca) = (Net::new(8), Authority::new());
    for alpn in [H1, &[]] {
        let server = Server::echo(Some(ca.server("cart.test", alpn))).await;
        let cluster = cluster(&secure(AppProtocol::H2c, "cart.test", &ca), &[server.address]);
        let reply = get(&net, &cluster, "/").await;
        assert!(matches!(reply, Err(CallError::Upstream(_))), "{alpn:?}: {reply:?}");
        assert_eq!(server.seen().len(), 0);
    }
}
