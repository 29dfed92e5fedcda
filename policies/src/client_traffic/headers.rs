//! What is done to the fields of requests and responses.

use super::{Deserialize, JsonSchema, Problems, Serialize, group};

group! {
    /// What is done to fields.
    Headers {
        /// Fields with `_` in their name. Default: RejectRequest.
        with_underscores_action: Underscores,
        /// What becomes of `x-request-id`. Default: PreserveOrGenerate.
        #[serde(rename = "requestID")]
        request_id: RequestId,
        /// `x-forwarded-client-cert`. Default: Sanitize.
        x_forwarded_client_cert: XForwardedClientCert,
        /// Changes before anything is matched.
        early_request_headers: FieldChanges,
        /// Changes after everything else.
        late_response_headers: FieldChanges,
        /// The host.
        host: HostHeader,
    }
}

/// Fields with `_` in their name: backends confuse them with `-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Underscores {
    /// They are passed on.
    Allow,
    /// 400.
    RejectRequest,
    /// They are removed.
    DropHeader,
}

/// What becomes of `x-request-id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RequestId {
    /// The client's, else a new one.
    PreserveOrGenerate,
    /// The client's, else none.
    Preserve,
    /// Always a new one.
    Generate,
    /// It is left alone and means nothing.
    Disable,
}

group! {
    /// `x-forwarded-client-cert`: what a client's certificate says, for backends.
    XForwardedClientCert {
        /// What becomes of it. Default: Sanitize.
        mode: XfccMode,
        /// What of the certificate is said, beside its hash; with `AppendForward` and `SanitizeSet`.
        #[schemars(length(max = 5))]
        cert_details_to_add: Vec<CertificateDetail>,
    }
}

/// What becomes of `x-forwarded-client-cert`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum XfccMode {
    /// Removed.
    Sanitize,
    /// Passed on where the client showed a certificate, else removed.
    ForwardOnly,
    /// Ours is appended where the client showed a certificate, else removed.
    AppendForward,
    /// Ours replaces it where the client showed a certificate, else removed.
    SanitizeSet,
    /// Passed on whoever the client is.
    AlwaysForwardOnly,
}

/// What of a client's certificate is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CertificateDetail {
    /// The subject's distinguished name.
    Subject,
    /// The certificate, PEM in URL encoding.
    Cert,
    /// The chain, PEM in URL encoding.
    Chain,
    /// DNS names.
    #[serde(rename = "DNS")]
    Dns,
    /// URI names.
    #[serde(rename = "URI")]
    Uri,
}

/// A field and its value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderValue {
    /// Name, in any case.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Value.
    #[schemars(length(max = 4096))]
    pub value: String,
}

group! {
    /// Changes of fields. At most 64 in each list.
    FieldChanges {
        /// Replace what there is.
        #[schemars(length(max = 64))]
        set: Vec<HeaderValue>,
        /// Come beside what there is.
        #[schemars(length(max = 64))]
        add: Vec<HeaderValue>,
        /// Come where there is none.
        #[schemars(length(max = 64))]
        add_if_absent: Vec<HeaderValue>,
        /// Names of fields to remove.
        #[schemars(length(max = 64))]
        remove: Vec<String>,
    }
}

group! {
    /// The host.
    HostHeader {
        /// Backends get the host without the dot at its end. Routes never see it. Default: false.
        strip_trailing_host_dot: bool,
    }
}

impl Headers {
    pub(super) fn check(&self, problems: &mut Problems) {
        if let Some(cert) = &self.x_forwarded_client_cert {
            let adds = matches!(cert.mode, None | Some(XfccMode::AppendForward | XfccMode::SanitizeSet));
            let details = cert.cert_details_to_add.as_deref().unwrap_or_default();
            if !details.is_empty() && !adds {
                let message =
                    "goes with mode AppendForward or SanitizeSet only: remove it, or use one of these";
                problems.add("headers.xForwardedClientCert.certDetailsToAdd", message);
            }
            problems.once("headers.xForwardedClientCert.certDetailsToAdd", details);
        }
        let lists = [
            ("earlyRequestHeaders", &self.early_request_headers),
            ("lateResponseHeaders", &self.late_response_headers),
        ];
        for (name, changes) in lists {
            let Some(changes) = changes else { continue };
            let at = |list: &str| format!("headers.{name}.{list}");
            problems.fields(&at("set"), changes.set.as_ref());
            problems.fields(&at("add"), changes.add.as_ref());
            problems.fields(&at("addIfAbsent"), changes.add_if_absent.as_ref());
            problems.names(&at("remove"), changes.remove.as_ref());
        }
    }
}
