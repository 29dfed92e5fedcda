//! What a service that was asked wants changed of a request and of its response, checked.
//!
//! Fields that frame a message or belong to a connection, and pseudo-header fields, are not its to say.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::edits::RESERVED;
use crate::{Request, Response};

/// Fields and names in one answer.
pub(crate) const MOST: usize = 128;

/// What an admitted request, and later its response, is changed to.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) remove: Vec<HeaderName>,
    pub(crate) request: Vec<Change>,
    pub(crate) response: Vec<Change>,
}

/// A field to be changed.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) name: HeaderName,
    pub(crate) value: HeaderValue,
    pub(crate) how: How,
}

/// How a field is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Replaces all of that name.
    Set,
    Append,
    IfAbsent,
    /// Replaces all of that name, where there are any.
    IfPresent,
}

/// An answer that cannot be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unusable;

impl Change {
    pub(crate) fn new(name: &str, value: Bytes, how: How) -> Result<Self, Unusable> {
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
    pub(crate) fn checked(self) -> Result<Self, Unusable> {
        let all = [self.remove.len(), self.request.len(), self.response.len()];
        if all.iter().sum::<usize>() > MOST { Err(Unusable) } else { Ok(self) }
    }

    // Names and values are parsed, so nothing but a full head can fail, and then a field is left out.

    pub(crate) fn apply(&self, req: &mut Request) {
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

    pub(crate) fn apply_to_response(&self, rsp: &mut Response) {
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
