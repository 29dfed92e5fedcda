//! What a Gateway asks of clients: certificates, for every HTTPS listener or by port.

use std::sync::Arc;

use config::{ClientValidation, ClientValidationMode};
use gateway_api::experimental::gateways as gw;
use rustc_hash::FxHashMap;

use super::reference_grant::Grants;
use super::tls::ca_certificate;
use crate::api;
use crate::resources::{Named, ObjectKind, Resources};
use crate::status::{Problem, reason};

/// The judged `tls.frontend` of a Gateway.
#[derive(Debug, Default)]
pub(crate) struct Validations {
    default: Judged,
    ports: FxHashMap<i32, Judged>,
}

/// What is asked of the clients of some listeners, and what is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// `None`: nothing; or nobody could be valid, and a problem says why.
    pub(crate) validation: Option<ClientValidation>,
    /// With their place in the Gateway.
    pub(crate) problems: Vec<Problem>,
}

/// A reference to certificates of authorities.
struct CaRef<'a> {
    group: &'a str,
    kind: &'a str,
    namespace: Option<&'a str>,
    name: &'a str,
}

macro_rules! ca_refs {
    ($validation:expr) => {
        $validation
            .ca_certificate_refs
            .iter()
            .map(|ca| CaRef {
                group: &ca.group,
                kind: &ca.kind,
                namespace: ca.namespace.as_deref(),
                name: &ca.name,
            })
            .collect::<Vec<_>>()
    };
}

impl Validations {
    pub(crate) fn new(gateway: &api::Gateway, resources: &Resources, grants: &Grants<'_>) -> Self {
        let frontend = gateway.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref());
        let Some(frontend) = frontend else { return Self::default() };
        let judge = |place: &str, refs: &[CaRef<'_>], mode| {
            judge(
                gateway.namespace(),
                &format!("tls.frontend.{place}.validation"),
                refs,
                mode,
                resources,
                grants,
            )
        };
        let default = frontend.default.validation.as_ref().map(|validation| {
            let insecure = gw::GatewayTlsFrontendDefaultValidationMode::AllowInsecureFallback;
            let mode = mode(validation.mode.as_ref().is_some_and(|mode| *mode == insecure));
            judge("default", &ca_refs!(validation), mode)
        });
        let ports = frontend.per_port.iter().flatten().enumerate().map(|(index, port)| {
            let judged = port.tls.validation.as_ref().map(|validation| {
                let insecure = gw::GatewayTlsFrontendPerPortTlsValidationMode::AllowInsecureFallback;
                let mode = mode(validation.mode.as_ref().is_some_and(|mode| *mode == insecure));
                judge(&format!("perPort[{index}].tls"), &ca_refs!(validation), mode)
            });
            (port.port, judged.unwrap_or_default())
        });
        Self { default: default.unwrap_or_default(), ports: ports.collect() }
    }

    /// What holds for HTTPS listeners of a port. Gateway API: "Once set this configuration overrides the default
    /// configuration for all Listeners handling HTTPS traffic that match this port."
    pub(crate) fn of_port(&self, port: i32) -> &Judged {
        self.ports.get(&port).unwrap_or(&self.default)
    }
}

/// Whether some clients without valid certificates are let in. Gateway API: "either at the Gateway level or via a
/// per-port override".
pub(crate) fn is_insecure(gateway: &api::Gateway) -> bool {
    let frontend = gateway.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref());
    frontend.is_some_and(|frontend| {
        let insecure = gw::GatewayTlsFrontendDefaultValidationMode::AllowInsecureFallback;
        let default = frontend.default.validation.as_ref().and_then(|validation| validation.mode.as_ref());
        default == Some(&insecure)
            || frontend.per_port.iter().flatten().any(|port| {
                let insecure = gw::GatewayTlsFrontendPerPortTlsValidationMode::AllowInsecureFallback;
                let validation = port.tls.validation.as_ref();
                validation.and_then(|validation| validation.mode.as_ref()) == Some(&insecure)
            })
    })
}

const fn mode(is_insecure: bool) -> ClientValidationMode {
    if is_insecure {
        ClientValidationMode::AllowInsecureFallback
    } else {
        ClientValidationMode::AllowValidOnly
    }
}

/// Gateway API: a reference that leads nowhere makes `ResolvedRefs` false on all listeners it concerns, and "if ALL
/// CACertificateRefs are invalid, the implementation MUST also ensure the `Accepted` condition on the listener is set to
/// `status: False`, with the Reason `NoValidCACertificate`".
fn judge(
    namespace: &str,
    place: &str,
    refs: &[CaRef<'_>],
    mode: ClientValidationMode,
    resources: &Resources,
    grants: &Grants<'_>,
) -> Judged {
    let (mut ca, mut problems) = (String::new(), Vec::new());
    for (index, reference) in refs.iter().enumerate() {
        match certificates(namespace, reference, resources, grants) {
            Ok(pem) => {
                ca.push_str(pem.trim_end());
                ca.push('\n');
            }
            Err(problem) => problems.push(problem.at(&format!("{place}.caCertificateRefs[{index}]: "))),
        }
    }
    if ca.is_empty() {
        let message = format!("{place}.caCertificateRefs: none of them is valid, so no client could be");
        problems.push(Problem::accepted(reason::NO_VALID_CA_CERTIFICATE, message));
        return Judged { validation: None, problems };
    }
    Judged { validation: Some(ClientValidation { ca, mode }), problems }
}

fn certificates(
    namespace: &str,
    reference: &CaRef<'_>,
    resources: &Resources,
    grants: &Grants<'_>,
) -> Result<String, Problem> {
    if !reference.group.is_empty() || reference.kind != "ConfigMap" {
        let message = format!(
            "kind {} of group {:?} is not supported: refer to a ConfigMap (group \"\")",
            reference.kind, reference.group
        );
        return Err(Problem::unresolved(reason::INVALID_CA_CERTIFICATE_KIND, message));
    }
    let target = reference.namespace.unwrap_or(namespace);
    let (from, to) = ((ObjectKind::Gateway, namespace), (ObjectKind::ConfigMap, target, reference.name));
    if !grants.allow(from, to) {
        return Err(Problem::unresolved(reason::REF_NOT_PERMITTED, Grants::remedy(from, to)));
    }
    let config_map: Option<&Arc<api::ConfigMap>> = resources.config_maps.get(target, reference.name);
    ca_certificate(config_map).map_err(|problem| {
        let message = format!("ConfigMap {target}/{} {problem}", reference.name);
        Problem::unresolved(reason::INVALID_CA_CERTIFICATE_REF, message)
    })
}
