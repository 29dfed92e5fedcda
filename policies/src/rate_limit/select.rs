//! Which requests a limit is about, and what tells them apart.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, Method};
use regex::bytes::{Regex, RegexBuilder};

use super::key::Parts;
use super::spec::{
    ClaimMatch, ClientSelector, How, MethodMatch, NameMatch, PathHow, PathMatch, SourceHow, SourceMatch,
    ValueMatch,
};
use crate::authorization::{ClaimPath, Expression, View};
use crate::extract::param;
use crate::{Cidr, CidrSet, Context, Invalid, Request};

/// Memory of a compiled expression, in bytes.
const COMPILED: usize = 256 * 1024;
/// Bytes of a value in a policy.
const LONGEST: usize = 1_024;

/// Conditions, which all have to hold.
#[derive(Debug)]
pub(super) struct Selector(Box<[Condition]>);

#[derive(Debug)]
enum Condition {
    Value { of: Attribute, test: Test, invert: bool },
    Methods(Box<[(Method, bool)]>),
    Path { test: PathTest, invert: bool },
    Source { range: CidrSet, invert: bool, is_distinct: bool },
    When(Expression),
}

/// What has one value, or none.
#[derive(Debug)]
pub(crate) enum Attribute {
    Header(HeaderName),
    Param(Box<str>),
    Claim(Option<Box<str>>, ClaimPath),
    ApiClient,
    Workload,
}

#[derive(Debug)]
enum Test {
    Is(Box<[u8]>),
    Matches(Regex),
    /// Whatever it is, it is part of the key.
    Distinct,
}

#[derive(Debug)]
enum PathTest {
    Is(Box<str>),
    /// Without slashes at its end.
    Below(Box<str>),
    Matches(Regex),
}

impl Selector {
    /// # Errors
    /// What cannot be compared, by its field.
    pub(super) fn compile(field: &str, selectors: &[ClientSelector]) -> Result<Self, Invalid> {
        let mut conditions = Vec::new();
        for (at, selector) in selectors.iter().enumerate() {
            let field = format!("{field}[{at}]");
            if *selector == ClientSelector::default() {
                return Err(Invalid::field(
                    field,
                    "has no condition: write one, or leave clientSelectors out to count all",
                ));
            }
            read(&field, selector, &mut conditions)?;
        }
        Ok(Self(conditions.into()))
    }

    /// How many parts it gives to a key. With any, the number of keys depends on what clients send.
    pub(super) fn parts(&self) -> usize {
        let is_part = |condition: &&Condition| match condition {
            Condition::Value { test: Test::Distinct, .. } => true,
            Condition::Source { is_distinct, .. } => *is_distinct,
            Condition::Value { .. } | Condition::Methods(_) | Condition::Path { .. } | Condition::When(_) => {
                false
            }
        };
        self.0.iter().filter(is_part).count()
    }

    /// Whether all conditions hold. What tells requests apart becomes part of the key.
    pub(super) fn holds(&self, req: &Request, ctx: &Context, key: &mut impl Parts) -> bool {
        self.0.iter().all(|condition| condition.holds(req, ctx, key))
    }
}

fn read(field: &str, selector: &ClientSelector, conditions: &mut Vec<Condition>) -> Result<(), Invalid> {
    for (at, header) in selector.headers.iter().enumerate() {
        let field = format!("{field}.headers[{at}]");
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| {
            Invalid::field(format!("{field}.name"), format!("{:?} is no name of a header field", header.name))
        })?;
        conditions.push(value(&field, Attribute::Header(name), header)?);
    }
    if !selector.methods.is_empty() {
        let methods = selector.methods.iter().enumerate();
        let read = methods.map(|(at, method)| method.read(&format!("{field}.methods[{at}].value")));
        conditions.push(Condition::Methods(read.collect::<Result<_, _>>()?));
    }
    if let Some(path) = &selector.path {
        conditions.push(path.read(&format!("{field}.path.value"))?);
    }
    if let Some(source) = &selector.source_cidr {
        conditions.push(source.read(&format!("{field}.sourceCIDR.value"))?);
    }
    for (at, param) in selector.query_params.iter().enumerate() {
        let field = format!("{field}.queryParams[{at}]");
        if param.name.is_empty() {
            return Err(Invalid::field(format!("{field}.name"), "is empty: name a parameter of the query"));
        }
        conditions.push(value(&field, Attribute::Param(param.name.as_str().into()), param)?);
    }
    for (at, claim) in selector.claims.iter().enumerate() {
        conditions.push(claim.read(&format!("{field}.claims[{at}]"))?);
    }
    for (name, of, wanted) in [
        ("apiClient", Attribute::ApiClient, &selector.api_client),
        ("workload", Attribute::Workload, &selector.workload),
    ] {
        if let Some(wanted) = wanted {
            let NameMatch { kind, value, invert } = wanted;
            conditions.push(exact(&format!("{field}.{name}"), of, *kind, value.as_deref(), *invert)?);
        }
    }
    if let Some(when) = &selector.when {
        conditions.push(Condition::When(Expression::read(when, &format!("{field}.when"))?));
    }
    Ok(())
}

fn value(field: &str, of: Attribute, wanted: &ValueMatch) -> Result<Condition, Invalid> {
    let kind = match wanted.kind {
        How::Exact => SourceHow::Exact,
        How::Distinct => SourceHow::Distinct,
        How::RegularExpression => {
            let text = needed(field, wanted.value.as_deref())?;
            let test = Test::Matches(pattern(&format!("{field}.value"), text)?);
            return Ok(Condition::Value { of, test, invert: wanted.invert });
        }
    };
    exact(field, of, kind, wanted.value.as_deref(), wanted.invert)
}

fn exact(
    field: &str,
    of: Attribute,
    kind: SourceHow,
    value: Option<&str>,
    invert: bool,
) -> Result<Condition, Invalid> {
    let test = match kind {
        SourceHow::Exact => Test::Is(needed(field, value)?.as_bytes().into()),
        SourceHow::Distinct if value.is_some() || invert => {
            return Err(Invalid::field(
                field,
                "is Distinct, which goes without value and invert: remove them",
            ));
        }
        SourceHow::Distinct => Test::Distinct,
    };
    Ok(Condition::Value { of, test, invert })
}

fn needed<'v>(field: &str, value: Option<&'v str>) -> Result<&'v str, Invalid> {
    let value = value.ok_or_else(|| {
        Invalid::field(format!("{field}.value"), "is missing: write it, or `type: Distinct` for any")
    })?;
    if value.len() > LONGEST {
        return Err(Invalid::field(format!("{field}.value"), "is longer than 1,024 bytes: shorten it"));
    }
    Ok(value)
}

/// A whole value, in bounded memory; time is linear whatever clients send.
fn pattern(field: &str, text: &str) -> Result<Regex, Invalid> {
    let wrong =
        |message: String| Invalid::field(field, format!("{text:?} is no regular expression: {message}"));
    // Alone first, so that no parenthesis of it ends ours.
    let build = |text: &str| RegexBuilder::new(text).size_limit(COMPILED).dfa_size_limit(COMPILED).build();
    build(text).map_err(|error| wrong(error.to_string()))?;
    build(&format!(r"\A(?:{text})\z")).map_err(|error| wrong(error.to_string()))
}

impl MethodMatch {
    fn read(&self, field: &str) -> Result<(Method, bool), Invalid> {
        let method = Method::from_bytes(self.value.as_bytes());
        let is_upper = !self.value.bytes().any(|byte| byte.is_ascii_lowercase());
        let method = method.ok().filter(|_| is_upper).ok_or_else(|| {
            Invalid::field(
                field,
                format!("{:?} is no method: write one in upper case, such as GET", self.value),
            )
        })?;
        Ok((method, self.invert))
    }
}

impl PathMatch {
    fn read(&self, field: &str) -> Result<Condition, Invalid> {
        let path = self.value.as_str();
        if self.kind != PathHow::RegularExpression && !path.starts_with('/') || path.len() > LONGEST {
            let message = format!("{path:?} does not begin with a slash, or is longer than 1,024 bytes");
            return Err(Invalid::field(field, message));
        }
        let test = match self.kind {
            PathHow::Exact => PathTest::Is(path.into()),
            PathHow::PathPrefix => PathTest::Below(path.trim_end_matches('/').into()),
            PathHow::RegularExpression => PathTest::Matches(pattern(field, path)?),
        };
        Ok(Condition::Path { test, invert: self.invert })
    }
}

impl SourceMatch {
    fn read(&self, field: &str) -> Result<Condition, Invalid> {
        let ranges = self.value.as_deref().map_or(vec!["0.0.0.0/0", "::/0"], |range| vec![range]);
        let ranges = ranges.into_iter().map(str::parse::<Cidr>);
        let range = ranges.collect::<Result<_, _>>().map_err(|message| Invalid::field(field, message))?;
        Ok(Condition::Source { range, invert: self.invert, is_distinct: self.kind == SourceHow::Distinct })
    }
}

impl ClaimMatch {
    fn read(&self, field: &str) -> Result<Condition, Invalid> {
        let path = ClaimPath::read(&self.name, &format!("{field}.name"))?;
        let of = Attribute::Claim(self.provider.as_deref().map(Into::into), path);
        exact(field, of, self.kind, self.value.as_deref(), self.invert)
    }
}

impl Condition {
    fn holds(&self, req: &Request, ctx: &Context, key: &mut impl Parts) -> bool {
        match self {
            Self::Value { of, test, invert } => {
                let value = of.find(req, ctx);
                match (test, value) {
                    (Test::Distinct, Some(value)) => {
                        key.value(of, &value);
                        true
                    }
                    (Test::Distinct, None) => false,
                    (Test::Is(wanted), value) => value.is_some_and(|value| **wanted == *value) != *invert,
                    (Test::Matches(regex), value) => {
                        value.is_some_and(|value| regex.is_match(&value)) != *invert
                    }
                }
            }
            Self::Methods(methods) => {
                methods.iter().any(|(method, invert)| (*method == req.method) != *invert)
            }
            Self::Path { test, invert } => test.holds(req.uri.path()) != *invert,
            Self::Source { range, invert, is_distinct } => {
                // Of whoever has no address nobody knows that it is in a range, nor that it is not.
                let Some(client) = ctx.client else { return *invert };
                if range.contains(client) == *invert {
                    return false;
                }
                if *is_distinct {
                    key.network(client);
                }
                true
            }
            // What cannot be told counts.
            Self::When(expression) => expression.holds(View { req, ctx }).unwrap_or(true),
        }
    }
}

impl Attribute {
    /// What a rate limit service calls it.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Header(name) => name.as_str().to_owned(),
            Self::Param(name) => format!("query.{name}"),
            Self::Claim(_, path) => format!("claim.{path}"),
            Self::ApiClient => "api_client".to_owned(),
            Self::Workload => "workload".to_owned(),
        }
    }

    /// Whether clients prove something by it.
    pub(super) fn may_be_secret(&self) -> bool {
        match self {
            Self::Header(_) | Self::Param(_) => true,
            Self::Claim(..) | Self::ApiClient | Self::Workload => false,
        }
    }

    pub(crate) fn find<'r>(&self, req: &'r Request, ctx: &'r Context) -> Option<Cow<'r, [u8]>> {
        match self {
            Self::Header(name) => joined(&req.headers, name),
            Self::Param(name) => param(req, name),
            Self::Claim(provider, path) => {
                let tokens = ctx.caller.tokens.iter();
                let mut of = tokens
                    .filter(|token| provider.as_ref().is_none_or(|provider| **provider == *token.provider));
                of.find_map(|token| text(path.find(&token.claims)?))
            }
            Self::ApiClient => ctx.caller.api_client.as_ref().map(|name| Cow::Borrowed(name.as_bytes())),
            Self::Workload => {
                let workload = ctx.caller.peer.as_ref()?.workload.as_ref()?;
                Some(Cow::Owned(format!("{}/{}", workload.namespace, workload.service_account).into_bytes()))
            }
        }
    }
}

/// RFC 9110 section 5.3: several lines are the list of their values.
fn joined<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Option<Cow<'r, [u8]>> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    let Some(second) = lines.next() else { return Some(Cow::Borrowed(first.as_bytes())) };
    let lines: Vec<&[u8]> = [first, second].into_iter().chain(lines).map(|line| line.as_bytes()).collect();
    Some(Cow::Owned(lines.join(&b","[..])))
}

/// A claim that is one value.
fn text(claim: &serde_json::Value) -> Option<Cow<'_, [u8]>> {
    use serde_json::Value::{Array, Bool, Null, Number, Object, String};
    match claim {
        String(text) => Some(Cow::Borrowed(text.as_bytes())),
        Number(number) => Some(Cow::Owned(number.to_string().into_bytes())),
        Bool(is) => Some(Cow::Borrowed(if *is { b"true" } else { b"false" })),
        Null | Array(_) | Object(_) => None,
    }
}

impl PathTest {
    fn holds(&self, path: &str) -> bool {
        match self {
            Self::Is(wanted) => **wanted == *path,
            Self::Below(wanted) => {
                path.strip_prefix(&**wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Matches(regex) => regex.is_match(path.as_bytes()),
        }
    }
}
