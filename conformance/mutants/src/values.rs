//! What a function could return without doing anything, by its type as it is written.

use syn::{GenericArgument, Path, PathArguments, ReturnType, Type};

/// Rust's expressions; none: no value of this type is known.
pub fn of(output: &ReturnType) -> Vec<String> {
    match output {
        ReturnType::Default => vec!["()".into()],
        ReturnType::Type(_, kind) => values(kind),
    }
}

fn values(kind: &Type) -> Vec<String> {
    match kind {
        Type::Path(path) if path.qself.is_none() => of_path(&path.path),
        Type::Reference(to) => match &*to.elem {
            Type::Path(path) if path.path.is_ident("str") => texts("\"\"", "\"xyzzy\""),
            Type::Slice(_) => vec!["&[]".into()],
            _ => Vec::new(),
        },
        Type::Tuple(parts) if parts.elems.is_empty() => vec!["()".into()],
        Type::Tuple(parts) => {
            let each: Option<Vec<String>> =
                parts.elems.iter().map(|part| values(part).into_iter().next()).collect();
            each.map(|each| format!("({})", each.join(", "))).into_iter().collect()
        }
        Type::Paren(inner) => values(&inner.elem),
        _ => Vec::new(),
    }
}

fn of_path(path: &Path) -> Vec<String> {
    let Some(last) = path.segments.last() else { return Vec::new() };
    let inner = |at: usize| -> Vec<String> {
        let PathArguments::AngleBracketed(list) = &last.arguments else { return Vec::new() };
        let kinds: Vec<&Type> = list
            .args
            .iter()
            .filter_map(|argument| match argument {
                GenericArgument::Type(kind) => Some(kind),
                _ => None,
            })
            .collect();
        kinds.get(at).map(|kind| values(kind)).unwrap_or_default()
    };
    match last.ident.to_string().as_str() {
        "bool" => texts("true", "false"),
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" | "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => {
            texts("0", "1")
        }
        "String" => texts("String::new()", "String::from(\"xyzzy\")"),
        "Option" => {
            let some = inner(0).into_iter().map(|value| format!("Some({value})"));
            std::iter::once("None".to_owned()).chain(some).collect()
        }
        "Result" => inner(0).into_iter().map(|value| format!("Ok({value})")).collect(),
        "Vec" => vec!["Vec::new()".into()],
        // Lets everything pass.
        "Verdict" => vec!["crate::Verdict::Continue".into()],
        // Those that have no default are found by the compiler.
        _ => vec!["Default::default()".into()],
    }
}

fn texts(one: &str, other: &str) -> Vec<String> {
    vec![one.into(), other.into()]
}
