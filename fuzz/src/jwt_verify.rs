//! A token in its field: whatever is sent, only what the one key has signed is taken.

use std::future::Future as _;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context as Task, Poll, Waker};

use policies::{BackendRef, Chain, ChainState, Context, Lookup, Parts as _, Request, SecuritySet, Upstream};

use crate::memory::bounded;

/// Issuer `https://issuer.test`, audience `shop`, until 2100; of a key that was thrown away.
const TABLE: &str = include_str!("../../policies/testdata/jwt/tokens.yaml");

/// Every token of the table that is valid, and a policy that takes them.
static GIVEN: LazyLock<(Vec<String>, Chain)> = LazyLock::new(|| {
    let after = |start: &'static str| {
        TABLE.lines().filter_map(move |line| line.split_once(start)).map(|(_, rest)| rest)
    };
    let token = |rest: &str| rest.split('"').next().unwrap_or_default().to_owned();
    let valid = after("&good \"Authorization: Bearer ").map(token).collect();
    let keys = after("inline: '").next().expect("a key set").trim_end_matches('\'');
    let policy = serde_json::json!({ "jwt": { "providers": [{
        "name": "p", "issuer": "https://issuer.test", "audiences": ["shop"], "localJWKS": { "inline": keys },
        "extractFrom": { "headers": [{ "name": "authorization", "valuePrefix": "Bearer " }], "cookies": ["c"], "params": ["p"] },
        "claimToHeaders": [{ "claim": "sub", "header": "x-user" }], "stripToken": true,
    }] } });
    let set: SecuritySet = serde_json::from_value(policy).expect("a policy");
    let chain = Chain::default().guarded(set.compile(&Nobody).expect("it compiles"));
    (valid, chain)
});

struct Nobody;

impl Lookup for Nobody {
    fn backend(&self, _: &BackendRef) -> Option<Arc<dyn Upstream>> {
        None
    }
}

/// First byte: where it stands. The rest: the token; of which `@` stands for a valid one.
pub fn run(data: &[u8]) {
    let Some((place, text)) = data.split_first() else { return };
    let (valid, chain) = &*GIVEN;
    let Some(good) = valid.first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let token = text.replace('@', good);
    let mut req = Request::build("GET", b"/", None).expect("a head");
    let is_sent = match place % 3 {
        0 => req.append_header("authorization", format!("Bearer {token}")).is_ok(),
        1 => req.append_header("cookie", format!("a=b; c={token}")).is_ok(),
        _ => match format!("/?a=b&p={token}").parse() {
            Ok(uri) => {
                req.set_uri(uri);
                true
            }
            Err(_) => false,
        },
    };
    if !is_sent || req.append_header("x-user", "root").is_err() {
        return;
    }
    let passes = bounded(token.len(), 1 << 18, || decide(chain, &mut req));
    // Of several there is none that is meant; the fragment is not the target's.
    let cookies = format!("a=b; c={token}");
    let query = format!("a=b&p={}", token.split('#').next().unwrap_or_default());
    let found: Vec<&str> = match place % 3 {
        0 => vec![&token],
        1 => cookies.split(';').filter_map(|pair| pair.trim_ascii().strip_prefix("c=")).collect(),
        _ => query.split('&').filter_map(|pair| pair.strip_prefix("p=")).collect(),
    };
    let want = matches!(found.as_slice(), [one] if valid.iter().any(|valid| valid == one));
    assert_eq!(passes, want, "{place} {text:?}");
    let user = req.headers.get("x-user").map(|user| user.as_bytes());
    assert_eq!(user, passes.then_some(&b"ann"[..]), "who it is for says the token, or nobody");
}

fn decide(chain: &Chain, req: &mut Request) -> bool {
    let (mut ctx, mut state) = (Context::default(), ChainState::default());
    let decided = pin!(chain.request(req, &mut ctx, &mut state)).poll(&mut Task::from_waker(Waker::noop()));
    let Poll::Ready(decided) = decided else { panic!("it waits") };
    decided.is_ok() && ctx.caller.tokens.len() == 1
}
