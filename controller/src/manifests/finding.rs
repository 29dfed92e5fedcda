//! What is wrong with a manifest, where, and what would be right.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

/// What kind of mistake a [`Finding`] is. The code is stable: people silence and search by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The file cannot be read.
    Unreadable,
    /// The text is not YAML, or not JSON where a manifest is JSON.
    Syntax,
    /// The file, a document or its aliases are larger or deeper than we take.
    TooLarge,
    /// A mapping names a key twice.
    DuplicateKey,
    /// The document is no Kubernetes object: `apiVersion`, `kind` or `metadata.name` is missing.
    NotAnObject,
    /// A kind or version of a group that is ours to know, and that this build does not.
    UnknownKind,
    /// A field that the kind does not have.
    UnknownField,
    /// A value of the wrong type.
    WrongType,
    /// A field that must be there is not.
    Missing,
    /// A value that the field does not take.
    NotAllowed,
    /// Fields that do not go together.
    Contradiction,
    /// The same object is in two places.
    DuplicateObject,
    /// On a fresh start: what does not load may protect something, and what cannot be told.
    Unknowable,
}

impl Code {
    /// Every code, in order.
    pub const ALL: [Self; 13] = [
        Self::Unreadable,
        Self::Syntax,
        Self::TooLarge,
        Self::DuplicateKey,
        Self::NotAnObject,
        Self::UnknownKind,
        Self::UnknownField,
        Self::WrongType,
        Self::Missing,
        Self::NotAllowed,
        Self::Contradiction,
        Self::DuplicateObject,
        Self::Unknowable,
    ];

    /// As printed: `FW0101` and up.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "FW0101",
            Self::Syntax => "FW0102",
            Self::TooLarge => "FW0103",
            Self::DuplicateKey => "FW0104",
            Self::NotAnObject => "FW0105",
            Self::UnknownKind => "FW0106",
            Self::UnknownField => "FW0107",
            Self::WrongType => "FW0108",
            Self::Missing => "FW0109",
            Self::NotAllowed => "FW0110",
            Self::Contradiction => "FW0111",
            Self::DuplicateObject => "FW0112",
            Self::Unknowable => "FW0113",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A mistake in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// File.
    pub file: Arc<PathBuf>,
    /// Line, from 1; 0 when the whole file is meant.
    pub line: u32,
    /// Column, from 1; 0 when the whole file is meant.
    pub column: u32,
    /// Kind of mistake.
    pub code: Code,
    /// `Kind namespace/name`, as far as the document tells.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// Path of the field, such as `spec.rules[0].matches[1].path.value`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {} ", self.code)?;
        if !self.object.is_empty() {
            write!(f, "{}: ", self.object)?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}; {}", self.reason, self.remedy)
    }
}

/// A mistake whose place counts from the start of its document: documents move when others grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// Line in the document, from 1.
    pub(super) line: u32,
    /// Column, from 1.
    pub(super) column: u32,
    /// Kind of mistake.
    pub(super) code: Code,
    /// As in [`Finding`].
    pub(super) object: String,
    /// As in [`Finding`].
    pub(super) field: String,
    /// As in [`Finding`].
    pub(super) reason: String,
    /// As in [`Finding`].
    pub(super) remedy: String,
}

impl Problem {
    /// The finding of this problem in a document that starts at `first_line` (from 1) of `file`.
    pub(super) fn at(&self, file: &Arc<PathBuf>, first_line: u32) -> Finding {
        let Self { line, column, code, object, field, reason, remedy } = self.clone();
        let line = first_line.saturating_add(line).saturating_sub(1);
        Finding { file: file.clone(), line, column, code, object, field, reason, remedy }
    }
}
