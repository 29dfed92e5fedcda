//! The semantics of `docs/authorization.md` as they are written there: one rule after the other, one field after the other.

use std::net::IpAddr;

use fairway_policies::authorization::{
    Action, Authorization, Certificates, ClaimCondition, HeaderCondition, PathCondition, PathType, Principal,
    Rule, ServiceAccount, ValueType,
};
use fairway_policies::caller::{Assurance, PeerName, Workload};
use fairway_policies::mode::Mode;
use fairway_policies::{Cidr, CidrSet, Context, Request};
use serde_json::Value;

/// What became of a request: the reason of its refusal, and the reason it would have been refused for.
pub(crate) type Decision = (Option<&'static str>, Option<&'static str>);

pub(crate) fn decide(policy: &Authorization, req: &Request, ctx: &Context) -> Decision {
    let enforced: Vec<&Rule> = policy.rules.iter().filter(|rule| rule.mode == Mode::Enforce).collect();
    let all: Vec<&Rule> = policy.rules.iter().collect();
    let refused = outcome(policy.default_action, &enforced, req, ctx);
    let would = if refused.is_none() && enforced.len() < all.len() {
        outcome(policy.default_action, &all, req, ctx)
    } else {
        None
    };
    (refused, would)
}

fn outcome(default: Action, rules: &[&Rule], req: &Request, ctx: &Context) -> Option<&'static str> {
    let outcomes = |action| {
        let of = rules.iter().filter(move |rule| rule.action == action);
        of.map(|rule| matches(rule, req, ctx)).collect::<Vec<_>>()
    };
    let (deny, allow) = (outcomes(Action::Deny), outcomes(Action::Allow));
    // The reason is that of the first Deny rule that refuses; those without a condition are looked at first.
    if deny.iter().any(|outcome| *outcome != Some(false)) {
        let plain = rules
            .iter()
            .any(|r| r.action == Action::Deny && r.when.is_none() && matches(r, req, ctx) == Some(true));
        let first = deny.iter().find(|outcome| **outcome != Some(false));
        return Some(if plain || first == Some(&Some(true)) { "authz_denied" } else { "authz_cel_error" });
    }
    if allow.contains(&Some(true)) {
        return None;
    }
    if allow.contains(&None) {
        return Some("authz_cel_error");
    }
    (default == Action::Deny || !allow.is_empty()).then_some("authz_default")
}

/// `None`: its condition fails.
fn matches(rule: &Rule, req: &Request, ctx: &Context) -> Option<bool> {
    let is_allow = rule.action == Action::Allow;
    let mut conditions = Conditions { is_allow, all: Vec::new() };
    if let Some(principal) = &rule.principal {
        conditions.principal(principal, req, ctx);
    }
    if let Some(operation) = &rule.operation {
        let method = req.method.as_str();
        conditions.one(&operation.methods, Some(method), |m, is| m == is);
        conditions.none(&operation.not_methods, Some(method), |m, is| m == is);
        let readings = readings(req.uri.path());
        conditions.each(&operation.paths, &readings, |path, is| path_suits(path, is));
        conditions.no(&operation.not_paths, &readings, |path, is| path_suits(path, is));
        let host = req.headers.get("host").and_then(|host| host.to_str().ok());
        let host = host.map(|host| host.to_lowercase().trim_end_matches('.').to_owned());
        conditions.one(&operation.hosts, host.clone(), |host, is| host_suits(host, &is));
        conditions.none(&operation.not_hosts, host, |host, is| host_suits(host, &is));
        for header in operation.headers.iter().flatten() {
            conditions.header(header, req);
        }
    }
    if !conditions.all.iter().all(|condition| *condition) {
        return Some(false);
    }
    match rule.when.as_deref() {
        None | Some("true") => Some(true),
        Some("false") => Some(false),
        Some("request.headers['x-a'] == 'a'") => {
            let lines: Vec<_> = req.headers.get_all("x-a").iter().collect();
            if let [line] = lines[..] { Some(line == "a") } else { None }
        }
        Some(other) => panic!("{other} is not known here"),
    }
}

struct Conditions {
    is_allow: bool,
    all: Vec<bool>,
}

impl Conditions {
    /// What is not known suits a Deny rule only.
    fn say(&mut self, suits: Option<bool>) {
        self.all.push(suits.unwrap_or(!self.is_allow));
    }

    fn one<E, V: Clone>(&mut self, list: &Option<Vec<E>>, value: Option<V>, suits: impl Fn(&E, V) -> bool) {
        if let Some(list) = list {
            self.say(value.map(|value| list.iter().any(|entry| suits(entry, value.clone()))));
        }
    }

    fn none<E, V: Clone>(&mut self, list: &Option<Vec<E>>, value: Option<V>, suits: impl Fn(&E, V) -> bool) {
        if let Some(list) = list {
            self.say(value.map(|value| !list.iter().any(|entry| suits(entry, value.clone()))));
        }
    }

    /// Every value is to suit an Allow rule, one a Deny rule.
    fn each<E, V>(&mut self, list: &Option<Vec<E>>, values: &[V], suits: impl Fn(&E, &V) -> bool) {
        if let Some(list) = list {
            let mut found = values.iter().map(|value| list.iter().any(|entry| suits(entry, value)));
            let suits = if self.is_allow { found.all(|suits| suits) } else { found.any(|suits| suits) };
            self.say(Some(suits));
        }
    }

    fn no<E, V>(&mut self, list: &Option<Vec<E>>, values: &[V], suits: impl Fn(&E, &V) -> bool) {
        if let Some(list) = list {
            let mut found = values.iter().map(|value| !list.iter().any(|entry| suits(entry, value)));
            let suits = if self.is_allow { found.all(|suits| suits) } else { found.any(|suits| suits) };
            self.say(Some(suits));
        }
    }

    fn header(&mut self, header: &HeaderCondition, req: &Request) {
        let lines: Vec<&[u8]> =
            req.headers.get_all(&header.name).iter().map(|value| value.as_bytes()).collect();
        let suits = |value: &String, line: &&[u8]| value.as_bytes() == *line;
        if lines.is_empty() {
            if header.values.is_some() {
                self.say(Some(false));
            }
            if header.not_values.is_some() {
                self.say(Some(!self.is_allow));
            }
            return;
        }
        self.each(&header.values, &lines, suits);
        self.no(&header.not_values, &lines, suits);
    }

    fn principal(&mut self, p: &Principal, req: &Request, ctx: &Context) {
        let caller = &ctx.caller;
        let peer = caller.peer.as_deref();
        let in_range =
            |range: &String, ip: IpAddr| CidrSet::from_iter([range.parse::<Cidr>().unwrap()]).contains(ip);
        self.one(&p.client_cidrs, ctx.client, in_range);
        self.none(&p.not_client_cidrs, ctx.client, in_range);

        let workload = peer.and_then(|peer| peer.workload.as_ref());
        let least = p.min_assurance.unwrap_or(Assurance::Network);
        let workload = workload.filter(|workload| workload.assurance >= least);
        if p.min_assurance.is_some() {
            self.say(workload.map(|_| true));
        }
        let account = |account: &ServiceAccount, is: &Workload| {
            account.namespace == is.namespace && (account.name == "*" || account.name == is.service_account)
        };
        self.one(&p.service_accounts, workload, account);
        self.none(&p.not_service_accounts, workload, account);
        self.one(&p.namespaces, workload, |namespace, is| *namespace == is.namespace);
        self.none(&p.not_namespaces, workload, |namespace, is| *namespace == is.namespace);

        let certified = peer.filter(|peer| peer.digests.is_some());
        let uris: Vec<&str> = certified
            .iter()
            .flat_map(|peer| &peer.names)
            .filter_map(|name| if let PeerName::Uri(uri) = name { Some(uri.as_str()) } else { None })
            .collect();
        let id = if let [id] = uris[..] { Some(id).filter(|id| id.starts_with("spiffe://")) } else { None };
        let below = |pattern: &String, id: &str| match pattern.strip_suffix('*') {
            Some(below) => id.starts_with(below),
            None => pattern == id,
        };
        self.one(&p.spiffe, id, below);
        self.none(&p.not_spiffe, id, below);
        let names: Option<Vec<&str>> = certified.map(|peer| {
            let dns = peer.names.iter();
            dns.filter_map(|name| if let PeerName::Dns(name) = name { Some(name.as_str()) } else { None })
                .collect()
        });
        let digest = certified.and_then(|peer| peer.digests).map(|(certificate, _)| certificate);
        let named = |name: &String, names: Vec<&str>| names.contains(&name.as_str());
        let hex = |digest: [u8; 32]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let nothing = Certificates::default();
        let (is, is_not) =
            (p.certificates.as_ref().unwrap_or(&nothing), p.not_certificates.as_ref().unwrap_or(&nothing));
        self.one(&is.dns_names, names.clone(), named);
        self.none(&is_not.dns_names, names, named);
        self.one(&is.certificate_hashes, digest, |text, digest| *text == hex(digest));
        self.none(&is_not.certificate_hashes, digest, |text, digest| *text == hex(digest));

        self.one(&p.api_clients, caller.api_client.as_deref(), |name, is| name == is);
        self.none(&p.not_api_clients, caller.api_client.as_deref(), |name, is| name == is);
        self.one(&p.users, caller.user.as_deref(), |name, is| name == is);
        self.none(&p.not_users, caller.user.as_deref(), |name, is| name == is);
        for header in p.headers.iter().flatten() {
            self.header(header, req);
        }
        if let Some(jwt) = &p.jwt {
            let token = caller.tokens.iter().find(|token| *token.provider == *jwt.provider);
            self.say(token.map(|_| true));
            let Some(token) = token else { return };
            for claim in jwt.claims.iter().flatten() {
                self.claim(claim, token.claims.get(&claim.name));
            }
            let has: Vec<&str> =
                token.claims.get("scope").and_then(Value::as_str).unwrap_or_default().split(' ').collect();
            self.say(Some(jwt.scopes.iter().flatten().all(|scope| has.contains(&scope.as_str()))));
        }
    }

    fn claim(&mut self, claim: &ClaimCondition, value: Option<&Value>) {
        let Some(value) = value else {
            if claim.values.is_some() {
                self.say(Some(false));
            }
            if claim.not_values.is_some() {
                self.say(Some(!self.is_allow));
            }
            return;
        };
        let strings: Option<Vec<String>> = match (claim.value_type, value) {
            (ValueType::String | ValueType::StringArray, Value::String(text)) => Some(vec![text.clone()]),
            (ValueType::StringArray, Value::Array(list)) => {
                list.iter().map(|element| element.as_str().map(str::to_owned)).collect()
            }
            (ValueType::Integer, Value::Number(number)) if !number.is_f64() => Some(vec![number.to_string()]),
            (ValueType::Boolean, Value::Bool(is)) => Some(vec![is.to_string()]),
            _ => None,
        };
        let suits = |value: &String, is: Vec<String>| is.contains(value);
        self.one(&claim.values, strings.clone(), suits);
        self.none(&claim.not_values, strings, suits);
    }
}

/// What a path may be read as: decoded segments, with slashes that are escaped as text, and as slashes.
fn readings(path: &str) -> Vec<Vec<String>> {
    let decode = |segment: &str| {
        let mut out = String::new();
        let mut rest = segment;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            let byte = u8::from_str_radix(&rest[at + 1..at + 3], 16).unwrap();
            match byte {
                b'/' | b'\\' | b'%' => out.push_str(&format!("%{byte:02X}")),
                byte => out.push(byte.into()),
            }
            rest = &rest[at + 3..];
        }
        out + rest
    };
    let split = |path: &str| -> Vec<String> { path.split('/').skip(1).map(decode).collect() };
    let plain = split(path);
    let mut readings = vec![plain.clone()];
    let joined = plain.join("/");
    let slashed = joined.replace("%2F", "/").replace("%5C", "/");
    if slashed != joined {
        let mut segments: Vec<String> = Vec::new();
        let mut ends_open = false;
        for segment in slashed.split('/') {
            ends_open = ["", ".", ".."].contains(&segment);
            match segment {
                "" | "." => {}
                ".." => {
                    segments.pop();
                }
                segment => segments.push(segment.to_owned()),
            }
        }
        if ends_open {
            segments.push(String::new());
        }
        readings.push(segments);
    }
    readings
}

fn path_suits(wanted: &PathCondition, is: &[String]) -> bool {
    let wanted_segments: Vec<&str> = wanted.value.trim_end_matches('/').split('/').skip(1).collect();
    match wanted.kind {
        PathType::Exact => wanted.value == format!("/{}", is.join("/")),
        PathType::PathPrefix => {
            wanted_segments.len() <= is.len()
                && wanted_segments.iter().zip(is).all(|(wanted, is)| wanted == is)
        }
        PathType::Template => {
            let (wanted, is_open) = match wanted_segments.split_last() {
                Some((&"**", before)) => (before, true),
                _ => (&wanted_segments[..], false),
            };
            let suits = |(wanted, is): (&&str, &String)| {
                if wanted.starts_with('{') { !is.is_empty() } else { wanted == is }
            };
            (wanted.len() == is.len() || is_open && wanted.len() < is.len())
                && wanted.iter().zip(is).all(suits)
        }
    }
}

fn host_suits(wanted: &str, is: &str) -> bool {
    match wanted.strip_prefix('*') {
        Some(suffix) => is.len() > suffix.len() && is.ends_with(suffix),
        None => wanted == is,
    }
}
