//! What a user writes. Names and shapes are Envoy Gateway's; what is Fairway's says so.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mode::Mode;
use crate::schema::{CIDR, CLAIM_PATH, Form, METHOD, TOKEN, form, rule};

/// Of a limit.
const NAME: Form = Form { pattern: "^[A-Za-z0-9._-]+$", longest: 63 };
/// What a value goes with.
const WITHOUT_VALUE: &str =
    "!has(self.type) || self.type != 'Distinct' || (!has(self.value) && (!has(self.invert) || !self.invert))";
const DISTINCT: &str = "is Distinct, which goes without value and invert: remove them";
const WITH_VALUE: &str = "(has(self.type) && self.type == 'Distinct') || has(self.value)";
const MISSING: &str = "value is missing: write it, or `type: Distinct` for any";
const LOCAL: &str =
    "self.rules.all(rule, !has(rule.limit.algorithm) || rule.limit.algorithm == 'TokenBucket')";
/// Of an algorithm where it does not exist.
pub(super) const SLIDING: &str =
    "SlidingWindow is for rules of `global` only: move the rule there, or leave algorithm out";
const BURST: &str = "!has(self.burst) || !has(self.algorithm) || self.algorithm != 'SlidingWindow'";
/// Of a burst where there is none.
pub(super) const NO_BURST: &str = "a sliding window has no burst: leave it out";

/// Limits that each proxy holds by itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rule(LOCAL, SLIDING))]
pub struct LocalLimits {
    /// A request has to pass all that match it; 1 to 64.
    #[schemars(length(min = 1, max = 64))]
    pub rules: Vec<LimitRule>,
}

/// A limit, and what counts against it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitRule {
    /// For clients (`RateLimit`), logs and metrics: 1 to 63 letters, digits, `-`, `_` and `.`; unlike that of any other rule.
    /// Default: `rule-INDEX`, in `global` `global-INDEX`, in `exact` `exact-INDEX`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), transform = form(NAME))]
    pub name: Option<String>,
    /// Which requests count: those for which all conditions hold; up to 8. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub client_selectors: Vec<ClientSelector>,
    /// How many requests, or how much of what they cost.
    pub limit: Limit,
    /// What a request costs. Default: 1, when it comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Costs>,
    /// One limit for all routes that the policy is about. Default: false, one for each route.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// Counts, and refuses nobody: `mode: Shadow` by its name in Envoy Gateway. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow_mode: bool,
    /// `DraftVersion03`: responses also tell limits in `X-RateLimit-Limit`, `-Remaining` and `-Reset`. Default: Off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x_rate_limit_headers: Option<XRateLimitHeaders>,
}

/// Older fields for limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum XRateLimitHeaders {
    /// Not sent.
    Off,
    /// As in the third draft (draft-polli-ratelimit-headers-03).
    DraftVersion03,
}

/// How much in how long: a bucket that holds `burst` and is filled at the rate of `requests` in a `unit`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rule(BURST, NO_BURST))]
pub struct Limit {
    /// Requests in a unit, or what they cost; 0 to 4,294,967,295. 0: none.
    pub requests: u32,
    /// The unit of time.
    pub unit: Unit,
    /// As many at once; 1 to 4,294,967,295. Fairway's. Default: `requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub burst: Option<u32>,
    /// How it counts. Fairway's. Default: TokenBucket.
    #[serde(default, skip_serializing_if = "Algorithm::is_default")]
    pub algorithm: Algorithm,
}

/// How a limit counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// Tokens come back evenly; those that were not used are kept, up to the burst. So a window that begins with a full
    /// bucket holds `requests` and the burst.
    #[default]
    TokenBucket,
    /// A token comes back when its use is a unit old: no window holds more than `requests`, wherever it begins. Without burst.
    /// In `global` only.
    SlidingWindow,
}

impl Algorithm {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
    fn is_default(&self) -> bool {
        *self == Self::TokenBucket
    }
}

/// A unit of time. None is that of the calendar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Unit {
    /// A second.
    #[default]
    Second,
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// 24 hours.
    Day,
    /// 7 days.
    Week,
    /// 30 days.
    Month,
    /// 365 days.
    Year,
}

/// Each unit, its number in Envoy's messages (`type.v3.RateLimitUnit`, where 0 is none) and its name in files.
const WRITTEN: [(Unit, i32, &str); 7] = [
    (Unit::Second, 1, "second"),
    (Unit::Minute, 2, "minute"),
    (Unit::Hour, 3, "hour"),
    (Unit::Day, 4, "day"),
    (Unit::Month, 5, "month"),
    (Unit::Year, 6, "year"),
    (Unit::Week, 7, "week"),
];

impl Unit {
    /// By the name that files of rate limit services have for it, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        WRITTEN.iter().find(|(.., known)| known.eq_ignore_ascii_case(name)).map(|(unit, ..)| *unit)
    }

    /// By its number in Envoy's messages.
    #[must_use]
    pub fn numbered(number: i32) -> Option<Self> {
        WRITTEN.iter().find(|(_, known, _)| *known == number).map(|(unit, ..)| *unit)
    }

    /// Its number in Envoy's messages (`type.v3.RateLimitUnit`).
    #[must_use]
    pub fn number(self) -> i32 {
        WRITTEN.iter().find(|(known, ..)| *known == self).map_or(0, |(_, number, _)| *number)
    }

    /// How long it is.
    #[must_use]
    pub const fn duration(self) -> Duration {
        let days = match self {
            Self::Second => return Duration::from_secs(1),
            Self::Minute => return Duration::from_mins(1),
            Self::Hour => return Duration::from_hours(1),
            Self::Day => 1,
            Self::Week => 7,
            Self::Month => 30,
            Self::Year => 365,
        };
        Duration::from_hours(24 * days)
    }
}

/// What a request costs, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Costs {
    /// When it comes; it is refused if there is not as much. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Cost>,
    /// When its response comes, beside that: whoever comes next has less. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Cost>,
}

/// How much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rule("has(self.number) == (self.from == 'Number')", "write `number` with Number and only there"))]
#[schemars(transform = rule("has(self.header) == (self.from == 'Header')", "write `header` with Header and only there"))]
pub struct Cost {
    /// Where it is said.
    pub from: CostFrom,
    /// With `Number`: 0 to 1,000,000,000. 0 looks at the limit without taking of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_000_000_000))]
    pub number: Option<u64>,
    /// With `Header`: the field that holds it, a whole number up to 1,000,000,000; of the request or of the response. Without
    /// the field, or with something else in it, a request costs 1 and a response nothing. Fairway's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = form(TOKEN))]
    pub header: Option<String>,
}

/// Where a cost is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CostFrom {
    /// In the policy.
    Number,
    /// In a header field. Fairway's.
    Header,
}

/// Conditions, which all have to hold. With `Distinct` each value has a limit of its own. At least one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct ClientSelector {
    /// Header fields; each is to hold; up to 32.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub headers: Vec<ValueMatch>,
    /// Methods; one is to hold; up to 32.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub methods: Vec<MethodMatch>,
    /// The path, without the query, as it goes to the backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// The client's address, as the listener finds it out (`clientIPDetection`).
    #[serde(rename = "sourceCIDR", skip_serializing_if = "Option::is_none")]
    pub source_cidr: Option<SourceMatch>,
    /// Parameters of the query; each is to hold; up to 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub query_params: Vec<ValueMatch>,
    /// Claims of tokens that `jwt` of a SecurityPolicy has verified; each is to hold; up to 16. Fairway's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub claims: Vec<ClaimMatch>,
    /// The client an API key belongs to (`apiKeyAuth` of a SecurityPolicy). Fairway's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_client: Option<NameMatch>,
    /// The ServiceAccount that calls, `namespace/name`. Fairway's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<NameMatch>,
    /// A condition in CEL, as in `authorization` of a SecurityPolicy; an error is as if it held. Fairway's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub when: Option<String>,
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum How {
    /// It is `value`.
    #[default]
    Exact,
    /// It matches `value`, a regular expression (RE2 syntax), as a whole.
    RegularExpression,
    /// It is there; each value has a limit of its own.
    Distinct,
}

/// A header field or parameter. Several lines of a field are one value, joined by commas; of several parameters of one name
/// the first counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rule(WITHOUT_VALUE, DISTINCT))]
#[schemars(transform = rule(WITH_VALUE, MISSING))]
pub struct ValueMatch {
    /// How it is compared. Default: Exact.
    #[serde(default, rename = "type")]
    pub kind: How,
    /// Its name; of a field in any case.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Not with `Distinct`; up to 1,024 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub value: Option<String>,
    /// Holds when it is something else, or is not there. Not with `Distinct`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invert: bool,
}

/// A method.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MethodMatch {
    /// In upper case.
    #[schemars(transform = form(METHOD))]
    pub value: String,
    /// Any other. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invert: bool,
}

/// A path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathMatch {
    /// How it is compared. Default: PathPrefix.
    #[serde(default, rename = "type")]
    pub kind: PathHow,
    /// Such as `/users`; up to 1,024 bytes. Default: `/`.
    #[serde(default = "root")]
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
    /// Any other. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invert: bool,
}

fn root() -> String {
    "/".to_owned()
}

/// How a path is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathHow {
    /// It is `value`, or below it.
    #[default]
    PathPrefix,
    /// It is `value`.
    Exact,
    /// It matches `value`, a regular expression (RE2 syntax), as a whole.
    RegularExpression,
}

/// Addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceMatch {
    /// `Exact`: the range has one limit; `Distinct`: each of its addresses has one, of IPv6 each /64. Default: Exact.
    #[serde(default, rename = "type")]
    pub kind: SourceHow,
    /// A range, such as `192.0.2.0/24` or `2001:db8::/32`. Default, of Fairway: every address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = form(CIDR))]
    pub value: Option<String>,
    /// Addresses outside the range. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invert: bool,
}

/// How addresses count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SourceHow {
    /// Together.
    #[default]
    Exact,
    /// Each for itself.
    Distinct,
}

/// A claim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rule(WITHOUT_VALUE, DISTINCT))]
#[schemars(transform = rule(WITH_VALUE, MISSING))]
pub struct ClaimMatch {
    /// Name of the provider (`jwt.providers[].name`) that verified the token. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub provider: Option<String>,
    /// Name of the claim, a string, number or truth value. A dot leads into an object; `\.` is a dot of the name.
    #[schemars(transform = form(CLAIM_PATH))]
    pub name: String,
    /// `Exact` or `Distinct`. Default: Exact.
    #[serde(default, rename = "type")]
    pub kind: SourceHow,
    /// Not with `Distinct`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub value: Option<String>,
    /// Holds when it is something else, or is not there. Not with `Distinct`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invert: bool,
}

/// Who calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rule(WITHOUT_VALUE, DISTINCT))]
#[schemars(transform = rule(WITH_VALUE, MISSING))]
pub struct NameMatch {
    /// `Exact` or `Distinct`. Default: Exact.
    #[serde(default, rename = "type")]
    pub kind: SourceHow,
    /// Not with `Distinct`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub value: Option<String>,
    /// Holds when it is somebody else, or not known. Not with `Distinct`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invert: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
pub(super) fn is_enforce(mode: &Mode) -> bool {
    *mode == Mode::Enforce
}
