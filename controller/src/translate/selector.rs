//! Label selectors over namespaces.

use std::collections::BTreeMap;

/// A label selector. An empty one selects everything (Kubernetes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector {
    requirements: Vec<(String, Operator)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

/// One entry of `matchExpressions`: key, operator, values.
pub(crate) type Expression<'a> = (&'a str, &'a str, Option<&'a Vec<String>>);

impl Selector {
    /// Reads `matchLabels` and `matchExpressions`. The error says what is wrong with which expression.
    pub(crate) fn new<'a>(
        labels: Option<&BTreeMap<String, String>>,
        expressions: impl Iterator<Item = Expression<'a>>,
    ) -> Result<Self, String> {
        let mut requirements: Vec<_> = labels
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), Operator::In(vec![value.clone()])))
            .collect();
        for (index, (key, operator, values)) in expressions.enumerate() {
            let place = format!("matchExpressions[{index}]");
            let values = values.filter(|values| !values.is_empty());
            let operator = match (operator, values) {
                ("In", Some(values)) => Operator::In(values.clone()),
                ("NotIn", Some(values)) => Operator::NotIn(values.clone()),
                ("Exists", None) => Operator::Exists,
                ("DoesNotExist", None) => Operator::DoesNotExist,
                ("In" | "NotIn", None) => {
                    return Err(format!("{place}.values: {operator} needs at least one"));
                }
                ("Exists" | "DoesNotExist", Some(_)) => {
                    return Err(format!("{place}.values: {operator} takes none"));
                }
                _ => {
                    return Err(format!(
                        "{place}.operator: {operator:?} is not one of In, NotIn, Exists and DoesNotExist"
                    ));
                }
            };
            requirements.push((key.to_owned(), operator));
        }
        Ok(Self { requirements })
    }

    /// Whether a namespace with this name and these labels is selected.
    pub(crate) fn selects(&self, name: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.requirements.iter().all(|(key, operator)| {
            // The API server puts this label on every namespace; in files the Namespace may not even be
            // there.
            let value = match key.as_str() {
                "kubernetes.io/metadata.name" => Some(name),
                key => labels.and_then(|labels| labels.get(key)).map(String::as_str),
            };
            match operator {
                Operator::In(values) => value.is_some_and(|value| values.iter().any(|v| v == value)),
                Operator::NotIn(values) => value.is_none_or(|value| values.iter().all(|v| v != value)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    #[test]
    fn every_requirement_must_hold() {
        let values = vec!["a".to_owned(), "b".to_owned()];
        let selector = Selector::new(
            Some(&labels(&[("team", "shop")])),
            [("tier", "In", Some(&values)), ("old", "DoesNotExist", None)].into_iter(),
        )
        .unwrap();
        assert!(selector.selects("x", Some(&labels(&[("team", "shop"), ("tier", "b")]))));
        assert!(!selector.selects("x", Some(&labels(&[("team", "shop"), ("tier", "c")]))));
        assert!(!selector.selects("x", Some(&labels(&[("team", "shop"), ("tier", "a"), ("old", "")]))));
        assert!(!selector.selects("x", None));
    }

    #[test]
    fn not_in_holds_for_a_namespace_without_the_label() {
        let values = vec!["a".to_owned()];
        let selector = Selector::new(None, [("tier", "NotIn", Some(&values))].into_iter()).unwrap();
        assert!(selector.selects("x", None));
        assert!(!selector.selects("x", Some(&labels(&[("tier", "a")]))));
    }

    #[test]
    fn a_namespace_without_manifest_has_its_name_as_a_label() {
        let selector =
            Selector::new(Some(&labels(&[("kubernetes.io/metadata.name", "infra")])), [].into_iter());
        assert!(selector.unwrap().selects("infra", None));
    }

    #[test]
    fn an_operator_of_another_language_is_refused() {
        assert!(Selector::new(None, [("a", "in", None)].into_iter()).unwrap_err().contains("operator"));
        assert!(Selector::new(None, [("a", "In", None)].into_iter()).unwrap_err().contains("at least one"));
    }
}
