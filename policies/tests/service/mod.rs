//! A service that policies ask, and that gives one answer.

use std::pin::Pin;
use std::sync::Arc;

use fairway_policies::{Answer, Call, Net, Response, Unanswered, Upstream};
use parking_lot::Mutex;
use serde::Deserialize;

/// What it answers.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Says {
    /// `timeout`, `failed` or `tooLarge`: nothing.
    nothing: Option<String>,
    #[serde(default)]
    status: u16,
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    body: String,
}

/// It, and what it was asked.
#[derive(Debug)]
pub(crate) struct Service {
    says: Says,
    asked: Mutex<Vec<String>>,
}

impl Service {
    pub(crate) fn new(says: Says) -> Arc<Self> {
        Arc::new(Self { says, asked: Mutex::default() })
    }

    /// `backend METHOD target`, then the fields of the last request, in order of their names, then its body in quotes.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

impl Net for Service {
    fn call<'a>(
        &'a self,
        upstream: &'a Arc<dyn Upstream>,
        call: Call,
    ) -> Pin<Box<dyn Future<Output = Result<Answer, Unanswered>> + Send + 'a>> {
        let mut fields: Vec<String> = call
            .head
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        fields.sort();
        fields.insert(0, format!("{} {} {}", upstream.name(), call.head.method, call.head.uri));
        fields.extend(call.body.map(|body| format!("{:?}", String::from_utf8_lossy(&body))));
        *self.asked.lock() = fields;
        let answer = match self.says.nothing.as_deref() {
            Some("timeout") => Err(Unanswered::Timeout),
            Some("failed") => Err(Unanswered::Failed),
            Some("tooLarge") => Err(Unanswered::TooLarge),
            Some(other) => panic!("{other}?"),
            None => {
                let mut head = Response::build(self.says.status, None).unwrap();
                for line in &self.says.headers {
                    let (name, value) = line.split_once(": ").unwrap();
                    head.append_header(name.to_owned(), value).unwrap();
                }
                Ok(Answer { head, body: self.says.body.clone().into(), trailers: None })
            }
        };
        Box::pin(std::future::ready(answer))
    }
}
