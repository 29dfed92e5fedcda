//! A file of a rate limit service, and what it is asked: a line for each descriptor, `key=value` with commas between.

use config::rls::proto::{Code, Descriptor, Entry, Request};
use config::rls::{Counters, File, Limits, decide};

use crate::memory::bounded;

/// The file, a zero byte, and the descriptors.
pub fn run(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (file, asked) = data.split_at(at);
    let Ok(file) = std::str::from_utf8(file) else { return };
    let read = || File::read("limits.yaml", file).and_then(|file| Limits::of(&[file], false));
    let Ok(limits) = bounded(data.len(), 1 << 18, read) else { return };
    let asked = String::from_utf8_lossy(asked.get(1..).unwrap_or_default());
    let domain = file.lines().find_map(|line| line.strip_prefix("domain: ")).unwrap_or("edge").trim();
    let descriptors: Vec<Descriptor> = asked.lines().map(descriptor).collect();
    let request = Request { domain: domain.to_owned(), descriptors, hits_addend: 0 };
    let counters = Counters::new(64);
    let mut before: Option<Vec<(Code, u32)>> = None;
    for _ in 0..3 {
        let Ok(said) = decide(&limits, &counters, &request, 1_000_000_000) else { return };
        let each: Vec<_> =
            said.statuses.iter().map(|status| (status.code(), status.limit_remaining)).collect();
        assert_eq!(each.len(), request.descriptors.len(), "a status for each");
        let is_over = each.iter().any(|(code, _)| *code == Code::OverLimit);
        assert_eq!(said.overall_code() == Code::OverLimit, is_over, "over if any is");
        for status in &said.statuses {
            let limit = status.current_limit.as_ref().map(|limit| limit.requests_per_unit);
            assert!(
                limit.is_none_or(|limit| status.limit_remaining <= limit),
                "no more is left than there is"
            );
            assert!(status.code() != Code::OverLimit || status.limit_remaining == 0);
        }
        // In one window there is never more, and what is over stays over.
        for ((was, left), (is, less)) in before.iter().flatten().zip(&each) {
            assert!(less <= left && (*was == Code::Ok || *is == Code::OverLimit));
        }
        before = Some(each);
    }
}

fn descriptor(line: &str) -> Descriptor {
    let entry = |text: &str| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        Entry { key: key.to_owned(), value: value.to_owned() }
    };
    Descriptor { entries: line.split(',').map(entry).collect(), ..Descriptor::default() }
}
