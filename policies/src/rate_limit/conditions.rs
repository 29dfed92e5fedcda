//! The conditions of limits, for others who ask of them.

use super::key::Key;
use super::select::Selector;
use super::spec::ClientSelector;
use crate::{Context, Invalid, Request};

/// Conditions, which all have to hold.
#[derive(Debug)]
pub(crate) struct Conditions(Selector);

impl Conditions {
    /// # Errors
    /// What cannot be compared, by its field; and `Distinct`, which is about keys.
    pub(crate) fn compile(field: &str, selectors: &[ClientSelector]) -> Result<Self, Invalid> {
        let selector = Selector::compile(field, selectors)?;
        if selector.parts() > 0 {
            let message = "is Distinct, which tells clients of a limit apart: compare with a value";
            return Err(Invalid::field(field, message));
        }
        Ok(Self(selector))
    }

    pub(crate) fn hold(&self, req: &Request, ctx: &Context) -> bool {
        self.0.holds(req, ctx, &mut Key::of(0, false))
    }
}
