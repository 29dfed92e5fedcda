//! From a source file to its mutants. A mutant is text put around a piece of the source, so that the source stays as it is
//! written and pieces may hold each other.
//!
//! Not mutated: tests, constants and `const fn`, what stands in macros, `Debug`.

use std::ops::Range;

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Block, Expr, ImplItemFn, ItemFn, ItemImpl, ItemMod, Pat, Signature, Stmt, TraitItemFn};

use crate::{predicates, values};

/// A change that can be switched on.
#[derive(Debug)]
pub struct Mutant {
    /// From 1, through all files.
    pub id: u32,
    /// In the source as it is written.
    pub line: usize,
    pub function: String,
    /// What is changed.
    pub what: String,
    /// The piece of source, in bytes.
    pub at: Range<usize>,
    pub before: String,
    pub after: String,
}

/// All mutants of a file; `id` is the next that is free.
pub fn mutants(source: &str, id: &mut u32) -> syn::Result<Vec<Mutant>> {
    let file = syn::parse_file(source)?;
    let mut planter = Planter { source, id, within: Vec::new(), kept: Vec::new(), out: Vec::new() };
    planter.visit_file(&file);
    Ok(planter.out)
}

struct Planter<'s> {
    source: &'s str,
    id: &'s mut u32,
    /// Names of what is around: types and functions.
    within: Vec<String>,
    /// `&&` between a `let` and others, which no parentheses may be put around.
    kept: Vec<Range<usize>>,
    out: Vec<Mutant>,
}

impl Planter<'_> {
    fn text(&self, at: impl Spanned) -> &str {
        self.source.get(at.span().byte_range()).unwrap_or_default()
    }

    /// A function, and what is in it.
    fn named(&mut self, sig: &Signature, block: &Block, inside: impl FnOnce(&mut Self)) {
        self.within.push(sig.ident.to_string());
        self.function(sig, block);
        inside(self);
        self.within.pop();
    }

    /// Adds a mutant; `before` may use its number as `{is}`, a call that is true when it is alive.
    fn add(&mut self, at: Range<usize>, span: Span, what: impl Into<String>, before: &str, after: &str) {
        let is = format!("crate::mutant::is({})", self.id);
        self.out.push(Mutant {
            id: *self.id,
            line: span.start().line,
            function: self.within.join("::"),
            what: what.into(),
            at,
            before: before.replace("{is}", &is),
            after: after.into(),
        });
        *self.id += 1;
    }

    /// Another expression instead of this one.
    fn replace(&mut self, expr: &Expr, what: String, with: &str) {
        let before = format!("(if {{is}} {{ {with} }} else {{ ");
        self.add(expr.span().byte_range(), expr.span(), what, &before, " })");
    }

    /// True or false instead of a condition.
    fn condition(&mut self, expr: &Expr) {
        self.conditions(expr, true);
    }

    /// `is_first`: no part of the same condition stands before it, so that nothing is false already.
    fn conditions(&mut self, expr: &Expr, is_first: bool) {
        match expr {
            Expr::Paren(inner) => return self.conditions(&inner.expr, is_first),
            Expr::Binary(both) if matches!(both.op, BinOp::And(_)) && has_let(expr) => {
                self.kept.push(expr.span().byte_range());
                self.conditions(&both.left, is_first);
                return self.conditions(&both.right, false);
            }
            _ => {}
        }
        let (at, span, text) = (expr.span().byte_range(), expr.span(), short(self.text(expr)));
        let is_let = matches!(expr, Expr::Let(_));
        if is_first {
            let (before, after) = if is_let { ("!{is} && ", "") } else { ("(!{is} && (", "))") };
            self.add(at.clone(), span, format!("{text} → false"), before, after);
        }
        if !is_let {
            self.add(at, span, format!("{text} → true"), "({is} || (", "))");
        }
    }

    fn function(&mut self, signature: &Signature, block: &Block) {
        let body = match block.stmts.as_slice() {
            [] => return,
            [Stmt::Expr(only, None)] => self.text(only).to_owned(),
            _ => String::new(),
        };
        let at = block.brace_token.span.open().byte_range().end;
        for value in values::of(&signature.output) {
            if value != body {
                let before = format!(" if {{is}} {{ return {value}; }}");
                self.add(at..at, signature.span(), format!("returns {value}"), &before, "");
            }
        }
    }

    fn call(&mut self, call: &syn::ExprMethodCall, whole: &Expr) {
        let name = call.method.to_string();
        if predicates::OF_RECEIVERS.contains(&name.as_str()) {
            self.condition(&call.receiver);
        }
        if predicates::OF_CLOSURES.contains(&name.as_str())
            && let Some(Expr::Closure(closure)) = call.args.first()
            && !matches!(*closure.body, Expr::Block(_))
        {
            self.condition(&closure.body);
        }
        let (all, own) = (whole.span().byte_range(), call.method.span().byte_range());
        if let Some(other) = predicates::instead(&name) {
            let (start, end) = (&self.source[all.start..own.start], &self.source[own.end..all.end]);
            let with = format!("{start}{other}{end}");
            self.replace(whole, format!("{name} → {other} in {}", short(self.text(whole))), &with);
        }
        if predicates::LEFT_OUT.contains(&name.as_str()) {
            let with = self.text(&call.receiver).to_owned();
            self.replace(whole, format!("without {name} in {}", short(self.text(whole))), &with);
        }
    }
}

impl<'ast> Visit<'ast> for Planter<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_type(&mut self, _: &'ast syn::Type) {}
    fn visit_pat(&mut self, _: &'ast Pat) {}
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
    fn visit_item_enum(&mut self, _: &'ast syn::ItemEnum) {}

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let of = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
        if is_test(&item.attrs) || of.is_some_and(|of| of.ident == "Debug") {
            return;
        }
        let name = self.text(&item.self_ty).split('<').next().unwrap_or_default().to_owned();
        self.within.push(name);
        visit::visit_item_impl(self, item);
        self.within.pop();
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if item.sig.constness.is_none() && !is_test(&item.attrs) {
            self.named(&item.sig, &item.block, |planter| visit::visit_item_fn(planter, item));
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if item.sig.constness.is_none() && !is_test(&item.attrs) {
            self.named(&item.sig, &item.block, |planter| visit::visit_impl_item_fn(planter, item));
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(block) = &item.default {
            self.named(&item.sig, block, |planter| visit::visit_trait_item_fn(planter, item));
        }
    }

    fn visit_stmt(&mut self, stmt: &'ast Stmt) {
        match stmt {
            Stmt::Expr(expr, Some(_)) if is_act(expr) => {
                let what = format!("without {}", short(self.text(expr)));
                self.add(stmt.span().byte_range(), stmt.span(), what, "if !{is} { ", " }");
            }
            Stmt::Local(local) => {
                if let Some(otherwise) = local.init.as_ref().and_then(|init| init.diverge.as_ref()) {
                    let (start, body) = (stmt.span().byte_range().start, self.text(&otherwise.1));
                    let body = if matches!(*otherwise.1, Expr::Block(_)) {
                        body.to_owned()
                    } else {
                        format!("{{ {body} }}")
                    };
                    let what = format!("else always: {}", short(self.text(stmt)));
                    self.add(start..start, stmt.span(), what, &format!("if {{is}} {body} "), "");
                }
            }
            _ => {}
        }
        visit::visit_stmt(self, stmt);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if let Some((_, guard)) = &arm.guard
            && !has_let(guard)
        {
            self.condition(guard);
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr(&mut self, expr: &'ast Expr) {
        match expr {
            Expr::Binary(both) if !self.kept.contains(&expr.span().byte_range()) => {
                if let Some((op, other)) = predicates::operator(&both.op) {
                    let with = format!("({}) {other} ({})", self.text(&both.left), self.text(&both.right));
                    self.replace(expr, format!("{op} → {other} in {}", short(self.text(expr))), &with);
                }
            }
            Expr::Unary(unary) if matches!(unary.op, syn::UnOp::Not(_)) => {
                let with = self.text(&unary.expr).to_owned();
                self.replace(expr, format!("without ! in {}", short(self.text(expr))), &with);
            }
            Expr::If(branch) => self.condition(&branch.cond),
            Expr::While(looped) => self.condition(&looped.cond),
            Expr::Match(chosen) => self.arms(chosen),
            Expr::Call(call) if self.text(&call.func) == "Some" => {
                self.replace(expr, format!("{} → None", short(self.text(expr))), "None");
            }
            Expr::MethodCall(call) => self.call(call, expr),
            Expr::Lit(lit) => {
                if let syn::Lit::Int(number) = &lit.lit
                    && let Ok(value) = number.base10_parse::<u64>()
                {
                    let with = format!("{}{}", value + 1, number.suffix());
                    self.replace(expr, format!("{number} → {}", value + 1), &with);
                }
            }
            // What repeats is a constant.
            Expr::Repeat(repeat) => return self.visit_expr(&repeat.expr),
            Expr::Const(_) => return,
            _ => {}
        }
        visit::visit_expr(self, expr);
    }
}

impl Planter<'_> {
    /// Arms beside one that takes everything.
    fn arms(&mut self, chosen: &syn::ExprMatch) {
        // To syn, `None` is a variable.
        let is_variable =
            |name: &syn::Ident| name.to_string().starts_with(|c: char| c.is_lowercase() || c == '_');
        let takes_all = |arm: &syn::Arm| match &arm.pat {
            Pat::Wild(_) => arm.guard.is_none(),
            Pat::Ident(name) => arm.guard.is_none() && name.subpat.is_none() && is_variable(&name.ident),
            _ => false,
        };
        if !chosen.arms.last().is_some_and(takes_all) {
            return;
        }
        for arm in chosen.arms.iter().rev().skip(1).filter(|arm| arm.guard.is_none()) {
            let end = arm.pat.span().byte_range().end;
            let what = format!("without the arm {}", short(self.text(&arm.pat)));
            self.add(end..end, arm.pat.span(), what, " if !{is}", "");
        }
    }
}

/// A statement that does something and goes on.
fn is_act(expr: &Expr) -> bool {
    match expr {
        Expr::Call(_) | Expr::MethodCall(_) | Expr::Assign(_) => true,
        Expr::Binary(both) => predicates::is_assignment(&both.op),
        Expr::Try(inner) => is_act(&inner.expr),
        Expr::Await(inner) => is_act(&inner.base),
        _ => false,
    }
}

fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(both) => has_let(&both.left) || has_let(&both.right),
        Expr::Paren(inner) => has_let(&inner.expr),
        _ => false,
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let of_tests = |list: &syn::MetaList| list.tokens.to_string().split(' ').any(|word| word == "test");
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg") && attribute.meta.require_list().is_ok_and(of_tests)
    })
}

/// On one line.
fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= 100 { line } else { line.chars().take(99).chain(['…']).collect() }
}
