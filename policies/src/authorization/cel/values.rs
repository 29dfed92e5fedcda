//! What expressions see of a request. Nothing is made before an expression asks for it, and text is not copied.
//!
//! What is not there is a missing key, so that `has(…)` can ask for it; what has no one value (a header in several lines, a
//! parameter given twice, text that is not UTF-8) is a failure.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use ::cel::ExecutionError;
use ::cel::common::traits::{Container, Indexer};
use ::cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt, MAP_TYPE, Type,
};
use ::cel::common::value::{CowVal, Val};
use ::cel::context::VariableResolver;
use serde_json::{Map, Value};

use super::check::LIST;
use crate::caller::{Peer, Workload};
use crate::{Context, Request, head};

/// Values that one claim may be made of.
const VALUES: usize = 256;

/// What there is to see.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) req: &'a Request,
    pub(crate) ctx: &'a Context,
}

impl VariableResolver for View<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let part = match variable {
            "request" => Part::Request,
            "source" => Part::Source,
            "jwt" => Part::Tokens,
            _ => return None,
        };
        Some(CowVal::owned(Node { view: *self, part }))
    }
}

/// A map that is looked up when it is asked.
#[derive(Clone, Copy)]
struct Node<'a> {
    view: View<'a>,
    part: Part<'a>,
}

#[derive(Clone, Copy)]
enum Part<'a> {
    Request,
    Headers,
    Query,
    Source,
    Workload(&'a Workload),
    Tokens,
    Claims(&'a Map<String, Value>),
}

/// What it holds is the caller's.
impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Node")
    }
}

type Found<'v> = Result<Box<dyn Val + 'v>, ExecutionError>;

static TYPE: Type = MAP_TYPE;

impl<'a> Node<'a> {
    fn find<'v>(&self, key: &dyn Val) -> Found<'v>
    where
        'a: 'v,
    {
        let name = key.downcast_ref::<CelString<'_>>().ok_or_else(|| failed("the key is no text"))?.inner();
        let View { req, ctx } = self.view;
        let missing = || ExecutionError::no_such_key(name);
        match self.part {
            Part::Request => match name {
                "method" => Ok(text(req.method.as_str())),
                "path" => Ok(text(req.uri.path())),
                "host" => head::host(req).map(host).ok_or_else(missing),
                "scheme" => Ok(text(ctx.scheme.as_str())),
                "headers" => Ok(self.part(Part::Headers)),
                "query" => Ok(self.part(Part::Query)),
                _ => Err(missing()),
            },
            Part::Headers => {
                let mut lines = req.headers.get_all(name).iter();
                let value = lines.next().ok_or_else(missing)?;
                let value =
                    std::str::from_utf8(value.as_bytes()).map_err(|_| failed("a header is not UTF-8"))?;
                if lines.next().is_some() {
                    Err(failed("a header has several lines"))
                } else {
                    Ok(text(value))
                }
            }
            Part::Query => parameter(req.uri.query().unwrap_or_default(), name),
            Part::Source => self.source(name),
            Part::Workload(workload) => match name {
                "namespace" => Ok(text(&workload.namespace)),
                "serviceAccount" => Ok(text(&workload.service_account)),
                _ => Err(missing()),
            },
            Part::Tokens => {
                let token = ctx.caller.tokens.iter().find(|token| *token.provider == *name);
                token.map(|token| self.part(Part::Claims(&token.claims))).ok_or_else(missing)
            }
            Part::Claims(claims) => json(claims.get(name).ok_or_else(missing)?, &mut { VALUES }),
        }
    }

    fn source<'v>(&self, name: &str) -> Found<'v>
    where
        'a: 'v,
    {
        let ctx = self.view.ctx;
        let caller = &ctx.caller;
        let peer = caller.peer.as_deref();
        let workload = peer.and_then(|peer| peer.workload.as_ref());
        let found = match name {
            "address" => ctx.client.map(|client| text(client.to_canonical().to_string())),
            "principal" => peer.filter(|peer| peer.digests.is_some()).and_then(Peer::spiffe).map(text),
            "user" => caller.user.as_deref().map(text),
            "apiClient" => caller.api_client.as_deref().map(text),
            "assurance" => Some(text(workload.map_or("None", |workload| workload.assurance.as_str()))),
            "workload" => workload.map(|workload| self.part(Part::Workload(workload))),
            _ => None,
        };
        found.ok_or_else(|| ExecutionError::no_such_key(name))
    }

    fn part<'v>(&self, part: Part<'a>) -> Box<dyn Val + 'v>
    where
        'a: 'v,
    {
        Box::new(Node { view: self.view, part })
    }
}

impl<'a> Val for Node<'a> {
    fn get_type(&self) -> &Type {
        &TYPE
    }

    fn cel_type() -> &'static Type {
        &TYPE
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }
}

impl Indexer for Node<'_> {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.find(key).map(CowVal::Owned)
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Found<'v>
    where
        Self: 'v,
    {
        self.find(key)
    }
}

impl Container for Node<'_> {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        match self.find(key) {
            Ok(_) => Ok(true),
            Err(ExecutionError::NoSuchKey(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn failed(why: &'static str) -> ExecutionError {
    ExecutionError::function_error("authorization", why)
}

fn text<'v>(text: impl Into<Cow<'v, str>>) -> Box<dyn Val + 'v> {
    match text.into() {
        Cow::Borrowed(text) => Box::new(CelString::from(text)),
        Cow::Owned(text) => Box::new(CelString::from(text)),
    }
}

/// Lower case, without the dot that names the same host.
fn host(host: &str) -> Box<dyn Val + '_> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return text(host.to_ascii_lowercase());
    }
    text(host)
}

/// A parameter of the query, as forms are encoded: `+` is a space.
fn parameter<'v>(query: &'v str, name: &str) -> Found<'v> {
    let mut found = None;
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if pair.is_empty() || decode(key)? != name {
            continue;
        }
        if found.replace(value).is_some() {
            return Err(failed("a parameter is given twice"));
        }
    }
    decode(found.ok_or_else(|| ExecutionError::no_such_key(name))?).map(text)
}

fn decode(encoded: &str) -> Result<Cow<'_, str>, ExecutionError> {
    if !encoded.contains(['%', '+']) {
        return Ok(Cow::Borrowed(encoded));
    }
    let mut out = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let escaped = digit().zip(digit()).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
                escaped.ok_or_else(|| failed("the query has a bad escape"))?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| failed("the query is not UTF-8"))
}

/// `left`: values it may still be made of.
fn json<'v>(value: &'v Value, left: &mut usize) -> Found<'v> {
    *left = left.checked_sub(1).ok_or_else(|| failed("a claim has too many values"))?;
    let fits =
        |length: usize| if length > LIST { Err(failed("a claim has too long a list")) } else { Ok(()) };
    Ok(match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(is) => Box::new(CelBool::from(*is)),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => Box::new(CelInt::from(number)),
            (_, Some(number), _) => Box::new(CelUInt::from(number)),
            (_, _, Some(number)) => Box::new(CelDouble::from(number)),
            (None, None, None) => return Err(failed("a claim has a number nobody can read")),
        },
        Value::String(value) => text(value.as_str()),
        Value::Array(values) => {
            fits(values.len())?;
            let values: Result<Vec<_>, _> = values.iter().map(|value| json(value, left)).collect();
            Box::new(CelList::from(values?))
        }
        Value::Object(values) => {
            fits(values.len())?;
            let mut map = HashMap::with_capacity(values.len());
            for (name, value) in values {
                map.insert(CelMapKey::from(name.as_str()), json(value, left)?);
            }
            Box::new(CelMap::from(map))
        }
    })
}
