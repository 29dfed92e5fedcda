//! A caller, as a row gives it.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_policies::caller::{Assurance, Caller, Peer, PeerName, Token, Workload};
use serde::Deserialize;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct CallerRow {
    /// `namespace/serviceaccount`.
    workload: Option<String>,
    /// Default: Network.
    assurance: Option<Assurance>,
    /// Names in its certificate: `dns:NAME`, `uri:URI`, `email:ADDRESS`, `ip:ADDRESS`.
    names: Option<Vec<String>>,
    /// Every byte of the certificate's digest; those of the key's are one more. Default, where there are names: 7.
    digest: Option<u8>,
    /// Claims by provider.
    tokens: BTreeMap<String, serde_json::Map<String, serde_json::Value>>,
    api_client: Option<String>,
    user: Option<String>,
}

impl CallerRow {
    pub(crate) fn is_given(&self) -> bool {
        self.api_client.is_some() || self.user.is_some()
    }

    pub(crate) fn caller(&self) -> Caller {
        let workload = self.workload.as_ref().map(|workload| {
            let (namespace, account) = workload.split_once('/').unwrap();
            Workload {
                namespace: namespace.to_owned(),
                service_account: account.to_owned(),
                assurance: self.assurance.unwrap_or(Assurance::Network),
            }
        });
        let digest = self.digest.or(self.names.as_ref().map(|_| 7));
        let names = self.names.iter().flatten().map(|name| self::name(name)).collect();
        let digests = digest.map(|byte| ([byte; 32], [byte + 1; 32]));
        let is_known = workload.is_some() || digests.is_some();
        Caller {
            peer: is_known.then(|| Arc::new(Peer { names, digests, workload, pod: None })),
            tokens: self
                .tokens
                .iter()
                .map(|(provider, claims)| Token {
                    provider: provider.as_str().into(),
                    claims: claims.clone().into(),
                })
                .collect(),
            api_client: self.api_client.as_deref().map(Into::into),
            user: self.user.as_deref().map(Into::into),
        }
    }
}

fn name(text: &str) -> PeerName {
    let (kind, name) = text.split_once(':').unwrap();
    match kind {
        "dns" => PeerName::Dns(name.to_owned()),
        "uri" => PeerName::Uri(name.to_owned()),
        "email" => PeerName::Email(name.to_owned()),
        "ip" => PeerName::Ip(name.parse().unwrap()),
        kind => panic!("{kind} is no kind of name"),
    }
}
