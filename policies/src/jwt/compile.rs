//! From what a user writes to a filter.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use super::claims::{ClaimPath, Demands};
use super::extract::{self, Place};
use super::fields::{Field, Fields};
use super::filter::{JwtFilter, Source, Verifier};
use super::keys::KeySet;
use super::spec::{
    CACHE_DURATION, CLOCK_SKEW, FAILED_REFETCH, Jwt, LocalJwks, LocalJwksType, MAX_STALE, MOST_PROVIDERS,
    MOST_REVOKED, Provider, ProviderKind, RemoteJwks, Requirement, Revocation,
};
use crate::mode::Mode;
use crate::{Invalid, Lookup, ObjectRef};

const SKEW: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_hours(24);

pub(super) fn compile(jwt: &Jwt, lookup: &dyn Lookup) -> Result<JwtFilter, Invalid> {
    let Jwt { mode, requirement, optional, providers, revocation } = jwt;
    let is_optional = match (requirement, optional) {
        (Some(Requirement::Required), Some(true)) | (Some(Requirement::Optional), Some(false)) => {
            return Err(Invalid::field("optional", "says the contrary of requirement: keep one of them"));
        }
        (Some(Requirement::Optional), _) | (None, Some(true)) => true,
        (Some(Requirement::Required), _) | (None, Some(false) | None) => false,
    };
    if !(1..=MOST_PROVIDERS).contains(&providers.len()) {
        return Err(Invalid::field(
            "providers",
            format!("holds {}: give 1 to {MOST_PROVIDERS}", providers.len()),
        ));
    }
    let mut verifiers: Vec<Verifier> = Vec::with_capacity(providers.len());
    for (at, provider) in providers.iter().enumerate() {
        let field = format!("providers[{at}]");
        let verifier = verifier(&field, provider, lookup)?;
        for earlier in &verifiers {
            if earlier.name == verifier.name {
                return Err(Invalid::field(
                    format!("{field}.name"),
                    "is another provider's, too: use one name each",
                ));
            }
            let shares_place = verifier.places.iter().any(|place| earlier.places.contains(place));
            if shares_place && earlier.demands.issuer == verifier.demands.issuer {
                return Err(Invalid::field(
                    format!("{field}.issuer"),
                    format!(
                        "is that of {} too, and tokens are in the same place: make one provider of them",
                        earlier.name
                    ),
                ));
            }
        }
        verifiers.push(verifier);
    }
    check_headers(&verifiers)?;
    let filter = JwtFilter::new(*mode == Mode::Shadow, is_optional, verifiers, revoked(revocation, lookup)?);
    Ok(filter)
}

/// A field that is set is taken away first: a token in it would never be found.
fn check_headers(verifiers: &[Verifier]) -> Result<(), Invalid> {
    let read: Vec<_> = verifiers.iter().flat_map(|v| &v.places).filter_map(Place::header).collect();
    for (at, verifier) in verifiers.iter().enumerate() {
        for (index, name) in verifier.fields.names().enumerate() {
            let field = || format!("providers[{at}].claimToHeaders[{index}].header");
            if read.contains(&name) {
                return Err(Invalid::field(field(), format!("{name} is where tokens are: choose another")));
            }
            if verifier.fields.names().take(index).any(|earlier| earlier == name) {
                return Err(Invalid::field(field(), format!("{name} has a claim already: choose another")));
            }
        }
    }
    Ok(())
}

fn verifier(field: &str, provider: &Provider, lookup: &dyn Lookup) -> Result<Verifier, Invalid> {
    let within = |name: &str, text: &str, most: usize| {
        if (1..=most).contains(&text.len()) {
            return Ok(());
        }
        Err(Invalid::field(
            format!("{field}.{name}"),
            format!("is {} bytes long: use 1 to {most}", text.len()),
        ))
    };
    within("name", &provider.name, 253)?;
    within("issuer", &provider.issuer, 2048)?;
    for (at, audience) in provider.audiences.iter().enumerate() {
        within(&format!("audiences[{at}]"), audience, 2048)?;
    }
    let is_workload = provider.kind == ProviderKind::ServiceAccount;
    if !is_workload && provider.pod_binding.is_some() {
        return Err(Invalid::field(
            format!("{field}.podBinding"),
            "is about tokens of pods, and these are not: give type: ServiceAccount",
        ));
    }
    if is_workload && provider.audiences.is_empty() {
        return Err(Invalid::field(
            format!("{field}.audiences"),
            "is missing: a ServiceAccount's token for somebody else, such as the API server, must not be taken",
        ));
    }
    let skew = provider.clock_skew.unwrap_or(crate::Duration(SKEW));
    let skew = CLOCK_SKEW.check(&format!("{field}.clockSkew"), skew)?;
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let mut fields = Vec::with_capacity(provider.claim_to_headers.len());
    for (at, claim) in provider.claim_to_headers.iter().enumerate() {
        let field = format!("{field}.claimToHeaders[{at}]");
        if claim.claim.is_empty() || claim.claim.split('.').any(str::is_empty) {
            return Err(Invalid::field(
                format!("{field}.claim"),
                format!("{:?} is no claim: write names and dots, such as realm.roles", claim.claim),
            ));
        }
        let name = extract::field_name(&format!("{field}.header"), &claim.header)?;
        let written = claim.header.clone().into();
        fields.push(Field { name, written, claim: ClaimPath::new(&claim.claim) });
    }
    Ok(Verifier {
        name: provider.name.as_str().into(),
        demands: Demands {
            issuer: provider.issuer.as_str().into(),
            audiences: provider.audiences.iter().map(|one| one.as_str().into()).collect(),
            skew: seconds(skew),
            max_lifetime: provider.max_lifetime.map(|longest| seconds(longest.0)),
        },
        keys: source(field, provider, lookup)?,
        places: extract::compile(&format!("{field}.extractFrom"), provider.extract_from.as_ref())?.into(),
        fields: Arc::new(Fields::new(fields)),
        binding: is_workload.then(|| provider.pod_binding.unwrap_or_default()),
        strips: provider.strip_token,
    })
}

fn source(field: &str, provider: &Provider, lookup: &dyn Lookup) -> Result<Source, Invalid> {
    match (&provider.remote_jwks, &provider.local_jwks) {
        (Some(remote), None) => {
            check_remote(&format!("{field}.remoteJWKS"), remote)?;
            for backend in remote.backends() {
                lookup.backend(backend).ok_or_else(|| Invalid::BackendNotFound(backend.clone()))?;
            }
            Ok(Source::Remote(lookup.keys(remote)))
        }
        (None, Some(local)) => {
            let field = format!("{field}.localJWKS");
            let bytes = local_set(&field, local, lookup)?;
            let set = KeySet::parse(&bytes).map_err(|bad| Invalid::field(field, bad.to_string()))?;
            Ok(Source::Local(set))
        }
        (Some(_), Some(_)) => {
            Err(Invalid::field(format!("{field}.localJWKS"), "stands beside remoteJWKS: keep one of them"))
        }
        (None, None) => Err(Invalid::field(
            format!("{field}.remoteJWKS"),
            "is missing, and so is localJWKS: give one of them",
        )),
    }
}

impl RemoteJwks {
    /// Who is asked, in this order; none: who the host of `uri` resolves to.
    pub fn backends(&self) -> impl Iterator<Item = &crate::BackendRef> {
        self.backend_ref.iter().chain(&self.backend_refs)
    }

    /// The same with namespaces, as a policy of `namespace` means it.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        let backend_refs = self.backends().map(|backend| backend.within(namespace)).collect();
        Self { backend_ref: None, backend_refs, ..self.clone() }
    }

    /// How long keys are used before they are fetched again.
    #[must_use]
    pub fn cached(&self) -> Duration {
        self.cache_duration.map_or(Duration::from_secs(300), |duration| duration.0)
    }

    /// How long to wait after a fetch that failed.
    #[must_use]
    pub fn failed(&self) -> Duration {
        self.failed_refetch_duration.map_or(Duration::from_secs(1), |duration| duration.0)
    }

    /// How old the last good keys may get.
    #[must_use]
    pub fn stale(&self) -> Duration {
        self.max_stale.map_or(DAY, |duration| duration.0)
    }
}

fn check_remote(field: &str, remote: &RemoteJwks) -> Result<(), Invalid> {
    let has_backend = remote.backends().next().is_some();
    let uri = || format!("{field}.uri");
    let parsed: Uri = remote
        .uri
        .parse()
        .map_err(|_| Invalid::field(uri(), format!("{:?} is no URI: write https://host/path", remote.uri)))?;
    match parsed.scheme_str() {
        Some("https") => {}
        Some("http") if has_backend => {}
        _ => {
            let message = "is not https: keys that others can change on the way let anybody in; use https, or name a backendRef";
            return Err(Invalid::field(uri(), message));
        }
    }
    let authority = parsed.authority().map_or("", |authority| authority.as_str());
    if parsed.host().is_none_or(str::is_empty) || authority.contains('@') || remote.uri.contains('#') {
        return Err(Invalid::field(uri(), "has no host, or a user or fragment: write https://host/path"));
    }
    let host = parsed.host().unwrap_or_default();
    if !has_backend && (host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()) {
        let message =
            "has an address for a host, and certificates have names: write a name, or name a backendRef";
        return Err(Invalid::field(uri(), message));
    }
    if remote.backend_ref.is_some() && !remote.backend_refs.is_empty() {
        return Err(Invalid::field(
            format!("{field}.backendRef"),
            "stands beside backendRefs: keep the list",
        ));
    }
    if remote.backend_refs.len() > 4 {
        return Err(Invalid::field(format!("{field}.backendRefs"), "names more than 4: keep up to 4"));
    }
    for (name, bounds, asked) in [
        ("cacheDuration", CACHE_DURATION, remote.cached()),
        ("failedRefetchDuration", FAILED_REFETCH, remote.failed()),
        ("maxStale", MAX_STALE, remote.stale()),
    ] {
        bounds.check(&format!("{field}.{name}"), crate::Duration(asked))?;
    }
    Ok(())
}

fn local_set(field: &str, local: &LocalJwks, lookup: &dyn Lookup) -> Result<bytes::Bytes, Invalid> {
    match (local.kind, &local.inline, &local.value_ref) {
        (None | Some(LocalJwksType::Inline), Some(inline), None) if local.key.is_none() => {
            Ok(inline.clone().into())
        }
        (None | Some(LocalJwksType::ValueRef), None, Some(object)) => {
            let material = material(object, lookup)?;
            let named = local.key.as_deref();
            let only = || material.0.values().next().filter(|_| named.is_none() && material.0.len() == 1);
            let found = material.0.get(named.unwrap_or("jwks")).or_else(only).cloned();
            found.ok_or_else(|| {
                Invalid::field(
                    field,
                    format!(
                        "{object} has no key {:?}: name the one that holds the set",
                        named.unwrap_or("jwks")
                    ),
                )
            })
        }
        _ => Err(Invalid::field(field, "needs either inline (alone) or valueRef, as type says")),
    }
}

fn material(object: &ObjectRef, lookup: &dyn Lookup) -> Result<Arc<crate::Material>, Invalid> {
    lookup.material(object).ok_or_else(|| Invalid::ObjectNotFound(object.clone()))
}

fn revoked(lists: &[Revocation], lookup: &dyn Lookup) -> Result<HashSet<Box<str>>, Invalid> {
    let mut revoked = HashSet::new();
    for (at, Revocation { jtis, value_ref, key }) in lists.iter().enumerate() {
        let field = format!("revocation[{at}]");
        revoked.extend(jtis.iter().map(|jti| Box::from(jti.as_str())));
        let Some(object) = value_ref else {
            if key.is_some() {
                return Err(Invalid::field(format!("{field}.key"), "needs a valueRef"));
            }
            continue;
        };
        let material = material(object, lookup)?;
        if let Some(key) = key.as_ref().filter(|key| !material.0.contains_key(*key)) {
            return Err(Invalid::field(format!("{field}.key"), format!("{object} has no key {key:?}")));
        }
        for (name, list) in &material.0 {
            if key.as_ref().is_none_or(|key| key == name) {
                let list = std::str::from_utf8(list).map_err(|_| {
                    Invalid::field(&field, format!("{name:?} in {object} is not text: list jti, one a line"))
                })?;
                let lines = list.lines().map(str::trim).filter(|line| !line.is_empty());
                revoked.extend(lines.map(Box::from));
            }
        }
    }
    if revoked.len() > MOST_REVOKED {
        let message =
            format!("lists {} tokens; at most {MOST_REVOKED}: shorten their lifetime", revoked.len());
        return Err(Invalid::field("revocation", message));
    }
    Ok(revoked)
}
