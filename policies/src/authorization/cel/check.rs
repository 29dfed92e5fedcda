//! What an expression may say, and what it may cost.
//!
//! Only names, functions and macros that are known here pass, so that a mistyped name is refused when it is written and
//! not when a request comes. The cost is the most an expression can take, in steps of some 50 ns:
//!
//! - every part of it: 1; a function, `+`, or `in` what the request says: 10; a claim or a parameter of the query: 20;
//! - `list.exists(x, …)` and its like: the list, and for each element one step and what is in the parentheses. A list that
//!   is written out has its length, any other is taken for 100 elements; a claim with a longer one fails at run time.

use ::cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators};
use http::HeaderName;

use super::DEEPEST;

/// Elements that a list in a claim may have.
pub(super) const LIST: usize = 100;

const FUNCTION: usize = 10;
const LOOKUP: usize = 20;

/// The cost of a tree that is a condition.
///
/// # Errors
/// What is wrong with it and what would be right.
pub(super) fn condition(tree: &IdedExpr) -> Result<usize, String> {
    Checker { locals: Vec::new() }.condition(tree, 0)
}

struct Checker<'e> {
    /// Variables of macros.
    locals: Vec<&'e str>,
}

/// How a name is used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Value,
    /// `has(…)`.
    Presence,
    /// `… in it`.
    Container,
}

enum Step<'e> {
    Name(&'e str),
    Dynamic(&'e IdedExpr),
}

impl<'e> Checker<'e> {
    /// Something that is true or false, as far as can be told.
    fn condition(&mut self, tree: &'e IdedExpr, depth: u16) -> Result<usize, String> {
        let is_one = match &tree.expr {
            Expr::Literal(LiteralValue::Boolean(_)) | Expr::Comprehension(_) => true,
            Expr::Call(call) => is_condition(call),
            // A test; a claim, which may be one; a variable of a macro.
            Expr::Select(select) => {
                select.test || matches!(place(tree), Some((root, _)) if self.is_open(root))
            }
            Expr::Ident(name) => self.is_open(name),
            Expr::Unspecified | Expr::List(_) | Expr::Literal(_) | Expr::Map(_) | Expr::Struct(_) => false,
        };
        if !is_one {
            return Err("is not true or false: compare it with something".to_owned());
        }
        self.any(tree, depth)
    }

    /// What its values are is not known here.
    fn is_open(&self, root: &str) -> bool {
        root == "jwt" || self.locals.contains(&root)
    }

    fn any(&mut self, tree: &'e IdedExpr, depth: u16) -> Result<usize, String> {
        if depth >= DEEPEST {
            return Err(format!("is nested more than {DEEPEST} deep: write less in one expression"));
        }
        match &tree.expr {
            Expr::Literal(_) => Ok(1),
            Expr::List(list) => {
                list.elements.iter().try_fold(1, |cost, element| Ok(cost + self.any(element, depth + 1)?))
            }
            Expr::Ident(_) | Expr::Select(_) => self.place(tree, Use::Value, depth),
            Expr::Call(call) => self.call(tree, call, depth),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, depth),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err("makes a map or a message: compare fields one by one".to_owned())
            }
        }
    }

    fn call(&mut self, tree: &'e IdedExpr, call: &'e CallExpr, depth: u16) -> Result<usize, String> {
        let arguments = call.args.as_slice();
        match (call.func_name.as_str(), &call.target, arguments) {
            (operators::INDEX, None, [_, _]) => self.place(tree, Use::Value, depth),
            (operators::LOGICAL_AND | operators::LOGICAL_OR, None, [a, b]) => {
                Ok(1 + self.condition(a, depth + 1)? + self.condition(b, depth + 1)?)
            }
            (operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE, None, [a]) => {
                Ok(1 + self.condition(a, depth + 1)?)
            }
            (operators::CONDITIONAL, None, [a, b, c]) => {
                Ok(1 + self.condition(a, depth + 1)? + self.any(b, depth + 1)? + self.any(c, depth + 1)?)
            }
            (operators::IN, None, [a, list]) => {
                let container = if let Expr::List(_) = &list.expr {
                    self.any(list, depth + 1)?
                } else {
                    FUNCTION + self.place(list, Use::Container, depth + 1)?
                };
                Ok(1 + self.any(a, depth + 1)? + container)
            }
            (operators::NEGATE, None, [a]) => Ok(1 + self.any(a, depth + 1)?),
            (name, None, [a, b]) if is_comparison(name) || is_arithmetic(name) => {
                let own = if name == operators::ADD { FUNCTION } else { 1 };
                Ok(own + self.any(a, depth + 1)? + self.any(b, depth + 1)?)
            }
            ("size" | "int" | "string" | "double", None, [a]) => Ok(FUNCTION + self.any(a, depth + 1)?),
            ("size", Some(a), []) => Ok(FUNCTION + self.any(a, depth + 1)?),
            ("startsWith" | "endsWith" | "contains", Some(a), [b]) => {
                Ok(FUNCTION + self.any(a, depth + 1)? + self.any(b, depth + 1)?)
            }
            (name, ..) => Err(format!(
                "{name} is no function here, or not with these arguments: use startsWith, endsWith, contains, size, int, \
                 double, string, has, in, exists and all"
            )),
        }
    }

    fn comprehension(&mut self, all: &'e ComprehensionExpr, depth: u16) -> Result<usize, String> {
        if !matches!(all.accu_init.expr, Expr::Literal(LiteralValue::Boolean(_))) || all.iter_var2.is_some() {
            return Err("makes a list or counts: of the macros, has, exists and all are taken".to_owned());
        }
        if ["request", "source", "jwt"].contains(&&*all.iter_var) || all.iter_var.starts_with('@') {
            return Err(format!("has a variable {}, which is a name already: call it x", all.iter_var));
        }
        let range = self.any(&all.iter_range, depth + 1)?;
        let elements = if let Expr::List(list) = &all.iter_range.expr { list.elements.len() } else { LIST };
        self.locals.extend([all.iter_var.as_str(), all.accu_var.as_str()]);
        let step = self.any(&all.loop_cond, depth + 1)? + self.any(&all.loop_step, depth + 1)?;
        let result = self.any(&all.result, depth + 1)?;
        self.locals.truncate(self.locals.len().saturating_sub(2));
        Ok(range + result + elements.saturating_mul(1 + step))
    }

    /// A name, and what is selected from it.
    fn place(&mut self, tree: &'e IdedExpr, usage: Use, depth: u16) -> Result<usize, String> {
        let is_test = matches!(&tree.expr, Expr::Select(select) if select.test);
        let usage = if is_test { Use::Presence } else { usage };
        let Some((root, steps)) = place(tree) else {
            return Err(
                "looks into something that has no name: select from request, source, jwt or a variable"
                    .to_owned(),
            );
        };
        if steps.len() > DEEPEST.into() {
            return Err(format!("selects more than {DEEPEST} times in a row: write less"));
        }
        let own = if self.locals.contains(&root) {
            1
        } else {
            match root {
                "request" => request(&steps, usage)?,
                "source" => source(&steps, usage)?,
                "jwt" => token(&steps, usage)?,
                name => return Err(format!("{name} is not known: use request, source and jwt")),
            }
        };
        let dynamic = steps.iter().filter_map(|step| match step {
            Step::Name(_) => None,
            Step::Dynamic(index) => Some(*index),
        });
        dynamic.into_iter().try_fold(own + steps.len(), |cost, index| Ok(cost + self.any(index, depth + 1)?))
    }
}

fn is_comparison(name: &str) -> bool {
    matches!(
        name,
        operators::EQUALS
            | operators::NOT_EQUALS
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS
    )
}

fn is_arithmetic(name: &str) -> bool {
    matches!(
        name,
        operators::ADD | operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO
    )
}

fn is_condition(call: &CallExpr) -> bool {
    const CONDITIONS: [&str; 10] = [
        operators::LOGICAL_AND,
        operators::LOGICAL_OR,
        operators::LOGICAL_NOT,
        operators::NOT_STRICTLY_FALSE,
        operators::CONDITIONAL,
        operators::INDEX,
        operators::IN,
        "startsWith",
        "endsWith",
        "contains",
    ];
    CONDITIONS.contains(&&*call.func_name) || is_comparison(&call.func_name)
}

/// The name that selections begin with, and what is selected; `None`: they begin with something else.
fn place(tree: &IdedExpr) -> Option<(&str, Vec<Step<'_>>)> {
    let mut steps = Vec::new();
    let mut tree = tree;
    loop {
        match &tree.expr {
            Expr::Ident(name) => {
                steps.reverse();
                return Some((name, steps));
            }
            Expr::Select(select) => {
                steps.push(Step::Name(&select.field));
                tree = &select.operand;
            }
            Expr::Call(call) => {
                let [operand, index] = call.args.as_slice() else { return None };
                if call.func_name != operators::INDEX || call.target.is_some() {
                    return None;
                }
                steps.push(if let Expr::Literal(LiteralValue::String(name)) = &index.expr {
                    Step::Name(name.inner())
                } else {
                    Step::Dynamic(index)
                });
                tree = operand;
            }
            Expr::Unspecified
            | Expr::Comprehension(_)
            | Expr::List(_)
            | Expr::Literal(_)
            | Expr::Map(_)
            | Expr::Struct(_) => return None,
        }
    }
}

fn request(steps: &[Step<'_>], usage: Use) -> Result<usize, String> {
    match (steps, usage) {
        ([Step::Name("method" | "path" | "host" | "scheme")], Use::Value | Use::Presence) => Ok(1),
        ([Step::Name("headers"), Step::Name(name)], Use::Value | Use::Presence) => {
            let wrong = |_| format!("request.headers[{name:?}] can be nowhere: use letters, digits and - (RFC 9110 token)");
            HeaderName::from_bytes(name.as_bytes()).map_err(wrong).map(|_| 2)
        }
        ([Step::Name("headers"), Step::Dynamic(_)], Use::Value) | ([Step::Name("headers")], Use::Container) => Ok(2),
        ([Step::Name("query"), _], Use::Value | Use::Presence) | ([Step::Name("query")], Use::Container) => Ok(LOOKUP),
        _ => Err(
            "looks into request for something that is not there: use request.method, path, host, scheme, headers[NAME] and \
             query[NAME]; in and has() for headers and query"
                .to_owned(),
        ),
    }
}

fn source(steps: &[Step<'_>], usage: Use) -> Result<usize, String> {
    match (steps, usage) {
        (
            [Step::Name("address" | "principal" | "user" | "apiClient" | "assurance")],
            Use::Value | Use::Presence,
        )
        | ([Step::Name("workload"), Step::Name("namespace" | "serviceAccount")], Use::Value | Use::Presence)
        | ([Step::Name("workload")], Use::Presence) => Ok(1),
        _ => Err(
            "looks into source for something that is not there: use source.address, principal, assurance, user, apiClient, \
             workload.namespace and workload.serviceAccount; has() for each"
                .to_owned(),
        ),
    }
}

fn token(steps: &[Step<'_>], usage: Use) -> Result<usize, String> {
    match (steps, usage) {
        ([Step::Name(_), _, ..], _) | ([Step::Name(_)], Use::Presence | Use::Container) => Ok(LOOKUP),
        _ => Err("looks into jwt for no claim: write jwt.PROVIDER.CLAIM, or has(jwt.PROVIDER)".to_owned()),
    }
}
