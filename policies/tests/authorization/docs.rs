//! What `docs/authorization.md` shows is taken as it stands there.

use fairway_policies::Policy;
use fairway_policies::authorization::Authorization;

use crate::Nothing;

#[test]
fn every_example_of_the_documentation_compiles() {
    let guide = include_str!("../../../docs/authorization.md");
    let examples: Vec<&str> =
        guide.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), guide.matches("\nkind: SecurityPolicy\n").count());
    for example in examples {
        let object: serde_json::Value = serde_saphyr::from_str(example).unwrap();
        assert_eq!(object["kind"], "SecurityPolicy");
        let policy: Authorization = serde_json::from_value(object["spec"]["authorization"].clone()).unwrap();
        policy.compile(&Nothing).unwrap_or_else(|invalid| panic!("{invalid}: {example}"));
    }
}
