//! What a process decides about its telemetry when it starts.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

/// What is told, and to whom. The default tells nobody anything: metrics are counted, and that is all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// Where access log lines go. Default: nowhere.
    pub access_log: AccessLog,
    /// OTLP/gRPC collector for spans, such as `http://collector:4317`. Default: none.
    pub otlp: Option<String>,
    /// Share of requests without a `traceparent` whose trace is sampled, 0 to 1. Requests with one follow its flag.
    /// Default: 0.01 with a collector, 0 without.
    pub sampling: Option<f64>,
}

/// Where access log lines go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    #[default]
    Off,
    /// To standard output.
    Stdout,
    /// Appended to this file, which is opened anew when it was moved away.
    File(PathBuf),
}

impl FromStr for AccessLog {
    type Err = Infallible;

    /// `off`, `stdout` or a path.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "off" => Self::Off,
            "stdout" => Self::Stdout,
            file => Self::File(file.into()),
        })
    }
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The access log cannot be written.
    #[error(
        "access log {path}: cannot be opened for appending; check that its directory exists and is writable"
    )]
    AccessLog {
        /// Of the file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The collector's address cannot be used.
    #[error("OTLP endpoint {endpoint:?}: {reason}; write http://HOST:PORT or https://HOST:PORT")]
    Otlp {
        /// As given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The sampling ratio is no ratio.
    #[error("trace sampling ratio {0} is not between 0 and 1")]
    Sampling(f64),
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}
