//! What is said of limits that all proxies hold together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::leased::nanos;
use super::spec::{Algorithm, Limit, LimitRule};
use crate::lease::{self, Expired, Terms};
use crate::schema::{Bounds, within};
use crate::{Duration, Invalid};

/// How long a proxy may go on with a share that nobody renews.
const KEPT: Bounds = Bounds::new(std::time::Duration::ZERO, std::time::Duration::from_hours(1));

/// Limits that all proxies hold together. Each proxy decides by a share that it has leased, without asking anybody.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GlobalLimits {
    /// A request has to pass all that match it; 1 to 64.
    #[schemars(length(min = 1, max = 64))]
    pub rules: Vec<LimitRule>,
    /// What holds while the controller cannot be asked for shares. Fairway's. Default: the last share for 30 seconds, then an
    /// equal part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_quota_lost: Option<OnQuotaLost>,
}

/// What a proxy does about limits while nobody renews its shares. A share lasts for half a minute at least; this is what comes
/// after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct OnQuotaLost {
    /// How long it goes on with its last share, up to `1h`. For as long, nobody else gets the share of a proxy that is gone.
    /// Default: 30s.
    #[schemars(transform = within(KEPT))]
    pub keep_share_for: Duration,
    /// What holds then; and after ten seconds for what never had a share. Default: LocalShare.
    pub then: Fallback,
}

impl Default for OnQuotaLost {
    fn default() -> Self {
        Self { keep_share_for: Duration(std::time::Duration::from_secs(30)), then: Fallback::LocalShare }
    }
}

/// What holds without a share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Fallback {
    /// An equal part of the limit for each of the proxies there were: together at most the limit.
    #[default]
    LocalShare,
    /// The last share for as long as it takes. Together with shares that others get meanwhile it may be more than the limit.
    LastShare,
    /// Nothing.
    Closed,
    /// Everything.
    Open,
}

impl GlobalLimits {
    /// The limit of a rule, and what a proxy does about it.
    ///
    /// # Errors
    /// When it cannot be held.
    pub(super) fn terms(&self, field: &str, limit: Limit) -> Result<Terms, Invalid> {
        let OnQuotaLost { keep_share_for, then } = self.on_quota_lost.unwrap_or_default();
        let kept = KEPT.check("global.onQuotaLost.keepShareFor", keep_share_for)?;
        let Limit { requests, unit, burst, algorithm } = limit;
        let limit = match (algorithm, burst) {
            (Algorithm::TokenBucket, burst) => {
                let burst = burst.unwrap_or_else(|| requests.max(1));
                lease::Limit::token_bucket(requests.into(), unit.duration(), burst.into())
            }
            (Algorithm::SlidingWindow, None) => {
                lease::Limit::sliding_window(requests.into(), unit.duration())
            }
            (Algorithm::SlidingWindow, Some(_)) => {
                return Err(Invalid::field(format!("{field}.limit.burst"), super::spec::NO_BURST));
            }
        };
        let expired = match then {
            Fallback::LocalShare => Expired::LocalShare,
            Fallback::LastShare => Expired::LastShare,
            Fallback::Closed => Expired::Closed,
            Fallback::Open => Expired::Open,
        };
        let reuse = nanos(kept);
        // How many proxies there are, they are told by whoever leases.
        Ok(Terms { limit, proxies: 1, reuse, expired, is_lost: false })
    }
}
