//! What refused requests are told: that a token is missing or no good (RFC 6750 section 3), never why in detail.

use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use crate::Reply;

/// Why there is no caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is no token.
    Missing,
    /// Something is wrong with it.
    Invalid,
    /// There is more than one.
    Ambiguous,
    /// It was good once.
    Expired,
    /// It is for somebody else.
    Audience,
    /// Nobody we know has issued it.
    Issuer,
    /// It was given to another pod than the one that shows it.
    OtherPod,
    /// It is on the list.
    Revoked,
    /// No key we have is the one it names; newer ones might be.
    UnknownKey,
    /// There are no keys.
    NoKeys,
}

impl Fault {
    pub(super) fn reply(self) -> Reply {
        let refused = StatusCode::UNAUTHORIZED;
        let reply = match self {
            Self::Missing => Reply::new(refused, "jwt_missing"),
            Self::Invalid | Self::Ambiguous | Self::UnknownKey => Reply::new(refused, "jwt_invalid"),
            Self::Expired => Reply::new(refused, "jwt_expired"),
            Self::Audience => Reply::new(refused, "jwt_audience"),
            Self::Issuer => Reply::new(refused, "jwt_issuer"),
            Self::OtherPod => Reply::new(refused, "jwt_pod"),
            Self::Revoked => Reply::new(refused, "jwt_revoked"),
            Self::NoKeys => {
                return Reply::new(StatusCode::SERVICE_UNAVAILABLE, "jwks_unavailable")
                    .with(RETRY_AFTER, HeaderValue::from_static("5"));
            }
        };
        // "If the request lacks any authentication information […], the resource server SHOULD NOT include an error code".
        let challenge = match self {
            Self::Missing => "Bearer",
            Self::Ambiguous => "Bearer error=\"invalid_request\"",
            Self::Invalid
            | Self::Expired
            | Self::Audience
            | Self::Issuer
            | Self::OtherPod
            | Self::Revoked
            | Self::UnknownKey
            | Self::NoKeys => "Bearer error=\"invalid_token\"",
        };
        reply.with(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }
}
