use std::collections::BTreeSet;

use crate::mutate::mutants;
use crate::render::render;

const SOURCE: &str = r#"
const MOST: usize = 3 + 4;
impl Guard {
    fn admits(&self, names: &[&str]) -> bool {
        if names.len() > MOST && let Some(first) = names.first() {
            self.tell(first);
        }
        !names.iter().any(|name| name.is_empty())
    }
    const fn most() -> usize { 1 }
}
#[cfg(test)]
mod tests { fn helps() -> bool { 1 == 2 } }
"#;

#[test]
fn mutants_are_of_code_that_runs_and_of_nothing_else() {
    let found = mutants(SOURCE, &mut 1).unwrap();
    let told: Vec<String> =
        found.iter().map(|mutant| format!("{} {}: {}", mutant.line, mutant.function, mutant.what)).collect();
    assert_eq!(
        told,
        [
            "4 Guard::admits: returns true",
            "4 Guard::admits: returns false",
            "5 Guard::admits: names.len() > MOST → false",
            "5 Guard::admits: names.len() > MOST → true",
            "5 Guard::admits: > → >= in names.len() > MOST",
            "5 Guard::admits: first → last in names.first()",
            "6 Guard::admits: without self.tell(first)",
            "8 Guard::admits: without ! in !names.iter().any(|name| name.is_empty())",
            "8 Guard::admits: name.is_empty() → false",
            "8 Guard::admits: name.is_empty() → true",
            "8 Guard::admits: any → all in names.iter().any(|name| name.is_empty())",
        ]
    );
    assert!(found.iter().zip(1..).all(|(mutant, id)| mutant.id == id));
}

#[test]
fn what_is_planted_is_rust_and_without_mutants_it_is_the_source() {
    let found = mutants(SOURCE, &mut 1).unwrap();
    let all: BTreeSet<u32> = found.iter().map(|mutant| mutant.id).collect();
    assert_eq!(render(SOURCE, &found, &all).text, SOURCE);
    for alone in &all {
        let others = all.iter().copied().filter(|id| id != alone).collect();
        syn::parse_file(&render(SOURCE, &found, &others).text).unwrap();
    }
    let planted = render(SOURCE, &found, &BTreeSet::new());
    syn::parse_file(&planted.text).unwrap();
    for (id, region) in &planted.regions {
        assert!(planted.text[region.clone()].contains(&format!("is({id})")));
        assert!(planted.blamed(region).iter().all(|blamed| all.contains(blamed)));
    }
}
