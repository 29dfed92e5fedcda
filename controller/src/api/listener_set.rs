//! ListenerSet (Gateway API v1). The crate has a type for it that repeats every type of a Gateway's listeners; this one
//! uses those, so that listeners of both go through the same code.

use gateway_api::experimental::gateways::GatewayListeners;
use gateway_api::experimental::listenersets::ListenerSetParentRef;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, NamespaceResourceScope, Resource};
use serde::{Deserialize, Serialize};

/// Listeners that are added to a Gateway from outside it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ListenerSet {
    /// Metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: ListenerSetSpec,
}

/// What a ListenerSet wants.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetSpec {
    /// The Gateway that gets the listeners.
    pub parent_ref: ListenerSetParentRef,
    /// The listeners; their names are unique within the set only.
    pub listeners: Vec<GatewayListeners>,
}

impl Resource for ListenerSet {
    const API_VERSION: &'static str = "gateway.networking.k8s.io/v1";
    const GROUP: &'static str = "gateway.networking.k8s.io";
    const KIND: &'static str = "ListenerSet";
    const VERSION: &'static str = "v1";
    const URL_PATH_SEGMENT: &'static str = "listenersets";
    type Scope = NamespaceResourceScope;
}

impl Metadata for ListenerSet {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
