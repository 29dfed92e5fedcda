//! `fairway limits`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, bail};
use config::quota::view::{
    LimitSpec, Page, ProxyLimit, ProxyView, ServerBucket, ServerLimit, ServerView, ShareView,
};

use http::{HeaderMap, StatusCode};
use tokio::runtime::Builder;

use crate::args::{Explanation, Limits};
use crate::table::aligned;
use crate::{fetch, output};

/// Longest time for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const MOST: usize = 64 << 20;

pub(crate) fn run(args: &Limits) -> anyhow::Result<bool> {
    let runtime = Builder::new_current_thread().enable_all().build().context("cannot start threads")?;
    let mut page = Page::default();
    for url in &args.urls {
        let one = runtime.block_on(get(url)).with_context(|| format!("{url} cannot be asked for /limits"))?;
        page.proxies.extend(one.proxies);
        // Of several controllers the one that leads knows.
        if page.server.as_ref().is_none_or(|server| !server.is_leading) {
            page.server = one.server.or(page.server);
        }
    }
    output::line(&match args.output {
        Explanation::Text => text(&page),
        Explanation::Json => serde_json::to_string_pretty(&page)?,
    });
    Ok(page.proxies.iter().all(|proxy| proxy.quota != "lost"))
}

/// What an admin port says.
async fn get(url: &http::Uri) -> anyhow::Result<Page> {
    let mut parts = url.clone().into_parts();
    parts.path_and_query = Some("/limits".parse()?);
    let (status, body) = fetch::get(&parts.try_into()?, &HeaderMap::new(), MOST, PATIENCE).await?;
    if status != StatusCode::OK {
        bail!("it answers {status}: is it an admin port of this version?");
    }
    serde_json::from_slice(&body).context("it answers something else")
}

fn text(page: &Page) -> String {
    let mut lines: Vec<String> = page.server.iter().map(server).collect();
    lines.extend(page.proxies.iter().map(proxy));
    let on_server = page.server.iter().flat_map(|server| server.limits.keys());
    let names: BTreeSet<&String> =
        on_server.chain(page.proxies.iter().flat_map(|proxy| proxy.limits.keys())).collect();
    if names.is_empty() {
        lines.push("no global limits".to_owned());
        return lines.join("\n");
    }
    let heading = ["LIMIT", "HOLDS", "KEYS", "ADMITTED", "DENIED", "PROXIES", "STATE", "WITHOUT"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(names.iter().map(|name| row(page, name)));
    lines.push(String::new());
    lines.push(aligned(&rows).trim_end().to_owned());
    for (name, limit) in page.server.iter().flat_map(|server| &server.limits) {
        lines.push(format!(
            "\n{}{}:",
            short(name),
            if limit.is_learning { ", learning what proxies have" } else { "" }
        ));
        lines.extend(limit.top.iter().map(bucket));
        let more = limit.buckets - limit.top.len().min(limit.buckets);
        if more > 0 {
            lines.push(format!("  and {more} keys more"));
        }
    }
    lines.join("\n")
}

fn server(server: &ServerView) -> String {
    if !server.is_leading {
        return "quota server: another one leads".to_owned();
    }
    let ServerView { streams, received, sent, refused, .. } = server;
    format!(
        "quota server: {streams} proxies, {received} messages in, {sent} out, {refused} buckets without a place"
    )
}

fn proxy(proxy: &ProxyView) -> String {
    let ProxyView { role, quota, sent, received, .. } = proxy;
    let problem = proxy.problem.iter().map(|problem| format!(": {problem}")).collect::<String>();
    format!("{role}: quota server {quota}{problem}, {sent} messages out, {received} in")
}

/// `namespace/policy/rule`.
fn short(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, rest)| rest)
}

fn row(page: &Page, name: &str) -> Vec<String> {
    let server: Option<&ServerLimit> = page.server.as_ref().and_then(|server| server.limits.get(name));
    let proxies: Vec<&ProxyLimit> = page.proxies.iter().filter_map(|proxy| proxy.limits.get(name)).collect();
    let spec = proxies.first().map(|limit| &limit.spec).or(server.map(|limit| &limit.spec));
    // Proxies count requests at once, the server tokens, as they are reported.
    let (admitted, denied) = match (&proxies[..], server) {
        ([], Some(limit)) => (limit.allowed, limit.denied),
        (proxies, _) => {
            (proxies.iter().map(|limit| limit.admitted).sum(), proxies.iter().map(|limit| limit.denied).sum())
        }
    };
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for (state, count) in proxies.iter().flat_map(|limit| &limit.state) {
        *states.entry(state).or_default() += count;
    }
    let states: Vec<String> = states.into_iter().map(|(state, count)| format!("{count} {state}")).collect();
    let keys = proxies.iter().map(|limit| limit.keys).max();
    let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    vec![
        short(name).to_owned(),
        spec.map(holds).unwrap_or_default(),
        keys.or(server.map(|limit| limit.buckets))
            .filter(|keys| *keys > 0)
            .map_or("-".to_owned(), |keys| keys.to_string()),
        admitted.to_string(),
        denied.to_string(),
        proxies.iter().map(|limit| limit.proxies).max().map_or("-".to_owned(), |proxies| proxies.to_string()),
        or_none(states.join(", ")),
        or_none(proxies.first().map(|limit| limit.on_quota_lost.clone()).unwrap_or_default()),
    ]
}

fn holds(spec: &LimitSpec) -> String {
    let LimitSpec { requests, seconds, burst, .. } = spec;
    match burst {
        Some(burst) => format!("{requests} in {seconds}s, {burst} at once"),
        None => format!("{requests} in any {seconds}s"),
    }
}

fn bucket(bucket: &ServerBucket) -> String {
    let ServerBucket { key, allowed, denied, leased } = bucket;
    let key = key.as_deref().unwrap_or("all").replace(char::is_control, " ");
    let leased: Vec<String> = leased
        .iter()
        .map(|(proxy, ShareView { rate, burst })| format!("{proxy} {rate:.1} (burst {burst:.1})"))
        .collect();
    let leased = if leased.is_empty() { "nobody".to_owned() } else { leased.join(", ") };
    format!("  {key}: admitted {allowed}, denied {denied}, leased to {leased}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_of_a_limit_is_in_one_place() {
        let page: Page = serde_json::from_value(serde_json::json!({
            "server": { "isLeading": true, "streams": 2, "received": 9, "sent": 7, "refused": 0, "limits": {
                "BackendTrafficPolicy/demo/shop/all": {
                    "requests": 100, "seconds": 1.0, "burst": 50, "algorithm": "TokenBucket", "buckets": 1,
                    "allowed": 12, "denied": 3, "isLearning": false,
                    "top": [{ "allowed": 12, "denied": 3, "leased": { "gateway/demo/edge (a)": { "rate": 75.0, "burst": 20.0 } } }],
                } } },
            "proxies": [{ "role": "gateway", "quota": "connected", "sent": 4, "received": 3, "limits": {
                "BackendTrafficPolicy/demo/shop/all": {
                    "requests": 100, "seconds": 1.0, "burst": 50, "algorithm": "TokenBucket", "proxies": 2,
                    "onQuotaLost": "LocalShare", "admitted": 13, "denied": 4, "keys": 0, "overflowed": 0,
                    "state": { "active": 1 },
                } } }],
        }))
        .unwrap();
        assert_eq!(
            text(&page),
            "\
quota server: 2 proxies, 9 messages in, 7 out, 0 buckets without a place
gateway: quota server connected, 4 messages out, 3 in

LIMIT          HOLDS                  KEYS  ADMITTED  DENIED  PROXIES  STATE     WITHOUT
demo/shop/all  100 in 1s, 50 at once  -     13        4       2        1 active  LocalShare

demo/shop/all:
  all: admitted 12, denied 3, leased to gateway/demo/edge (a) 75.0 (burst 20.0)"
        );
        assert_eq!(text(&Page::default()), "no global limits");
    }
}
