//! Which route is meant.

use anyhow::bail;
use controller::{ObjectKey, ObjectKind};

use crate::input::Input;

/// The route that `[KIND/]NAME[.NAMESPACE]` names. Names may hold dots, so all readings are tried.
pub(super) fn route(wanted: &str, input: &Input) -> anyhow::Result<ObjectKey> {
    let (kind, name) = wanted.split_once('/').map_or((None, wanted), |(kind, name)| (Some(kind), name));
    // What can be explained.
    let routes = || ObjectKind::ALL.iter().copied().filter(|kind| kind.route().is_some());
    let kinds: Vec<ObjectKind> = match kind.map(str::to_ascii_lowercase).as_deref() {
        None => routes().collect(),
        Some(kind) => {
            let is_named = |route: &ObjectKind| {
                let name = route.as_str().to_ascii_lowercase();
                kind == name || kind.strip_suffix('s') == Some(name.as_str())
            };
            match routes().find(is_named) {
                Some(one) => vec![one],
                None => bail!(
                    "{kind:?} is no kind of route: write httproute/NAME, or grpcroute, tlsroute, tcproute or udproute"
                ),
            }
        }
    };
    let resources = &input.resources;
    let http = resources.http_routes.iter().map(|r| (ObjectKind::HttpRoute, &r.metadata));
    let grpc = resources.grpc_routes.iter().map(|r| (ObjectKind::GrpcRoute, &r.metadata));
    let tls = resources.tls_routes.iter().map(|r| (ObjectKind::TlsRoute, &r.metadata));
    let tcp = resources.tcp_routes.iter().map(|r| (ObjectKind::TcpRoute, &r.metadata));
    let udp = resources.udp_routes.iter().map(|r| (ObjectKind::UdpRoute, &r.metadata));
    let all: Vec<ObjectKey> = (http.chain(grpc).chain(tls).chain(tcp).chain(udp))
        .filter(|(kind, _)| kinds.contains(kind))
        .map(|(kind, meta)| {
            let part = |part: &Option<String>| part.clone().unwrap_or_default();
            ObjectKey::new(kind, part(&meta.namespace), part(&meta.name))
        })
        .collect();
    let named = |key: &&ObjectKey| *key.name == *name || format!("{}.{}", key.name, key.namespace) == name;
    match all.iter().filter(named).collect::<Vec<_>>().as_slice() {
        [one] => Ok((*one).clone()),
        [] if all.is_empty() => bail!("there is no route in these files"),
        [] => bail!("there is no route {wanted:?}; there are {}", names(all.iter())),
        several => bail!("{wanted:?} may be {}: write KIND/NAME.NAMESPACE", names(several.iter().copied())),
    }
}

fn names<'k>(keys: impl Iterator<Item = &'k ObjectKey>) -> String {
    let names: Vec<String> = keys
        .map(|key| format!("{}/{}.{}", key.kind.as_str().to_ascii_lowercase(), key.name, key.namespace))
        .collect();
    crate::table::short(&names, 8)
}
