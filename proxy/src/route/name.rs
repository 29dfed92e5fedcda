//! Short texts that lie inside what they name.

use std::fmt;
use std::sync::Arc;

/// Longest text without an allocation of its own.
const SHORT: usize = 30;

/// A host name, path or path segment that requests are compared with. With thousands of routes each step to another
/// place in memory is a miss of the caches, which costs more than all else a lookup does: most names are short and lie
/// where the lookup already is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Name {
    /// Its length, and room.
    Short(u8, [u8; SHORT]),
    Long(Arc<[u8]>),
}

impl Name {
    pub(crate) fn new(text: &str) -> Self {
        let mut short = [0; SHORT];
        match (short.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(room), Ok(length)) => {
                room.copy_from_slice(text.as_bytes());
                Self::Short(length, short)
            }
            _ => Self::Long(text.as_bytes().into()),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(length, text) => text.get(..usize::from(*length)).unwrap_or_default(),
            Self::Long(text) => text,
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.as_bytes()), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_length_is_kept_and_is_small() {
        for length in 0..100 {
            let text = "a-long-host-name.".repeat(6)[..length].to_owned();
            let name = Name::new(&text);
            assert_eq!(name.as_bytes(), text.as_bytes());
            assert_eq!(matches!(name, Name::Short(..)), length <= SHORT);
            assert_eq!(format!("{name:?}"), format!("{text:?}"));
        }
        assert_eq!(size_of::<Name>(), 32);
    }
}
