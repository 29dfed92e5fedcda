//! A certificate authority in memory: the controller's, for its own certificate and those of proxies.

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SignatureAlgorithm,
};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::{Identity, Issue, Refusal};
use crate::Redacted;

/// Certificates start to be valid this long ago: clocks of nodes differ.
const BACKDATE: Duration = Duration::from_secs(300);
/// The authority's name. Fixed, so that the authority is its key and nothing else.
const NAME: &str = "Fairway controller";

/// A certificate authority whose key is in memory. Proxies get certificates for one identity and one hour; the
/// controller's own are for host names and a day.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    lifetime: Duration,
}

/// Why an [`Authority`] cannot work.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The certificate is not that of the key, or not of an authority of this kind.
    #[error("the certificate authority cannot be used: {0}; remove it, and the controller makes a new one")]
    Foreign(String),
    /// Key or names cannot be used.
    #[error("the certificate authority cannot sign")]
    Sign(#[from] rcgen::Error),
}

/// A certificate chain and its key, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// Leaf first.
    pub chain: String,
    /// PKCS#8.
    pub key: Redacted,
}

impl Authority {
    /// Life of proxies' certificates unless [`Authority::with_lifetime`] says otherwise.
    pub const LIFETIME: Duration = Duration::from_secs(3600);
    /// Life of an authority that is not exchanged: ten years.
    pub const YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

    /// A new authority with a new key, for [`Authority::YEARS`].
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, AuthorityError> {
        Self::generate_for(Self::YEARS)
    }

    /// A new authority with a new key, for so long.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate_for(lifetime: Duration) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params()?;
        valid(&mut params, SystemTime::now(), lifetime);
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate, lifetime: Self::LIFETIME })
    }

    /// The authority that was kept as [`Authority::certificate`] and [`Authority::key`].
    ///
    /// # Errors
    /// When they are not PEM, do not belong together or were not made by [`Authority::generate`].
    pub fn load(certificate: &str, key: &Redacted) -> Result<Self, AuthorityError> {
        let foreign = |why: &str| AuthorityError::Foreign(why.to_owned());
        let key = KeyPair::from_pem(key.reveal())?;
        let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes())
            .map_err(|_| foreign("its certificate is not PEM"))?;
        let parsed = pem.parse_x509().map_err(|_| foreign("its certificate cannot be read"))?;
        let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        if name != Some(NAME) || !parsed.is_ca() {
            return Err(foreign("it is not one that Fairway made"));
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(foreign("its certificate is not that of its key"));
        }
        let issuer = Issuer::new(params()?, key);
        Ok(Self { issuer, certificate: certificate.to_owned(), lifetime: Self::LIFETIME })
    }

    /// With another life of proxies' certificates.
    #[must_use]
    pub fn with_lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// What others have to trust, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// To keep it: PKCS#8, PEM.
    #[must_use]
    pub fn key(&self) -> Redacted {
        Redacted::new(self.issuer.key().serialize_pem())
    }

    /// A certificate for the controller itself, valid a day.
    ///
    /// # Errors
    /// When a name is no host name.
    pub fn serving(&self, dns_names: &[String]) -> Result<Serving, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(dns_names)?;
        leaf(&mut params, Duration::from_secs(24 * 3600), ExtendedKeyUsagePurpose::ServerAuth);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Serving { chain: certificate.pem(), key: Redacted::new(key.serialize_pem()) })
    }

    fn sign(&self, request: &[u8], identity: &Identity) -> Result<Vec<u8>, Refusal> {
        let key =
            Requested::read(request).map_err(|why| Refusal::Forbidden(format!("signing request: {why}")))?;
        let mut params = CertificateParams::default();
        let sign = |error: rcgen::Error| Refusal::Unavailable(format!("the authority cannot sign: {error}"));
        let uri = identity.uri.as_str().try_into().map_err(sign)?;
        params.subject_alt_names.push(SanType::URI(uri));
        leaf(&mut params, self.lifetime, ExtendedKeyUsagePurpose::ClientAuth);
        Ok(params.signed_by(&key, &self.issuer).map_err(sign)?.der().to_vec())
    }
}

/// Whoever issues is known by its name and key; the dates of its own certificate say nothing about what it signs.
fn params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

fn leaf(params: &mut CertificateParams, lifetime: Duration, usage: ExtendedKeyUsagePurpose) {
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    valid(params, SystemTime::now(), lifetime);
}

fn valid(params: &mut CertificateParams, now: SystemTime, lifetime: Duration) {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since.saturating_sub(BACKDATE);
    params.not_after = epoch + since.saturating_add(lifetime);
}

/// The public key of a signing request.
struct Requested(Vec<u8>);

impl Requested {
    fn read(request: &[u8]) -> Result<Self, &'static str> {
        let (rest, request) =
            X509CertificationRequest::from_der(request).map_err(|_| "is no PKCS#10 in DER")?;
        if !rest.is_empty() {
            return Err("something follows it");
        }
        // Proof that the caller holds the key.
        request.verify_signature().map_err(|_| "its signature is wrong")?;
        let key = &request.certification_request_info.subject_pki;
        match key.parsed() {
            Ok(x509_parser::public_key::PublicKey::EC(point)) if point.key_size() == 256 => {
                Ok(Self(key.subject_public_key.data.to_vec()))
            }
            _ => Err("only ECDSA keys on P-256 are signed"),
        }
    }
}

impl PublicKeyData for Requested {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

#[async_trait]
impl Issue for Authority {
    async fn issue(&self, request: &[u8], identity: &Identity) -> Result<Vec<Vec<u8>>, Refusal> {
        Ok(vec![self.sign(request, identity)?])
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}
