//! ClientTrafficPolicy, out of its CRD.

use kube::CustomResourceExt as _;
use serde_json::json;

use super::super::node::Node;
use super::metadata::{NAME, kind};
use super::{Report, Schema, derived, req};
use crate::api::ClientTrafficPolicy;

/// ClientTrafficPolicy. What it refuses by name it knows, as the API server does.
pub(in crate::manifests) fn client_traffic_policy() -> Schema {
    let crd = json!(ClientTrafficPolicy::crd());
    let spec = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec");
    kind(NAME, [req("spec", spec.map_or(Schema::Any, derived::of).rule(targets))])
}

pub(super) fn targets(node: &Node, report: &mut Report<'_>) {
    match (node.has("targetRef"), node.has("targetRefs")) {
        (true, true) => {
            let reason = "targetRef and targetRefs exclude each other";
            report.broken(node, "targetRef", reason, "keep one of them");
        }
        (false, false) => {
            let reason = "nothing says what the policy is about";
            report.broken(node, "targetRefs", reason, "name what it is about");
        }
        (true, false) | (false, true) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_traffic_policy::REFUSED;

    fn find<'s>(schema: &'s Schema, path: &str) -> Option<&'s Schema> {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let Schema::Object { fields, .. } = schema else { return None };
        let field = fields.iter().find(|field| field.name == name)?;
        rest.map_or(Some(&field.schema), |rest| find(&field.schema, rest))
    }

    #[test]
    fn files_are_held_to_what_the_crd_says() {
        let schema = client_traffic_policy();
        let at = |path: &str| find(&schema, &format!("spec.{path}")).unwrap_or_else(|| panic!("no {path}"));
        assert!(matches!(at("tls.minVersion"), Schema::Enum(["Auto", "1.0", "1.1", "1.2", "1.3"])));
        assert!(matches!(at("limits.requestHeadersCount"), Schema::Integer { min: 1, max: 250 }));
        assert!(matches!(at("limits.requestBodyBytes"), Schema::IntegerOrText));
        assert!(matches!(at("timeout.http.idleTimeout"), Schema::Text { format: Some(_), .. }));
        assert!(matches!(at("targetRefs"), Schema::List { min: 1, max: 16, .. }));
        assert!(
            matches!(at("clientIPDetection"), Schema::Object { fields, rules } if fields.len() == 3 && rules.len() == 1)
        );
        assert!(
            matches!(at("tls.session.resumption.stateless"), Schema::Object { fields, .. } if fields.is_empty())
        );
        for (path, _) in REFUSED {
            assert!(matches!(at(path), Schema::Any), "{path}");
        }
    }
}
