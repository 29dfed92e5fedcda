//! The manifests of a run, as text.

use super::states::backend;
use crate::peers::route;
use crate::standalone::manifests::Route;

/// Routes in a file, unless all are in one.
const PER_FILE: usize = 100;

/// The manifests as text, a piece for each route.
pub(super) struct Files {
    base: String,
    pieces: Vec<String>,
    per_file: usize,
}

impl Files {
    pub(super) fn new(routes: usize, is_single: bool, base: String) -> Self {
        let pieces = (0..routes).map(|i| piece(i, 0)).collect();
        Self { base, pieces, per_file: if is_single { usize::MAX } else { PER_FILE } }
    }

    /// With the file of the Gateway and the Services, if that is one of its own.
    pub(super) fn count(&self) -> usize {
        if self.per_file == usize::MAX { 1 } else { 1 + self.pieces.len().div_ceil(self.per_file) }
    }

    pub(super) fn name(&self, file: usize) -> String {
        if file == 0 { "base.yaml".to_owned() } else { format!("routes-{file:04}.yaml") }
    }

    pub(super) const fn file_of(&self, route: usize) -> usize {
        if self.per_file == usize::MAX { 0 } else { 1 + route / self.per_file }
    }

    pub(super) fn set(&mut self, route: usize, state: u64) {
        if let Some(text) = self.pieces.get_mut(route) {
            *text = piece(route, state);
        }
    }

    pub(super) fn text(&self, file: usize) -> String {
        if self.per_file == usize::MAX {
            return self.base.clone() + &self.pieces.concat();
        }
        let Some(first) = file.checked_sub(1).map(|f| f * self.per_file) else { return self.base.clone() };
        self.pieces.iter().skip(first).take(self.per_file).map(String::as_str).collect()
    }
}

fn piece(i: usize, state: u64) -> String {
    let (host, prefix) = route(i);
    let route = Route {
        name: &format!("r{i}"),
        hosts: &[&host],
        prefix: prefix.trim_end_matches('/'),
        state,
        rewrite: None,
        fields: &[],
        backends: &[(backend(state), 1)],
    };
    route.manifest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_in_one_file_in_both_layouts() {
        for is_single in [false, true] {
            let files = Files::new(250, is_single, "base\n".to_owned());
            assert_eq!(files.count(), if is_single { 1 } else { 4 });
            let all: String = (0..files.count()).map(|f| files.text(f)).collect();
            assert_eq!(all.matches("kind: HTTPRoute").count(), 250);
            for route in [0, 99, 100, 249] {
                let name = format!("{{name: r{route}, ");
                assert!(files.text(files.file_of(route)).contains(&name), "{route}");
            }
        }
    }
}
