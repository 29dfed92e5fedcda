//! Whether what came of a vector is what must come of it.

use super::answers::Message;
use super::table::{Must, bytes};
use super::{http1, http2};

/// What was seen, in the form both protocols share.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Of the answer that counts; 0: none.
    status: u16,
    answers: usize,
    interim: Vec<u16>,
    is_closed: bool,
    /// HTTP/2: the stream or the connection was reset.
    is_reset: bool,
    is_whole: bool,
    goaway: Option<u32>,
    raw: Vec<u8>,
    is_http2: bool,
}

impl From<http1::Told> for Seen {
    fn from(told: http1::Told) -> Self {
        let first = told.answers.first();
        Self {
            status: first.map_or(0, Message::status),
            answers: told.answers.len(),
            is_whole: first.is_some_and(|answer| answer.is_complete),
            interim: told.interim,
            is_closed: told.is_closed,
            raw: told.raw,
            ..Self::default()
        }
    }
}

impl From<http2::Told> for Seen {
    fn from(told: http2::Told) -> Self {
        let first = told.streams.into_values().next().unwrap_or_default();
        Self {
            status: first.status,
            answers: usize::from(first.status != 0),
            is_whole: first.is_complete,
            is_closed: told.is_closed,
            is_reset: first.reset.is_some() || told.goaway.is_some_and(|code| code != 0),
            goaway: told.goaway,
            raw: first.body,
            is_http2: true,
            interim: Vec::new(),
        }
    }
}

impl Seen {
    /// In a few letters, for tables.
    pub(crate) fn brief(&self) -> String {
        match (self.status, self.goaway) {
            (0, Some(code)) if code != 0 => format!("goaway {code}"),
            (0, _) if self.is_reset => "reset".to_owned(),
            (0, _) if self.is_closed => "closed".to_owned(),
            (0, _) => "silent".to_owned(),
            (status, _) if !self.is_whole => format!("{status} cut"),
            (status, _) => status.to_string(),
        }
    }
}

/// Says what is wrong.
pub(crate) fn judge(must: &Must, seen: &Seen, origin: &[Message]) -> Result<(), String> {
    let complete = origin.iter().filter(|request| request.is_complete).count();
    for hidden in &must.hides {
        let hidden = bytes(hidden).unwrap_or_default();
        if super::answers::find(&seen.raw, &hidden).is_some() {
            return Err(format!("the client sees {}", hidden.escape_ascii()));
        }
    }
    if !must.goaway.is_empty() {
        return if seen.goaway.is_some_and(|code| must.goaway.contains(&code)) {
            Ok(())
        } else {
            Err(format!("no end of the connection with code {:?}", must.goaway))
        };
    }
    if must.cut {
        let is_told = seen.is_whole && seen.status == 502;
        return if !is_told && (seen.is_whole || !(seen.is_closed || seen.is_reset)) {
            Err("the answer seems whole".to_owned())
        } else {
            Ok(())
        };
    }
    if !must.refuse.is_empty() {
        refused(must, seen)?;
        return match origin.first() {
            None => Ok(()),
            Some(_) if complete > must.requests.unwrap_or(0) => Err("the origin got it".to_owned()),
            Some(request) if must.partial => arrived(must, request),
            Some(_) => Err("the origin got a part of it".to_owned()),
        };
    }
    served(must, seen)?;
    let wanted = must.requests.unwrap_or(1);
    if complete != wanted || (origin.len() != complete && !must.partial) {
        return Err(format!("{} requests at the origin, {complete} of them whole", origin.len()));
    }
    origin.first().map_or(Ok(()), |request| arrived(must, request))
}

fn refused(must: &Must, seen: &Seen) -> Result<(), String> {
    let ended = seen.is_closed || seen.is_reset;
    let fits = must.refuse.contains(&seen.status) && (seen.status != 0 || ended);
    if !fits {
        return Err(format!("not {:?}", must.refuse));
    }
    if seen.answers > 1 {
        return Err(format!("{} answers", seen.answers));
    }
    if !seen.is_http2 && !seen.is_closed {
        return Err("the connection stays open".to_owned());
    }
    Ok(())
}

fn served(must: &Must, seen: &Seen) -> Result<(), String> {
    if !must.serve.contains(&seen.status) || !seen.is_whole {
        return Err(format!("not {:?}", must.serve));
    }
    if must.closes && !seen.is_closed {
        return Err("the connection stays open".to_owned());
    }
    match &must.interim {
        Some(interim) if *interim != seen.interim => Err(format!("informational answers {:?}", seen.interim)),
        _ => Ok(()),
    }
}

/// Compares a request at the origin.
fn arrived(must: &Must, request: &Message) -> Result<(), String> {
    let fields = request.fields();
    if let Some(line) = must.line.as_ref().filter(|line| **line != request.line()) {
        return Err(format!("{:?} instead of {line:?} at the origin", request.line()));
    }
    if let Some(missing) = must.has.iter().find(|field| !fields.contains(field)) {
        return Err(format!("no {missing:?} at the origin"));
    }
    for lacking in &must.lacks {
        if let Some(field) = fields.iter().find(|field| field.starts_with(lacking)) {
            return Err(format!("{field:?} at the origin"));
        }
    }
    match &must.body {
        Some(body) if bytes(body).unwrap_or_default() != request.body => {
            Err(format!("body {:?} at the origin", request.body.escape_ascii().to_string()))
        }
        _ => Ok(()),
    }
}
