//! `fairway translate`.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::anyhow;
use config::{Redacted, Resource, Resources};
use controller::Statuses;
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::{Form, Translate};
use crate::input::Input;
use crate::output;

pub(crate) fn run(args: &Translate) -> anyhow::Result<bool> {
    let input = Input::read(&args.manifests)?;
    let findings = input.loader.findings();
    for finding in &findings {
        output::error(&finding.to_string());
    }
    let resources = (!args.status_only).then_some(&input.translation.resources);
    let statuses = (!args.resources_only).then_some(&input.translation.statuses);
    let text = match args.output {
        Form::Yaml => yaml(resources, statuses)?,
        Form::Json => json_text(resources, statuses)?,
    };
    output::line(text.trim_end());
    Ok(findings.is_empty())
}

fn yaml(resources: Option<&Resources>, statuses: Option<&Statuses>) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Document<'a> {
        object: String,
        status: &'a controller::status::Status,
    }
    let mut text = match resources {
        Some(resources) => config::encode_documents(resources, false).map_err(|e| anyhow!(e))?,
        None => String::new(),
    };
    for (key, status) in statuses.map(|s| &s.0).into_iter().flatten() {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&Document { object: key.to_string(), status })?);
    }
    Ok(text)
}

fn json_text(resources: Option<&Resources>, statuses: Option<&Statuses>) -> anyhow::Result<String> {
    let mut whole = serde_json::Map::new();
    if let Some(resources) = resources {
        let shown: BTreeMap<String, Value> = resources
            .iter()
            .map(|(key, resource)| Ok((key.to_string(), serde_json::to_value(redacted(resource))?)))
            .collect::<anyhow::Result<_>>()?;
        whole.insert("resources".into(), json!(shown));
    }
    if let Some(statuses) = statuses {
        let shown: BTreeMap<String, &Arc<controller::status::Status>> =
            statuses.0.iter().map(|(key, status)| (key.to_string(), status)).collect();
        whole.insert("statuses".into(), serde_json::to_value(shown)?);
    }
    Ok(serde_json::to_string_pretty(&whole)?)
}

fn redacted(resource: &Resource) -> Resource {
    let mut resource = resource.clone();
    if let Resource::Certificate(certificate) = &mut resource {
        certificate.key = Redacted::new("[redacted]");
    }
    resource
}
