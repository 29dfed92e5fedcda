//! What is wrong with values that a schema cannot judge.

use std::fmt::Display;
use std::ops::RangeInclusive;

use http::{HeaderName, HeaderValue};

use super::{ByteSize, ClientTraffic, HeaderValue as Field};
use crate::Duration;
use crate::edits::RESERVED;

/// So many are said: a condition's message has room for them, and a list of wrong entries costs no more than a good one.
const MOST: usize = 16;

/// Collects what is wrong.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<String>);

impl ClientTraffic {
    /// Everything wrong with it, each as `field: what is wrong: remedy`; empty: it can be followed whole. What may not
    /// stand together is of one field here, such as `tls`.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Problems::default();
        self.client_ip_detection.iter().for_each(|it| it.check(&mut problems));
        self.timeout.iter().for_each(|it| it.check(&mut problems));
        self.connection.iter().for_each(|it| it.check(&mut problems));
        self.limits.iter().for_each(|it| it.check(&mut problems));
        self.tcp_keepalive.iter().for_each(|it| it.check(&mut problems));
        self.tls.iter().for_each(|it| it.check(&mut problems));
        self.headers.iter().for_each(|it| it.check(&mut problems));
        self.http2.iter().for_each(|it| it.check(&mut problems));
        self.health_check.iter().for_each(|it| it.check(&mut problems));
        problems.0
    }
}

impl Problems {
    pub(super) fn add(&mut self, field: impl Display, problem: impl Display) {
        match self.0.len() {
            ..MOST => self.0.push(format!("{field}: {problem}")),
            MOST => self.0.push("and others: correct these first".to_owned()),
            _ => {}
        }
    }

    /// A number that must be between two.
    pub(super) fn number(&mut self, field: &str, number: Option<u32>, range: RangeInclusive<u32>) {
        let Some(number) = number.filter(|number| !range.contains(number)) else { return };
        match *range.end() {
            u32::MAX => self.add(field, format!("{number} is too small: write at least {}", range.start())),
            end => self.add(field, format!("{number} is not between {} and {end}", range.start())),
        }
    }

    /// An amount of bytes that must be between two, `range` in words.
    pub(super) fn bytes(
        &mut self,
        field: &str,
        size: Option<ByteSize>,
        range: RangeInclusive<u64>,
        words: &str,
    ) {
        if let Some(size) = size.filter(|size| !range.contains(&size.0)) {
            self.add(field, format!("{size} is not between {words}"));
        }
    }

    /// A duration that means nothing when it is zero.
    pub(super) fn positive(&mut self, field: &str, duration: Option<Duration>, remedy: &str) {
        if duration.is_some_and(|duration| duration.0.is_zero()) {
            self.add(field, format!("0s is too short: {remedy}"));
        }
    }

    /// No two of a list may be the same.
    pub(super) fn once<T: PartialEq>(&mut self, field: &str, list: &[T]) {
        for (index, one) in list.iter().enumerate() {
            if let Some(first) = list.iter().take(index).position(|other| other == one) {
                self.add(format!("{field}[{index}]"), format!("is the same as [{first}]: keep one of them"));
            }
        }
    }

    /// The name of a field that may be read or changed here.
    pub(super) fn name(&mut self, field: impl Display, text: &str) {
        match HeaderName::from_bytes(text.as_bytes()) {
            Err(_) => {
                let remedy = "use letters, digits and - (RFC 9110 token), without a colon before";
                self.add(field, format!("{text:?} is not a header name: {remedy}"));
            }
            Ok(name) if RESERVED.contains(&name.as_str()) => {
                let why = "frames the message, names its host or belongs to the connection";
                self.add(field, format!("{name} {why}: leave it out"));
            }
            Ok(_) => {}
        }
    }

    /// Names and values of a list, each name once.
    pub(super) fn fields(&mut self, list: &str, fields: Option<&Vec<Field>>) {
        let fields = fields.map(Vec::as_slice).unwrap_or_default();
        for (index, Field { name, value }) in fields.iter().enumerate() {
            self.name(format!("{list}[{index}].name"), name);
            let is_trimmed = value.trim_matches([' ', '\t']) == value;
            if HeaderValue::from_str(value).is_err() || !is_trimmed {
                let remedy = "use visible characters, no blank at the ends and no line break";
                self.add(format!("{list}[{index}].value"), format!("cannot be sent: {remedy}"));
            }
        }
        self.names_once(list, fields.iter().map(|field| field.name.as_str()));
    }

    /// Names of a list, each once.
    pub(super) fn names(&mut self, list: &str, names: Option<&Vec<String>>) {
        let names = names.map(Vec::as_slice).unwrap_or_default();
        for (index, name) in names.iter().enumerate() {
            self.name(format!("{list}[{index}]"), name);
        }
        self.names_once(list, names.iter().map(String::as_str));
    }

    fn names_once<'a>(&mut self, list: &str, names: impl Iterator<Item = &'a str>) {
        let names: Vec<String> = names.map(str::to_ascii_lowercase).collect();
        self.once(list, &names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        serde_saphyr::from_str::<ClientTraffic>(text).unwrap().problems()
    }

    #[test]
    fn every_group_refuses_what_it_cannot_do() {
        for (text, wrong) in [
            ("clientIPDetection: {xForwardedFor: {}}", "clientIPDetection.xForwardedFor: "),
            (
                "clientIPDetection: {xForwardedFor: {numTrustedHops: 1, trustedCIDRs: [10.0.0.0/8]}}",
                "clientIPDetection.xForwardedFor: ",
            ),
            (
                "clientIPDetection: {xForwardedFor: {numTrustedHops: 0}}",
                "clientIPDetection.xForwardedFor.numTrustedHops: 0",
            ),
            (
                "clientIPDetection: {xForwardedFor: {trustedCIDRs: []}}",
                "clientIPDetection.xForwardedFor.trustedCIDRs: ",
            ),
            (
                "clientIPDetection: {xForwardedFor: {trustedCIDRs: [10.0.0.0/8, 10.0.0.1]}}",
                "clientIPDetection.xForwardedFor.trustedCIDRs[1]: ",
            ),
            ("clientIPDetection: {customHeader: {name: 'a b'}}", "clientIPDetection.customHeader.name: "),
            ("clientIPDetection: {customHeader: {name: Host}}", "clientIPDetection.customHeader.name: host "),
            (
                "timeout: {http: {requestHeadersReceivedTimeout: 0s}}",
                "timeout.http.requestHeadersReceivedTimeout: 0s",
            ),
            ("timeout: {tcp: {tlsHandshakeTimeout: 0s}}", "timeout.tcp.tlsHandshakeTimeout: 0s"),
            ("connection: {connectionLimit: {value: 0}}", "connection.connectionLimit.value: 0"),
            (
                "connection: {connectionLimit: {maxStreamDuration: 0s}}",
                "connection.connectionLimit.maxStreamDuration: 0s",
            ),
            ("connection: {socketBufferLimit: 4Gi}", "connection.socketBufferLimit: 4Gi"),
            ("limits: {requestHeadersBytes: 2Mi}", "limits.requestHeadersBytes: 2Mi"),
            ("limits: {requestHeadersCount: 251}", "limits.requestHeadersCount: 251"),
            ("limits: {http2ControlFrames: 1}", "limits.http2ControlFrames: 1"),
            ("tcpKeepalive: {idleTime: 1s500ms}", "tcpKeepalive.idleTime: 1s500ms"),
            ("tcpKeepalive: {probes: 128}", "tcpKeepalive.probes: 128"),
            ("tls: {minVersion: '1.1'}", "tls.minVersion: 1.1"),
            ("tls: {minVersion: '1.3', maxVersion: '1.2'}", "tls.minVersion: is above"),
            ("tls: {ciphers: [AES128-SHA]}", "tls.ciphers[0]: "),
            ("tls: {ciphers: [TLS_AES_128_GCM_SHA256]}", "tls.ciphers[0]: "),
            ("tls: {ecdhCurves: [P-521]}", "tls.ecdhCurves[0]: "),
            ("tls: {trustDomains: [td/x]}", "tls.trustDomains[0]: "),
            ("tls: {trustDomains: [td, Cluster.local]}", "tls.trustDomains[1]: "),
            ("tls: {trustDomains: [td, td]}", "tls.trustDomains[1]: "),
            ("tls: {trustDomains: []}", "tls.trustDomains: "),
            ("tls: {alpnProtocols: [http/1.0]}", "tls.alpnProtocols[0]: "),
            ("tls: {alpnProtocols: [h2, h2]}", "tls.alpnProtocols[1]: "),
            (
                "headers: {earlyRequestHeaders: {set: [{name: ':path', value: /}]}}",
                "headers.earlyRequestHeaders.set[0].name: ",
            ),
            (
                "headers: {lateResponseHeaders: {add: [{name: x, value: \"a\\r\\nb\"}]}}",
                "headers.lateResponseHeaders.add[0].value: ",
            ),
            (
                "headers: {earlyRequestHeaders: {remove: [Transfer-Encoding]}}",
                "headers.earlyRequestHeaders.remove[0]: transfer-encoding",
            ),
            (
                "headers: {earlyRequestHeaders: {set: [{name: X, value: a}, {name: x, value: b}]}}",
                "headers.earlyRequestHeaders.set[1]: ",
            ),
            (
                "headers: {xForwardedClientCert: {mode: Sanitize, certDetailsToAdd: [URI]}}",
                "headers.xForwardedClientCert.certDetailsToAdd: ",
            ),
            ("http2: {initialStreamWindowSize: 1Ki}", "http2.initialStreamWindowSize: 1Ki"),
            ("http2: {connectionKeepalive: {interval: 10ms}}", "http2.connectionKeepalive.interval: "),
            ("http2: {onInvalidMessage: TerminateConnection}", "http2.onInvalidMessage: "),
            ("healthCheck: {path: healthz}", "healthCheck.path: "),
            ("healthCheck: {path: /a/../b}", "healthCheck.path: "),
            ("healthCheck: {path: '/a?b'}", "healthCheck.path: "),
        ] {
            let found = problems(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found.iter().all(|problem| problem.starts_with(wrong)), "{text}: {found:?}");
        }
    }

    #[test]
    fn of_many_problems_some_are_said() {
        let ranges = ["x"; 200].join(", ");
        let found = problems(&format!("clientIPDetection: {{xForwardedFor: {{trustedCIDRs: [{ranges}]}}}}"));
        assert_eq!((found.len(), found[MOST].as_str()), (MOST + 1, "and others: correct these first"));
    }

    #[test]
    fn what_can_be_done_has_no_problem() {
        let text = "
clientIPDetection: {xForwardedFor: {trustedCIDRs: [10.0.0.0/8, 'fd00::/8', 0.0.0.0/0]}}
proxyProtocol: {}
timeout:
  tcp: {idleTimeout: 0s, tlsHandshakeTimeout: 1s, connectionInspectionTimeout: 1s}
  http: {requestReceivedTimeout: 0s, requestHeadersReceivedTimeout: 1s, idleTimeout: 0s, streamIdleTimeout: 0s}
connection: {connectionLimit: {value: 1, closeDelay: 0s}, socketBufferLimit: 1Mi}
limits: {connectionsPerAddress: 0, requestHeadersBytes: 1Mi, requestBodyBytes: 0, requestBodyRate: 0}
tcpKeepalive: {}
tls:
  minVersion: Auto
  maxVersion: '1.2'
  ciphers: [ECDHE-ECDSA-AES128-GCM-SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256]
  ecdhCurves: [X25519, P-256, P-384]
  session: {resumption: {}}
  trustDomains: [cluster.local]
headers:
  earlyRequestHeaders: {set: [{name: X-A, value: ''}], addIfAbsent: [{name: x-b, value: 'ü'}], remove: [x-c]}
  xForwardedClientCert: {certDetailsToAdd: [URI]}
http2: {initialStreamWindowSize: 65535, initialConnectionWindowSize: 2147483647}
healthCheck: {path: /healthz}
";
        assert_eq!(problems(text), Vec::<String>::new());
    }
}
