//! What the schema of a policy says beyond types: forms of text, bounds, and rules between fields, each at the type it is
//! about. The CRD is made of it, so that an API server refuses what proxies would, and names the field.
//!
//! What a reader would get wrong: it decides nothing. It refuses only what does not compile either; what it cannot say
//! cheaply, such as whether names differ without regard to case, is left to `compile`.

use schemars::Schema;
use schemars::transform::Transform;
use serde_json::{Value, json};

use crate::edits::RESERVED;
use crate::{Duration, Invalid};

/// Rules in CEL, as Kubernetes reads them (KEP-2876).
const RULES: &str = "x-kubernetes-validations";

/// A form that text has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    /// A regular expression of the whole text, as RE2 reads it.
    pub(crate) pattern: &'static str,
    /// Characters.
    pub(crate) longest: usize,
}

macro_rules! forms {
    ($( $(#[$doc:meta])* $name:ident: $longest:literal, $pattern:literal; )*) => {
        $( $(#[$doc])* pub(crate) const $name: Form = Form { pattern: $pattern, longest: $longest }; )*

        /// All there are, by name.
        #[cfg(test)]
        const FORMS: &[(&str, Form)] = &[$( (stringify!($name), $name) ),*];
    };
}

forms! {
    /// GEP-2257.
    DURATION_FORM: 28, "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
    /// RFC 9110 section 5.6.2.
    TOKEN: 256, "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";
    /// A token without `%` and `&`, which parameters of a query cannot have as they are.
    COOKIE: 128, "^[A-Za-z0-9!#$'*+.^_`|~-]+$";
    /// RFC 9110 section 5.5.
    FIELD_VALUE: 4096, r"^([^\x00-\x20\x7F]([^\x00-\x08\x0A-\x1F\x7F]*[^\x00-\x20\x7F])?)?$";
    /// Such as `Bearer `.
    VALUE_PREFIX: 64, "^([!-~][ -~]*)?$";
    /// Of a challenge, in quotes.
    REALM: 256, r"^[ !#-\[\]-~]*$";
    /// A token in upper case.
    METHOD: 64, "^[A-Z0-9!#$%&'*+.^_`|~-]+$";
    /// Gateway API's CORSOrigin, in any case.
    ORIGIN: 253,
        r"^(\*|[Hh][Tt][Tt][Pp][Ss]?://(\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?)$";
    /// Such as `10.0.0.0/8` or `2001:db8::/32`.
    CIDR: 49,
        r"^(([0-9]{1,3}\.){3}[0-9]{1,3}/([0-9]|[12][0-9]|3[0-2])|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))$";
    /// Of IPv4 or IPv6.
    ADDRESS: 45, r"^(([0-9]{1,3}\.){3}[0-9]{1,3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$";
    /// RFC 1123 label; empty: that of the policy.
    NAMESPACE: 63, "^([a-z0-9]([a-z0-9-]*[a-z0-9])?)?$";
    /// RFC 1123 subdomain.
    OBJECT_NAME: 253, r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$";
    /// The same, or `*`.
    OBJECT_NAME_OR_ANY: 253, r"^(\*|[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*)$";
    /// A name, or `*.` and one.
    HOST: 255, r"^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$";
    /// A SPIFFE ID, or one and `/*`.
    SPIFFE: 2050, r"^spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)*(/\*)?$";
    /// RFC 4648 section 4.
    SHA256_BASE64: 44, "^[A-Za-z0-9+/]{43}=$";
    /// With or without colons.
    SHA256_HEX: 95, "^([0-9A-Fa-f]{64}|[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){31})$";
    /// RFC 6749 section 3.3.
    SCOPE: 256, r"^[!#-\[\]-~]+$";
    /// Up to 8 names with dots between them; `\.` and `\\` in one.
    CLAIM_PATH: 256, r"^([^.\\]|\\[.\\])+(\.([^.\\]|\\[.\\])+){0,7}$";
    /// Names with dots between them.
    CLAIM_NAMES: 253, r"^[^.]+(\.[^.]+)*$";
    /// RFC 3986 section 3.3 without empty segments, and what templates have beside.
    PATH: 1024, r"^/([A-Za-z0-9._~!$&'()*+,;=:@%{}-]+/)*[A-Za-z0-9._~!$&'()*+,;=:@%{}-]*$";
    /// What a path can follow.
    PATH_PREFIX: 1024, r#"^(/[!"$&->@-\[\]-~]*)?$"#;
    /// With its package.
    GRPC_SERVICE: 1024, r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$";
    /// Without its service.
    GRPC_METHOD: 1024, "^[A-Za-z_][A-Za-z0-9_]*$";
    /// Without control characters.
    RULE_NAME: 253, r"^[^\x00-\x1F\x7F-\x9F]+$";
    /// Without user and fragment.
    JWKS_URI: 2048, "^https?://[^/?#@]+([/?][^#]*)?$";
}

/// How durations are written (GEP-2257), as a regular expression.
pub const DURATION: &str = DURATION_FORM.pattern;

/// Text of this form: `#[schemars(transform = form(CIDR))]`.
pub(crate) fn form(form: Form) -> impl Transform {
    move |schema: &mut Schema| {
        schema.insert("pattern".to_owned(), form.pattern.into());
        schema.insert("maxLength".to_owned(), form.longest.into());
    }
}

/// Each entry of a list: `#[schemars(transform = each(form(CIDR)))]`.
pub(crate) fn each(mut entry: impl Transform) -> impl Transform {
    move |schema: &mut Schema| {
        let items = schema.get_mut("items").and_then(|items| <&mut Schema>::try_from(items).ok());
        if let Some(items) = items {
            entry.transform(items);
        }
    }
}

/// A condition in CEL on `self`, and what is said where it does not hold.
pub(crate) fn rule(rule: impl Into<String>, message: impl Into<String>) -> impl Transform {
    let rule = json!({ "rule": rule.into(), "message": message.into() });
    move |schema: &mut Schema| {
        let rules = schema.ensure_object().entry(RULES).or_insert_with(|| json!([]));
        if let Value::Array(rules) = rules {
            rules.push(rule.clone());
        }
    }
}

/// A header field that users may name: none that frames the message.
pub(crate) fn field_name(schema: &mut Schema) {
    let reserved: Vec<String> = RESERVED.iter().map(|name| format!("'{name}'")).collect();
    let condition = format!("!(self.lowerAscii() in [{}])", reserved.join(", "));
    form(TOKEN).transform(schema);
    rule(condition, "frames the message or belongs to the connection: name another header field")
        .transform(schema);
}

/// How long a duration may be, both included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    least: Duration,
    most: Duration,
}

impl Bounds {
    pub(crate) const fn new(least: std::time::Duration, most: std::time::Duration) -> Self {
        Self { least: Duration(least), most: Duration(most) }
    }

    /// # Errors
    /// It is shorter or longer.
    pub(crate) fn check(&self, field: &str, asked: Duration) -> Result<std::time::Duration, Invalid> {
        let Self { least, most } = self;
        if (least..=most).contains(&&asked) {
            return Ok(asked.0);
        }
        Err(Invalid::field(field, format!("is {asked}; use {least} to {most}")))
    }
}

/// A duration of these.
pub(crate) fn within(Bounds { least, most }: Bounds) -> impl Transform {
    let condition = format!("duration(self) >= duration('{least}') && duration(self) <= duration('{most}')");
    rule(condition, format!("use {least} to {most}"))
}

#[cfg(test)]
mod tests;
