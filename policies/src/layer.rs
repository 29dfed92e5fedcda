//! How policies of several levels come to one: each part for itself, by default and by override (GEP-713).

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{BackendRef, Guards, Invalid, Lookup, ObjectRef};

/// What a policy says that is attached to something: some of the list's parts.
pub trait Parts: Inherit + PartialEq + fmt::Debug + Serialize + DeserializeOwned {
    /// Names of all there are, in the order they run.
    const NAMES: &'static [&'static str];

    /// Names of those that are set, in the order they run.
    fn names(&self) -> Vec<&'static str>;

    /// Every backend any of them points at.
    fn backends(&self) -> Vec<&BackendRef>;

    /// Every Secret and ConfigMap any of them points at.
    fn objects(&self) -> Vec<&ObjectRef>;

    /// What whoever wrote them should know although nothing is wrong.
    fn notes(&self) -> Vec<String>;

    /// Compiles those that are set.
    ///
    /// # Errors
    /// The first that cannot be compiled, with its name.
    fn compile(&self, lookup: &dyn Lookup) -> Result<Guards, (&'static str, Invalid)>;
}

/// Something made of parts that may be unset.
pub trait Inherit: Clone + Default {
    /// Takes the parts from `parent` that are unset here.
    fn inherit(&mut self, parent: &Self);
}

/// What is said at one level, or at several that follow each other. Of defaults the more specific level's win, of
/// overrides the more general level's; an override wins over any default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layer<S> {
    /// What holds unless a more specific level says otherwise.
    pub defaults: S,
    /// What holds whatever a more specific level says.
    pub overrides: S,
}

impl<S: Inherit> Layer<S> {
    /// What this level and a more specific one come to. Associative, and `default()` is neutral: levels can be put
    /// together in any grouping.
    #[must_use]
    pub fn refine(mut self, specific: &Self) -> Self {
        let mut defaults = specific.defaults.clone();
        defaults.inherit(&self.defaults);
        self.overrides.inherit(&specific.overrides);
        Self { defaults, overrides: self.overrides }
    }

    /// What holds.
    #[must_use]
    pub fn effective(mut self) -> S {
        self.overrides.inherit(&self.defaults);
        self.overrides
    }
}

/// What levels come to, given from general to specific.
#[must_use]
pub fn merge<'a, S: Inherit + 'a>(levels: impl IntoIterator<Item = &'a Layer<S>>) -> S {
    levels.into_iter().fold(Layer::default(), Layer::refine).effective()
}

#[cfg(test)]
mod tests;
