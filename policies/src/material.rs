//! What is in Secrets and ConfigMaps.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

/// What is in a Secret or ConfigMap, by key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Material(pub BTreeMap<String, Bytes>);

/// It may be secret.
impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
