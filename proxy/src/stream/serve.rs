//! One connection: an endpoint that takes it, then bytes both ways.

use std::sync::Arc;

use smallvec::SmallVec;

use super::accept::Opaque;
use super::account::Account;
use super::relay::{Ended, Relay};
use super::side::Side;
use crate::attempt::{Attempts, Facts, Failure, Next, Sent};
use crate::telemetry::entropy;
use crate::upstream::{ClientIdentity, Cluster, DialError, NoEndpoint};

/// Serves one connection to its end.
pub(crate) async fn serve(opaque: Opaque) {
    let Opaque { client, seen, table, cluster, is_passed, mut account, idle } = opaque;
    let identity = table.identity.as_deref();
    let upstream = match connect(&cluster, is_passed, identity, &mut account).await {
        Ok(upstream) => upstream,
        Err(reason) => {
            account.end(reason);
            client.will_reset();
            return;
        }
    };
    account.end(match Relay::new(client, upstream, seen).run(idle, &account).await {
        Ended::Whole => "ok",
        Ended::Client => "client_abort",
        Ended::Upstream => "upstream_reset",
        Ended::Idle => "idle_timeout",
    });
}

/// Connects to an endpoint, or to another one.
async fn connect(
    cluster: &Arc<Cluster>,
    is_passed: bool,
    identity: Option<&ClientIdentity>,
    account: &mut Account,
) -> Result<Side, &'static str> {
    let mut tried: SmallVec<[_; 3]> = SmallVec::new();
    let mut attempts = Attempts::default();
    loop {
        let picked = cluster.pick_whole(entropy(), &tried).map_err(|none| match none {
            NoEndpoint::None => "no_endpoints",
            NoEndpoint::Full => "connection_limit",
        })?;
        tried.push(picked.address());
        let picked = account.attempt(picked);
        let error = match picked.dial(!is_passed, identity).await {
            Ok(upstream) => {
                account.answered();
                return Ok(upstream);
            }
            Err(error) => error,
        };
        account.refused();
        tracing::debug!(backend = %cluster.backend, %error, "no connection");
        let facts = Facts {
            failure: Failure::Connect,
            sent: Sent::Nothing,
            idempotent: false,
            replayable: true,
            untried: cluster.has_untried(&tried),
            left: None,
            entropy: entropy(),
        };
        if attempts.next(None, &facts) == Next::Done {
            return Err(match error {
                DialError::Connect(_) => "connect_failure",
                DialError::Tls(_) => "upstream_tls",
            });
        }
    }
}
