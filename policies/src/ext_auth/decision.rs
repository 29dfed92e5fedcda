//! What a service has decided, in a form that can be done: checked, and the same for both contracts.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::edits::RESERVED;
use crate::{Reply, Request, Response};

/// Fields and names in one answer.
const MOST: usize = 128;

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Decision {
    Allow(Changes),
    Deny(Reply),
}

/// What an admitted request, and later its response, is changed to.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) remove: Vec<HeaderName>,
    pub(super) request: Vec<Change>,
    pub(super) response: Vec<Change>,
}

/// A field to be changed.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
    pub(super) how: How,
}

/// How a field is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Replaces all of that name.
    Set,
    Append,
    IfAbsent,
    /// Replaces all of that name, where there are any.
    IfPresent,
}

/// An answer that cannot be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unusable;

impl Change {
    pub(super) fn new(name: &str, value: Bytes, how: How) -> Result<Self, Unusable> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Unusable)?;
        if RESERVED.contains(&name.as_str()) {
            return Err(Unusable);
        }
        Ok(Self { name, value: HeaderValue::from_maybe_shared(value).map_err(|_| Unusable)?, how })
    }
}

impl Changes {
    /// # Errors
    /// When there are more than a head holds.
    pub(super) fn checked(self) -> Result<Self, Unusable> {
        let all = [self.remove.len(), self.request.len(), self.response.len()];
        if all.iter().sum::<usize>() > MOST { Err(Unusable) } else { Ok(self) }
    }

    // Names and values are parsed, so nothing but a full head can fail, and then a field is left out.

    pub(super) fn apply(&self, req: &mut Request) {
        for name in &self.remove {
            req.remove_header(name);
        }
        for Change { name, value, how } in &self.request {
            let is_there = req.headers.contains_key(name);
            match how {
                How::Append => drop(req.append_header(name.clone(), value.clone())),
                How::IfAbsent if is_there => {}
                How::IfPresent if !is_there => {}
                How::Set | How::IfAbsent | How::IfPresent => {
                    drop(req.insert_header(name.clone(), value.clone()));
                }
            }
        }
    }

    pub(super) fn apply_to_response(&self, rsp: &mut Response) {
        for Change { name, value, how } in &self.response {
            let is_there = rsp.headers.contains_key(name);
            match how {
                How::Append => drop(rsp.append_header(name.clone(), value.clone())),
                How::IfAbsent if is_there => {}
                How::IfPresent if !is_there => {}
                How::Set | How::IfAbsent | How::IfPresent => {
                    drop(rsp.insert_header(name.clone(), value.clone()));
                }
            }
        }
    }
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
