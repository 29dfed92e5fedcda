//! Methods of the standard library, and what one could have written instead.

/// Their closure is a condition.
pub const OF_CLOSURES: [&str; 13] = [
    "all",
    "any",
    "filter",
    "find",
    "is_none_or",
    "is_ok_and",
    "is_some_and",
    "partition_point",
    "position",
    "retain",
    "skip_while",
    "take_if",
    "take_while",
];

/// Their receiver is a condition.
pub const OF_RECEIVERS: [&str; 2] = ["then", "then_some"];

/// One for the other, both ways.
const PAIRS: [(&str, &str); 13] = [
    ("all", "any"),
    ("and", "or"),
    ("checked_add", "checked_sub"),
    ("first", "last"),
    ("is_err", "is_ok"),
    ("is_none", "is_some"),
    ("is_none_or", "is_some_and"),
    ("max", "min"),
    ("next", "last"),
    ("saturating_add", "saturating_sub"),
    ("split_once", "rsplit_once"),
    ("starts_with", "ends_with"),
    ("wrapping_add", "wrapping_sub"),
];

/// What they are called on has the same type.
pub const LEFT_OUT: [&str; 16] = [
    "and",
    "max",
    "min",
    "or",
    "or_else",
    "rev",
    "saturating_add",
    "saturating_sub",
    "skip",
    "take",
    "to_ascii_lowercase",
    "to_ascii_uppercase",
    "trim",
    "trim_end",
    "trim_end_matches",
    "trim_start",
];

pub fn instead(name: &str) -> Option<&'static str> {
    let one = PAIRS.iter().find(|(one, _)| *one == name).map(|(_, other)| *other);
    one.or_else(|| PAIRS.iter().find(|(_, other)| *other == name).map(|(one, _)| *one))
}

/// What stands for another operator.
pub fn operator(op: &syn::BinOp) -> Option<(&'static str, &'static str)> {
    use syn::BinOp::*;
    Some(match op {
        Eq(_) => ("==", "!="),
        Ne(_) => ("!=", "=="),
        Lt(_) => ("<", "<="),
        Le(_) => ("<=", "<"),
        Gt(_) => (">", ">="),
        Ge(_) => (">=", ">"),
        And(_) => ("&&", "||"),
        Or(_) => ("||", "&&"),
        Add(_) => ("+", "-"),
        Sub(_) => ("-", "+"),
        Mul(_) => ("*", "+"),
        Div(_) => ("/", "*"),
        Rem(_) => ("%", "/"),
        BitAnd(_) => ("&", "|"),
        BitOr(_) => ("|", "&"),
        BitXor(_) => ("^", "|"),
        Shl(_) => ("<<", ">>"),
        Shr(_) => (">>", "<<"),
        AddAssign(_) => ("+=", "-="),
        SubAssign(_) => ("-=", "+="),
        BitAndAssign(_) => ("&=", "|="),
        BitOrAssign(_) => ("|=", "&="),
        _ => return None,
    })
}

/// `+=` and its like.
pub fn is_assignment(op: &syn::BinOp) -> bool {
    use syn::BinOp::*;
    matches!(
        op,
        AddAssign(_)
            | SubAssign(_)
            | MulAssign(_)
            | DivAssign(_)
            | RemAssign(_)
            | BitXorAssign(_)
            | BitAndAssign(_)
            | BitOrAssign(_)
            | ShlAssign(_)
            | ShrAssign(_)
    )
}
