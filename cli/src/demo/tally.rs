//! What many requests came to.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderMap, StatusCode, Uri};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::fetch;

use super::echo::LARGEST_ANSWER;

/// Between two tries to connect.
const AGAIN: Duration = Duration::from_millis(100);

/// Waits until a server takes a connection, for that long at most.
pub(crate) async fn wait_for(url: &Uri, most: Duration) {
    let address = (url.host().unwrap_or_default(), url.port_u16().unwrap_or(80));
    // IPv6 addresses stand in brackets.
    let address = (address.0.trim_matches(['[', ']']), address.1);
    let is_there = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(AGAIN).await;
        }
    };
    // Whether it is too late the requests say.
    let _ = tokio::time::timeout(most, is_there).await;
}

/// Answers by what they were.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    by_answer: BTreeMap<String, u32>,
    failed: BTreeMap<String, u32>,
}

impl Tally {
    /// Asks so many times, each over a connection of its own, one after another with a pause of `every` in between.
    pub(crate) async fn of(
        url: &Uri,
        headers: &HeaderMap,
        count: u32,
        (every, patience): (Duration, Duration),
    ) -> Self {
        let mut tally = Self::default();
        for _ in 0..count {
            let (which, what) = match fetch::get(url, headers, LARGEST_ANSWER, patience).await {
                Ok((status, body)) => (&mut tally.by_answer, answer(status, &body)),
                Err(error) => (&mut tally.failed, format!("failed: {error:#}")),
            };
            *which.entry(what).or_default() += 1;
            tokio::time::sleep(every).await;
        }
        tally
    }

    /// Whether each was answered, whatever the answer.
    pub(crate) fn is_answered(&self) -> bool {
        self.failed.is_empty()
    }

    /// A line each.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.by_answer.iter().chain(&self.failed).map(|(what, count)| format!("{count:>6}  {what}"))
    }
}

/// The status with who answered, or why nobody did, as far as the body says it.
fn answer(status: StatusCode, body: &[u8]) -> String {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| said.get(name).and_then(Value::as_str);
    let calls = said.get("calls").and_then(Value::as_array).into_iter().flatten();
    let mut line =
        format!("{} {}", status.as_str(), text("service").or_else(|| text("reason")).unwrap_or("-"));
    for call in calls {
        let status =
            call.get("status").and_then(Value::as_u64).map_or_else(|| "-".into(), |code| code.to_string());
        let of = call.get("said").and_then(|said| said.get("service")).and_then(Value::as_str);
        let of = of.or_else(|| call.get("url").and_then(Value::as_str)).unwrap_or_default();
        line.push_str(&format!(", {status} {of}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_by_status_and_who_gave_it() {
        let ok = StatusCode::OK;
        for (status, body, want) in [
            (ok, r#"{"service": "books/reviews-v1"}"#, "200 books/reviews-v1"),
            (StatusCode::FORBIDDEN, r#"{"title": "Forbidden", "reason": "ip_denied"}"#, "403 ip_denied"),
            (ok, "hello", "200 -"),
            (
                ok,
                r#"{"service": "front", "calls": [{"url": "http://a/", "status": 429}, {"url": "http://b/"},
                    {"url": "http://c/", "status": 200, "said": {"service": "c-v2"}}]}"#,
                "200 front, 429 http://a/, - http://b/, 200 c-v2",
            ),
        ] {
            assert_eq!(answer(status, body.as_bytes()), want);
        }
    }
}
