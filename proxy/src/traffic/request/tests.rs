use policies::client_traffic::EscapedSlashes;

use super::*;

fn compiled(yaml: &str) -> Result<RequestRules, String> {
    RequestRules::compile(&serde_saphyr::from_str(yaml).unwrap())
}

#[test]
fn what_nobody_says_is_the_default() {
    let said = compiled("{}").unwrap();
    assert_eq!((said.most_fields, said.head_bytes, said.appends_peer), (100, None, true));
    assert_eq!((said.paths, said.underscores), (PathRules::DEFAULT, Underscores::RejectRequest));
    assert!(!said.strips_dot && said.certificate.is_none() && said.health_check.is_none());
}

#[test]
fn what_is_said_is_held_to() {
    let said = compiled(
        "{clientIPDetection: {xForwardedFor: {numTrustedHops: 1, disableXForwardedForAppend: true}}, path: \
         {escapedSlashesAction: KeepUnchanged, disableMergeSlashes: true}, limits: {requestHeadersCount: 7, \
         requestHeadersBytes: 2Ki}, headers: {withUnderscoresAction: Allow, requestID: Generate, host: \
         {stripTrailingHostDot: true}}, healthCheck: {path: /healthz}}",
    )
    .unwrap();
    assert_eq!((said.most_fields, said.head_bytes, said.appends_peer), (7, Some(2048), false));
    let paths = PathRules { escaped_slashes: EscapedSlashes::KeepUnchanged, merge_slashes: false };
    assert_eq!(
        (said.paths, said.underscores, said.request_id),
        (paths, Underscores::Allow, RequestId::Generate)
    );
    assert!(said.strips_dot);
    assert_eq!(said.health_check.as_deref(), Some("/healthz"));
}

#[test]
fn what_cannot_be_held_to_is_refused_with_its_field() {
    for (yaml, want) in [
        ("{limits: {requestHeadersCount: 0}}", "limits.requestHeadersCount: 0 is"),
        ("{limits: {requestHeadersCount: 251}}", "limits.requestHeadersCount: 251 is"),
        ("{limits: {requestHeadersBytes: 1023}}", "limits.requestHeadersBytes: 1023 is"),
        ("{limits: {requestHeadersBytes: 2Mi}}", "limits.requestHeadersBytes: 2Mi is"),
        ("{healthCheck: {path: healthz}}", "healthCheck.path: \"healthz\""),
        ("{healthCheck: {path: ''}}", "healthCheck.path: \"\""),
        ("{healthCheck: {path: '/a?b'}}", "healthCheck.path: \"/a?b\""),
        ("{healthCheck: {path: '/a/../b'}}", "healthCheck.path: \"/a/../b\""),
        ("{healthCheck: {path: '//a'}}", "healthCheck.path: \"//a\""),
        ("{headers: {earlyRequestHeaders: {remove: [host]}}}", "headers.earlyRequestHeaders.remove[0]: host"),
        (
            "{headers: {lateResponseHeaders: {set: [{name: content-length, value: '1'}]}}}",
            "headers.lateResponseHeaders.set[0].name: content-length",
        ),
    ] {
        let refused = compiled(yaml).unwrap_err();
        assert!(refused.starts_with(want), "{refused}");
    }
}
