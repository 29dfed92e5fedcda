//! Self-made certificates: one authority per process, one certificate per Secret that asks for one.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use anyhow::Context as _;
use controller::Object;
use controller::api::Secret;
use controller::local::{self, SelfSigned};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// A Secret that was filled. The same Secret gets the same object: what depends on it does not change.
struct Issued {
    asked: Arc<Secret>,
    filled: Object,
    chain: String,
    key: String,
}

/// Signs. Its key never leaves the process.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    issued: BTreeMap<SelfSigned, Issued>,
}

impl Authority {
    /// A new authority.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Fairway standalone");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).context("cannot sign")?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem, issued: BTreeMap::new() })
    }

    /// What clients have to trust.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// Fills the Secrets that ask for it. A certificate stays the same as long as its names do.
    pub(crate) fn fill(&mut self, objects: &mut [Object]) -> anyhow::Result<()> {
        let wanted = local::self_signed(objects);
        self.issued.retain(|known, _| wanted.contains(known));
        for wanted in wanted {
            for object in objects.iter_mut() {
                if let Object::Secret(secret) = object
                    && secret.metadata.name.as_ref() == Some(&wanted.name)
                    && secret.metadata.namespace.as_ref() == Some(&wanted.namespace)
                {
                    *object = self.filled(&wanted, secret)?;
                }
            }
        }
        Ok(())
    }

    fn filled(&mut self, wanted: &SelfSigned, secret: &Arc<Secret>) -> anyhow::Result<Object> {
        let (chain, key) = match self.issued.get(wanted) {
            Some(issued) if Arc::ptr_eq(&issued.asked, secret) => return Ok(issued.filled.clone()),
            Some(issued) => (issued.chain.clone(), issued.key.clone()),
            None => self.issue(&wanted.dns_names)?,
        };
        let filled = local::with_certificate(secret, &chain, &key);
        let issued = Issued { asked: secret.clone(), filled: filled.clone(), chain, key };
        self.issued.insert(wanted.clone(), issued);
        Ok(filled)
    }

    fn issue(&self, dns_names: &[String]) -> anyhow::Result<(String, String)> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let mut params = CertificateParams::new(dns_names)
            .with_context(|| format!("cannot make a certificate for {}", dns_names.join(", ")))?;
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        params.distinguished_name.push(DnType::CommonName, "Fairway standalone listener");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).context("cannot sign")?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}
