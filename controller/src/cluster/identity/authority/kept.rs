//! What the Secret of the authority holds.

use std::sync::Arc;

use config::Redacted;
use config::identity::{Authority, AuthorityError};
use config::xds::ServerTls;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::rotation::{Dates, Rotation, Step};
use super::{Error, SECRET};
use crate::x509::{self, Validity};

const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";
/// Of the authority to come, which is trusted and signs nothing yet.
const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
/// Of authorities before, newest first, which are trusted while their certificates last.
const PREVIOUS: &str = "previous.crt";

/// See the module.
pub(super) struct Kept {
    pub(super) authority: Arc<Authority>,
    next: Option<Authority>,
    /// PEM, one each.
    previous: Vec<String>,
}

impl Kept {
    /// A first authority, or one in place of a Secret that was removed, whose certificate was `previous`.
    pub(super) fn made(rotation: Rotation, previous: Option<&str>) -> Result<Self, AuthorityError> {
        Ok(Self {
            authority: Arc::new(Authority::generate_for(rotation.lifetime())?),
            next: None,
            previous: previous.map(str::to_owned).into_iter().collect(),
        })
    }

    pub(super) fn read(secret: &Secret) -> Result<Self, AuthorityError> {
        let text = |key: &str| {
            let bytes = secret.data.as_ref().and_then(|data| data.get(key));
            bytes.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok()).unwrap_or_default()
        };
        let load = |certificate, key| Authority::load(&text(certificate), &Redacted::new(text(key)));
        Ok(Self {
            authority: Arc::new(load(CERTIFICATE, KEY)?),
            // One that cannot be used is made anew.
            next: load(NEXT_CERTIFICATE, NEXT_KEY).ok(),
            previous: split(&text(PREVIOUS)),
        })
    }

    /// As a Secret. It carries the resourceVersion of the one it was read from, so that a write in between is a
    /// conflict.
    pub(super) fn write(&self, from: Option<&Secret>) -> Secret {
        let mut secret = Secret { type_: Some("Opaque".into()), ..Secret::default() };
        secret.metadata = from.map(|from| from.metadata.clone()).unwrap_or_default();
        secret.metadata.name = Some(SECRET.into());
        let mut texts = vec![
            (CERTIFICATE, self.authority.certificate().to_owned()),
            (KEY, self.authority.key().reveal().to_owned()),
        ];
        if let Some(next) = &self.next {
            texts.push((NEXT_CERTIFICATE, next.certificate().to_owned()));
            texts.push((NEXT_KEY, next.key().reveal().to_owned()));
        }
        if !self.previous.is_empty() {
            texts.push((PREVIOUS, self.previous.concat()));
        }
        let bytes = |(key, text): (&str, String)| (key.to_owned(), ByteString(text.into_bytes()));
        secret.data = Some(texts.into_iter().map(bytes).collect());
        secret
    }

    /// What proxies have to trust, PEM.
    pub(super) fn trust(&self) -> String {
        let next = self.next.as_ref().map(Authority::certificate).unwrap_or_default();
        format!("{}{next}{}", self.authority.certificate(), self.previous.concat())
    }

    pub(super) fn tls(&self, dns_names: &[String]) -> Result<ServerTls, Error> {
        let serving = self.authority.serving(dns_names)?;
        Ok(ServerTls::new(&serving.chain, &serving.key, &self.trust())?)
    }

    pub(super) fn dates(&self) -> Dates {
        Dates {
            current: validity(self.authority.certificate()),
            next: self.next.as_ref().and_then(|next| validity(next.certificate())),
            // One that cannot be read ends what follows it too: it is of no use to anybody.
            previous: self.previous.iter().map_while(|pem| validity(pem)).collect(),
        }
    }

    /// After a step.
    pub(super) fn after(self, step: Step, rotation: Rotation) -> Result<Self, AuthorityError> {
        let Self { authority, next, mut previous } = self;
        let make = || Authority::generate_for(rotation.lifetime());
        Ok(match step {
            Step::Announce => Self { authority, next: Some(make()?), previous },
            Step::Forget(kept) => {
                previous.truncate(kept);
                Self { authority, next, previous }
            }
            Step::Promote | Step::Replace => {
                previous.insert(0, authority.certificate().to_owned());
                let authority = Arc::new(next.map_or_else(make, Ok)?);
                Self { authority, next: None, previous }
            }
        })
    }
}

fn validity(pem: &str) -> Option<Validity> {
    x509::validity(&x509::first(pem).ok()?).ok()
}

/// The certificates of a bundle, each by itself; what is none is left out.
fn split(bundle: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let parts = bundle.split_inclusive(END).map(|part| format!("{}\n", part.trim()));
    parts.filter(|part| CertificateDer::from_pem_slice(part.as_bytes()).is_ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation() -> Rotation {
        Rotation { period: Some(std::time::Duration::from_secs(86_400)) }
    }

    /// As the API server would give it back.
    fn again(kept: &Kept) -> Kept {
        Kept::read(&kept.write(None)).unwrap()
    }

    #[test]
    fn a_rotation_never_leaves_out_whom_anybody_needs() {
        let first = Kept::made(rotation(), None).unwrap();
        let old = first.authority.certificate().to_owned();
        let announced = again(&first.after(Step::Announce, rotation()).unwrap());
        assert_eq!(announced.authority.certificate(), old, "it signs on");
        let new = announced.next.as_ref().unwrap().certificate().to_owned();
        assert!(announced.trust().contains(&old) && announced.trust().contains(&new));
        let promoted = again(&announced.after(Step::Promote, rotation()).unwrap());
        assert_eq!(promoted.authority.certificate(), new);
        assert!(promoted.next.is_none());
        assert!(promoted.trust().contains(&old) && promoted.trust().contains(&new));
        let forgotten = again(&promoted.after(Step::Forget(0), rotation()).unwrap());
        assert_eq!(forgotten.trust(), new);
    }

    #[test]
    fn a_next_one_that_cannot_be_used_is_not_trusted() {
        let kept = Kept::made(rotation(), None).unwrap().after(Step::Announce, rotation()).unwrap();
        let mut secret = kept.write(None);
        let other = Authority::generate().unwrap();
        secret
            .data
            .as_mut()
            .unwrap()
            .insert(NEXT_KEY.into(), ByteString(other.key().reveal().as_bytes().to_vec()));
        let read = Kept::read(&secret).unwrap();
        assert!(read.next.is_none());
        assert_eq!(read.trust(), read.authority.certificate());
    }

    #[test]
    fn an_authority_lives_three_periods() {
        let dates = Kept::made(rotation(), None).unwrap().dates();
        let current = dates.current.unwrap();
        let life = current.ends - current.begins;
        assert!((3 * 86_400..3 * 86_400 + 600).contains(&life), "{life}");
    }
}
