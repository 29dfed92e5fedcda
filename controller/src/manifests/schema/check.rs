//! Walks a document along its schema: refuses what the API server would refuse, fills in what it would fill in.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::super::finding::{Code, Problem};
use super::super::node::{Key, Node, Value};
use super::{Field, Rule, Schema, Unique};

/// More problems of one document are not listed: nobody reads them, and a wrong indentation makes hundreds.
const MAX_PROBLEMS: usize = 20;

/// Checks a document and completes it.
pub(in crate::manifests) fn check(schema: &Schema, root: &mut Node, object: &str) -> Vec<Problem> {
    let mut report = Report { object, path: Vec::new(), problems: Vec::new() };
    walk(schema, root, &mut report);
    report.problems.sort_by_key(|problem| (problem.line, problem.column));
    report.problems
}

/// One step of the way to a value.
#[derive(Debug, Clone)]
pub(in crate::manifests) enum Step {
    Field(Box<str>),
    Item(usize),
}

/// Collects problems; knows where the walk is.
#[derive(Debug)]
pub(in crate::manifests) struct Report<'a> {
    object: &'a str,
    path: Vec<Step>,
    problems: Vec<Problem>,
}

impl Report<'_> {
    /// A problem at `node`, which is `below` the value the walk is at: fields as `path`, items as `[1]`.
    pub(in crate::manifests) fn at(
        &mut self,
        node: &Node,
        below: &str,
        code: Code,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.place(node.line, node.column, below, code, reason.into(), remedy.into());
    }

    /// A rule between fields is broken.
    pub(in crate::manifests) fn broken(
        &mut self,
        node: &Node,
        below: &str,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.at(node, below, Code::Contradiction, reason, remedy);
    }

    fn place(&mut self, line: u32, column: u32, below: &str, code: Code, reason: String, remedy: String) {
        if self.problems.len() >= MAX_PROBLEMS {
            return;
        }
        let mut field = self.field();
        if !below.is_empty() {
            if !field.is_empty() && !below.starts_with('[') {
                field.push('.');
            }
            field.push_str(below);
        }
        let object = self.object.to_owned();
        self.problems.push(Problem { line, column, code, object, field, reason, remedy });
    }

    fn field(&self) -> String {
        let mut field = String::new();
        for step in &self.path {
            match step {
                Step::Field(name) => {
                    if !field.is_empty() {
                        field.push('.');
                    }
                    field.push_str(name);
                }
                Step::Item(index) => {
                    // Writing to a String cannot fail.
                    let _ = write!(field, "[{index}]");
                }
            }
        }
        field
    }

    fn is_full(&self) -> bool {
        self.problems.len() >= MAX_PROBLEMS
    }
}

fn walk(schema: &Schema, node: &mut Node, report: &mut Report<'_>) {
    if report.is_full() {
        return;
    }
    let before = report.problems.len();
    match schema {
        Schema::Text { min, max, format } => {
            let Some(text) = expect_text(node, report) else { return };
            let length = text.chars().count();
            if length < *min {
                let remedy = "write a value or leave the field out";
                report.at(node, "", Code::NotAllowed, "is empty", remedy);
            } else if length > *max {
                let reason = format!("has {length} characters");
                report.at(node, "", Code::NotAllowed, reason, format!("use at most {max}"));
            } else if let Some(format) = format.filter(|format| !(format.accepts)(text)) {
                let reason = format!("{text:?} is not allowed");
                report.at(node, "", Code::NotAllowed, reason, format!("it must be {}", format.form));
            }
        }
        Schema::Enum(values) => {
            let Some(text) = expect_text(node, report) else { return };
            if !values.contains(&text) {
                let remedy = match nearest(text, values.iter().copied()) {
                    Some(near) => format!("did you mean {near:?}? It takes {}", values.join(", ")),
                    None => format!("it takes {}", values.join(", ")),
                };
                report.at(node, "", Code::NotAllowed, format!("{text:?} is not allowed"), remedy);
            }
        }
        Schema::Integer { min, max } => {
            let Some(number) = expect_integer(node, report) else { return };
            if !(*min..=*max).contains(&number) {
                let remedy = match *max {
                    i64::MAX => format!("it must be at least {min}"),
                    max => format!("it must be {min} to {max}"),
                };
                report.at(node, "", Code::NotAllowed, format!("{number} is not allowed"), remedy);
            }
        }
        Schema::IntegerEnum(values) => {
            let Some(number) = expect_integer(node, report) else { return };
            if !values.contains(&number) {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                let remedy = format!("it takes {}", values.join(", "));
                report.at(node, "", Code::NotAllowed, format!("{number} is not allowed"), remedy);
            }
        }
        Schema::Bool if matches!(node.value, Value::Bool(_)) => {}
        Schema::Bool => wrong_type(node, "a boolean", report),
        Schema::IntegerOrText if matches!(node.value, Value::Integer(_) | Value::Text(_)) => {}
        Schema::IntegerOrText => wrong_type(node, "an integer or a string", report),
        Schema::List { item, min, max, unique, rules } => {
            list(item, (*min, *max), *unique, node, report);
            run(rules, before, node, report);
        }
        Schema::Object { fields, rules } => {
            object(fields, node, report);
            run(rules, before, node, report);
        }
        Schema::Map { value, max, key } => entries(value, *max, *key, node, report),
        Schema::Any => {}
    }
}

/// Rules between fields trust the fields: they run only if nothing below is wrong.
fn run(rules: &[Rule], before: usize, node: &Node, report: &mut Report<'_>) {
    for rule in rules {
        if report.problems.len() == before {
            rule(node, report);
        }
    }
}

fn expect_text<'n>(node: &'n Node, report: &mut Report<'_>) -> Option<&'n str> {
    let text = node.as_str();
    if text.is_none() {
        wrong_type(node, "a string", report);
    }
    text
}

fn expect_integer(node: &Node, report: &mut Report<'_>) -> Option<i64> {
    let number = node.as_i64();
    if number.is_none() {
        wrong_type(node, "an integer", report);
    }
    number
}

fn wrong_type(node: &Node, want: &str, report: &mut Report<'_>) {
    let remedy = match (&node.value, want) {
        (Value::Bool(_) | Value::Integer(_) | Value::Float(_), "a string") => "put it in quotes".to_owned(),
        (Value::Text(text), "an integer") if text.parse::<i64>().is_ok() => {
            "write it without quotes".to_owned()
        }
        (Value::Text(text), "a boolean") if matches!(&**text, "true" | "false") => {
            "write it without quotes".to_owned()
        }
        (Value::Map(_), "a list") => "start each item with `- `".to_owned(),
        (Value::List(_), "an object") => "write its fields without `- `".to_owned(),
        _ => format!("write {want}"),
    };
    let reason = format!("is {}, and must be {want}", node.value.type_name());
    report.at(node, "", Code::WrongType, reason, remedy);
}

fn list(item: &Schema, (min, max): (usize, usize), unique: Unique, node: &mut Node, report: &mut Report<'_>) {
    let Value::List(items) = &mut node.value else { return wrong_type(node, "a list", report) };
    let count = items.len();
    for (index, child) in items.iter_mut().enumerate() {
        report.path.push(Step::Item(index));
        walk(item, child, report);
        report.path.pop();
    }
    if count < min {
        report.at(node, "", Code::NotAllowed, "is empty", "write at least one item");
    } else if count > max {
        let remedy = format!("use at most {max}; split the object into several");
        report.at(node, "", Code::NotAllowed, format!("has {count} items"), remedy);
    } else {
        duplicates(unique, node, report);
    }
}

fn duplicates(unique: Unique, node: &Node, report: &mut Report<'_>) {
    let identity = |item: &Node| -> Option<String> {
        match unique {
            Unique::No => None,
            Unique::Items => Some(plain(item)),
            Unique::By(fields) => Some(
                fields
                    .iter()
                    .map(|f| format!("{f} {} ", item.get(f).map(plain).unwrap_or_default()))
                    .collect(),
            ),
        }
    };
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (index, item) in node.items().iter().enumerate() {
        let Some(identity) = identity(item) else { return };
        if let Some(first) = seen.insert(identity, index) {
            let what = match unique {
                Unique::By(fields) => format!("has the same {} as item {first}", fields.join(" and ")),
                Unique::No | Unique::Items => format!("is the same as item {first}"),
            };
            report.at(item, &format!("[{index}]"), Code::NotAllowed, what, "keep one of them");
        }
    }
}

/// A value without its place, for comparison. Only lists of strings, integers and flat objects are compared.
fn plain(node: &Node) -> String {
    match &node.value {
        Value::Text(text) => format!("{text:?}"),
        Value::Integer(number) => number.to_string(),
        Value::Map(entries) => {
            entries.iter().map(|(key, value)| format!("{:?} {} ", key.name, plain(value))).collect()
        }
        Value::List(items) => items.iter().map(|item| plain(item) + ", ").collect(),
        Value::Null | Value::Bool(_) | Value::Float(_) => format!("{:?}", node.value),
    }
}

fn object(fields: &[Field], node: &mut Node, report: &mut Report<'_>) {
    let (line, column) = (node.line, node.column);
    let Value::Map(entries) = &mut node.value else { return wrong_type(node, "an object", report) };
    // As the API server: `field:` with nothing after it is a field that is not set.
    entries.retain(|(_, value)| value.value != Value::Null);
    let mut seen = 0u128;
    for (key, value) in entries.iter_mut() {
        let Some(index) = fields.iter().position(|field| *field.name == *key.name) else {
            seen |= unknown(key, fields, report);
            continue;
        };
        seen |= 1 << index;
        let Some(field) = fields.get(index) else { continue };
        report.path.push(Step::Field(key.name.clone()));
        walk(&field.schema, value, report);
        report.path.pop();
    }
    for (_, field) in fields.iter().enumerate().filter(|(index, _)| seen & (1 << index) == 0) {
        if let Some(default) = field.default {
            let mut value = Node { line, column, value: default() };
            // Defaults of what a default holds.
            walk(&field.schema, &mut value, report);
            entries.push((Key { name: field.name.into(), line, column }, value));
        } else if field.is_required {
            report.place(line, column, field.name, Code::Missing, "is required".into(), "add it".into());
        }
    }
}

/// Returns the bit of the field that was meant: a misspelt field is not missing too.
fn unknown(key: &Key, fields: &[Field], report: &mut Report<'_>) -> u128 {
    let names = fields.iter().map(|field| field.name);
    let near = nearest(&key.name, names.clone());
    let meant = fields.iter().position(|field| Some(field.name) == near).map_or(0, |index| 1 << index);
    let remedy = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let mut names: Vec<&str> = names.collect();
            names.sort_unstable();
            format!("remove it; here belong {}", names.join(", "))
        }
    };
    report.place(
        key.line,
        key.column,
        &key.name,
        Code::UnknownField,
        "there is no such field".into(),
        remedy,
    );
    meant
}

fn entries(
    schema: &Schema,
    max: usize,
    format: Option<&'static super::Format>,
    node: &mut Node,
    report: &mut Report<'_>,
) {
    let Value::Map(entries) = &mut node.value else { return wrong_type(node, "an object", report) };
    let count = entries.len();
    for (key, value) in entries.iter_mut() {
        if let Some(format) = format.filter(|format| !(format.accepts)(&key.name)) {
            let reason = "the key is not allowed".into();
            let remedy = format!("it must be {}", format.form);
            report.place(key.line, key.column, &key.name, Code::NotAllowed, reason, remedy);
        }
        report.path.push(Step::Field(key.name.clone()));
        walk(schema, value, report);
        report.path.pop();
    }
    if count > max {
        report.at(node, "", Code::NotAllowed, format!("has {count} entries"), format!("use at most {max}"));
    }
}

/// The word closest to a misspelt one, if it is close.
pub(in crate::manifests) fn nearest<'w>(word: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let word: Vec<char> = word.to_lowercase().chars().take(64).collect();
    words
        .map(|candidate| (distance(&word, &candidate.to_lowercase().chars().collect::<Vec<_>>()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 5)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b) {
            let cost = diagonal + usize::from(x != y);
            diagonal = *cell;
            *cell = cost.min(diagonal + 1).min(left + 1);
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
