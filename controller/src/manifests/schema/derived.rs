//! From the schema of a CRD of ours to one of these: what the API server enforces in a cluster, files are held to.
//!
//! Not to rules in CEL, nor to forms of text but durations: whoever translates a policy finds what they say, and more. And a
//! SecurityPolicy that a file holds and that does not load protects nothing, while one that cannot be followed refuses.

use serde_json::Value;

use super::super::node::Node;
use super::formats::DURATION;
use super::{Field, Report, Schema, formatted, integer, list, map, object, text};

/// The schema of a value. It is made once and kept, and so are its names.
pub(super) fn of(schema: &Value) -> Schema {
    let flag = |name: &str| schema.get(name) == Some(&Value::Bool(true));
    // What the API server keeps beside known fields, it keeps to be refused.
    if flag("x-kubernetes-preserve-unknown-fields") && schema.get("properties").is_none() {
        return Schema::Any;
    }
    if flag("x-kubernetes-int-or-string") {
        return Schema::IntegerOrText;
    }
    let number = |name: &str| schema.get(name).and_then(Value::as_f64);
    #[allow(clippy::cast_possible_truncation, reason = "bounds of a schema of ours are small and whole")]
    let bound = |name: &str, default: i64| number(name).map_or(default, |bound| bound as i64);
    let length = |name: &str, default: usize| {
        schema.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok()).unwrap_or(default)
    };
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => match (schema.get("enum"), schema.get("pattern")) {
            (Some(values), _) => {
                let values = values.as_array().into_iter().flatten().filter_map(Value::as_str);
                Schema::Enum(Vec::leak(values.map(kept).collect()))
            }
            (None, Some(pattern)) if pattern == policies::DURATION => formatted(1, usize::MAX, &DURATION),
            (None, Some(_)) => text(0, usize::MAX),
            (None, None) => text(length("minLength", 0), length("maxLength", usize::MAX)),
        },
        Some("integer") => integer(bound("minimum", i64::MIN), bound("maximum", i64::MAX)),
        Some("boolean") => Schema::Bool,
        Some("array") => {
            let item = schema.get("items").map_or(Schema::Any, of);
            list(item, length("minItems", 0), length("maxItems", usize::MAX))
        }
        Some("object") => match schema.get("additionalProperties") {
            Some(value) if value.is_object() => map(of(value), usize::MAX),
            _ => fields(schema),
        },
        _ => Schema::Any,
    }
}

fn fields(schema: &Value) -> Schema {
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = |name: &str| required.into_iter().flatten().any(|required| required == name);
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let fields: Vec<Field> = properties
        .map(|(name, value)| Field {
            name: kept(name),
            schema: of(value),
            is_required: is_required(name),
            default: None,
        })
        .collect();
    let all = object(fields);
    if schema.get("oneOf").is_some() { all.rule(exactly_one) } else { all }
}

/// What `oneOf` means in our CRDs: each branch requires another field.
fn exactly_one(node: &Node, report: &mut Report<'_>) {
    match node.entries().len() {
        1 => {}
        0 => report.broken(node, "", "is empty", "write exactly one of its fields, or leave it out"),
        _ => report.broken(node, "", "its fields exclude each other", "keep one of them"),
    }
}

fn kept(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}
