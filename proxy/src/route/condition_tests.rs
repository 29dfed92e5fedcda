use super::*;

fn request(target: &str, headers: &[(&str, &str)]) -> Request {
    let mut req = Request::build("GET", target.as_bytes(), None).unwrap();
    for (name, value) in headers {
        req.append_header((*name).to_owned(), *value).unwrap();
    }
    req
}

fn exact(value: &str) -> ValueCondition {
    ValueCondition::Exact(value.into())
}

fn regex(text: &str) -> ValueCondition {
    ValueCondition::Regex(Arc::new(Pattern::compile(text).unwrap()))
}

fn query(query: &str, name: &str, condition: &ValueCondition) -> bool {
    condition.holds_for_query(Some(query), name)
}

fn header(condition: &ValueCondition, lines: &[&str]) -> bool {
    let lines: Vec<(&str, &str)> = lines.iter().map(|line| ("X-Test", *line)).collect();
    condition.holds_for_header(&request("/", &lines).headers, &HeaderName::from_static("x-test"))
}

#[test]
fn a_repeated_header_counts_by_line_and_joined() {
    assert!(header(&exact("b"), &["a", "b"]));
    assert!(header(&exact("a, b"), &["a", "b"]));
    assert!(header(&exact("a, b, c"), &["a", "b", "c"]));
    for wanted in ["a,b", "b, a", "a, ", "a, b, ", "ab", ""] {
        assert!(!header(&exact(wanted), &["a", "b"]), "{wanted}");
    }
    assert!(header(&regex("a, [bc]"), &["a", "b"]) && header(&regex("[b]"), &["a", "b"]));
    assert!(!header(&regex("a,b"), &["a", "b"]));
}

#[test]
fn one_line_is_not_split_at_commas() {
    assert!(header(&exact("a, b"), &["a, b"]));
    assert!(!header(&exact("a"), &["a, b"]));
}

#[test]
fn an_absent_header_satisfies_nothing() {
    assert!(!header(&exact(""), &[]) && !header(&regex(".*"), &[]));
    assert!(header(&exact(""), &[""]));
}

#[test]
fn the_first_of_a_repeated_parameter_counts() {
    assert!(query("a=1&a=2", "a", &exact("1")));
    assert!(!query("a=1&a=2", "a", &exact("2")));
    assert!(!query("A=1", "a", &exact("1")));
}

#[test]
fn parameters_are_compared_decoded() {
    for text in ["q=a%20b", "q=a+b", "%71=a b", "x=1&&q=%61+b&q="] {
        assert!(query(text, "q", &exact("a b")), "{text}");
        assert!(query(text, "q", &regex("a b")), "{text}");
    }
    assert!(query("q=%2B%26%3D%25", "q", &exact("+&=%")));
    assert!(query("q=%25%32%30", "q", &exact("%20")), "decoded once only");
    assert!(query("q=%C3%a9", "q", &exact("é")));
}

#[test]
fn what_is_no_escape_stands_for_itself() {
    for text in ["%", "%2", "%zz", "%%41", "%+1"] {
        let decoded: Vec<u8> = decode(text).collect();
        let wanted = match text {
            "%%41" => "%A".to_owned(),
            text => text.replace('+', " "),
        };
        assert_eq!(String::from_utf8(decoded).unwrap(), wanted);
    }
    assert!(query("q=100%", "q", &exact("100%")));
}

#[test]
fn a_parameter_without_value_has_the_empty_one() {
    for text in ["q", "q=", "&q&"] {
        assert!(query(text, "q", &exact("")), "{text}");
    }
    assert!(!query("", "q", &exact("")) && !query("r=q", "q", &exact("")));
    assert!(!exact("").holds_for_query(None, "q"));
    assert!(query("q=a=b", "q", &exact("a=b")));
}

#[test]
fn long_values_are_joined_and_decoded_too() {
    let long = "x".repeat(300);
    assert!(header(&regex("x+, x+"), &[&long, &long]));
    assert!(query(&format!("q={long}+"), "q", &regex("x+ ")));
}
