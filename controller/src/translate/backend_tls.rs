//! BackendTLSPolicies: which applies to a Service port, and what we say of each.
//!
//! A policy that cannot be followed still applies: its backends fail, because falling back to plain text is
//! what it was written against.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::{BackendTls, SubjectAltName, TrustedCa};
use gateway_api::backendtlspolicies::BackendTlsPolicyValidationSubjectAltNames as AltName;
use gateway_api::backendtlspolicies::BackendTlsPolicyValidationSubjectAltNamesType as AltNameType;
use rustc_hash::FxHashMap;

use super::tls::ca_certificate;
use super::{Output, hostname};
use crate::api::{BackendTlsPolicy, ConfigMap, Service};
use crate::resources::{Named, ObjectKind, Objects};
use crate::status::{
    AncestorStatus, Condition, ConditionStatus, ParentRef, PolicyStatus, Problem, Status, condition_type,
    reason,
};
use crate::{CONTROLLER_NAME, ObjectKey};

/// Gateway API: "A maximum of 16 ancestors will be represented in this list."
const MAX_ANCESTORS: usize = 16;

/// Every BackendTLSPolicy, judged.
#[derive(Debug)]
pub(crate) struct Policies<'a> {
    judged: Vec<Judged<'a>>,
    /// By namespace and name of the Service, oldest first.
    by_service: FxHashMap<(&'a str, &'a str), Vec<Target<'a>>>,
}

#[derive(Debug)]
struct Judged<'a> {
    policy: &'a BackendTlsPolicy,
    problems: Vec<Problem>,
    /// `None`: it cannot be followed.
    tls: Option<BackendTls>,
}

#[derive(Debug)]
struct Target<'a> {
    /// Index into `judged`.
    policy: usize,
    section: Option<&'a str>,
}

/// How a policy relates to an ancestor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Relation {
    Applies,
    /// Another policy, by index, has precedence.
    Loses(usize),
    TargetNotFound,
}

/// Who uses which policy: filled while routes are translated, read for the statuses.
#[derive(Debug, Default)]
pub(crate) struct Ancestors {
    by_policy: BTreeMap<usize, BTreeMap<Ancestor, Relation>>,
}

/// A Gateway or Service through which a policy acts: kind, namespace, name.
pub(crate) type Ancestor = (ObjectKind, Box<str>, Box<str>);

impl<'a> Policies<'a> {
    pub(crate) fn new(policies: &'a Objects<BackendTlsPolicy>, config_maps: &Objects<ConfigMap>) -> Self {
        let mut by_service: FxHashMap<_, Vec<Target<'_>>> = FxHashMap::default();
        for (index, policy) in policies.iter().enumerate() {
            for target in &policy.spec.target_refs {
                if target.group.is_empty() && target.kind == "Service" {
                    let section = target.section_name.as_deref().filter(|section| !section.is_empty());
                    by_service
                        .entry((policy.namespace(), target.name.as_str()))
                        .or_default()
                        .push(Target { policy: index, section });
                }
            }
        }
        let judged = policies.iter().map(|policy| judge(policy, config_maps)).collect();
        Self { judged, by_service }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.judged.is_empty()
    }

    /// The policy that applies to a Service port. Gateway API: a policy for the port's name is more specific
    /// than one for the Service; of two alike "the older policy by creation timestamp takes precedence", then
    /// the first by name.
    fn effective(&self, namespace: &str, service: &str, port_name: &str) -> Option<usize> {
        let targets = self.by_service.get(&(namespace, service))?;
        let first = |section| targets.iter().find(|target| target.section == section);
        first(Some(port_name)).or_else(|| first(None)).map(|target| target.policy)
    }

    /// TLS to a Service port, if a policy asks for it.
    pub(crate) fn tls(&self, service: &Service, port_name: &str) -> Result<Option<BackendTls>, Problem> {
        let effective = self.effective(service.namespace(), service.name(), port_name);
        let Some(judged) = effective.and_then(|index| self.judged.get(index)) else { return Ok(None) };
        match &judged.tls {
            Some(tls) => Ok(Some(tls.clone())),
            None => Err(Problem::unresolved(
                reason::INVALID_BACKEND_TLS_POLICY,
                format!(
                    "BackendTLSPolicy {}/{} for Service {}/{} cannot be followed: see its status",
                    judged.policy.namespace(),
                    judged.policy.name(),
                    service.namespace(),
                    service.name()
                ),
            )),
        }
    }

    /// Notes that requests of an ancestor reach a Service port (`None`: a Service or port that does not
    /// exist).
    pub(crate) fn reached(
        &self,
        ancestor: &Ancestor,
        (namespace, name): (&str, &str),
        service: Option<&Service>,
        port_name: Option<&str>,
        ancestors: &mut Ancestors,
    ) {
        let targets = self.by_service.get(&(namespace, name)).map(Vec::as_slice).unwrap_or_default();
        for target in targets {
            let is_port = |section: &str| ports(service).any(|port| port == section);
            let relation = match (service, target.section) {
                (None, _) => Relation::TargetNotFound,
                (Some(_), Some(section)) if !is_port(section) => Relation::TargetNotFound,
                (Some(_), Some(section)) if port_name != Some(section) => continue,
                // A policy for the port's name that is more specific is no conflict: this one still stands
                // for the other ports.
                (Some(_), section) => match targets.iter().find(|rival| rival.section == section) {
                    Some(winner) if winner.policy != target.policy => Relation::Loses(winner.policy),
                    _ => Relation::Applies,
                },
            };
            let entry = ancestors.by_policy.entry(target.policy).or_default();
            let relation = entry.get(ancestor).map_or(relation, |old| relation.min(*old));
            entry.insert(ancestor.clone(), relation);
        }
    }

    /// Writes the status of every policy.
    pub(crate) fn statuses(&self, ancestors: &Ancestors, out: &mut Output) {
        for (index, judged) in self.judged.iter().enumerate() {
            let ancestors = ancestors.by_policy.get(&index).into_iter().flatten().take(MAX_ANCESTORS);
            let ancestors = ancestors.map(|(ancestor, relation)| AncestorStatus {
                ancestor_ref: ancestor_ref(ancestor),
                controller_name: CONTROLLER_NAME,
                conditions: self.conditions(judged, *relation),
            });
            let key =
                ObjectKey::new(ObjectKind::BackendTlsPolicy, judged.policy.namespace(), judged.policy.name());
            let status = Status::Policy(PolicyStatus { ancestors: ancestors.collect() });
            out.statuses.push((key, Arc::new(status)));
        }
    }

    fn conditions(&self, judged: &Judged<'_>, relation: Relation) -> Vec<Condition> {
        let generation = judged.policy.metadata.generation;
        let refused = |reason, message: String| {
            Condition::new(condition_type::ACCEPTED, ConditionStatus::False, reason, message, generation)
        };
        let accepted = match relation {
            Relation::TargetNotFound => refused(
                reason::TARGET_NOT_FOUND,
                "targetRefs: the Service, or its port of that name, does not exist.".to_owned(),
            ),
            Relation::Loses(winner) => {
                let winner = self.judged.get(winner).map(|winner| winner.policy);
                let name = winner.map_or_else(String::new, |w| format!("{}/{}", w.namespace(), w.name()));
                let message =
                    format!("BackendTLSPolicy {name} has the same target and is older, or first by name.");
                refused(reason::CONFLICTED, message)
            }
            Relation::Applies => Condition::judge(
                condition_type::ACCEPTED,
                &judged.problems,
                reason::ACCEPTED,
                "The policy is followed.",
                generation,
            ),
        };
        let resolved = Condition::judge(
            condition_type::RESOLVED_REFS,
            &judged.problems,
            reason::RESOLVED_REFS,
            "All references are resolved.",
            generation,
        );
        vec![accepted, resolved]
    }
}

fn ports(service: Option<&Service>) -> impl Iterator<Item = &str> {
    let ports = service.and_then(|service| service.spec.as_ref()).and_then(|spec| spec.ports.as_ref());
    ports.into_iter().flatten().map(|port| port.name.as_deref().unwrap_or_default())
}

fn ancestor_ref((kind, namespace, name): &Ancestor) -> ParentRef {
    let group = if *kind == ObjectKind::Service { "" } else { super::reference_grant::GATEWAY_GROUP };
    ParentRef {
        group: Some(group.to_owned()),
        kind: Some(kind.as_str().to_owned()),
        namespace: Some(namespace.to_string()),
        name: name.to_string(),
        ..ParentRef::default()
    }
}

/// Judges a policy alone.
fn judge<'a>(policy: &'a BackendTlsPolicy, config_maps: &Objects<ConfigMap>) -> Judged<'a> {
    let mut problems = Vec::new();
    let mut invalid = |message: String| problems.push(Problem::accepted(reason::INVALID, message));
    let validation = &policy.spec.validation;
    for option in policy.spec.options.iter().flatten().map(|(key, _)| key).collect::<BTreeSet<_>>() {
        invalid(format!("options: {option:?} is not supported: remove it"));
    }
    let mut subject_alt_names = Vec::new();
    for (index, name) in validation.subject_alt_names.iter().flatten().enumerate() {
        match alt_name(name) {
            Ok(name) => subject_alt_names.push(name),
            Err(problem) => invalid(format!("validation.subjectAltNames[{index}].{problem}")),
        }
    }
    if let Some(problem) = hostname::precise_problem(&validation.hostname) {
        invalid(format!("validation.hostname: {problem}"));
    }
    let refs = validation.ca_certificate_refs.as_deref().unwrap_or_default();
    let well_known = validation.well_known_ca_certificates.as_deref().filter(|name| !name.is_empty());
    let ca = match (refs, well_known) {
        ([], None) => {
            invalid("validation: needs caCertificateRefs or wellKnownCACertificates".to_owned());
            None
        }
        ([], Some("System")) => Some(TrustedCa::System),
        ([], Some(other)) => {
            invalid(format!("validation.wellKnownCACertificates: {other:?} is not supported: use System"));
            None
        }
        (_, Some(_)) => {
            invalid(
                "validation: has both caCertificateRefs and wellKnownCACertificates: keep one".to_owned(),
            );
            None
        }
        (_, None) => bundle(policy, config_maps, &mut problems).map(TrustedCa::Pem),
    };
    let is_accepted = problems.iter().all(|problem| problem.condition != condition_type::ACCEPTED);
    let tls = ca.filter(|_| is_accepted).map(|ca| BackendTls {
        hostname: validation.hostname.clone(),
        subject_alt_names,
        ca,
    });
    Judged { policy, problems, tls }
}

/// A name the backend's certificate may hold.
fn alt_name(name: &AltName) -> Result<SubjectAltName, String> {
    match name.r#type {
        AltNameType::Hostname => {
            let hostname = name.hostname.as_deref().unwrap_or_default();
            match hostname::wildcard_problem(hostname) {
                Some(problem) => Err(format!("hostname: {problem}")),
                None => Ok(SubjectAltName::Hostname(hostname.to_owned())),
            }
        }
        AltNameType::Uri => match name.uri.as_deref() {
            Some(uri)
                if uri
                    .split_once(':')
                    .is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty()) =>
            {
                Ok(SubjectAltName::Uri(uri.to_owned()))
            }
            other => Err(format!(
                "uri: {:?} is not a URI: write one with its scheme, such as spiffe://example.com/cart",
                other.unwrap_or_default()
            )),
        },
    }
}

/// The certificates of every reference that is valid; `None` when none is. Gateway API: "If ALL
/// CACertificateRefs are invalid, the implementation MUST also ensure the `Accepted` Condition on the
/// BackendTLSPolicy is set to `status: False`, with a Reason `NoValidCACertificate`."
fn bundle(
    policy: &BackendTlsPolicy,
    config_maps: &Objects<ConfigMap>,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    let mut pem = String::new();
    for (index, reference) in policy.spec.validation.ca_certificate_refs.iter().flatten().enumerate() {
        let place = format!("validation.caCertificateRefs[{index}]: ");
        if !reference.group.is_empty() || reference.kind != "ConfigMap" {
            let message = format!(
                "{place}kind {} of group {:?} is not supported: refer to a ConfigMap (group \"\")",
                reference.kind, reference.group
            );
            problems.push(Problem::unresolved(reason::INVALID_KIND, message));
            continue;
        }
        match ca_certificate(config_maps.get(policy.namespace(), &reference.name)) {
            Ok(certificate) => {
                pem.push_str(certificate.trim_end());
                pem.push('\n');
            }
            Err(problem) => {
                let message = format!("{place}ConfigMap {}/{} {problem}", policy.namespace(), reference.name);
                problems.push(Problem::unresolved(reason::INVALID_CA_CERTIFICATE_REF, message));
            }
        }
    }
    if pem.is_empty() {
        problems.push(Problem::accepted(
            reason::NO_VALID_CA_CERTIFICATE,
            "validation.caCertificateRefs: none of them is valid",
        ));
        return None;
    }
    Some(pem)
}
