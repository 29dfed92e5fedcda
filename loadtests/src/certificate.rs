//! One self-made certificate for a run, and clients that trust only it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::{ClientConfig, RootCertStore};

/// The name it is for.
pub(crate) const NAME: &str = "bench.example.com";

/// Files and client settings.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    /// Both in one file, for HAProxy.
    pub(crate) both: PathBuf,
    pub(crate) chain_pem: String,
    pub(crate) key_pem: String,
    pub(crate) http1: Arc<ClientConfig>,
    pub(crate) http2: Arc<ClientConfig>,
}

impl Certificate {
    /// Makes one (ECDSA P-256) and writes it to `dir`.
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned(), "*.example.com".to_owned()])?;
        let (chain_pem, key_pem) = (made.cert.pem(), made.signing_key.serialize_pem());
        let write = |name: &str, text: &str| -> Result<PathBuf> {
            let path = dir.join(name);
            fs::write(&path, text).with_context(|| path.display().to_string())?;
            Ok(path)
        };
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        Ok(Self {
            chain: write("chain.pem", &chain_pem)?,
            key: write("key.pem", &key_pem)?,
            both: write("both.pem", &format!("{chain_pem}{key_pem}"))?,
            http1: client(&roots, b"http/1.1")?,
            http2: client(&roots, b"h2")?,
            chain_pem,
            key_pem,
        })
    }
}

fn client(roots: &RootCertStore, alpn: &[u8]) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = rustls::client::Resumption::disabled(); // each new connection is a full handshake
    Ok(Arc::new(config))
}
