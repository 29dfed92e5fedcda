//! Labels that lead clients of Services to a waypoint and back, written for whoever asks: what `kubectl label` would do.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::fetch::{Access, AccessError, failed};
use crate::cluster::write;
use crate::translate::{CAPTURE, CAPTURED, FAILURE_MODE, TOUCHED, USE_WAYPOINT};

/// What is to be labelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enrolled {
    /// A namespace.
    Namespace(String),
    /// A Service: namespace and name.
    Service(String, String),
}

impl Enrolled {
    /// `NAMESPACE` or `NAMESPACE/SERVICE`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_name = |name: &str| !name.is_empty() && !name.contains('/');
        match text.split_once('/') {
            None if is_name(text) => Ok(Self::Namespace(text.to_owned())),
            Some((namespace, name)) if is_name(namespace) && is_name(name) => {
                Ok(Self::Service(namespace.to_owned(), name.to_owned()))
            }
            _ => Err(format!("{text:?}: write NAMESPACE or NAMESPACE/SERVICE")),
        }
    }

    /// Kind, namespace and name.
    fn object(&self) -> (&'static str, &str, &str) {
        match self {
            Self::Namespace(name) => ("Namespace", "", name),
            Self::Service(namespace, name) => ("Service", namespace, name),
        }
    }
}

/// The labels that ask for a waypoint: `capture` is `attached`, `all` or `observe`.
#[must_use]
pub fn enrolling(waypoint: &str, capture: &str) -> Value {
    let capture = if capture == "attached" { Value::Null } else { capture.into() };
    json!({ USE_WAYPOINT: waypoint, CAPTURE: capture })
}

/// The labels that let something go: a Service of a namespace that stays says so itself.
#[must_use]
pub fn releasing(what: &Enrolled) -> Value {
    match what {
        Enrolled::Namespace(_) => json!({ USE_WAYPOINT: null, CAPTURE: null }),
        Enrolled::Service(..) => json!({ USE_WAYPOINT: "none" }),
    }
}

/// The labels that only the controller writes, taken away: pods come back by Kubernetes' own hand, without a controller.
#[must_use]
pub fn breaking_glass() -> Value {
    json!({ CAPTURED: null, FAILURE_MODE: null, TOUCHED: null })
}

impl Access {
    /// Merges labels into something.
    ///
    /// # Errors
    /// When the API server cannot be reached, or refuses.
    pub async fn label(&self, what: &Enrolled, labels: &Value) -> Result<(), AccessError> {
        let client = self.client().await?;
        let (kind, namespace, name) = what.object();
        let api = write::api(&client, &write::resource("v1", kind), namespace);
        let params = PatchParams { field_manager: Some("fairway".into()), ..PatchParams::default() };
        let patch = json!({ "metadata": { "labels": labels } });
        api.patch(name, &params, &Patch::Merge(patch)).await.map(drop).map_err(|error| failed(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_or_a_service_is_named_and_nothing_else() {
        assert_eq!(Enrolled::parse("shop"), Ok(Enrolled::Namespace("shop".into())));
        assert_eq!(Enrolled::parse("shop/cart"), Ok(Enrolled::Service("shop".into(), "cart".into())));
        for wrong in ["", "/", "shop/", "/cart", "a/b/c"] {
            assert!(Enrolled::parse(wrong).is_err(), "{wrong}");
        }
    }
}
