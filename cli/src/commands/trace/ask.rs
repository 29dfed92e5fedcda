//! The request to trace, as it is written on the command line.

use anyhow::{Context as _, anyhow, bail};
use http::Uri;

/// A request.
#[derive(Debug)]
pub(super) struct Asked {
    method: String,
    /// Path and query.
    target: String,
    pub(super) is_tls: bool,
    /// Lower case, without port.
    pub(super) host: String,
    pub(super) port: u16,
    fields: Vec<(String, String)>,
}

impl Asked {
    /// `METHOD URL [-H 'Name: value']…`.
    pub(super) fn parse(words: &[String]) -> anyhow::Result<Self> {
        let [method, url, rest @ ..] = words else {
            bail!("write METHOD URL after --, such as: -- GET http://localhost:8080/");
        };
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is no URL"))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => bail!("{url:?} is no URL: write http:// or https://"),
        };
        let host = uri.host().ok_or_else(|| anyhow!("{url:?} names no host"))?.to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let mut fields = Vec::new();
        let mut rest = rest.iter();
        while let Some(word) = rest.next() {
            let field = match word.as_str() {
                "-H" | "--header" => rest.next().ok_or_else(|| anyhow!("{word} needs 'Name: value'"))?,
                _ => bail!("{word:?} is nothing of a request: write -H 'Name: value'"),
            };
            let (name, value) =
                field.split_once(':').ok_or_else(|| anyhow!("{field:?} is no field: write 'Name: value'"))?;
            fields.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(Self { method: method.to_ascii_uppercase(), target, is_tls, host, port, fields })
    }

    /// Its head.
    pub(super) fn request(&self) -> anyhow::Result<policies::Request> {
        let wrong = |error: Box<dyn std::error::Error>| anyhow!("this is no request: {error}");
        let mut req = policies::Request::build(self.method.as_str(), self.target.as_bytes(), None)
            .map_err(|error| wrong(error.into()))?;
        req.insert_header("Host", self.host.as_str()).map_err(|error| wrong(error.into()))?;
        for (name, value) in &self.fields {
            req.append_header(name.clone(), value.as_str()).map_err(|error| wrong(error.into()))?;
        }
        Ok(req)
    }
}
