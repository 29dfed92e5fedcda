use policies::client_traffic::ClientTraffic;

use super::*;

fn compiled(yaml: &str) -> Result<ConnectionRules, String> {
    ConnectionRules::compile(&serde_saphyr::from_str::<ClientTraffic>(yaml).unwrap())
}

#[test]
fn what_nobody_says_has_the_defaults_of_the_fields() {
    assert_eq!(compiled("{}").unwrap(), ConnectionRules::default());
    let everywhere =
        "{timeout: {tcp: {}, http: {}}, connection: {connectionLimit: {}}, limits: {}, http2: {}, tls: {}}";
    assert_eq!(compiled(everywhere).unwrap(), ConnectionRules::default());
}

#[test]
fn zero_is_for_ever_where_that_is_said_and_refused_where_not() {
    let rules =
        compiled("{timeout: {http: {idleTimeout: 0s, streamIdleTimeout: 0s, requestReceivedTimeout: 0s}}}")
            .unwrap();
    assert_eq!((rules.times.idle, rules.times.stream_idle, rules.times.request), (None, None, None));
    assert_eq!(compiled("{limits: {requestBodyRate: 0}}").unwrap().body.rate, None);
    for field in [
        "http: {requestHeadersReceivedTimeout: 0s}",
        "tcp: {tlsHandshakeTimeout: 0s}",
        "tcp: {connectionInspectionTimeout: 0s}",
    ] {
        assert!(compiled(&format!("{{timeout: {{{field}}}}}")).is_err(), "{field}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_by_its_name() {
    for (yaml, field) in [
        ("{connection: {bufferLimit: 64Ki}}", "connection.bufferLimit"),
        ("{connection: {socketBufferLimit: 1Gi}}", "connection.socketBufferLimit"),
        ("{connection: {connectionLimit: {value: 0}}}", "connection.connectionLimit.value"),
        ("{connection: {connectionLimit: {maxRequestsPerConnection: 0}}}", "maxRequestsPerConnection"),
        ("{limits: {http2ControlFrames: 9}}", "limits.http2ControlFrames"),
        ("{http2: {onInvalidMessage: TerminateConnection}}", "http2.onInvalidMessage"),
        ("{http2: {initialStreamWindowSize: 60000}}", "http2.initialStreamWindowSize"),
        ("{http2: {initialConnectionWindowSize: 2Gi}}", "http2.initialConnectionWindowSize"),
        ("{http2: {maxConcurrentStreams: 0}}", "http2.maxConcurrentStreams"),
        ("{http2: {connectionKeepalive: {interval: 10ms}}}", "http2.connectionKeepalive.interval"),
        ("{tcpKeepalive: {idleTime: 1500ms}}", "tcpKeepalive.idleTime"),
        ("{tcpKeepalive: {probes: 0}}", "tcpKeepalive.probes"),
        ("{tls: {minVersion: \"1.0\"}}", "tls.minVersion"),
        ("{tls: {minVersion: \"1.3\", maxVersion: \"1.2\"}}", "tls.minVersion"),
        ("{tls: {minVersion: \"1.3\", ciphers: [ECDHE-RSA-AES128-GCM-SHA256]}}", "tls.ciphers"),
        ("{tls: {ciphers: [AES128-SHA]}}", "tls.ciphers[0]"),
        (
            "{tls: {ciphers: [ECDHE-RSA-AES128-GCM-SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]}}",
            "tls.ciphers[1]",
        ),
        ("{tls: {ecdhCurves: [P-521]}}", "tls.ecdhCurves[0]"),
        ("{tls: {alpnProtocols: [http/1.0]}}", "tls.alpnProtocols[0]"),
        ("{tls: {alpnProtocols: []}}", "tls.alpnProtocols"),
    ] {
        let problem = compiled(yaml).unwrap_err();
        assert!(problem.contains(field) && problem.contains(": "), "{yaml}: {problem}");
    }
}

#[test]
fn tls_offers_what_is_wanted_in_that_order() {
    let rules = compiled(
        "{tls: {ciphers: [ECDHE-RSA-CHACHA20-POLY1305, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256], ecdhCurves: [P-384]}}",
    )
    .unwrap();
    let all = Arc::new(rustls::crypto::ring::default_provider());
    let provider = rules.tls.provider(&all);
    let names: Vec<_> = provider.cipher_suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
    assert_eq!(names.len(), 5, "three of TLS 1.3, which are not chosen, and two: {names:?}");
    assert_eq!(
        names[3..],
        ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]
    );
    assert_eq!(provider.kx_groups.len(), 1);
    assert!(Arc::ptr_eq(&all, &TlsRules::default().provider(&all)));
}

#[test]
fn listeners_agree_whatever_they_say_of_tls() {
    let one = compiled("{tls: {minVersion: \"1.3\"}, limits: {requestBodyRate: 10}}").unwrap();
    assert!(one.agrees_with(&compiled("{limits: {requestBodyRate: 10}}").unwrap()));
    assert!(!one.agrees_with(&compiled("{limits: {requestBodyRate: 11}}").unwrap()));
}

use std::sync::Arc;
