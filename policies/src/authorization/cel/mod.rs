//! Conditions in CEL (`when`).
//!
//! An expression is read once and checked whole: it may only say what [`check`] knows, and what it may cost is known before
//! it runs. What happens at run time is either a truth value or a failure, and a failure never lets a request through.

mod check;
mod values;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, LazyLock};

use ::cel::common::types::CelBool;
use ::cel::parser::{Expression as Tree, PrattParser};
use ::cel::{Context as Scope, Env, Value};

pub(crate) use self::values::View;
use crate::Invalid;

/// Bytes of an expression.
const LONGEST: usize = 2048;
/// How deep its parts are in each other.
const DEEPEST: u16 = 32;
/// What one expression may cost, and all of a policy; see [`check`].
const MOST: usize = 5000;
pub(super) const MOST_OF_ALL: usize = 20_000;

static ENV: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// A condition that was read.
pub(crate) struct Expression {
    tree: Tree,
    cost: usize,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expression").field("cost", &self.cost).finish_non_exhaustive()
    }
}

/// It came to no truth value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed;

impl Expression {
    /// # Errors
    /// What is wrong with it, by its field.
    pub(crate) fn read(text: &str, field: &str) -> Result<Self, Invalid> {
        let wrong = |message: String| Invalid::field(field, message);
        if text.len() > LONGEST {
            return Err(wrong(format!(
                "has {} bytes: at most {LONGEST} are taken; split the rule",
                text.len()
            )));
        }
        let parser = PrattParser::new().max_recursion_depth(DEEPEST).error_recovery_limit(0);
        let tree = parser.parse(text).map_err(|errors| {
            // Those without a place tell of the reader.
            let first = errors.errors.iter().find(|error| error.pos.0 > 0).or_else(|| errors.errors.first());
            let says = first.and_then(|error| error.msg.lines().next()).unwrap_or_default();
            wrong(format!("is not CEL at column {}: {says}", first.map_or(0, |error| error.pos.1)))
        })?;
        let cost = check::condition(&tree).map_err(wrong)?;
        if cost > MOST {
            return Err(wrong(format!(
                "costs {cost}: at most {MOST} is taken; go through fewer or shorter lists"
            )));
        }
        // The first use would pay for it else.
        LazyLock::force(&ENV);
        Ok(Self { tree, cost })
    }

    pub(super) const fn cost(&self) -> usize {
        self.cost
    }

    pub(crate) fn holds(&self, view: View<'_>) -> Result<bool, Failed> {
        let mut scope = Scope::with_env(ENV.clone());
        scope.set_variable_resolver(&view);
        let value = Value::resolve_val(&self.tree, &scope).map_err(|_| Failed)?;
        value.downcast_ref::<CelBool>().map(|is| *is.inner()).ok_or(Failed)
    }
}
