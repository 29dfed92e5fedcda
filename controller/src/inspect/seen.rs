//! An object of the cluster, read as JSON: what is not there is empty.

use serde_json::Value;

use crate::CONTROLLER_NAME;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a>(pub(super) &'a Value);

/// A condition as it stands in a status.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) r#type: &'a str,
    pub(super) status: &'a str,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
}

impl<'a> Seen<'a> {
    pub(super) fn text(self, pointer: &str) -> &'a str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn number(self, pointer: &str) -> Option<i64> {
        self.0.pointer(pointer).and_then(Value::as_i64)
    }

    pub(super) fn list(self, pointer: &str) -> impl Iterator<Item = Self> + use<'a> {
        self.0.pointer(pointer).and_then(Value::as_array).into_iter().flatten().map(Seen)
    }

    pub(super) fn kind(self) -> &'a str {
        self.text("/kind")
    }

    pub(super) fn name(self) -> &'a str {
        self.text("/metadata/name")
    }

    pub(super) fn namespace(self) -> &'a str {
        self.text("/metadata/namespace")
    }

    /// `namespace/name`, or `name` of an object of the cluster.
    pub(super) fn place(self) -> String {
        match self.namespace() {
            "" => self.name().to_owned(),
            namespace => format!("{namespace}/{}", self.name()),
        }
    }

    /// With its kind before.
    pub(super) fn called(self) -> String {
        format!("{} {}", self.kind(), self.place())
    }

    pub(super) fn label(self, key: &str) -> &'a str {
        self.keyed("labels", key)
    }

    pub(super) fn annotation(self, key: &str) -> &'a str {
        self.keyed("annotations", key)
    }

    fn keyed(self, field: &str, key: &str) -> &'a str {
        let map = self.0.pointer("/metadata").and_then(|metadata| metadata.get(field));
        map.and_then(|map| map.get(key)).and_then(Value::as_str).unwrap_or_default()
    }

    /// The conditions of this part of a status.
    pub(super) fn conditions(self) -> impl Iterator<Item = Said<'a>> + use<'a> {
        self.list("/conditions").map(|condition| Said {
            r#type: condition.text("/type"),
            status: condition.text("/status"),
            reason: condition.text("/reason"),
            message: condition.text("/message"),
        })
    }

    pub(super) fn condition(self, r#type: &str) -> Option<Said<'a>> {
        self.conditions().find(|condition| condition.r#type == r#type)
    }

    pub(super) fn status(self) -> Self {
        self.0.get("status").map_or(Seen(&Value::Null), Seen)
    }

    /// Every part of the status with conditions of ours, and what it is of: nothing for the object itself.
    pub(super) fn parts(self) -> Vec<(String, Self)> {
        let status = self.status();
        let is_ours = |part: &Self| part.text("/controllerName") == CONTROLLER_NAME;
        let parents = status.list("/parents").filter(is_ours);
        let ancestors = status.list("/ancestors").filter(is_ours);
        let own = status.list("/conditions").next().map(|_| (String::new(), status));
        own.into_iter()
            .chain(status.list("/listeners").map(|part| (format!("listener {}", part.text("/name")), part)))
            .chain(parents.map(|part| (format!("parent {}", part.reference("/parentRef")), part)))
            .chain(ancestors.map(|part| (format!("ancestor {}", part.reference("/ancestorRef")), part)))
            .collect()
    }

    /// `kind namespace/name`, with `#section` where there is one. A Gateway needs no kind.
    pub(super) fn reference(self, pointer: &str) -> String {
        let at = |field: &str| self.text(&format!("{pointer}/{field}"));
        let mut text = match at("kind") {
            "" | "Gateway" => String::new(),
            kind => format!("{kind} "),
        };
        if !at("namespace").is_empty() {
            text.push_str(at("namespace"));
            text.push('/');
        }
        text.push_str(at("name"));
        if !at("sectionName").is_empty() {
            text.push('#');
            text.push_str(at("sectionName"));
        }
        text
    }

    /// Whether a condition of this part was said about an older generation of the object.
    pub(super) fn is_behind(self, part: Self) -> bool {
        let now = self.number("/metadata/generation");
        part.list("/conditions").any(|condition| {
            let of = condition.number("/observedGeneration");
            of.zip(now).is_some_and(|(of, now)| of < now)
        })
    }
}

impl Said<'_> {
    pub(super) fn is_true(self) -> bool {
        self.status == "True"
    }

    /// Whether it says that something is wrong. Most conditions are good news when True.
    pub(super) fn is_wrong(self) -> bool {
        const BAD_WHEN_TRUE: &[&str] = &["Conflicted", "PartiallyInvalid", "OverlappingTLSConfig"];
        const KNOWN: &[&str] = &["Accepted", "Programmed", "ResolvedRefs", "SupportedVersion"];
        if BAD_WHEN_TRUE.contains(&self.r#type) {
            self.is_true()
        } else {
            KNOWN.contains(&self.r#type) && !self.is_true()
        }
    }
}
