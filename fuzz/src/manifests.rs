//! What users write: any YAML is read, translated and compiled without a panic, the order of objects means nothing, and
//! nobody else notices (`data/neighbours.yaml`).

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use config::identity::{GatewayRef, Role};
use config::xds::scope::Scopes;
use config::{Rejection, Resources as Ir, Update};
use controller::fuzzing::objects;
use controller::{Object, ObjectKey, Options, Resources, Translation, Translator, program, translate};
use proxy::compile::Compiler;
use proxy::telemetry::Telemetry;

use crate::memory::bounded;

static NEIGHBOURS: LazyLock<(Vec<Object>, Translation)> = LazyLock::new(|| {
    let neighbours = objects(include_str!("../data/neighbours.yaml")).expect("they load");
    let said = translate(&Resources::collect(neighbours.clone()), &Options::default());
    (neighbours, said)
});

/// A manifest.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (neighbours, alone) = &*NEIGHBOURS;
    // Aliases may stand for as many nodes as one document may have; the rest is a tree with places, then typed objects.
    let Some(written) = bounded(data.len(), 32 << 20, || objects(text)) else { return };
    let mut names: HashSet<ObjectKey> = neighbours.iter().map(Object::key).collect();
    let mut all = neighbours.clone();
    all.extend(written.into_iter().filter(|object| is_elsewhere(object) && names.insert(object.key())));
    bounded(data.len(), 32 << 20, || judge(&all, neighbours, alone));
}

/// Only who may write to a namespace can change what its objects mean.
fn is_elsewhere(object: &Object) -> bool {
    object.meta().namespace.as_deref() != Some("good")
}

fn judge(all: &[Object], neighbours: &[Object], alone: &Translation) {
    let options = Options::default();
    let said = translate(&Resources::collect(all.iter().cloned()), &options);
    let reversed = translate(&Resources::collect(all.iter().rev().cloned()), &options);
    assert_eq!(said, reversed, "the order of objects has a meaning");
    let mut translator = Translator::new(options);
    let _ = translator.translate(&Resources::collect(neighbours.iter().cloned()));
    assert_eq!(translator.translate(&Resources::collect(all.iter().cloned())), said, "with a memory");
    for (key, resource) in alone.resources.iter() {
        assert_eq!(said.resources.get(key), Some(resource), "a neighbour's resource");
    }
    for (key, status) in alone.statuses.0.iter() {
        assert_eq!(said.statuses.0.get(key), Some(status), "a neighbour's status");
    }
    let mut rejections = Vec::new();
    for (place, seen) in places(&said.resources) {
        let own = compile(&seen);
        if place.role == Role::Gateway && place.namespace == "good" {
            assert_eq!(own, [], "a neighbour is rejected");
            assert_eq!(seen, alone.resources, "a neighbour's proxies see more or less than before");
        }
        rejections.extend(own);
    }
    let _ = program(&said, &rejections, true);
}

/// What the proxies of each Gateway get.
fn places(all: &Ir) -> Vec<(GatewayRef, Ir)> {
    let mut scopes = Scopes::default();
    let changes = scopes.apply(&Update::between(1, &Ir::new(), all), all);
    let seen = |place: &GatewayRef| {
        scopes.seen(place).map(|(key, resource)| (key.clone(), resource.clone())).collect()
    };
    changes.into_keys().map(|place| (place.clone(), seen(&place))).collect()
}

fn compile(resources: &Ir) -> Vec<Rejection> {
    let update = Update { version: 1, upserts: resources.clone(), removes: Vec::new() };
    Compiler::new(Arc::new(Telemetry::default())).apply(update).1
}
