//! BackendTLSPolicies: which applies to a Service port, and what we say of each.
//!
//! A policy that cannot be followed still applies: its backends fail, because falling back to plain text is
//! what it was written against.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::{BackendTls, SubjectAltName, TrustedCa};
use gateway_api::backendtlspolicies::BackendTlsPolicyValidationSubjectAltNames as AltName;
use gateway_api::backendtlspolicies::BackendTlsPolicyValidationSubjectAltNamesType as AltNameType;
use rustc_hash::{FxHashMap, FxHashSet};

use super::hostname;
use super::output::Said;
use super::tls::ca_certificate;
use crate::api::{BackendTlsPolicy, ConfigMap, Service};
use crate::resources::{Named, ObjectKind, Objects, Resources};
use crate::status::{
    AncestorStatus, Condition, ConditionStatus, ParentRef, PolicyStatus, Problem, Status, condition_type,
    reason,
};
use crate::{CONTROLLER_NAME, ObjectKey};

/// Gateway API: "A maximum of 16 ancestors will be represented in this list."
const MAX_ANCESTORS: usize = 16;

/// Every BackendTLSPolicy, judged.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    judged: Vec<Judged>,
    /// By Service, oldest first.
    by_service: FxHashMap<ObjectKey, Vec<Target>>,
}

#[derive(Debug, Clone)]
struct Judged {
    policy: Arc<BackendTlsPolicy>,
    /// What it was judged with. Reading certificates costs more than all the rest.
    authorities: Vec<Option<Arc<ConfigMap>>>,
    problems: Vec<Problem>,
    /// `None`: it cannot be followed.
    tls: Option<BackendTls>,
}

#[derive(Debug)]
struct Target {
    /// Index into `judged`.
    policy: usize,
    section: Option<Box<str>>,
}

/// How a policy relates to an ancestor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Relation {
    Applies,
    /// Another policy, by index, has precedence.
    Loses(usize),
    TargetNotFound,
}

/// Through whom policies act.
#[derive(Debug, Default)]
pub(crate) struct Ancestors {
    by_policy: BTreeMap<usize, BTreeMap<Ancestor, Relation>>,
}

/// A Gateway or Service through which a policy acts: kind, namespace, name.
pub(crate) type Ancestor = (ObjectKind, Box<str>, Box<str>);

impl Policies {
    /// Judges those that changed; returns the Services they are about, or were. `None`: nothing changed.
    pub(crate) fn follow(
        &mut self,
        then: &Resources,
        now: &Resources,
        said: &mut Said,
    ) -> Option<FxHashSet<ObjectKey>> {
        let (before, policies) = (&then.backend_tls_policies, &now.backend_tls_policies);
        let is_idle = then.config_maps.changes(&now.config_maps).next().is_none()
            && before.changes(policies).next().is_none();
        if is_idle {
            return None;
        }
        for gone in before.changes(policies).filter_map(|(old, new)| old.filter(|_| new.is_none())) {
            let key = ObjectKey::new(ObjectKind::BackendTlsPolicy, gone.namespace(), gone.name());
            said.status(key, None);
        }
        let mut concerned = FxHashSet::default();
        let old: FxHashMap<*const BackendTlsPolicy, Judged> =
            self.judged.drain(..).map(|judged| (Arc::as_ptr(&judged.policy), judged)).collect();
        let mut kept: FxHashSet<*const BackendTlsPolicy> = FxHashSet::default();
        self.by_service.clear();
        for (index, policy) in policies.iter().enumerate() {
            let authorities = authorities(policy, &now.config_maps);
            let known = old.get(&Arc::as_ptr(policy)).filter(|known| same(&known.authorities, &authorities));
            if let Some(known) = known {
                kept.insert(Arc::as_ptr(policy));
                self.judged.push(known.clone());
            } else {
                concerned.extend(targets(policy).map(|(service, _)| service));
                self.judged.push(judge(policy, authorities, &now.config_maps));
            }
            for (service, section) in targets(policy) {
                let section = section.map(Into::into);
                self.by_service.entry(service).or_default().push(Target { policy: index, section });
            }
        }
        let gone = old.iter().filter(|(pointer, _)| !kept.contains(*pointer));
        concerned.extend(gone.flat_map(|(_, old)| targets(&old.policy).map(|(service, _)| service)));
        Some(concerned)
    }

    /// The indices of those that are about a Service.
    pub(crate) fn of(&self, service: &ObjectKey) -> impl Iterator<Item = usize> {
        self.by_service.get(service).into_iter().flatten().map(|target| target.policy)
    }

    /// The indices of all.
    pub(crate) fn all(&self) -> std::ops::Range<usize> {
        0..self.judged.len()
    }

    /// The Services that a policy is about.
    pub(crate) fn services(&self, index: usize) -> impl Iterator<Item = ObjectKey> {
        self.judged
            .get(index)
            .into_iter()
            .flat_map(|judged| targets(&judged.policy).map(|(service, _)| service))
    }

    /// The policy that applies to a Service port. Gateway API: a policy for the port's name is more specific
    /// than one for the Service; of two alike "the older policy by creation timestamp takes precedence", then
    /// the first by name.
    fn effective(&self, namespace: &str, service: &str, port_name: &str) -> Option<usize> {
        let targets = self.by_service.get(&ObjectKey::new(ObjectKind::Service, namespace, service))?;
        let first = |section| targets.iter().find(|target| target.section.as_deref() == section);
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
        let targets = self.by_service.get(&ObjectKey::new(ObjectKind::Service, namespace, name));
        let targets = targets.map(Vec::as_slice).unwrap_or_default();
        for target in targets {
            let is_port = |section: &str| ports(service).any(|port| port == section);
            let relation = match (service, target.section.as_deref()) {
                (None, _) => Relation::TargetNotFound,
                (Some(_), Some(section)) if !is_port(section) => Relation::TargetNotFound,
                (Some(_), Some(section)) if port_name != Some(section) => continue,
                // A policy for the port's name that is more specific is no conflict: this one still stands
                // for the other ports.
                (Some(_), section) => {
                    match targets.iter().find(|rival| rival.section.as_deref() == section) {
                        Some(winner) if winner.policy != target.policy => Relation::Loses(winner.policy),
                        _ => Relation::Applies,
                    }
                }
            };
            let entry = ancestors.by_policy.entry(target.policy).or_default();
            let relation = entry.get(ancestor).map_or(relation, |old| relation.min(*old));
            entry.insert(ancestor.clone(), relation);
        }
    }

    /// Writes the status of some policies.
    pub(crate) fn write(&self, wanted: &BTreeSet<usize>, ancestors: &Ancestors, said: &mut Said) {
        for (&index, judged) in wanted.iter().filter_map(|index| Some((index, self.judged.get(*index)?))) {
            let ancestors = ancestors.by_policy.get(&index).into_iter().flatten().take(MAX_ANCESTORS);
            let ancestors = ancestors.map(|(ancestor, relation)| AncestorStatus {
                ancestor_ref: ancestor_ref(ancestor),
                controller_name: CONTROLLER_NAME,
                conditions: self.conditions(judged, *relation),
            });
            let key =
                ObjectKey::new(ObjectKind::BackendTlsPolicy, judged.policy.namespace(), judged.policy.name());
            let status = Status::Policy(PolicyStatus { ancestors: ancestors.collect() });
            said.status(key, Some(Arc::new(status)));
        }
    }

    fn conditions(&self, judged: &Judged, relation: Relation) -> Vec<Condition> {
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
                let winner = self.judged.get(winner).map(|winner| &winner.policy);
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

/// The Services that a policy is about, each with the name of the port if it is about one.
fn targets(policy: &BackendTlsPolicy) -> impl Iterator<Item = (ObjectKey, Option<&str>)> {
    let targets = policy.spec.target_refs.iter();
    targets.filter(|target| target.group.is_empty() && target.kind == "Service").map(|target| {
        let section = target.section_name.as_deref().filter(|section| !section.is_empty());
        (ObjectKey::new(ObjectKind::Service, policy.namespace(), target.name.as_str()), section)
    })
}

/// The ConfigMaps that a policy names, if they exist.
fn authorities(policy: &BackendTlsPolicy, config_maps: &Objects<ConfigMap>) -> Vec<Option<Arc<ConfigMap>>> {
    let names = policy.spec.validation.ca_certificate_refs.iter().flatten();
    names.map(|reference| config_maps.get(policy.namespace(), &reference.name).cloned()).collect()
}

fn same(a: &[Option<Arc<ConfigMap>>], b: &[Option<Arc<ConfigMap>>]) -> bool {
    a.iter().map(|a| a.as_ref().map(Arc::as_ptr)).eq(b.iter().map(|b| b.as_ref().map(Arc::as_ptr)))
}

/// Judges a policy alone.
fn judge(
    policy: &Arc<BackendTlsPolicy>,
    authorities: Vec<Option<Arc<ConfigMap>>>,
    config_maps: &Objects<ConfigMap>,
) -> Judged {
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
    Judged { policy: Arc::clone(policy), authorities, problems, tls }
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
