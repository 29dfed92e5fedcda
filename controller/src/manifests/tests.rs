use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::{Object, ObjectKind};

fn dir() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    (dir, path)
}

fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{v: \"{value}\"}}\n")
}

fn keys(loader: &Loader) -> Vec<String> {
    let mut keys: Vec<String> = loader.objects().iter().map(|o| o.key().to_string()).collect();
    keys.sort();
    keys
}

fn changes(reload: &Reload) -> Vec<String> {
    reload.changes.iter().map(|c| format!("{:?} {}", c.kind, c.object)).collect()
}

fn value(loader: &Loader, name: &str) -> Option<String> {
    loader.objects().into_iter().find_map(|object| {
        let Object::ConfigMap(map) = object else { return None };
        if map.metadata.name.as_deref() != Some(name) {
            return None;
        }
        map.data.as_ref().and_then(|d| d.get("v").cloned())
    })
}

/// Each `controller/testdata/manifests/<case>.yaml` beside its findings; `UPDATE_GOLDEN=1` writes them.
#[test]
fn every_mistake_is_found_at_its_place_with_a_remedy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/manifests");
    let mut cases: Vec<PathBuf> = fs::read_dir(&root).unwrap().map(|e| e.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    cases.sort();
    assert!(cases.len() >= 12, "the cases are gone");
    let mut wrong = Vec::new();
    for case in cases {
        let loader = Loader::open(std::slice::from_ref(&case)).unwrap();
        let prefix = format!("{}/", root.display());
        let mut found: String =
            loader.findings().iter().map(|f| format!("{}\n", f.to_string().replace(&prefix, ""))).collect();
        for (_, ignored) in loader.ignored() {
            found.push_str(&format!("ignored: line {}: {}\n", ignored.line, ignored.object));
        }
        let golden = case.with_extension("findings.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &found).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != found {
            wrong.push(format!("{}:\n{found}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "run with UPDATE_GOLDEN=1 and look at the difference:\n{}", wrong.join("\n"));
}

#[test]
fn an_edit_keeps_the_objects_of_other_documents() {
    let (_guard, dir) = dir();
    let file = dir.join("all.yaml");
    let text =
        |middle: &str| [config_map("a", "1"), config_map("b", middle), config_map("c", "1")].join("---\n");
    fs::write(&file, text("1")).unwrap();
    let mut loader = Loader::open(std::slice::from_ref(&dir)).unwrap();
    let before = loader.objects();
    fs::write(&file, text("2")).unwrap();
    let reload = loader.reload(&[file]);
    assert_eq!(changes(&reload), ["Changed ConfigMap/default/b"]);
    let after = loader.objects();
    let same = |i: usize| match (&before[i], &after[i]) {
        (Object::ConfigMap(a), Object::ConfigMap(b)) => Arc::ptr_eq(a, b),
        _ => false,
    };
    assert!(same(0) && !same(1) && same(2));
}

#[test]
fn documents_may_move_and_findings_follow_their_lines() {
    let (_guard, dir) = dir();
    let file = dir.join("all.yaml");
    fs::write(&file, [config_map("a", "1"), config_map("b", "1")].join("---\n")).unwrap();
    let mut loader = Loader::open(std::slice::from_ref(&dir)).unwrap();
    fs::write(&file, [config_map("z", "1"), config_map("b", "1"), config_map("a", "1")].join("---\n"))
        .unwrap();
    assert_eq!(changes(&loader.reload(std::slice::from_ref(&file))), ["Added ConfigMap/default/z"]);
    let places = loader.places();
    let line = |name: &str| places[&crate::ObjectKey::new(ObjectKind::ConfigMap, "default", name)].1;
    assert_eq!((line("z"), line("b"), line("a")), (1, 6, 11));
}

#[test]
fn a_comment_is_no_change() {
    let (_guard, dir) = dir();
    let file = dir.join("a.yaml");
    fs::write(&file, config_map("a", "1")).unwrap();
    let mut loader = Loader::open(std::slice::from_ref(&dir)).unwrap();
    fs::write(&file, format!("# why\n{}", config_map("a", "1"))).unwrap();
    assert_eq!(loader.reload(&[file]), Reload::default());
}

#[test]
fn a_broken_file_serves_its_last_good_state_while_others_change() {
    let (_guard, dir) = dir();
    let (a, b) = (dir.join("a.yaml"), dir.join("b.yaml"));
    fs::write(&a, config_map("a", "1")).unwrap();
    fs::write(&b, config_map("b", "1")).unwrap();
    let mut loader = Loader::open(std::slice::from_ref(&dir)).unwrap();
    fs::write(&a, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: 5\n").unwrap();
    fs::write(&b, config_map("b", "2")).unwrap();
    let reload = loader.reload(&[a.clone(), b]);
    assert_eq!(changes(&reload), ["Changed ConfigMap/default/b"]);
    assert_eq!(reload.findings.len(), 1);
    assert_eq!((value(&loader, "a").as_deref(), value(&loader, "b").as_deref()), (Some("1"), Some("2")));
    fs::write(&a, config_map("a", "1")).unwrap();
    loader.reload(&[a]);
    assert!(loader.findings().is_empty());
}

#[test]
fn an_object_may_move_from_one_file_to_another() {
    let (_guard, dir) = dir();
    let (a, b) = (dir.join("a.yaml"), dir.join("b.yaml"));
    fs::write(&a, config_map("x", "1")).unwrap();
    let mut loader = Loader::open(std::slice::from_ref(&dir)).unwrap();
    // The copy comes first: it has to wait, and `a` serves on.
    fs::write(&b, config_map("x", "2")).unwrap();
    let reload = loader.reload(std::slice::from_ref(&b));
    assert_eq!(reload.findings[0].code, Code::DuplicateObject);
    assert_eq!(*reload.findings[0].file, b);
    assert_eq!(value(&loader, "x").as_deref(), Some("1"));
    fs::remove_file(&a).unwrap();
    assert_eq!(changes(&loader.reload(&[a])), ["Changed ConfigMap/default/x"]);
    assert_eq!(value(&loader, "x").as_deref(), Some("2"));
    assert!(loader.findings().is_empty());
}

#[test]
fn of_two_new_files_with_one_object_the_first_by_path_wins() {
    let (_guard, dir) = dir();
    fs::write(dir.join("b.yaml"), config_map("x", "b")).unwrap();
    fs::write(dir.join("a.yaml"), config_map("x", "a")).unwrap();
    let loader = Loader::open(std::slice::from_ref(&dir)).unwrap();
    assert_eq!(value(&loader, "x").as_deref(), Some("a"));
    assert_eq!(loader.findings().len(), 1);
}

#[test]
fn a_copied_document_is_a_second_object_of_one_name() {
    let (_guard, dir) = dir();
    let file = dir.join("a.yaml");
    fs::write(&file, config_map("a", "1")).unwrap();
    let mut loader = Loader::open(std::slice::from_ref(&dir)).unwrap();
    fs::write(&file, [config_map("a", "1"), config_map("a", "1")].join("---\n")).unwrap();
    let reload = loader.reload(&[file]);
    assert_eq!(reload.findings[0].code, Code::DuplicateObject);
    assert_eq!(value(&loader, "a").as_deref(), Some("1"));
}

#[test]
fn a_file_is_known_by_any_spelling_of_its_path() {
    let (_guard, dir) = dir();
    let file = dir.join("a.yaml");
    fs::write(&file, config_map("a", "1")).unwrap();
    let mut loader = Loader::open(std::slice::from_ref(&file)).unwrap();
    assert_eq!(loader.directories(), std::slice::from_ref(&dir));
    fs::write(&file, config_map("a", "2")).unwrap();
    let other = dir.join("other.yaml");
    fs::write(&other, config_map("b", "2")).unwrap();
    // Only the file that was named is read, not its neighbours.
    assert_eq!(changes(&loader.reload(&[other, file])), ["Changed ConfigMap/default/a"]);
}

#[test]
fn files_come_and_go() {
    let (_guard, dir) = dir();
    let mut loader = Loader::open(std::slice::from_ref(&dir)).unwrap();
    assert!(loader.objects().is_empty());
    let file = dir.join("a.yml");
    fs::write(&file, config_map("a", "1")).unwrap();
    fs::write(dir.join(".a.yaml.swp"), "junk: [").unwrap();
    fs::write(dir.join("notes.txt"), "junk: [").unwrap();
    assert_eq!(changes(&loader.reload_all()), ["Added ConfigMap/default/a"]);
    fs::remove_file(&file).unwrap();
    assert_eq!(changes(&loader.reload(&[file])), ["Removed ConfigMap/default/a"]);
    assert!(keys(&loader).is_empty() && loader.findings().is_empty());
}

#[test]
fn a_root_that_is_not_there_is_an_error() {
    let finding = Loader::open(&[PathBuf::from("does/not/exist")]).unwrap_err();
    assert_eq!((finding.code, finding.line), (Code::Unreadable, 0));
}

#[test]
fn json_loads_like_yaml() {
    let (_guard, dir) = dir();
    let json = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"ConfigMap\",\n\t\"metadata\": {\"name\": \"a\"},\n\t\"data\": {\"v\": \"\\u00e9 \\\" \\/\"}\n}\n";
    fs::write(dir.join("a.json"), json).unwrap();
    let loader = Loader::open(std::slice::from_ref(&dir)).unwrap();
    assert_eq!(loader.findings(), []);
    assert_eq!(value(&loader, "a").as_deref(), Some("é \" /"));
}

#[test]
#[allow(clippy::wildcard_enum_match_arm, reason = "only the kinds of the case matter")]
fn what_the_api_server_fills_in_is_filled_in() {
    let (_guard, dir) = dir();
    let text = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\nspec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: b, port: 80}]}]}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec: {gatewayClassName: c, listeners: [{name: l, port: 80, protocol: HTTP}]}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: aGk=, b: aGk=}\nstringData: {b: plain}\n";
    fs::write(dir.join("a.yaml"), text).unwrap();
    let loader = Loader::open(std::slice::from_ref(&dir)).unwrap();
    assert_eq!(loader.findings(), []);
    let mut seen = 0;
    for object in loader.objects() {
        match object {
            Object::HttpRoute(route) => {
                seen += 1;
                assert_eq!(route.metadata.namespace.as_deref(), Some("default"));
                let parent = &route.spec.parent_refs.as_ref().unwrap()[0];
                assert_eq!(parent.kind.as_deref(), Some("Gateway"));
                assert_eq!(parent.group.as_deref(), Some("gateway.networking.k8s.io"));
                let rule = &route.spec.rules.as_ref().unwrap()[0];
                let path = rule.matches.as_ref().unwrap()[0].path.as_ref().unwrap();
                assert_eq!(path.value.as_deref(), Some("/"));
                assert_eq!(rule.backend_refs.as_ref().unwrap()[0].weight, Some(1));
                assert_eq!(rule.backend_refs.as_ref().unwrap()[0].kind.as_deref(), Some("Service"));
            }
            Object::Gateway(gateway) => {
                seen += 1;
                let allowed = gateway.spec.listeners[0].allowed_routes.as_ref().unwrap();
                let from = allowed.namespaces.as_ref().unwrap().from.as_ref().unwrap();
                assert_eq!(serde_json::to_value(from).unwrap(), "Same");
            }
            Object::Secret(secret) => {
                seen += 1;
                let data = secret.data.as_ref().unwrap();
                assert_eq!((data["a"].0.as_slice(), data["b"].0.as_slice()), (&b"hi"[..], &b"plain"[..]));
                assert_eq!(secret.string_data, None);
            }
            _ => {}
        }
    }
    assert_eq!(seen, 3);
}

#[test]
fn what_kubectl_get_prints_loads() {
    let (_guard, dir) = dir();
    let text = "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  uid: 0e\n  resourceVersion: \"5\"\n  creationTimestamp: \"2026-01-01T00:00:00Z\"\n  managedFields: [{manager: kubectl, fieldsV1: {f:a: {}}}]\n  ownerReferences: [{apiVersion: v1, kind: Pod, name: x, uid: y}]\nspec: {clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], ports: [{port: 80, targetPort: 80, protocol: TCP}], type: ClusterIP}\nstatus: {loadBalancer: {}}\n";
    fs::write(dir.join("a.yaml"), text).unwrap();
    let loader = Loader::open(std::slice::from_ref(&dir)).unwrap();
    assert_eq!(loader.findings(), []);
    let meta = loader.objects()[0].meta().clone();
    assert!(meta.creation_timestamp.is_some());
}

#[test]
fn no_bytes_make_it_panic() {
    let (_guard, dir) = dir();
    let file = dir.join("a.yaml");
    let good = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/manifests/good.yaml")).unwrap();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..150 {
        let mut bytes = good.clone();
        for _ in 0..4 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let at = usize::try_from(seed >> 8).unwrap() % bytes.len();
            match seed % 3 {
                0 => bytes[at] = b"-:[]{}&*!|>'\"%@`#,?\n\t 0"[usize::try_from(seed >> 40).unwrap() % 23],
                1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(bytes.len() / 2)),
            }
        }
        fs::write(&file, &bytes).unwrap();
        // Either it loads or it is refused with a place in the file.
        let loader = Loader::open(std::slice::from_ref(&dir)).unwrap();
        let lines = bytes.iter().filter(|b| **b == b'\n').count() + 1;
        for finding in loader.findings() {
            assert!(finding.line as usize <= lines + 1, "{finding}");
        }
    }
}
