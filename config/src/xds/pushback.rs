//! How a server says when to try again: `grpc-retry-pushback-ms`, gRFC A6.

use std::time::Duration;

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

const NAME: &str = "grpc-retry-pushback-ms";
/// A server cannot ask for more haste, nor for more patience, than this.
const LEAST: Duration = Duration::from_millis(50);
const MOST: Duration = Duration::from_secs(60);

/// `UNAVAILABLE`, and when to try again.
pub(super) fn status(message: String, wait: Duration) -> Status {
    let mut metadata = MetadataMap::new();
    if let Ok(value) = MetadataValue::try_from(wait.as_millis().to_string()) {
        metadata.insert(NAME, value);
    }
    Status::with_metadata(Code::Unavailable, message, metadata)
}

/// What a server asked for; `None` where it said nothing, or what cannot be read.
pub(super) fn read(status: &Status) -> Option<Duration> {
    let milliseconds = status.metadata().get(NAME)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(milliseconds).clamp(LEAST, MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_read_as_it_was_written_within_bounds() {
        let asked = |wait| read(&status("elsewhere".into(), wait));
        assert_eq!(asked(Duration::from_millis(250)), Some(Duration::from_millis(250)));
        assert_eq!(asked(Duration::ZERO), Some(LEAST));
        assert_eq!(asked(Duration::from_secs(86_400)), Some(MOST));
    }

    #[test]
    fn a_status_without_a_number_asks_for_nothing() {
        assert_eq!(read(&Status::unavailable("busy")), None);
        for text in ["-1", "soon", "1.5", "99999999999999999999999"] {
            let mut status = Status::unavailable("busy");
            status.metadata_mut().insert(NAME, text.parse().unwrap());
            assert_eq!(read(&status), None, "{text}");
        }
    }
}
