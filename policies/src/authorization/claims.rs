//! What rules ask of verified tokens.

use std::fmt;

use serde_json::{Map, Value};

use super::bits::Bits;
use super::spec::ValueType;
use super::table::{Condition, Exact, Seen, Texts};
use crate::Invalid;
use crate::caller::Token;

/// What rules ask of the tokens of one provider.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) name: Box<str>,
    /// Rules that want a token of it.
    pub(super) asking: Bits,
    pub(super) claims: Box<[(ClaimPath, Condition<ClaimTable>)]>,
    pub(super) scopes: Scopes,
}

impl Provider {
    /// Takes out of `rules` those that the request fails.
    pub(super) fn keep(&self, rules: &mut Bits, deny: Bits, tokens: &[Token]) {
        let Some(token) = tokens.iter().find(|token| *token.provider == *self.name) else {
            *rules &= !self.asking | deny;
            return;
        };
        for (path, condition) in &self.claims {
            *rules &= condition.pass(deny, |table| table.look(path.find(&token.claims)));
        }
        self.scopes.keep(rules, deny, &token.claims);
    }
}

/// Where a claim is: names of objects in each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ClaimPath(Box<[Box<str>]>);

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

impl ClaimPath {
    /// Names with dots between them; `\.` and `\\` stand for a dot and a backslash.
    pub(crate) fn read(text: &str, field: &str) -> Result<Self, Invalid> {
        let wrong = |message: &str| Invalid::field(field, format!("{text:?} {message}"));
        let mut names = vec![String::new()];
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let character = match character {
                '.' => {
                    names.push(String::new());
                    continue;
                }
                '\\' => characters.next().filter(|c| matches!(c, '.' | '\\')).ok_or_else(|| {
                    wrong(
                        "has a backslash before something else than a dot or a backslash: write \\\\ for one",
                    )
                })?,
                character => character,
            };
            if let Some(name) = names.last_mut() {
                name.push(character);
            }
        }
        if names.iter().any(String::is_empty) || names.len() > 8 || text.len() > 256 {
            return Err(wrong(
                "is no name of a claim: write 1 to 8 names with dots between them, \\. for a dot of a name; at most 256 bytes",
            ));
        }
        Ok(Self(names.into_iter().map(String::into_boxed_str).collect()))
    }

    pub(crate) fn find<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(claims.get(&**first)?, |value, name| value.as_object()?.get(&**name))
    }
}

/// Rules by what a claim may be.
#[derive(Debug)]
pub(super) enum ClaimTable {
    Text(Texts),
    List(Texts),
    Integer(Exact<i128>),
    Boolean(Exact<bool>),
}

impl ClaimTable {
    /// # Errors
    /// A value that is none of its kind, by its place in `values`.
    pub(super) fn new(kind: ValueType, values: &[(&str, Bits)]) -> Result<Self, (usize, &'static str)> {
        let texts = || values.iter().map(|(value, rules)| (value.as_bytes().into(), *rules)).collect();
        Ok(match kind {
            ValueType::String => Self::Text(texts()),
            ValueType::StringArray => Self::List(texts()),
            ValueType::Integer => Self::Integer(parsed(values, "a whole number such as 42")?),
            ValueType::Boolean => Self::Boolean(parsed(values, "true or false")?),
        })
    }

    fn look(&self, claim: Option<&Value>) -> Seen {
        let Some(claim) = claim.filter(|claim| !claim.is_null()) else { return Seen::Absent };
        Seen::known(match self {
            Self::Text(texts) => claim.as_str().map(|text| texts.get(text.as_bytes())),
            Self::List(texts) => strings(claim, |text| texts.get(text.as_bytes())),
            Self::Integer(numbers) => {
                let number = claim.as_i64().map(i128::from).or_else(|| claim.as_u64().map(i128::from));
                number.map(|number| numbers.get(&number))
            }
            Self::Boolean(both) => claim.as_bool().map(|is| both.get(&is)),
        })
    }
}

fn parsed<K: std::hash::Hash + Eq + std::str::FromStr + ToString>(
    values: &[(&str, Bits)],
    kind: &'static str,
) -> Result<Exact<K>, (usize, &'static str)> {
    let read = values.iter().enumerate().map(|(at, (value, rules))| {
        // The standard form only: one value, one way to write it.
        let read = value.parse().ok().filter(|read: &K| read.to_string() == *value);
        read.map(|read| (read, *rules)).ok_or((at, kind))
    });
    read.collect()
}

/// Joins what `look` says of each string of a list, or of the string alone. `None`: something in it is no string.
fn strings(claim: &Value, look: impl Fn(&str) -> Bits) -> Option<Bits> {
    let one = std::slice::from_ref(claim);
    let list = claim.as_array().map_or(one, Vec::as_slice);
    list.iter().try_fold(Bits::NONE, |all, element| Some(all | look(element.as_str()?)))
}

/// Scopes that rules ask for, with those that do.
#[derive(Debug, Default)]
pub(super) struct Scopes {
    /// By scope: its place in `asking`, as a set of one.
    places: Texts,
    asking: Box<[Bits]>,
}

impl Scopes {
    /// Scopes one policy may name.
    pub(super) const MOST: usize = Bits::MOST;

    /// `asked`: each scope once.
    pub(super) fn new(asked: Vec<(Box<str>, Bits)>) -> Self {
        let asking = asked.iter().map(|(_, rules)| *rules).collect();
        let places = asked.into_iter().enumerate();
        let places =
            places.map(|(at, (scope, _))| (scope.into_boxed_bytes(), Bits::from_iter([at]))).collect();
        Self { places, asking }
    }

    fn keep(&self, rules: &mut Bits, deny: Bits, claims: &Map<String, Value>) {
        if self.asking.is_empty() {
            return;
        }
        let claim =
            ["scope", "scp"].iter().find_map(|name| claims.get(*name)).filter(|claim| !claim.is_null());
        let words = |text: &str| {
            let words = text.split(' ').map(|word| self.places.get(word.as_bytes()));
            words.fold(Bits::NONE, |all, place| all | place)
        };
        let has = match claim {
            Some(claim) => strings(claim, words),
            // RFC 9068 section 2.2.3: a token without the claim has no scopes.
            None => Some(Bits::NONE),
        };
        for (at, asking) in self.asking.iter().enumerate() {
            let is_there = has.map(|has| !(has & Bits::from_iter([at])).is_empty());
            match is_there {
                Some(true) => {}
                Some(false) => *rules &= !*asking,
                None => *rules &= !*asking | deny,
            }
        }
    }
}
