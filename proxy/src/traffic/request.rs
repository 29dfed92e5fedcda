//! What requests are held to, once it is known which listener they are for.

pub(crate) mod certificate;
pub(crate) mod client;
pub(crate) mod path;

use std::sync::LazyLock;

use policies::Invalid;
use policies::client_traffic::{ClientTraffic, HeaderChanges, Headers, Limits, Path, RequestId, Underscores};

use self::certificate::CertificateRules;
use self::client::Detection;
use self::path::PathRules;

/// Most fields of a head where nobody says how many (Envoy's default).
const FIELDS: usize = 100;

/// What requests are held to.
#[derive(Debug)]
pub(crate) struct RequestRules {
    /// Who the client is.
    pub(crate) client: Detection,
    /// `x-forwarded-for` gets the address of the connection.
    pub(crate) appends_peer: bool,
    pub(crate) paths: PathRules,
    pub(crate) underscores: Underscores,
    pub(crate) most_fields: usize,
    /// Most bytes of a head; `None`: the default of its protocol. A head is read before its listener is known, so this is
    /// what the port's first listener says.
    pub(crate) head_bytes: Option<usize>,
    pub(crate) request_id: RequestId,
    pub(crate) certificate: Option<CertificateRules>,
    /// Backends get the host without the dot at its end.
    pub(crate) strips_dot: bool,
    /// Before anything is matched.
    pub(crate) early: HeaderChanges,
    /// After everything else.
    pub(crate) late: HeaderChanges,
    /// The path the proxy answers itself.
    pub(crate) health_check: Option<Box<str>>,
}

impl Default for RequestRules {
    fn default() -> Self {
        Self {
            client: Detection::default(),
            appends_peer: true,
            paths: PathRules::DEFAULT,
            underscores: Underscores::RejectRequest,
            most_fields: FIELDS,
            head_bytes: None,
            request_id: RequestId::PreserveOrGenerate,
            certificate: None,
            strips_dot: false,
            early: HeaderChanges::default(),
            late: HeaderChanges::default(),
            health_check: None,
        }
    }
}

impl RequestRules {
    /// Of requests that no listener serves: every default.
    pub(crate) fn of_nobody() -> &'static Self {
        static NOBODY: LazyLock<RequestRules> = LazyLock::new(RequestRules::default);
        &NOBODY
    }

    /// `spec` has no [problems](ClientTraffic::problems).
    pub(super) fn compile(spec: &ClientTraffic) -> Result<Self, String> {
        let mut rules = Self::default();
        if let Some(detection) = &spec.client_ip_detection {
            rules.client = Detection::compile(detection).map_err(|e| format!("clientIPDetection.{e}"))?;
            rules.appends_peer = client::appends_peer(detection);
        }
        if let Some(Path { escaped_slashes_action, disable_merge_slashes }) = &spec.path {
            if let Some(action) = escaped_slashes_action {
                rules.paths.escaped_slashes = *action;
            }
            rules.paths.merge_slashes = !disable_merge_slashes.unwrap_or_default();
        }
        if let Some(limits) = &spec.limits {
            rules.limit(limits);
        }
        if let Some(headers) = &spec.headers {
            rules.change(headers)?;
        }
        if let Some(check) = &spec.health_check {
            rules.health_check = Some(check.path.as_str().into());
        }
        Ok(rules)
    }

    fn limit(&mut self, limits: &Limits) {
        if let Some(count) = limits.request_headers_count {
            self.most_fields = usize::try_from(count).unwrap_or(FIELDS);
        }
        self.head_bytes = limits.request_headers_bytes.and_then(|size| usize::try_from(size.0).ok());
    }

    fn change(&mut self, headers: &Headers) -> Result<(), String> {
        let field = |group: &str, e: Invalid| format!("headers.{group}.{e}");
        if let Some(action) = headers.with_underscores_action {
            self.underscores = action;
        }
        if let Some(mode) = headers.request_id {
            self.request_id = mode;
        }
        if let Some(spec) = &headers.early_request_headers {
            self.early = HeaderChanges::compile(spec).map_err(|e| field("earlyRequestHeaders", e))?;
        }
        if let Some(spec) = &headers.late_response_headers {
            self.late = HeaderChanges::compile(spec).map_err(|e| field("lateResponseHeaders", e))?;
        }
        self.certificate = headers.x_forwarded_client_cert.as_ref().map(CertificateRules::compile);
        self.strips_dot =
            headers.host.as_ref().and_then(|host| host.strip_trailing_host_dot).unwrap_or_default();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
