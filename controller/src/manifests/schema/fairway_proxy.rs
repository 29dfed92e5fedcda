//! FairwayProxy, as its CRD says it; a test holds the two together.

use super::metadata::{NAME, kind, labels};
use super::{Schema, integer, list, map, object, opt, req, string, text};

/// FairwayProxy.
pub(in crate::manifests) fn fairway_proxy() -> Schema {
    let autoscaling = object([
        opt("minReplicas", integer(1, 1000)),
        req("maxReplicas", integer(1, 1000)),
        opt("targetCpuPercent", integer(1, 1000)),
    ]);
    let quantities = || map(Schema::IntegerOrText, usize::MAX);
    let resources = object([
        opt("requests", quantities()),
        opt("limits", quantities()),
        opt("claims", list(object([req("name", string()), opt("request", string())]), 0, usize::MAX)),
    ]);
    let service = object([
        opt("type", Schema::Enum(&["ClusterIP", "LoadBalancer", "NodePort"])),
        opt("annotations", map(string(), usize::MAX)),
        opt("externalTrafficPolicy", Schema::Enum(&["Cluster", "Local"])),
        opt("loadBalancerClass", string()),
    ]);
    let logging = object([opt("level", text(1, 256)), opt("accessLog", Schema::Enum(&["Off", "Stdout"]))]);
    let drain = object([opt("seconds", integer(0, 3600)), opt("delaySeconds", integer(0, 300))]);
    let toleration = object([
        opt("key", string()),
        opt("operator", string()),
        opt("value", string()),
        opt("effect", string()),
        opt("tolerationSeconds", integer(i64::MIN, i64::MAX)),
    ]);
    let pod = object([
        opt("labels", labels()),
        opt("annotations", map(string(), usize::MAX)),
        opt("nodeSelector", labels()),
        opt("tolerations", list(toleration, 0, usize::MAX)),
        opt("priorityClassName", string()),
    ]);
    let spec = object([
        opt("replicas", integer(0, 1000)),
        opt("autoscaling", autoscaling),
        opt("image", text(1, 512)),
        opt("resources", resources),
        opt("service", service),
        opt("logging", logging),
        opt("drain", drain),
        opt("pod", pod),
    ]);
    kind(NAME, [req("spec", spec)])
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::FairwayProxy;

    /// Names of all fields, by path.
    fn of_crd(schema: &Value, path: &str, names: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            of_crd(field, &path, names);
            of_crd(&field["items"], &path, names);
            names.push(path);
        }
    }

    fn of_schema(schema: &Schema, path: &str, names: &mut Vec<String>) {
        if let Schema::Object { fields, .. } = schema {
            for field in fields {
                let path = format!("{path}.{}", field.name);
                of_schema(&field.schema, &path, names);
                names.push(path);
            }
        } else if let Schema::List { item, .. } = schema {
            of_schema(item, path, names);
        }
    }

    #[test]
    fn it_has_the_fields_of_the_crd() {
        let crd = json!(FairwayProxy::crd());
        let (mut wanted, mut got) = (Vec::new(), Vec::new());
        of_crd(
            &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"],
            "",
            &mut wanted,
        );
        let Schema::Object { fields, .. } = fairway_proxy() else { panic!("no object") };
        of_schema(&fields.iter().find(|field| field.name == "spec").unwrap().schema, "", &mut got);
        wanted.sort();
        got.sort();
        assert!(wanted.len() > 20);
        assert_eq!(got, wanted);
    }
}
