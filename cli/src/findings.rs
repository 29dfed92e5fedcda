//! What is wrong, in one form: mistakes of manifests and statuses that say no.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use controller::manifests::{Code, Loader};
use controller::status::{Condition, ConditionStatus};
use controller::{ObjectKey, Statuses};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::Report;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Found {
    /// Stable: `FW01xx` from loading, `FW02xx` from a status.
    pub(crate) code: &'static str,
    pub(crate) file: String,
    /// From 1; 0 for a whole file.
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) object: String,
    /// Field, or the part of the status.
    pub(crate) field: String,
    pub(crate) reason: String,
    pub(crate) remedy: String,
}

/// Reasons of conditions, their codes and what to do. The message of a condition says what exactly is wrong.
const REASONS: &[(&str, &str, &str)] = &[
    ("InvalidParameters", "FW0201", "correct parametersRef"),
    ("UnsupportedAddress", "FW0202", "remove the address, or use one of type IPAddress"),
    ("ListenersNotValid", "FW0203", "correct the listeners named"),
    ("AddressNotAssigned", "FW0204", "wait, or remove the address"),
    ("AddressNotUsable", "FW0205", "use an address of this host"),
    ("NoResources", "FW0206", "free what is missing"),
    ("Invalid", "FW0207", "correct what the message names"),
    ("UnsupportedVersion", "FW0208", "install the Gateway API CRDs of the version the message names"),
    ("PortUnavailable", "FW0211", "use a port that is free"),
    ("UnsupportedProtocol", "FW0212", "use a protocol that the message names"),
    ("HostnameConflict", "FW0213", "give listeners of one port different host names"),
    ("ProtocolConflict", "FW0214", "use one protocol per port"),
    (
        "InvalidCertificateRef",
        "FW0215",
        "name a Secret of type kubernetes.io/tls with a certificate and its key",
    ),
    (
        "InvalidClientCertificateRef",
        "FW0228",
        "name a Secret of type kubernetes.io/tls with a certificate and its key",
    ),
    ("InvalidRouteKinds", "FW0216", "name route kinds that the protocol of the listener takes"),
    ("ListenersNotResolved", "FW0217", "correct the references of the listeners named"),
    ("NotAllowed", "FW0219", "allow the set's namespace in allowedListeners of its Gateway"),
    ("ParentNotAccepted", "FW0226", "correct the Gateway the set names"),
    ("ParentNotProgrammed", "FW0227", "correct the Gateway the set names"),
    ("OverlappingHostnames", "FW0218", "use one certificate for names that overlap, or separate ports"),
    (
        "NotAllowedByListeners",
        "FW0221",
        "allow the route's namespace and kind in the listener's allowedRoutes",
    ),
    ("NoMatchingListenerHostname", "FW0222", "give route and listener a host name in common"),
    ("NoMatchingParent", "FW0223", "name a listener that is there, by sectionName or port"),
    ("UnsupportedValue", "FW0224", "remove what is not supported"),
    ("IncompatibleFilters", "FW0225", "keep filters that go together"),
    ("RefNotPermitted", "FW0231", "add a ReferenceGrant in the namespace of what is referenced"),
    ("InvalidKind", "FW0232", "reference a kind that is supported, such as Service"),
    ("BackendNotFound", "FW0233", "create what is referenced, or correct its name, namespace or port"),
    ("InvalidBackend", "FW0234", "correct the Service or its endpoints as the message says"),
    ("TargetNotFound", "FW0241", "create the target, or correct its name"),
    ("Conflicted", "FW0242", "keep one policy per target"),
    ("NoValidCACertificate", "FW0243", "reference a ConfigMap with a certificate under ca.crt"),
    ("InvalidCACertificateRef", "FW0244", "reference a ConfigMap with a certificate under ca.crt"),
    ("InvalidCACertificateKind", "FW0246", "reference a ConfigMap with a certificate under ca.crt"),
    ("NoEffect", "FW0247", "remove what has no use, or correct the target"),
    ("Overridden", "FW0248", "remove the policy, or what overrides it"),
    ("InvalidBackendTLSPolicy", "FW0245", "correct the BackendTLSPolicy of the backend"),
    ("NotCaptured", "FW0251", "label the Service's namespace fairway.dev/use-waypoint"),
    ("NoUsablePort", "FW0252", "give the Service a TCP port"),
    ("ExternalName", "FW0253", "use a Service with endpoints, or label it fairway.dev/use-waypoint: none"),
    ("Headless", "FW0254", "use a Service with a cluster IP, or label it fairway.dev/use-waypoint: none"),
    ("PortsExhausted", "FW0255", "allow more ports with --waypoint-ports"),
    ("Observed", "FW0256", "remove fairway.dev/capture: observe to have it captured"),
    ("NodePortOrLB", "FW0257", "label it fairway.dev/capture-external: \"true\" to capture it all the same"),
    (
        "SelectorlessForeignSlices",
        "FW0258",
        "give the Service a selector, and let nobody else write its EndpointSlices",
    ),
    ("NoWaypoint", "FW0259", "create the Gateway that the label names, or use auto"),
    ("NoWaypointFamily", "FW0260", "give the waypoint's pods addresses of every family the Service has"),
    ("SteeringUnavailable", "FW0261", "apply what fairway install prints, on Kubernetes 1.36 or newer"),
    (
        "NetworkPolicyConflict",
        "FW0262",
        "let the waypoint in and label it fairway.dev/capture-isolated: \"true\"",
    ),
    ("InternalTrafficPolicy", "FW0263", "remove internalTrafficPolicy: Local"),
];

/// Conditions that are good news when False.
const NEGATIVE: &[&str] = &["Conflicted", "PartiallyInvalid", "OverlappingTLSConfig"];

/// Everything wrong with some files, by place.
pub(crate) fn all(loader: &Loader, statuses: &Statuses) -> Vec<Found> {
    let mut found: Vec<Found> = loader
        .findings()
        .into_iter()
        .map(|finding| Found {
            code: finding.code.as_str(),
            file: finding.file.display().to_string(),
            line: finding.line,
            column: finding.column,
            object: finding.object,
            field: finding.field,
            reason: finding.reason,
            remedy: finding.remedy,
        })
        .collect();
    let places = loader.places();
    for (key, status) in &statuses.0 {
        for (part, conditions) in status.conditions() {
            let wrong = conditions.iter().filter(|condition| is_wrong(condition));
            found.extend(wrong.map(|condition| of_status(key, &part, condition, places.get(key))));
        }
    }
    found.sort_by(|a, b| (&a.file, a.line, a.column, a.code).cmp(&(&b.file, b.line, b.column, b.code)));
    found
}

/// What to do about a condition with this reason.
pub(crate) fn remedy(reason: &str) -> Option<&'static str> {
    REASONS.iter().find(|(known, _, _)| *known == reason).map(|(_, _, remedy)| *remedy)
}

/// Whether a condition says that something is wrong.
pub(crate) fn is_wrong(condition: &Condition) -> bool {
    let bad =
        if NEGATIVE.contains(&condition.r#type) { ConditionStatus::True } else { ConditionStatus::False };
    condition.status == bad
}

fn of_status(
    key: &ObjectKey,
    part: &str,
    condition: &Condition,
    place: Option<&(Arc<PathBuf>, u32)>,
) -> Found {
    let (_, code, remedy) = REASONS
        .iter()
        .find(|(reason, _, _)| *reason == condition.reason)
        .copied()
        .unwrap_or(("", "FW0200", "correct what the message names"));
    let (file, line) = place.map_or((String::new(), 0), |(file, line)| (file.display().to_string(), *line));
    let status = match condition.status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    };
    Found {
        code,
        file,
        line,
        column: u32::from(line > 0),
        object: key.to_string(),
        field: part.to_owned(),
        reason: format!("{} is {status} ({}): {}", condition.r#type, condition.reason, condition.message),
        remedy: remedy.to_owned(),
    }
}

impl Found {
    /// As one line.
    pub(crate) fn text(&self) -> String {
        let mut text = self.file.clone();
        if self.line > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, ":{}:{}", self.line, self.column);
        }
        let _ = write!(text, ": {} ", self.code);
        for part in [&self.object, &self.field] {
            if !part.is_empty() {
                let _ = write!(text, "{part}: ");
            }
        }
        let _ = write!(text, "{}; {}", self.reason, self.remedy);
        text
    }

    fn message(&self) -> String {
        let parts = [&self.object, &self.field].into_iter().filter(|part| !part.is_empty());
        let place: Vec<&str> = parts.map(String::as_str).collect();
        format!("{}: {}; {}", place.join(": "), self.reason, self.remedy)
    }
}

/// Findings in a form.
pub(crate) fn render(found: &[Found], form: Report, objects: usize) -> anyhow::Result<String> {
    Ok(match form {
        Report::Text => {
            let mut text: String = found.iter().map(|one| one.text() + "\n").collect();
            let objects = plural(objects, "object");
            match found.len() {
                0 => text.push_str(&format!("{objects}, no findings\n")),
                n => text.push_str(&format!("{objects}, {}\n", plural(n, "finding"))),
            }
            text
        }
        Report::Json => serde_json::to_string_pretty(found)?,
        Report::Github => found.iter().map(|one| github(one) + "\n").collect(),
        Report::Sarif => serde_json::to_string_pretty(&sarif(found))?,
    })
}

/// `1 route`, `2 routes`.
pub(crate) fn plural(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// A workflow command: what would end it early is escaped.
fn github(found: &Found) -> String {
    let value = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| value(text).replace(':', "%3A").replace(',', "%2C");
    format!(
        "::error file={},line={},col={},title={}::{}",
        property(&found.file),
        found.line.max(1),
        found.column.max(1),
        found.code,
        value(&found.message())
    )
}

fn sarif(found: &[Found]) -> Value {
    let mut codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    codes.push("FW0200");
    codes.extend(REASONS.iter().map(|(_, code, _)| *code));
    let rules: Vec<Value> = codes.iter().map(|code| json!({ "id": code })).collect();
    let results: Vec<Value> = found
        .iter()
        .map(|one| {
            json!({
                "ruleId": one.code,
                "level": "error",
                "message": { "text": one.message() },
                "locations": [{ "physicalLocation": {
                    "artifactLocation": { "uri": one.file },
                    "region": { "startLine": one.line.max(1), "startColumn": one.column.max(1) }
                }}]
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "fairway", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "results": results
        }]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Found {
        Found {
            code: "FW0110",
            file: "a,b.yaml".into(),
            line: 3,
            column: 5,
            object: "HTTPRoute default/a".into(),
            field: "spec.x".into(),
            reason: "100% wrong".into(),
            remedy: "do\nthis".into(),
        }
    }

    #[test]
    fn workflow_commands_cannot_be_broken_out_of() {
        assert_eq!(
            github(&found()),
            "::error file=a%2Cb.yaml,line=3,col=5,title=FW0110::HTTPRoute default/a: spec.x: 100%25 wrong; do%0Athis"
        );
    }

    #[test]
    fn codes_are_there_once() {
        let mut codes: Vec<&str> = REASONS.iter().map(|(_, code, _)| *code).collect();
        codes.extend(Code::ALL.iter().map(|code| code.as_str()));
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }

    #[test]
    fn every_bad_reason_has_a_code_and_every_code_is_documented() {
        let source = include_str!("../../controller/src/status/condition.rs");
        let reasons = source.split_once("pub mod reason {").unwrap().1.split_once("\n}").unwrap().0;
        let good = [
            "Accepted",
            "Bound",
            "Captured",
            "Releasing",
            "Effective",
            "Enforced",
            // Gateway API's reason for saying that clients without a valid certificate are let in, as was asked for.
            "ConfigurationChanged",
            "NoConflicts",
            "Pending",
            "Programmed",
            "ResolvedRefs",
            "SupportedVersion",
        ];
        let mut seen = 0;
        let constants = reasons.lines().filter(|line| line.trim_start().starts_with("pub const "));
        for reason in constants.filter_map(|line| line.split('"').nth(1)).filter(|r| !good.contains(r)) {
            assert!(REASONS.iter().any(|(known, _, _)| *known == reason), "{reason} has no code");
            seen += 1;
        }
        assert!(seen > 20);
        let docs = include_str!("../../docs/cli.md");
        for (reason, code, remedy) in REASONS {
            let row = format!("| {code} | {reason} | {remedy} |");
            assert!(docs.contains(&row), "docs/cli.md lacks: {row}");
        }
        for code in Code::ALL {
            assert!(docs.contains(&format!("| {code} | ")), "docs/cli.md lacks {code}");
        }
    }

    #[test]
    fn a_whole_file_has_a_place_that_tools_accept() {
        let mut whole = found();
        (whole.line, whole.column) = (0, 0);
        let sarif = sarif(&[whole]);
        assert_eq!(
            sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"],
            1
        );
    }
}
