//! Proxies show the token of their ServiceAccount; the API server says whose it is (TokenReview), and the name of the
//! ServiceAccount says which Gateway it runs for, since we made it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use config::Redacted;
use config::identity::{Authenticate, GatewayRef, Identity, ProxyId, Refusal};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::cluster::control::View;
use crate::cluster::provision::AUDIENCE;
use crate::cluster::write;
use crate::provisioned;
use crate::resources::Named;
use crate::translate::parameters;

/// How long an answer of the API server is good for: a proxy that reconnects asks twice, for a certificate and a stream.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Most answers remembered.
const MOST: usize = 4096;
/// Longest wait for the API server.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Tokens {
    client: Client,
    views: watch::Receiver<Option<Arc<View>>>,
    trust_domain: String,
    known: Mutex<FxHashMap<[u8; 32], (Account, Instant)>>,
}

/// Whose a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    namespace: String,
    name: String,
    pod: Option<String>,
}

impl Tokens {
    pub(crate) fn new(
        client: Client,
        views: watch::Receiver<Option<Arc<View>>>,
        trust_domain: String,
    ) -> Self {
        Self { client, views, trust_domain, known: Mutex::default() }
    }

    async fn account(&self, token: &Redacted) -> Result<Account, Refusal> {
        // Only a digest is kept: memory is read more easily than a token is guessed.
        let digest = ring::digest::digest(&ring::digest::SHA256, token.reveal().as_bytes());
        let digest: [u8; 32] = digest.as_ref().try_into().unwrap_or_default();
        let now = Instant::now();
        if let Some((account, since)) = self.known.lock().get(&digest)
            && now < *since + REMEMBERED
        {
            return Ok(account.clone());
        }
        let account = self.review(token).await?;
        let mut known = self.known.lock();
        known.retain(|_, (_, since)| now < *since + REMEMBERED);
        if known.len() < MOST {
            known.insert(digest, (account.clone(), now));
        }
        Ok(account)
    }

    async fn review(&self, token: &Redacted) -> Result<Account, Refusal> {
        let review = TokenReview {
            // The API server is asked whose the token is.
            spec: TokenReviewSpec {
                token: token.reveal().to_owned(),
                audiences: Some(vec![AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let unavailable = |why: String| {
            Refusal::Unavailable(format!("the API server cannot be asked whose the token is: {why}"))
        };
        let answer = timeout(PATIENCE, api.create(&PostParams::default(), &review))
            .await
            .map_err(|_| unavailable("it does not answer".into()))?
            .map_err(|error| unavailable(write::message(&error)))?;
        account(answer.status.unwrap_or_default())
    }

    /// The Gateway whose proxies have a ServiceAccount.
    fn gateway(&self, account: &Account) -> Result<GatewayRef, Refusal> {
        let Some(view) = self.views.borrow().clone() else {
            return Err(Refusal::Unavailable("the controller has only just started".into()));
        };
        let gateway = view.resources.gateways.iter().find(|gateway| {
            gateway.namespace() == account.namespace
                && provisioned::name(gateway) == account.name
                && parameters::is_served(gateway, &view.resources)
        });
        match gateway {
            Some(gateway) => {
                Ok(GatewayRef::new(parameters::role(gateway), gateway.namespace(), gateway.name()))
            }
            None => Err(Refusal::Forbidden(format!(
                "ServiceAccount {}/{} runs the proxies of no Gateway",
                account.namespace, account.name
            ))),
        }
    }
}

/// What the API server said of a token.
fn account(status: TokenReviewStatus) -> Result<Account, Refusal> {
    let refuse = |why: String| Err(Refusal::Unauthenticated(why));
    if status.authenticated != Some(true) {
        return refuse(format!(
            "the token is not valid: {}",
            status.error.unwrap_or_else(|| "no reason is given".into())
        ));
    }
    // An API server that knows nothing of audiences leaves them out, and then the token may be meant for anybody.
    if !status.audiences.iter().flatten().any(|audience| audience == AUDIENCE) {
        return refuse(format!("the token is not for audience {AUDIENCE}"));
    }
    let user = status.user.unwrap_or_default();
    let name = user.username.unwrap_or_default();
    let Some((namespace, name)) =
        name.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'))
    else {
        return refuse(format!("{name:?} is no ServiceAccount"));
    };
    let pod =
        user.extra.and_then(|extra| extra.get("authentication.kubernetes.io/pod-name")?.first().cloned());
    Ok(Account { namespace: namespace.to_owned(), name: name.to_owned(), pod })
}

#[async_trait]
impl Authenticate for Tokens {
    async fn authenticate(&self, token: &Redacted, claim: &ProxyId) -> Result<Identity, Refusal> {
        let account = self.account(token).await?;
        let gateway = self.gateway(&account)?;
        let uri = format!("spiffe://{}/ns/{}/sa/{}", self.trust_domain, account.namespace, account.name);
        let pod = account.pod.unwrap_or_else(|| claim.pod.clone());
        Ok(Identity { proxy: ProxyId { gateway, pod }, uri })
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    fn status(username: &str, audience: &str) -> TokenReviewStatus {
        TokenReviewStatus {
            authenticated: Some(true),
            audiences: Some(vec![audience.to_owned()]),
            user: Some(UserInfo { username: Some(username.to_owned()), ..UserInfo::default() }),
            error: None,
        }
    }

    #[test]
    fn only_service_accounts_with_our_audience_are_known() {
        let known = account(status("system:serviceaccount:shop:edge-fairway", AUDIENCE)).unwrap();
        assert_eq!((known.namespace.as_str(), known.name.as_str()), ("shop", "edge-fairway"));
        for wrong in [
            status("system:serviceaccount:shop:edge-fairway", "https://kubernetes.default.svc"),
            status("system:admin", AUDIENCE),
            TokenReviewStatus { audiences: None, ..status("system:serviceaccount:a:b", AUDIENCE) },
            TokenReviewStatus { authenticated: Some(false), ..status("system:serviceaccount:a:b", AUDIENCE) },
            TokenReviewStatus::default(),
        ] {
            assert!(matches!(account(wrong), Err(Refusal::Unauthenticated(_))));
        }
    }
}
