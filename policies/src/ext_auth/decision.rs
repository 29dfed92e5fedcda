//! What a service has decided, in a form that can be done: checked, and the same for both contracts.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header};

use crate::Reply;
use crate::changes::{Changes, MOST};
use crate::edits::RESERVED;

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Decision {
    Allow(Changes),
    Deny(Reply),
}

/// A refusal as the service words it. Fields that are not its to say are left out, and what is no refusal to a client
/// becomes 403.
pub(super) fn refusal(status: u16, fields: &HeaderMap, body: Bytes) -> Reply {
    let status = StatusCode::from_u16(status).ok().filter(|status| (300..=599).contains(&status.as_u16()));
    let mut reply = Reply::new(status.unwrap_or(StatusCode::FORBIDDEN), "ext_auth_denied");
    let own = |name: &HeaderName| {
        RESERVED.contains(&name.as_str()) || [header::DATE, header::SERVER, header::VIA].contains(name)
    };
    let kept = fields.iter().filter(|(name, _)| !own(name)).take(MOST);
    reply.headers = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    reply.body = body;
    reply
}
