//! What a check found.

use serde::Serialize;

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It is as it should be.
    Ok,
    /// Worth knowing; nothing fails for it now.
    Warning,
    /// Something does not work.
    Error,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Which check; stable.
    pub check: &'static str,
    /// How it ends.
    pub level: Level,
    /// What is the case.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Reason of the condition it was read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Lines that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// Name.
    pub name: &'static str,
    /// In the order in which they are to be read.
    pub lines: Vec<Line>,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order in which they build on each other.
    pub sections: Vec<Section>,
}

impl Report {
    /// How many lines end so.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        self.lines().filter(|line| line.level == level).count()
    }

    /// Every line.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.sections.iter().flat_map(|section| &section.lines)
    }

    /// Every line, to complete remedies.
    pub fn lines_mut(&mut self) -> impl Iterator<Item = &mut Line> {
        self.sections.iter_mut().flat_map(|section| &mut section.lines)
    }
}

impl Section {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, lines: Vec::new() }
    }

    pub(super) fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        self.add(check, Level::Ok, message.into(), None);
    }

    pub(super) fn warning(
        &mut self,
        check: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(check, Level::Warning, message.into(), Some(remedy.into()));
    }

    pub(super) fn error(
        &mut self,
        check: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(check, Level::Error, message.into(), Some(remedy.into()));
    }

    /// What a condition says; its message has the remedy, and its reason may lead to another.
    pub(super) fn said(&mut self, check: &'static str, is_error: bool, message: String, reason: &str) {
        let level = if is_error { Level::Error } else { Level::Warning };
        self.lines.push(Line { check, level, message, remedy: None, reason: Some(reason.to_owned()) });
    }

    fn add(&mut self, check: &'static str, level: Level, message: String, remedy: Option<String>) {
        self.lines.push(Line { check, level, message, remedy, reason: None });
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_fine(&self) -> bool {
        self.lines.iter().all(|line| line.level == Level::Ok)
    }
}
