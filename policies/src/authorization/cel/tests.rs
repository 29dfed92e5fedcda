use serde_json::json;

use super::*;
use crate::caller::{Peer, PeerName, Token};
use crate::{Context, Request};

fn cost(text: &str) -> Result<usize, String> {
    Expression::read(text, "when").map(|read| read.cost()).map_err(|invalid| invalid.to_string())
}

fn holds(text: &str, claims: serde_json::Value) -> Result<bool, Failed> {
    let req = Request::build("GET", b"/a", None).unwrap();
    let serde_json::Value::Object(claims) = claims else { panic!("claims are an object") };
    let mut ctx = Context::default();
    ctx.caller.tokens.push(Token { provider: "p".into(), claims: claims.into() });
    Expression::read(text, "when").unwrap().holds(View { req: &req, ctx: &ctx })
}

#[test]
fn the_cost_is_that_of_the_parts() {
    for (text, want) in [
        ("true", 1),
        ("!true", 2),
        ("true && false", 3),
        ("1 == 2", 3),
        ("-1 < 2 * 3", 5),
        ("true ? true : false", 4),
        ("-jwt.p.a == 1", 25),
        ("request.method == 'GET'", 4),
        ("request.headers.a == 'a'", 6),
        ("request.headers['a' + 'b'] == 'a'", 18),
        ("request.query.a == 'a'", 24),
        ("source.user == 'a'", 4),
        ("source.workload.namespace == 'a'", 5),
        ("has(source.workload)", 2),
        ("jwt.p.a == 1", 24),
        ("jwt.p.a.b == 1", 25),
        ("'a' in request.headers", 15),
        ("'a' in ['a', 'b']", 5),
        ("'a' in jwt.p.a", 34),
        ("size('a') == 1", 13),
        ("'a'.size() == 1", 13),
        ("'a'.startsWith('a')", 12),
        ("'a' + 'b' == 'ab'", 14),
        ("[1, 2].all(x, x > 0)", 20),
        ("[1, 2].exists(x, x > 0)", 22),
        ("jwt.p.a.exists(x, x)", 723),
    ] {
        assert_eq!(cost(text), Ok(want), "{text}");
    }
}

#[test]
fn what_is_too_long_too_deep_or_too_dear_is_refused() {
    let padded = |bytes: usize| format!("true{}", " ".repeat(bytes - 4));
    assert_eq!(cost(&padded(2048)), Ok(1));
    assert_eq!(
        cost(&padded(2049)).unwrap_err(),
        "when: has 2049 bytes: at most 2048 are taken; split the rule"
    );
    let sum = |terms: usize| format!("{} == 1", vec!["1"; terms].join(" - "));
    assert!(cost(&sum(31)).is_ok());
    assert!(cost(&sum(32)).unwrap_err().contains("nested more than 32 deep"), "{:?}", cost(&sum(32)));
    assert!(cost(&sum(500)).unwrap_err().contains("nested more than 32 deep"));
    let nested = |depth: usize| format!("{}'a' in []{}", "'a' in [".repeat(depth), "]".repeat(depth));
    assert!(cost(&nested(100)).is_err());
    let selects = |names: usize| format!("jwt.p{} == 1", ".a".repeat(names));
    assert!(cost(&selects(31)).is_ok());
    assert!(
        cost(&selects(32)).unwrap_err().contains("more than 32 times in a row"),
        "{:?}",
        cost(&selects(32))
    );
    assert!(
        cost("jwt.p.a.exists(x, ['a', 'b', 'c'].all(y, x.startsWith(y)))")
            .unwrap_err()
            .contains("at most 5000")
    );
}

/// Each form as deep as it may be, and once more. The parser's own limit is out of the way: it counts otherwise.
#[test]
fn every_part_of_another_is_deeper_than_that() {
    let read = |text: &str| {
        let tree = PrattParser::new().max_recursion_depth(500).error_recovery_limit(0).parse(text).unwrap();
        check::condition(&tree)
    };
    for (open, core, close, deepest) in [
        ("'a' in [", "'a'", "]", 15),
        ("[", "1", "] == 1", 15),
        ("(true && ", "true", ")", 31),
        ("(", "true", " && true)", 31),
        ("(", "true", " || true)", 31),
        ("!(", "true", ")", 31),
        ("(", "true", " ? true : true)", 31),
        ("(true ? ", "true", " : true)", 31),
        ("(true ? true : ", "true", ")", 31),
        ("(", "true", " in [true])", 30),
        ("('a' in jwt.p[", "'a'", "])", 16),
        ("-(", "1", ") == 1", 15),
        ("(", "true", " == true)", 31),
        ("(true == ", "true", ")", 31),
        ("(size(", "'a'", ") == 1)", 15),
        ("(", "'a'", ".size() == 1)", 15),
        ("", "'a'", ".startsWith('a')", 31),
        ("'a'.startsWith(", "'a'", ")", 31),
        ("(jwt.p[", "'a'", "] == 1)", 16),
        ("[", "1", "].exists(x, true)", 15),
        ("[1].exists(x, ", "true", ")", 15),
    ] {
        let nested = |times: usize| format!("{}{core}{}", open.repeat(times), close.repeat(times));
        let found = (1..40).take_while(|times| read(&nested(*times)).is_ok()).last();
        let refused = read(&nested(found.unwrap_or(0) + 1));
        assert_eq!(found, Some(deepest), "{open} {close} {refused:?}");
    }
}

#[test]
fn a_variable_is_known_where_its_macro_is_and_nowhere_else() {
    assert!(cost("[1].exists(x, x == 1 && [2].all(y, y > x))").is_ok());
    for text in [
        "[1].exists(x, x == 1) && x == 1",
        "x == 1 && [1].exists(x, x == 1)",
        "[1].exists(x, [2].all(y, y > x) && y == 2)",
        "[x].exists(x, x == 1)",
    ] {
        assert!(cost(text).unwrap_err().contains("is not known: use request, source and jwt"), "{text}");
    }
}

#[test]
fn what_is_no_function_here_is_refused_whatever_its_arguments() {
    for text in [
        "f()",
        "f(1)",
        "f(1, 2)",
        "f(1, 2, 3)",
        "'a'.f()",
        "'a'.f('b')",
        "'a'.f('b', 'c')",
        "startsWith('a', 'b')",
    ] {
        let text = format!("{text} == 1");
        assert!(
            cost(&text).unwrap_err().contains("is no function here, or not with these arguments"),
            "{text}"
        );
    }
}

/// On the stack of a thread that has a fourth of what threads have by default.
#[test]
fn no_nesting_ends_the_stack() {
    let deep = |open: &str, close: &str| {
        let times = (LONGEST - 8) / (open.len() + close.len());
        format!("{}true{}", open.repeat(times), close.repeat(times))
    };
    let texts = [
        deep("(", ")"),
        deep("[", "]"),
        deep("!", ""),
        deep("-", ""),
        deep("-(", ")"),
        deep("{1:", "}"),
        deep("a(", ")"),
        deep("a.a(", ")"),
        deep("a[", "]"),
        deep("true?", ":true"),
        deep("true?true:", ""),
        deep("true||", ""),
        deep("true&&", ""),
        deep("true==", ""),
        deep("[1].all(x,", ")"),
        deep("has(a.", ")"),
        deep("a.", ""),
        format!("a{}", "[0]".repeat(600)),
        format!("a{}", "()".repeat(600)),
        format!("a{}", ".a()".repeat(500)),
    ];
    let thread = std::thread::Builder::new().stack_size(512 << 10);
    let read = thread.spawn(move || texts.iter().map(|text| cost(text).is_ok()).collect::<Vec<_>>());
    assert_eq!(read.unwrap().join().unwrap().len(), 20);
}

#[test]
fn a_failure_is_none_where_the_other_side_decides() {
    assert_eq!(holds("jwt.p.a == 1 || true", json!({})), Ok(true));
    assert_eq!(holds("jwt.p.a == 1 && false", json!({})), Ok(false));
    assert_eq!(holds("jwt.p.a == 1 || false", json!({})), Err(Failed));
    assert_eq!(holds("jwt.p.a == 1 && true", json!({})), Err(Failed));
    assert_eq!(holds("!(jwt.p.a == 1)", json!({})), Err(Failed));
}

#[test]
fn a_value_that_is_no_truth_is_a_failure() {
    for value in [json!(1), json!("true"), json!(null), json!([true]), json!({"a": true}), json!(0.5)] {
        assert_eq!(holds("jwt.p.a", json!({"a": value})), Err(Failed));
    }
    assert_eq!(holds("jwt.p.a", json!({"a": true})), Ok(true));
    assert_eq!(holds("jwt.p.a", json!({"a": false})), Ok(false));
}

#[test]
fn all_kinds_of_claims_can_be_compared() {
    let claims = json!({
        "null": null, "yes": true, "int": -5, "large": u64::MAX, "half": 0.5, "text": "t", "list": ["a", 1], "map": {"a": ["b"]},
    });
    for text in [
        "jwt.p.yes == true",
        "jwt.p.int == -5",
        "jwt.p.large > 9223372036854775807",
        "jwt.p.half == 0.5",
        "jwt.p.text == 't'",
        "jwt.p.list == ['a', 1]",
        "jwt.p.list[1] == 1",
        "jwt.p.list.size() == 2",
        "size(jwt.p.map) == 1",
        "jwt.p.map.a[0] == 'b'",
        "jwt.p.map['a'] == ['b']",
        "'a' in jwt.p.map",
        "'text' in jwt.p && !('other' in jwt.p)",
        "has(jwt.p.map.a) && !has(jwt.p.map.b) && !has(jwt.q)",
        "jwt.p.map.exists(k, k == 'a')",
        "jwt.p.text != jwt.p.int",
        "string(jwt.p.int) == '-5' && double('0.5') == jwt.p.half",
    ] {
        assert_eq!(holds(text, claims.clone()), Ok(true), "{text}");
    }
    for text in [
        "jwt.p.list[2] == 1",
        "jwt.p.list[-1] == 1",
        "jwt.p.list['a'] == 1",
        "jwt.p.text.a == 1",
        "jwt.p[1] == 1",
    ] {
        assert_eq!(holds(text, claims.clone()), Err(Failed), "{text}");
    }
}

#[test]
fn a_claim_has_100_elements_and_256_values_at_most() {
    let list = |length: usize| json!({"a": vec!["x"; length]});
    assert_eq!(holds("'x' in jwt.p.a", list(100)), Ok(true));
    assert_eq!(holds("'x' in jwt.p.a", list(101)), Err(Failed));
    let object = |length: usize| json!({"a": (0..length).map(|at| (at.to_string(), json!(1))).collect::<serde_json::Map<_, _>>()});
    assert_eq!(holds("'0' in jwt.p.a", object(100)), Ok(true));
    assert_eq!(holds("'0' in jwt.p.a", object(101)), Err(Failed));
    // The list, its lists, and what is in them.
    let lists = |lists: usize, length: usize| json!({"a": vec![vec![1; length]; lists]});
    assert_eq!(holds("jwt.p.a.size() == 3", lists(3, 84)), Ok(true));
    assert_eq!(holds("jwt.p.a.size() == 3", lists(3, 85)), Err(Failed));
}

#[test]
fn an_identity_that_no_certificate_proves_is_none() {
    let req = Request::build("GET", b"/a", None).unwrap();
    let reads = Expression::read("has(source.principal)", "when").unwrap();
    for digests in [None, Some(([7; 32], [8; 32]))] {
        let names = vec![PeerName::Uri("spiffe://td/a".to_owned())];
        let peer = Peer { names, digests, ..Peer::default() };
        let mut ctx = Context::default();
        ctx.caller.peer = Some(Arc::new(peer));
        assert_eq!(reads.holds(View { req: &req, ctx: &ctx }), Ok(digests.is_some()));
    }
}

#[test]
fn what_an_expression_sees_is_not_told_in_debug() {
    let req = Request::build("GET", b"/secret", None).unwrap();
    let ctx = Context::default();
    let view = View { req: &req, ctx: &ctx };
    let node = ::cel::context::VariableResolver::resolve(&view, "request").unwrap();
    assert_eq!(format!("{:?}", &*node), "Node");
}
