//! From the text of one document to a [`Node`] tree, within a budget.
//!
//! Scalars are read as `kubectl` reads them (see `scalar`), so a file means the same here and in a cluster.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Marker, Parser, ScalarStyle};

use super::finding::{Code, Problem};
use super::node::{Key, Node, Value};
use super::scalar;

/// Values in one document, those that aliases repeat counted each time.
const MAX_NODES: usize = 100_000;
/// Nesting of one document.
const MAX_DEPTH: usize = 64;
/// Bytes of text in one document, those that aliases repeat counted each time. (etcd takes 1.5 MiB per object; a
/// document may be a List.)
const MAX_BYTES: usize = 16 << 20;

/// Parses one document; `None` when there is nothing in it.
pub(super) fn parse(text: &str) -> Result<Option<Node>, Problem> {
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_comments: false,
        // Above ours, which says it better.
        flow_nesting_limit: 2 * MAX_DEPTH,
        block_nesting_limit: 2 * MAX_DEPTH,
    };
    let mut builder = Builder::default();
    let mut root = None;
    let mut parser = Parser::new_from_str_with_options(text, options);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|e| {
            problem(e.marker(), Code::Syntax, format!("this is not YAML: {}", e.info()), "correct it here")
        })?;
        if root.is_some() && matches!(event, Event::DocumentStart(..)) {
            let reason = "a second document starts here without `---`".into();
            return Err(problem(
                &span.start,
                Code::Syntax,
                reason,
                "put `---` on a line of its own before it",
            ));
        }
        if let Some(node) = builder.event(event, &span.start)? {
            root = Some(node);
        }
    }
    // An empty or comment-only document parses as null.
    Ok(root.filter(|node| node.value != Value::Null))
}

pub(super) fn problem(mark: &Marker, code: Code, reason: String, remedy: &str) -> Problem {
    let (line, column) = place(mark);
    Problem { line, column, code, object: String::new(), field: String::new(), reason, remedy: remedy.into() }
}

fn place(mark: &Marker) -> (u32, u32) {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (number(mark.line()), number(mark.col().saturating_add(1)))
}

/// A collection that is not closed yet.
struct Open {
    node: Node,
    anchor: usize,
    key: Option<Key>,
    /// Values of `<<`.
    merges: Vec<Node>,
}

/// What a value uses up of the budget.
#[derive(Default, Clone, Copy)]
struct Cost {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

impl Cost {
    fn of(node: &Node) -> Self {
        let mut cost = Self { nodes: 1, bytes: 0, depth: 1 };
        let mut add = |child: &Node, key: usize| {
            let child = Self::of(child);
            cost.nodes += child.nodes;
            cost.bytes += child.bytes + key;
            cost.depth = cost.depth.max(child.depth + 1);
        };
        match &node.value {
            Value::List(items) => items.iter().for_each(|item| add(item, 0)),
            Value::Map(entries) => entries.iter().for_each(|(key, value)| add(value, key.name.len())),
            Value::Text(text) => cost.bytes = text.len(),
            Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) => {}
        }
        cost
    }
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// Complete values with an anchor. One that is still open has none yet, so a value cannot hold itself.
    anchors: HashMap<usize, (Rc<Node>, Cost)>,
    spent: Cost,
}

impl Builder {
    /// Takes one event; returns the root when it is complete.
    fn event(&mut self, event: Event<'_>, mark: &Marker) -> Result<Option<Node>, Problem> {
        let (line, column) = place(mark);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(Cost { nodes: 1, bytes: text.len(), depth: 0 }, mark)?;
                if let Some(open) = self.open.last_mut().filter(|open| open.wants_key()) {
                    // `? &a key`: an anchor on a key is allowed and of no use.
                    open.key = Some(Key { name: text.into(), line, column });
                    return Ok(None);
                }
                let value = scalar::resolve(&text, style == ScalarStyle::Plain, tag.as_deref())
                    .map_err(|(reason, remedy)| problem(mark, Code::Syntax, reason, remedy))?;
                self.complete(Node { line, column, value }, anchor, mark)
            }
            Event::Alias(id) => {
                let Some((node, cost)) = self.anchors.get(&id).cloned() else {
                    let reason = "this alias stands inside the value that it names".into();
                    return Err(problem(mark, Code::Syntax, reason, "write the value out"));
                };
                // Before it is copied: a bomb must not go off to be noticed.
                self.spend(cost, mark)?;
                self.complete(Node::clone(&node), 0, mark)
            }
            Event::SequenceStart(_, anchor, tag) => self.start(
                Value::List(Vec::new()),
                anchor,
                tag.is_none_or(|t| t.core_suffix() == Some("seq")),
                mark,
            ),
            Event::MappingStart(_, anchor, tag) => self.start(
                Value::Map(Vec::new()),
                anchor,
                tag.is_none_or(|t| t.core_suffix() == Some("map")),
                mark,
            ),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => {
                    let anchor = open.anchor;
                    let node = open.close()?;
                    self.complete(node, anchor, mark)
                }
                None => Ok(None),
            },
            // Of the frame there is nothing to know; anchors and unresolved aliases are not asked for.
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd | _ => {
                Ok(None)
            }
        }
    }

    fn start(
        &mut self,
        value: Value,
        anchor: usize,
        known_tag: bool,
        mark: &Marker,
    ) -> Result<Option<Node>, Problem> {
        if !known_tag {
            return Err(problem(
                mark,
                Code::Syntax,
                "a tag that Kubernetes does not know".into(),
                "remove it",
            ));
        }
        if self.open.last().is_some_and(Open::wants_key) {
            let reason = format!("{} as a key", value.type_name());
            return Err(problem(mark, Code::Syntax, reason, "use a string"));
        }
        self.spend(Cost { nodes: 1, bytes: 0, depth: 0 }, mark)?;
        let (line, column) = place(mark);
        self.open.push(Open { node: Node { line, column, value }, anchor, key: None, merges: Vec::new() });
        Ok(None)
    }

    fn spend(&mut self, cost: Cost, mark: &Marker) -> Result<(), Problem> {
        self.spent.nodes += cost.nodes;
        self.spent.bytes += cost.bytes;
        let reason = if self.spent.nodes > MAX_NODES {
            format!("more than {MAX_NODES} values in one document, aliases counted each time")
        } else if self.spent.bytes > MAX_BYTES {
            format!("more than {} MiB in one document, aliases counted each time", MAX_BYTES >> 20)
        } else if self.open.len() + cost.depth > MAX_DEPTH {
            format!("nested deeper than {MAX_DEPTH}")
        } else {
            return Ok(());
        };
        Err(problem(mark, Code::TooLarge, reason, "split it into several documents and write fewer aliases"))
    }

    /// Puts a complete value where it belongs; returns it when it is the root.
    fn complete(&mut self, node: Node, anchor: usize, mark: &Marker) -> Result<Option<Node>, Problem> {
        if anchor != 0 {
            self.anchors.insert(anchor, (Rc::new(node.clone()), Cost::of(&node)));
        }
        let Some(open) = self.open.last_mut() else { return Ok(Some(node)) };
        match (&mut open.node.value, open.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(_), Some(key)) if &*key.name == "<<" => {
                if let Value::List(items) = node.value {
                    open.merges.extend(items);
                } else if let Value::Map(_) = node.value {
                    open.merges.push(node);
                } else {
                    return Err(problem(
                        mark,
                        Code::Syntax,
                        "`<<` takes mappings".into(),
                        "use an alias of one",
                    ));
                }
            }
            (Value::Map(entries), Some(key)) => entries.push((key, node)),
            // An alias where a key is due.
            _ => return Err(problem(mark, Code::Syntax, "an alias as a key".into(), "use a string")),
        }
        Ok(None)
    }
}

impl Open {
    fn wants_key(&self) -> bool {
        matches!(self.node.value, Value::Map(_)) && self.key.is_none()
    }

    /// Refuses a key that is there twice and merges `<<` in: what the mapping says itself wins, then the first merge.
    fn close(mut self) -> Result<Node, Problem> {
        let Value::Map(entries) = &mut self.node.value else { return Ok(self.node) };
        let mut names: Vec<&Key> = entries.iter().map(|(key, _)| key).collect();
        names.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some([_, again]) = names.array_windows().find(|[a, b]| a.name == b.name) {
            return Err(Problem {
                line: again.line,
                column: again.column,
                code: Code::DuplicateKey,
                object: String::new(),
                field: again.name.to_string(),
                reason: "this key is there twice in one mapping".into(),
                remedy: "keep one of them".into(),
            });
        }
        for merge in self.merges {
            let Value::Map(merged) = merge.value else { continue };
            for (key, value) in merged {
                if !entries.iter().any(|(k, _)| k.name == key.name) {
                    entries.push((key, value));
                }
            }
        }
        Ok(self.node)
    }
}
