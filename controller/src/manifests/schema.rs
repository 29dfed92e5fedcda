//! What the API server enforces for the kinds we read, as data: types, bounds, enums, patterns, defaults, and rules
//! between fields.
//!
//! A cluster refuses a wrong manifest before any controller sees it; files have no API server, so this stands in for
//! it. Each kind's schema is one function in a sub-module, written from the API's reference.

pub(super) mod attached;
mod check;
pub(super) mod client_traffic;
pub(super) mod core;
mod derived;
pub(super) mod fairway_proxy;
mod filters;
mod formats;
pub(super) mod gateway;
mod metadata;
pub(super) mod pod;
pub(super) mod policy;
pub(super) mod rollout;
pub(super) mod route;

use std::fmt;

pub(super) use check::{Report, check, nearest};

use super::node::{Key, Node, Value};
use formats::Format;

/// What a value must be.
#[derive(Clone)]
pub(super) enum Schema {
    /// A string; lengths in characters.
    Text { min: usize, max: usize, format: Option<&'static Format> },
    /// One of these strings.
    Enum(&'static [&'static str]),
    /// An integer between two, both included.
    Integer { min: i64, max: i64 },
    /// One of these integers.
    IntegerEnum(&'static [i64]),
    /// A boolean.
    Bool,
    /// A port number or name.
    IntegerOrText,
    /// A list.
    List { item: Box<Self>, min: usize, max: usize, unique: Unique, rules: Vec<Rule> },
    /// An object with known fields.
    Object { fields: Vec<Field>, rules: Vec<Rule> },
    /// An object with any keys.
    Map { value: Box<Self>, max: usize, key: Option<&'static Format> },
    /// Whatever: never read.
    Any,
}

/// Which items of a list may not be equal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unique {
    No,
    /// Whole items.
    Items,
    /// Their fields of these names (`listType: map`).
    By(&'static [&'static str]),
}

/// A field of an object.
#[derive(Clone)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) schema: Schema,
    pub(super) is_required: bool,
    pub(super) default: Option<fn() -> Value>,
}

/// A rule between fields, run once the fields themselves are right.
pub(super) type Rule = fn(&Node, &mut Report<'_>);

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schema")
    }
}

pub(super) fn text(min: usize, max: usize) -> Schema {
    Schema::Text { min, max, format: None }
}

pub(super) fn string() -> Schema {
    text(0, usize::MAX)
}

pub(super) fn formatted(min: usize, max: usize, format: &'static Format) -> Schema {
    Schema::Text { min, max, format: Some(format) }
}

pub(super) fn integer(min: i64, max: i64) -> Schema {
    Schema::Integer { min, max }
}

pub(super) fn port() -> Schema {
    integer(1, 65535)
}

pub(super) fn list(item: Schema, min: usize, max: usize) -> Schema {
    Schema::List { item: Box::new(item), min, max, unique: Unique::No, rules: Vec::new() }
}

pub(super) fn strings() -> Schema {
    list(string(), 0, usize::MAX)
}

pub(super) fn object(fields: impl Into<Vec<Field>>) -> Schema {
    Schema::Object { fields: fields.into(), rules: Vec::new() }
}

pub(super) fn map(value: Schema, max: usize) -> Schema {
    Schema::Map { value: Box::new(value), max, key: None }
}

impl Schema {
    /// Adds a rule to an object or list.
    pub(super) fn rule(mut self, rule: Rule) -> Self {
        if let Self::Object { rules, .. } | Self::List { rules, .. } = &mut self {
            rules.push(rule);
        }
        self
    }

    /// Items of this list may not be equal.
    pub(super) fn unique(mut self, how: Unique) -> Self {
        if let Self::List { unique, .. } = &mut self {
            *unique = how;
        }
        self
    }

    /// Keys of this map have a format.
    pub(super) fn keys(mut self, format: &'static Format) -> Self {
        if let Self::Map { key, .. } = &mut self {
            *key = Some(format);
        }
        self
    }
}

/// An optional field.
pub(super) fn opt(name: &'static str, schema: Schema) -> Field {
    Field { name, schema, is_required: false, default: None }
}

/// A required field.
pub(super) fn req(name: &'static str, schema: Schema) -> Field {
    Field { name, schema, is_required: true, default: None }
}

impl Field {
    /// What the API server fills in.
    pub(super) fn or(mut self, default: fn() -> Value) -> Self {
        self.default = Some(default);
        self
    }
}

/// An object for a default.
pub(super) fn default_object(fields: &[(&str, Value)]) -> Value {
    Value::Map(
        fields
            .iter()
            .map(|(name, value)| {
                let key = Key { name: (*name).into(), line: 0, column: 0 };
                (key, Node { line: 0, column: 0, value: value.clone() })
            })
            .collect(),
    )
}

/// A list for a default.
pub(super) fn default_list(item: Value) -> Value {
    Value::List(vec![Node { line: 0, column: 0, value: item }])
}
