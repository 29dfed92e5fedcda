//! What a scalar means: YAML 1.1 as `kubectl` reads it, so `yes` and `on` are booleans and `010` is eight.

use granit_parser::Tag;

use super::node::Value;

/// The value of a scalar, or a reason and a remedy.
pub(super) fn resolve(
    text: &str,
    is_plain: bool,
    tag: Option<&Tag>,
) -> Result<Value, (String, &'static str)> {
    match tag.map(|tag| (tag, tag.core_suffix())) {
        None if is_plain => Ok(plain(text)),
        None | Some((_, Some("str"))) => Ok(Value::text(text)),
        Some((_, Some("int" | "float" | "bool" | "null"))) => Ok(plain(text)),
        // `! text`: the non-specific tag makes a string of it.
        Some((tag, _)) if tag.suffix() == "!" && tag.handle().is_empty() => Ok(Value::text(text)),
        Some((tag, _)) => Err((format!("Kubernetes does not know the tag {}", tag.original()), "remove it")),
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "y" | "Y" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "n" | "N" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        _ => number(text).unwrap_or_else(|| Value::text(text)),
    }
}

fn number(text: &str) -> Option<Value> {
    // Most strings are told apart by their first byte.
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    let digits = text.replace('_', "");
    let (sign, unsigned) = match digits.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let prefixes = [("0x", 16), ("0b", 2), ("0o", 8), ("0", 8)];
    let prefixed = prefixes.into_iter().find_map(|(prefix, radix)| {
        let rest = unsigned.strip_prefix(prefix).filter(|rest| !rest.is_empty())?;
        rest.bytes().all(|b| b.is_ascii_alphanumeric()).then_some(())?;
        i64::from_str_radix(&format!("{sign}{rest}"), radix).ok()
    });
    if let Some(number) = prefixed {
        return Some(Value::Integer(number));
    }
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        // An integer beyond 64 bits is a number still; no field takes it.
        return Some(format!("{sign}{unsigned}").parse().map_or(Value::Float(f64::INFINITY), Value::Integer));
    }
    let is_float =
        unsigned.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
            && unsigned.bytes().any(|b| b.is_ascii_digit());
    is_float.then(|| format!("{sign}{unsigned}").parse().ok().map(Value::Float)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_read_as_kubectl_reads_them() {
        for (text, value) in [
            ("80", Value::Integer(80)),
            ("-7", Value::Integer(-7)),
            ("010", Value::Integer(8)),
            ("0x1F", Value::Integer(31)),
            ("1_000", Value::Integer(1000)),
            ("1.5", Value::Float(1.5)),
            ("1e3", Value::Float(1000.0)),
            ("yes", Value::Bool(true)),
            ("off", Value::Bool(false)),
            ("~", Value::Null),
            ("10s", Value::text("10s")),
            ("1.2.3", Value::text("1.2.3")),
            ("127.0.0.1", Value::text("127.0.0.1")),
            ("2024-01-01T00:00:00Z", Value::text("2024-01-01T00:00:00Z")),
            ("-", Value::text("-")),
            ("0x", Value::text("0x")),
            ("089", Value::Integer(89)),
        ] {
            assert_eq!(plain(text), value, "{text}");
        }
    }
}
