//! Certificates of listeners: from a reference to a Secret to a certificate a proxy can show.

use std::sync::Arc;

use config::{Certificate, Key, Kind, Redacted, Resource};
use gateway_api::experimental::gateways::GatewayListenersTlsCertificateRefs as CertificateRef;
use rustc_hash::FxHashMap;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::reference_grant::Grants;
use crate::api::{ConfigMap, Secret};
use crate::resources::{ObjectKind, Objects};
use crate::status::{Problem, reason};

/// Secrets already read. Checking that a key belongs to its certificate costs more than all the rest of a
/// listener.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    read: FxHashMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    secret: Arc<Secret>,
    certificate: Result<Arc<Resource>, String>,
    used: bool,
}

impl Certificates {
    /// The Secrets a listener shows, as `namespace/name`, and what is wrong with the others. `from`: kind and
    /// namespace of the object it is written in.
    pub(crate) fn resolve(
        &mut self,
        from: (ObjectKind, &str),
        refs: &[CertificateRef],
        secrets: &Objects<Secret>,
        grants: &Grants<'_>,
    ) -> (Vec<String>, Vec<Problem>) {
        let (mut names, mut problems) = (Vec::new(), Vec::new());
        for (index, reference) in refs.iter().enumerate() {
            match self.one(from, reference, secrets, grants) {
                Ok(name) if names.contains(&name) => {}
                Ok(name) => names.push(name),
                Err(problem) => problems.push(problem.at(&format!("tls.certificateRefs[{index}]: "))),
            }
        }
        (names, problems)
    }

    /// One of them, as `namespace/name`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn one(
        &mut self,
        from: (ObjectKind, &str),
        reference: &CertificateRef,
        secrets: &Objects<Secret>,
        grants: &Grants<'_>,
    ) -> Result<String, Problem> {
        let invalid = |message: String| Problem::unresolved(reason::INVALID_CERTIFICATE_REF, message);
        let (group, kind) = (reference.group.as_deref(), reference.kind.as_deref());
        if !group.unwrap_or_default().is_empty() || kind.is_some_and(|kind| kind != "Secret") {
            return Err(invalid(format!(
                "kind {} of group {:?} is not supported: refer to a Secret (group \"\")",
                kind.unwrap_or("Secret"),
                group.unwrap_or_default()
            )));
        }
        let target = reference.namespace.as_deref().unwrap_or(from.1);
        let to = (ObjectKind::Secret, target, reference.name.as_str());
        if !grants.allow(from, to) {
            let remedy = Grants::remedy(from, to);
            return Err(Problem::unresolved(reason::REF_NOT_PERMITTED, remedy));
        }
        let name = format!("{target}/{}", reference.name);
        let Some(secret) = secrets.get(target, &reference.name) else {
            return Err(invalid(format!("Secret {name} does not exist")));
        };
        match &self.read(&name, secret).certificate {
            Ok(_) => Ok(name),
            Err(problem) => Err(invalid(format!("Secret {name}: {problem}"))),
        }
    }

    fn read(&mut self, name: &str, secret: &Arc<Secret>) -> &Entry {
        let entry = match self.read.remove(name) {
            Some(entry) if same(&entry.secret, secret) => Entry { used: true, ..entry },
            _ => Entry {
                secret: Arc::clone(secret),
                certificate: certificate(secret).map(|c| Arc::new(Resource::Certificate(c))),
                used: true,
            },
        };
        self.read.entry(name.to_owned()).or_insert(entry)
    }

    /// The resource of a Secret that was resolved.
    pub(crate) fn resource(&self, name: &str) -> Option<(Key, Arc<Resource>)> {
        let (namespace, secret) = name.split_once('/')?;
        let resource = self.read.get(name)?.certificate.as_ref().ok()?;
        Some((Key::new(Kind::Certificate, namespace, secret), Arc::clone(resource)))
    }

    /// Forgets what nobody asked for since the last call.
    pub(crate) fn forget_unused(&mut self) {
        self.read.retain(|_, entry| std::mem::take(&mut entry.used));
    }
}

fn same(a: &Arc<Secret>, b: &Arc<Secret>) -> bool {
    Arc::ptr_eq(a, b) || (a.data == b.data && a.string_data == b.string_data && a.type_ == b.type_)
}

/// Reads a Secret of type `kubernetes.io/tls`. There is no clock here: whether it has expired is for the
/// proxy to say.
fn certificate(secret: &Secret) -> Result<Certificate, String> {
    match secret.type_.as_deref() {
        Some("kubernetes.io/tls") => {}
        other => {
            return Err(format!(
                "its type is {:?}: it must be \"kubernetes.io/tls\"",
                other.unwrap_or("Opaque")
            ));
        }
    }
    let (chain, key) = (text(secret, "tls.crt")?, text(secret, "tls.key")?);
    let certificates = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| format!("tls.crt is not PEM: {e}"))?;
    if certificates.is_empty() {
        return Err("tls.crt holds no PEM certificate".to_owned());
    }
    let private = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| "tls.key holds no PEM private key (PKCS#8, PKCS#1 or SEC1)".to_owned())?;
    CertifiedKey::from_der(certificates, private, &ring::default_provider()).map_err(|error| {
        if matches!(error, rustls::Error::InconsistentKeys(_)) {
            "tls.key is not the key of the first certificate in tls.crt".to_owned()
        } else {
            format!("tls.crt and tls.key cannot be used: {error}")
        }
    })?;
    Ok(Certificate { chain, key: Redacted::new(key) })
}

/// A key of a Secret as text; `stringData` wins over `data`, as in the API server.
fn text(secret: &Secret, key: &str) -> Result<String, String> {
    if let Some(text) = secret.string_data.as_ref().and_then(|data| data.get(key)) {
        return Ok(text.clone());
    }
    let bytes =
        secret.data.as_ref().and_then(|data| data.get(key)).ok_or_else(|| format!("it has no {key}"))?;
    String::from_utf8(bytes.0.clone()).map_err(|_| format!("{key} is not PEM text"))
}

/// The certificates of authorities in a ConfigMap, PEM, under `ca.crt`.
///
/// # Errors
/// What is wrong with it, to be put after its name.
pub(crate) fn ca_certificate(config_map: Option<&Arc<ConfigMap>>) -> Result<String, String> {
    let Some(config_map) = config_map else { return Err("does not exist".to_owned()) };
    let text = config_map.data.as_ref().and_then(|data| data.get("ca.crt")).cloned();
    let binary = || {
        let bytes = config_map.binary_data.as_ref()?.get("ca.crt")?;
        String::from_utf8(bytes.0.clone()).ok()
    };
    let pem = text.or_else(binary).ok_or_else(|| "has no key ca.crt".to_owned())?;
    match bundle_problem(&pem) {
        Some(problem) => Err(format!("key ca.crt {problem}")),
        None => Ok(pem),
    }
}

/// What is wrong with a bundle of certificate authorities, PEM; `None` if nothing.
fn bundle_problem(pem: &str) -> Option<String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = match certificate {
            Ok(certificate) => certificate,
            Err(error) => return Some(format!("is not PEM: {error}")),
        };
        if let Err(error) = roots.add(certificate) {
            return Some(format!("holds a certificate that cannot be used: {error}"));
        }
    }
    roots.is_empty().then(|| "holds no PEM certificate".to_owned())
}
