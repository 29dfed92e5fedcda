//! The Helm charts: the same objects, with Helm's expressions for what an installation decides.

use serde_json::Value;

use super::{Installation, crds, gateway_class, waypoint};

/// Number that stands for `replicas` in a chart until it is rendered: no installation has as many.
const REPLICAS: u16 = u16::MAX;
/// Begins a text that stands for a value of the chart, as YAML; the field is left out where that is empty.
const OPTIONAL: &str = "HELM-OPTIONAL ";

/// The generated files of the Helm charts, by path below `deploy/charts`.
///
/// # Errors
/// When an object cannot be written as YAML.
pub fn charts() -> Result<Vec<(&'static str, String)>, serde_saphyr::SerializeError> {
    let value = |name: &str| format!("{{{{ .Values.{name} }}}}");
    let installation = Installation {
        namespace: "{{ .Release.Namespace }}".into(),
        image: value("image"),
        gateway_image: value("gatewayImage"),
        waypoint_image: value("waypointImage"),
        waypoints: true,
        replicas: REPLICAS,
        log: value("logLevel"),
        authority_period: value("authorityPeriod"),
    };
    let (mut access, mut workload) = (installation.access(), installation.workload());
    access.iter_mut().filter(|object| is_kind(object, "ServiceAccount")).for_each(open_account);
    workload.iter_mut().filter(|object| is_kind(object, "Deployment")).for_each(open_deployment);
    let mut removal = installation.before_removal();
    removal.iter_mut().filter(|object| is_kind(object, "ServiceAccount")).for_each(open_pulling);
    removal.iter_mut().filter(|object| is_kind(object, "Job")).for_each(open_pod);
    let mut class = gateway_class();
    set(&mut class, "/spec", "parametersRef", "gatewayClass.parametersRef");
    Ok(vec![
        ("fairway/templates/access.yaml", template(&access)?),
        ("fairway/templates/controller.yaml", template(&workload)?),
        (
            "fairway/templates/gatewayclass.yaml",
            format!("{{{{- if .Values.gatewayClass.enabled }}}}\n{}{{{{- end }}}}\n", template(&[class])?),
        ),
        (
            "fairway/templates/waypoint.yaml",
            format!(
                "{{{{- if .Values.waypoints.enabled }}}}\n{}{{{{- end }}}}\n",
                template(&[waypoint::objects(), removal].concat())?
            ),
        ),
        ("fairway-crds/templates/crds.yaml", template(&crds())?),
    ])
}

fn is_kind(object: &Value, kind: &str) -> bool {
    object.get("kind").and_then(Value::as_str) == Some(kind)
}

fn open_account(account: &mut Value) {
    set(account, "/metadata", "annotations", "serviceAccount.annotations");
    open_pulling(account);
}

fn open_pulling(account: &mut Value) {
    set(account, "", "imagePullSecrets", "imagePullSecrets");
}

/// Where the pod is in what makes pods.
const POD: &str = "/spec/template/spec";

/// What people set on everything that makes pods.
fn open_pod(object: &mut Value) {
    set(object, "/spec/template/metadata", "annotations", "podAnnotations");
    for field in ["imagePullSecrets", "nodeSelector", "tolerations", "affinity", "priorityClassName"] {
        set(object, POD, field, field);
    }
    set(object, &format!("{POD}/containers/0"), "imagePullPolicy", "imagePullPolicy");
}

fn open_deployment(deployment: &mut Value) {
    let container = format!("{POD}/containers/0");
    set(deployment, &container, "resources", "resources");
    open_pod(deployment);
    if let Some(args) = deployment.pointer_mut(&format!("{container}/args")).and_then(Value::as_array_mut) {
        args.push(format!("{OPTIONAL}extraArgs").into());
    }
}

fn set(object: &mut Value, place: &str, field: &str, value: &str) {
    if let Some(fields) = object.pointer_mut(place).and_then(Value::as_object_mut) {
        fields.insert(field.into(), format!("{OPTIONAL}{value}").into());
    }
}

fn template(objects: &[Value]) -> Result<String, serde_saphyr::SerializeError> {
    let mut text =
        "# Generated from controller/src/install.rs; UPDATE_GOLDEN=1 cargo test writes it.\n".to_owned();
    for object in objects {
        text.push_str("---\n");
        for line in serde_saphyr::to_string(object)?.lines() {
            text.push_str(&expression(line));
            text.push('\n');
        }
    }
    Ok(text)
}

/// A line with what stands for a value replaced by Helm's expression.
fn expression(line: &str) -> String {
    if line.trim() == format!("replicas: {REPLICAS}") {
        return line.replace(&REPLICAS.to_string(), "{{ .Values.replicas }}");
    }
    let Some((before, value)) = line.split_once(OPTIONAL) else { return line.to_owned() };
    let value = value.trim_end_matches(['"', '\'']);
    let before = before.trim_end_matches(['"', '\'']);
    let indent = before.len() - before.trim_start().len();
    let field = before.trim();
    if field == "-" {
        // Items of a list that goes on.
        return format!(
            "{{{{- with .Values.{value} }}}}\n{{{{ toYaml . | indent {indent} }}}}\n{{{{- end }}}}"
        );
    }
    let inner = indent + 2;
    let content = match value {
        "priorityClassName" | "imagePullPolicy" => "{{ . | quote }}".to_owned(),
        _ => format!("{{{{- toYaml . | nindent {inner} }}}}"),
    };
    let pad = " ".repeat(indent);
    format!("{{{{- with .Values.{value} }}}}\n{pad}{field} {content}\n{{{{- end }}}}")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use serde_json::{Map, json};

    use super::*;

    /// What `values.yaml` says, as far as `fairway install` says it too.
    fn values(installation: &Installation) -> Map<String, Value> {
        let resources = installation.container().get("resources").cloned().unwrap_or_default();
        let values = json!({
            "replicas": installation.replicas,
            "image": installation.image,
            "gatewayImage": installation.gateway_image,
            "waypointImage": installation.waypoint_image,
            "logLevel": installation.log,
            "authorityPeriod": installation.authority_period,
            "resources": resources,
        });
        values.as_object().cloned().unwrap_or_default()
    }

    fn directory() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/charts")
    }

    #[test]
    fn the_charts_are_as_generated() {
        for (path, text) in charts().unwrap() {
            let file = directory().join(path);
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                fs::write(&file, &text).unwrap();
            }
            let there = fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(text, there, "{path}: UPDATE_GOLDEN=1 writes it");
        }
    }

    #[test]
    fn the_charts_values_are_those_of_an_installation() {
        let text = fs::read_to_string(directory().join("fairway/values.yaml")).unwrap();
        let written: Map<String, Value> = serde_saphyr::from_str(&text).unwrap();
        for (name, value) in values(&Installation::default()) {
            assert_eq!(written.get(&name), Some(&value), "{name}");
        }
    }

    #[test]
    fn every_value_has_a_schema_and_every_schema_a_value() {
        let text = fs::read_to_string(directory().join("fairway/values.schema.json")).unwrap();
        let schema: Value = serde_json::from_str(&text).unwrap();
        let text = fs::read_to_string(directory().join("fairway/values.yaml")).unwrap();
        let values: Map<String, Value> = serde_saphyr::from_str(&text).unwrap();
        let described = schema["properties"].as_object().unwrap();
        for name in values.keys() {
            assert!(described.contains_key(name), "{name} has no schema");
        }
        // Helm itself sets `global` for charts within charts.
        for name in described.keys().filter(|name| *name != "global") {
            assert!(values.contains_key(name), "{name} has no value");
        }
    }
}
