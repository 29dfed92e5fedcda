//! Pod: the few fields of it that are read. What else it says is between its author and the kubelet.

use super::super::node::{Key, Node, Value};
use super::formats::SUBDOMAIN;
use super::metadata::{NAME, kind};
use super::{Field, Schema, formatted, list, object, opt, string};

/// Which fields of `spec` and `status`.
const READ: [(&str, &[&str]); 2] =
    [("spec", &["serviceAccountName", "hostNetwork"]), ("status", &["phase", "podIPs"])];

/// Pod.
pub(in crate::manifests) fn pod() -> Schema {
    let spec =
        object([opt("serviceAccountName", formatted(0, 253, &SUBDOMAIN)), opt("hostNetwork", Schema::Bool)]);
    let phases = &["Pending", "Running", "Succeeded", "Failed", "Unknown"];
    let addresses = list(object([opt("ip", string())]), 0, usize::MAX);
    let status = object([opt("phase", Schema::Enum(phases)), opt("podIPs", addresses)]);
    let mut pod = kind(NAME, [opt("spec", spec)]);
    if let Schema::Object { fields, .. } = &mut pod {
        // Every other kind's is the cluster's word and not read.
        let is_another = |field: &Field| field.name != "status";
        fields.retain(is_another);
        fields.push(opt("status", status));
    }
    pod
}

/// Takes off what is not read, whatever it is.
pub(in crate::manifests) fn slim(fields: &mut [(Key, Node)]) {
    for (name, read) in READ {
        let part = fields.iter_mut().find(|(key, _)| &*key.name == name);
        if let Some((_, Node { value: Value::Map(fields), .. })) = part {
            fields.retain(|(key, _)| read.contains(&&*key.name));
        }
    }
}
