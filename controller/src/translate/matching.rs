//! What is wrong with the values a match compares with.

use config::{ValueKind, ValueMatch};

/// Patterns longer than this, or with counted repetition, are compiled to learn whether they fit the engine's
/// limits; others only parsed, which is a tenth of the work.
const CHEAP_PATTERN: usize = 128;

/// What is wrong with a regular expression; `None` if nothing.
pub(crate) fn regex_problem(pattern: &str) -> Option<String> {
    let error = if pattern.len() > CHEAP_PATTERN || pattern.contains('{') {
        regex::Regex::new(pattern).err().map(|error| error.to_string())
    } else {
        regex_syntax::parse(pattern).err().map(|error| error.to_string())
    };
    // The parser draws the pattern over several lines, the cause is in the last.
    let cause = error?.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    Some(format!("{pattern:?} is not a regular expression (RE2 syntax): {cause}"))
}

/// What is wrong with the value of an exact or prefix path match (the rules of HTTPPathMatch); `None` if
/// nothing.
pub(crate) fn path_problem(path: &str) -> Option<String> {
    let wrong = |what: &str| Some(format!("{path:?} {what}"));
    if !path.starts_with('/') {
        return wrong("does not start with `/`");
    }
    for part in ["//", "/./", "/../", "%2f", "%2F", "#"] {
        if path.contains(part) {
            return wrong(&format!("must not contain `{part}`"));
        }
    }
    if path.ends_with("/..") || path.ends_with("/.") {
        return wrong("must not end with `/.` or `/..`");
    }
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let valid = match byte {
            b'%' => [rest.next(), rest.next()].iter().all(|b| b.is_some_and(|b| b.is_ascii_hexdigit())),
            _ => byte.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@".contains(&byte),
        };
        if !valid {
            return wrong("holds characters that a path cannot have: percent-encode them");
        }
    }
    None
}

/// True for a token (RFC 9110): what a header field or a query parameter may be called here.
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Reads header or query matches: name, whether it is a regular expression, value. Gateway API: "If multiple
/// entries specify equivalent header names, only the first entry with an equivalent name MUST be considered
/// for a match."
pub(crate) fn values<'a>(
    field: &str,
    ignore_case: bool,
    sources: impl Iterator<Item = (&'a str, bool, &'a str)>,
) -> Result<Vec<ValueMatch>, String> {
    let mut values: Vec<ValueMatch> = Vec::new();
    for (index, (name, is_regex, value)) in sources.enumerate() {
        if !is_token(name) {
            return Err(format!("{field}[{index}].name: {name:?} is not a name (RFC 9110 token)"));
        }
        if value.is_empty() {
            return Err(format!("{field}[{index}].value: must not be empty"));
        }
        if let Some(problem) = is_regex.then(|| regex_problem(value)).flatten() {
            return Err(format!("{field}[{index}].value: {problem}"));
        }
        let same = |other: &ValueMatch| {
            if ignore_case { other.name.eq_ignore_ascii_case(name) } else { other.name == name }
        };
        if !values.iter().any(same) {
            let kind = if is_regex { ValueKind::Regex } else { ValueKind::Exact };
            values.push(ValueMatch { name: name.to_owned(), kind, value: value.to_owned() });
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_means_another_path_is_refused() {
        for bad in
            ["", "a", "/a//b", "/a/../b", "/a/..", "/.", "/a%2Fb", "/a#b", "/a b", "/a%2", "/ä", "/a?b"]
        {
            assert!(path_problem(bad).is_some(), "{bad}");
        }
        for good in ["/", "/a", "/a/", "/a.b/~c", "/a%20b", "/a..b", "/v1:batch"] {
            assert!(path_problem(good).is_none(), "{good}");
        }
    }

    #[test]
    fn a_pattern_is_refused_with_its_cause() {
        assert!(regex_problem("/a(").unwrap().contains("unclosed group"));
        assert!(regex_problem("(?=a)").unwrap().contains("look-around"));
        assert!(regex_problem("((a{1000}){1000}){1000}").unwrap().contains("size limit"));
        assert!(regex_problem("/v[0-9]+/.*").is_none());
    }

    #[test]
    fn only_the_first_of_equivalent_names_counts() {
        let sources = [("Foo", false, "1"), ("foo", false, "2"), ("bar", true, ".")];
        let headers = values("headers", true, sources.into_iter()).unwrap();
        assert_eq!(headers.iter().map(|h| h.value.as_str()).collect::<Vec<_>>(), ["1", "."]);
        assert_eq!(values("queryParams", false, sources.into_iter()).unwrap().len(), 3);
    }
}
