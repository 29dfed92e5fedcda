//! From what a user writes to what a request is held to.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::HeaderName;

use super::bits::Bits;
use super::claims::{ClaimPath, ClaimTable, Provider, Scopes};
use super::digest::{self, Digest};
use super::facts::{Account, CertificateFacts, Facts, HostPattern, MinAssurance, SpiffePattern};
use super::path::Pattern;
use super::spec::{
    Action, Certificates, HeaderCondition, JwtPrincipal, Operation, Principal, Rule, ValueType,
};
use super::table::{Condition, Fact};
use super::values::{Text, account, host, kubernetes_name, method, spiffe, text};
use crate::Invalid;
use crate::caller::Assurance;
use crate::cidr::Cidr;

/// Entries a list may have.
const LONGEST_LIST: usize = 256;

/// What rules want a fact to be, and what they want it not to be.
#[derive(Debug)]
struct Asked<K> {
    is: Vec<(K, usize)>,
    is_not: Vec<(K, usize)>,
}

impl<K> Default for Asked<K> {
    fn default() -> Self {
        Self { is: Vec::new(), is_not: Vec::new() }
    }
}

impl<K> Asked<K> {
    /// `rule` asks for what `read` makes of the entries of these lists.
    fn add<E>(
        &mut self,
        rule: usize,
        (is, is_not): (&Option<Vec<E>>, &Option<Vec<E>>),
        (field, not_field): (&str, &str),
        read: impl Fn(&E, &str) -> Result<K, Invalid>,
    ) -> Result<(), Invalid> {
        for (values, field, asked) in [(is, field, &mut self.is), (is_not, not_field, &mut self.is_not)] {
            for (at, value) in list(values, field)?.iter().enumerate() {
                asked.push((read(value, &format!("{field}[{at}]"))?, rule));
            }
        }
        Ok(())
    }

    fn compile<T: FromIterator<(K, Bits)>>(self) -> Fact<T> {
        let condition = |asked: Vec<(K, usize)>, is_negated| {
            let asking: Bits = asked.iter().map(|(_, rule)| *rule).collect();
            let table = asked.into_iter().map(|(value, rule)| (value, Bits::from_iter([rule]))).collect();
            (!asking.is_empty()).then(|| Condition::new(asking, is_negated, table))
        };
        Fact::new([condition(self.is, false), condition(self.is_not, true)])
    }
}

/// A list that is not there is empty; one that is there must not be.
fn list<'a, E>(values: &'a Option<Vec<E>>, field: &str) -> Result<&'a [E], Invalid> {
    match values.as_deref() {
        Some([]) => Err(Invalid::field(field, "is empty: name at least one, or leave it out")),
        Some(values) if values.len() > LONGEST_LIST => Err(Invalid::field(
            field,
            format!("has {} entries: at most {LONGEST_LIST} are taken", values.len()),
        )),
        values => Ok(values.unwrap_or_default()),
    }
}

/// Claims by path, type, whether they are excluded, and how many of the same their rule has before them.
type AskedClaims = BTreeMap<(String, ValueType, bool, usize), Vec<(String, usize, String)>>;

#[derive(Debug, Default)]
struct AskedTokens {
    rules: Bits,
    claims: AskedClaims,
    scopes: BTreeMap<String, Bits>,
}

/// What rules ask for, as they are read.
#[derive(Debug, Default)]
pub(super) struct Reader {
    methods: Asked<Text>,
    paths: Asked<Pattern>,
    grpc: Asked<Pattern>,
    hosts: Asked<HostPattern>,
    addresses: Asked<Cidr>,
    accounts: Asked<Account>,
    namespaces: Asked<Text>,
    spiffe: Asked<SpiffePattern>,
    dns: Asked<Text>,
    uris: Asked<Text>,
    emails: Asked<Text>,
    ips: Asked<IpAddr>,
    keys: Asked<Digest>,
    digests: Asked<Digest>,
    api_clients: Asked<Text>,
    users: Asked<Text>,
    /// By name, and how many of the same name their rule has before them.
    headers: BTreeMap<(String, usize), Asked<Text>>,
    tokens: BTreeMap<String, AskedTokens>,
    min_assurance: MinAssurance,
}

impl Reader {
    /// Reads a rule, but for its `when`.
    pub(super) fn read(&mut self, at: usize, rule: &Rule) -> Result<(), Invalid> {
        let field = format!("rules[{at}]");
        if let Some(principal) = &rule.principal {
            self.principal(at, rule.action, principal, &format!("{field}.principal"))?;
        }
        if let Some(operation) = &rule.operation {
            self.operation(at, operation, &format!("{field}.operation"))?;
        }
        let headers = [
            ("principal", rule.principal.as_ref().and_then(|principal| principal.headers.as_ref())),
            ("operation", rule.operation.as_ref().and_then(|operation| operation.headers.as_ref())),
        ];
        let mut before = BTreeMap::new();
        for (part, conditions) in headers {
            let field = format!("{field}.{part}.headers");
            if let Some([]) = conditions.map(Vec::as_slice) {
                return Err(Invalid::field(field, "is empty: name at least one, or leave it out"));
            }
            for (nth, condition) in conditions.into_iter().flatten().enumerate() {
                self.header(at, condition, &mut before, &format!("{field}[{nth}]"))?;
            }
        }
        Ok(())
    }

    fn principal(&mut self, at: usize, action: Action, p: &Principal, field: &str) -> Result<(), Invalid> {
        let of = |name: &str| {
            let mut not = format!("not{name}");
            let mut is = name.to_owned();
            if let Some(first) = is.get_mut(..1) {
                first.make_ascii_lowercase();
            }
            not.insert_str(0, &format!("{field}."));
            (format!("{field}.{is}"), not)
        };
        macro_rules! ask {
            ($table:ident, $is:ident, $not:ident, $name:literal, $read:expr) => {{
                let (is, not) = of($name);
                self.$table.add(at, (&p.$is, &p.$not), (&is, &not), $read)?;
            }};
        }
        ask!(addresses, client_cidrs, not_client_cidrs, "ClientCIDRs", |text: &String, field| {
            text.parse().map_err(|message: String| Invalid::field(field, message))
        });
        ask!(accounts, service_accounts, not_service_accounts, "ServiceAccounts", account);
        ask!(namespaces, namespaces, not_namespaces, "Namespaces", |text: &String, field| {
            kubernetes_name(text, field).map(Into::into)
        });
        ask!(spiffe, spiffe, not_spiffe, "Spiffe", spiffe);
        ask!(api_clients, api_clients, not_api_clients, "ApiClients", text);
        ask!(users, users, not_users, "Users", text);
        self.certificates(at, p, field)?;
        if let Some(jwt) = &p.jwt {
            self.jwt(at, action, jwt, &format!("{field}.jwt"))?;
        }
        if let Some(least) = p.min_assurance {
            let named = p.service_accounts.is_some() || p.namespaces.is_some();
            let excluded = p.not_service_accounts.is_some() || p.not_namespaces.is_some();
            if action == Action::Deny && !named && !excluded {
                return Err(Invalid::field(
                    format!("{field}.minAssurance"),
                    "says whom a Deny rule knows, and this one asks for nobody: it would refuse everybody; name namespaces or \
                     serviceAccounts, or write an Allow rule",
                ));
            }
            match least {
                Assurance::Network => self.min_assurance.network.insert(at),
                Assurance::Token => self.min_assurance.token.insert(at),
                Assurance::Certificate => self.min_assurance.certificate.insert(at),
            }
        }
        Ok(())
    }

    fn certificates(&mut self, at: usize, p: &Principal, field: &str) -> Result<(), Invalid> {
        let nothing = Certificates::default();
        for (name, given) in [("certificates", &p.certificates), ("notCertificates", &p.not_certificates)] {
            if given.as_ref() == Some(&nothing) {
                let message = "is empty: give names or digests, or leave it out";
                return Err(Invalid::field(format!("{field}.{name}"), message));
            }
        }
        let is = p.certificates.as_ref().unwrap_or(&nothing);
        let is_not = p.not_certificates.as_ref().unwrap_or(&nothing);
        macro_rules! ask {
            ($table:ident, $list:ident, $name:literal, $read:expr) => {
                self.$table.add(
                    at,
                    (&is.$list, &is_not.$list),
                    (
                        &format!("{field}.certificates.{}", $name),
                        &format!("{field}.notCertificates.{}", $name),
                    ),
                    $read,
                )?
            };
        }
        ask!(dns, dns_names, "dnsNames", |name: &String, field| text(&name.to_ascii_lowercase(), field));
        ask!(uris, uris, "uris", text);
        ask!(emails, email_addresses, "emailAddresses", text);
        ask!(ips, ip_addresses, "ipAddresses", |text: &String, field| {
            let read: Option<IpAddr> = text.parse().ok();
            let wrong = || format!("{text:?} is no address: write one such as 192.0.2.1 or 2001:db8::1");
            read.map(|ip| ip.to_canonical()).ok_or_else(|| Invalid::field(field, wrong()))
        });
        ask!(keys, spki_hashes, "spkiHashes", |text: &String, field| {
            let wrong =
                || format!("{text:?} is no SHA-256 in base64: write 44 characters, the last of them =");
            digest::base64(text).ok_or_else(|| Invalid::field(field, wrong()))
        });
        ask!(digests, certificate_hashes, "certificateHashes", |text: &String, field| {
            let wrong =
                || format!("{text:?} is no SHA-256: write 64 hexadecimal digits, with or without colons");
            digest::hex(text).ok_or_else(|| Invalid::field(field, wrong()))
        });
        Ok(())
    }

    fn operation(&mut self, at: usize, o: &Operation, field: &str) -> Result<(), Invalid> {
        let pair = |is: &str, not: &str| (format!("{field}.{is}"), format!("{field}.{not}"));
        let (is, not) = pair("methods", "notMethods");
        self.methods.add(at, (&o.methods, &o.not_methods), (&is, &not), method)?;
        let (is, not) = pair("paths", "notPaths");
        self.paths.add(at, (&o.paths, &o.not_paths), (&is, &not), |path, field| path.compile(field))?;
        let (is, not) = pair("hosts", "notHosts");
        self.hosts.add(at, (&o.hosts, &o.not_hosts), (&is, &not), host)?;
        let (is, not) = pair("grpc", "");
        self.grpc.add(at, (&o.grpc, &None), (&is, &not), |method, field| method.compile(field))
    }

    fn header(
        &mut self,
        at: usize,
        condition: &HeaderCondition,
        before: &mut BTreeMap<String, usize>,
        field: &str,
    ) -> Result<(), Invalid> {
        let wrong = |message: &str| {
            Invalid::field(format!("{field}.name"), format!("{:?} {message}", condition.name))
        };
        let name = HeaderName::from_bytes(condition.name.as_bytes())
            .map_err(|_| wrong("is no name of a header: use letters, digits and - (RFC 9110 token)"))?;
        if name == http::header::HOST {
            return Err(wrong("is not the same in all versions of HTTP: use operation.hosts"));
        }
        given(condition.values.is_some() || condition.not_values.is_some(), field)?;
        let nth = before.entry(name.as_str().to_owned()).or_default();
        let asked = self.headers.entry((name.as_str().to_owned(), *nth)).or_default();
        *nth += 1;
        let fields = (format!("{field}.values"), format!("{field}.notValues"));
        let read = |value: &String, field: &str| {
            let fits = http::HeaderValue::from_str(value).is_ok() && value.trim_matches([' ', '\t']) == value;
            let wrong = || {
                format!(
                    "{value:?} is no value a header can have: leave out white space around it and controls"
                )
            };
            fits.then(|| value.as_bytes().into()).ok_or_else(|| Invalid::field(field, wrong()))
        };
        asked.add(at, (&condition.values, &condition.not_values), (&fields.0, &fields.1), read)
    }

    fn jwt(&mut self, at: usize, action: Action, jwt: &JwtPrincipal, field: &str) -> Result<(), Invalid> {
        if jwt.provider.is_empty() {
            return Err(Invalid::field(format!("{field}.provider"), "is empty: name a provider of jwt"));
        }
        if action == Action::Deny && jwt.claims.is_none() && jwt.scopes.is_none() {
            return Err(Invalid::field(
                field,
                "asks for any token, which a Deny rule refuses whether it is there or not: name claims or scopes, or write an \
                 Allow rule",
            ));
        }
        let tokens = self.tokens.entry(jwt.provider.clone()).or_default();
        tokens.rules.insert(at);
        let mut before = BTreeMap::new();
        for (nth, claim) in list(&jwt.claims, &format!("{field}.claims"))?.iter().enumerate() {
            let field = format!("{field}.claims[{nth}]");
            ClaimPath::read(&claim.name, &format!("{field}.name"))?;
            given(claim.values.is_some() || claim.not_values.is_some(), &field)?;
            for (values, name, is_negated) in
                [(&claim.values, "values", false), (&claim.not_values, "notValues", true)]
            {
                let field = format!("{field}.{name}");
                let same = before.entry((&claim.name, claim.value_type, is_negated)).or_insert(0);
                let values = list(values, &field)?;
                if !values.is_empty() {
                    let kind = (claim.name.clone(), claim.value_type, is_negated, *same);
                    let asked = tokens.claims.entry(kind).or_default();
                    let values = values.iter().enumerate();
                    asked.extend(values.map(|(nth, value)| (value.clone(), at, format!("{field}[{nth}]"))));
                    *same += 1;
                }
            }
        }
        for (nth, scope) in list(&jwt.scopes, &format!("{field}.scopes"))?.iter().enumerate() {
            // RFC 6749 section 3.3: visible ASCII without quote and backslash.
            if scope.is_empty() || !scope.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
                let message = format!("{scope:?} is no scope: write one word such as orders:read");
                return Err(Invalid::field(format!("{field}.scopes[{nth}]"), message));
            }
            tokens.scopes.entry(scope.clone()).or_default().insert(at);
        }
        if tokens.scopes.len() > Scopes::MOST {
            let message = format!("the policy names more than {} scopes: split it", Scopes::MOST);
            return Err(Invalid::field(format!("{field}.scopes"), message));
        }
        Ok(())
    }

    pub(super) fn compile(self) -> Result<Facts, Invalid> {
        let mut headers = Vec::with_capacity(self.headers.len());
        for ((name, _), asked) in self.headers {
            // It was read from one.
            if let Ok(name) = HeaderName::try_from(name) {
                headers.push((name, asked.compile()));
            }
        }
        let providers: Result<_, _> =
            self.tokens.into_iter().map(|(name, tokens)| provider(name, tokens)).collect();
        Ok(Facts {
            methods: self.methods.compile(),
            paths: self.paths.compile(),
            grpc: self.grpc.compile(),
            hosts: self.hosts.compile(),
            addresses: self.addresses.compile(),
            accounts: self.accounts.compile(),
            namespaces: self.namespaces.compile(),
            min_assurance: self.min_assurance,
            certificates: CertificateFacts {
                spiffe: self.spiffe.compile(),
                dns: self.dns.compile(),
                uris: self.uris.compile(),
                emails: self.emails.compile(),
                ips: self.ips.compile(),
                keys: self.keys.compile(),
                digests: self.digests.compile(),
            },
            api_clients: self.api_clients.compile(),
            users: self.users.compile(),
            headers: headers.into(),
            providers: providers?,
        })
    }
}

fn provider(name: String, tokens: AskedTokens) -> Result<Provider, Invalid> {
    let mut claims = Vec::with_capacity(tokens.claims.len());
    for ((path, kind, is_negated, _), asked) in tokens.claims {
        let asking: Bits = asked.iter().map(|(_, rule, _)| *rule).collect();
        let values: Vec<(&str, Bits)> =
            asked.iter().map(|(value, rule, _)| (value.as_str(), Bits::from_iter([*rule]))).collect();
        let table = ClaimTable::new(kind, &values).map_err(|(at, wanted)| {
            let (value, field) = asked.get(at).map_or(("", ""), |(value, _, field)| (value, field));
            Invalid::field(field, format!("{value:?} is not of its valueType: write {wanted}"))
        })?;
        claims.push((ClaimPath::read(&path, "name")?, Condition::new(asking, is_negated, table)));
    }
    let scopes = tokens.scopes.into_iter().map(|(scope, rules)| (scope.into_boxed_str(), rules)).collect();
    Ok(Provider {
        name: name.into(),
        asking: tokens.rules,
        claims: claims.into(),
        scopes: Scopes::new(scopes),
    })
}

fn given(is_there: bool, field: &str) -> Result<(), Invalid> {
    let wrong = || Invalid::field(field, "says nothing: give values, notValues or both");
    is_there.then_some(()).ok_or_else(wrong)
}
