//! The certificate a verified client has shown, as `x-forwarded-client-cert` says it.
//!
//! The form is Envoy's: `Hash=…;Cert="…";Chain="…";Subject="…";URI=…;DNS=…`. A certificate's text is its owner's: what could
//! be taken for another key or element is quoted or escaped.

use std::fmt::Write as _;
use std::sync::OnceLock;

use http::HeaderValue;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::traffic::request::certificate::Details;

/// Names of attributes (RFC 4514 section 3, and what OpenSSL adds); any other is written as its number.
const ATTRIBUTES: [(&str, &str); 14] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "GN"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// A verified client's certificate.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Leaf first.
    chain: Vec<CertificateDer<'static>>,
    /// The element of the field, made for the first request that needs it.
    told: OnceLock<(Details, HeaderValue)>,
}

impl Shown {
    /// `None`: nothing was shown.
    pub(crate) fn new(chain: Option<&[CertificateDer<'static>]>) -> Option<Box<Self>> {
        let chain = chain.filter(|chain| !chain.is_empty())?.to_vec();
        Some(Box::new(Self { chain, told: OnceLock::new() }))
    }

    /// The element of the field.
    pub(crate) fn element(&self, details: Details) -> HeaderValue {
        let (told, value) = self.told.get_or_init(|| (details, self.describe(details)));
        if *told == details { value.clone() } else { self.describe(details) }
    }

    fn describe(&self, details: Details) -> HeaderValue {
        let mut out = String::new();
        let leaf = self.chain.first().map_or(&[][..], |leaf| leaf);
        out.push_str("Hash=");
        // Writing to a String cannot fail.
        sha256(leaf).iter().for_each(|byte| _ = write!(out, "{byte:02x}"));
        if details.cert {
            out.push_str(";Cert=\"");
            pem(&mut out, leaf);
            out.push('"');
        }
        if details.chain {
            out.push_str(";Chain=\"");
            self.chain.iter().for_each(|certificate| pem(&mut out, certificate));
            out.push('"');
        }
        if let Ok((_, leaf)) = x509_parser::parse_x509_certificate(leaf) {
            names(&mut out, &leaf, details);
        }
        // Whatever is in a certificate was made visible ASCII.
        HeaderValue::try_from(out).unwrap_or(HeaderValue::from_static(""))
    }
}

fn names(out: &mut String, leaf: &X509Certificate<'_>, details: Details) {
    if details.subject {
        out.push_str(";Subject=\"");
        subject(out, leaf.subject());
        out.push('"');
    }
    let san = leaf.subject_alternative_name().ok().flatten();
    let names = || san.iter().flat_map(|san| &san.value.general_names);
    if details.uri {
        let before = out.len();
        for name in names() {
            if let GeneralName::URI(uri) = name {
                pair(out, "URI", uri);
            }
        }
        if out.len() == before {
            // Envoy: the key is there even if there is none.
            out.push_str(";URI=");
        }
    }
    if details.dns {
        for name in names() {
            if let GeneralName::DNSName(name) = name {
                pair(out, "DNS", name);
            }
        }
    }
}

/// Envoy: a value with `,`, `;` or `=` "should be double-quoted", and a quote in it escaped.
fn pair(out: &mut String, key: &str, value: &str) {
    let is_quoted = value.contains([',', ';', '=', '"', '\\']);
    out.push(';');
    out.push_str(key);
    out.push_str(if is_quoted { "=\"" } else { "=" });
    for byte in value.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            0x21..=0x7e => out.push(char::from(byte)),
            _ => _ = write!(out, "%{byte:02X}"),
        }
    }
    if is_quoted {
        out.push('"');
    }
}

/// RFC 2253: the last part first.
fn subject(out: &mut String, name: &X509Name<'_>) {
    let parts: Vec<_> = name.iter_rdn().collect();
    for (at, part) in parts.into_iter().rev().enumerate() {
        for (nth, attribute) in part.iter().enumerate() {
            match (at, nth) {
                (0, 0) => {}
                (_, 0) => out.push(','),
                (_, _) => out.push('+'),
            }
            self::attribute(out, attribute);
        }
    }
}

fn attribute(out: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let number = attribute.attr_type().to_id_string();
    let name = ATTRIBUTES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name);
    out.push_str(name.unwrap_or(&number));
    out.push('=');
    let (Some(_), Ok(text)) = (name, attribute.as_str()) else {
        out.push('#');
        attribute.as_slice().iter().for_each(|byte| _ = write!(out, "{byte:02X}"));
        return;
    };
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => out.extend(['\\', char::from(byte)]),
            b'#' if at == 0 => out.push_str("\\#"),
            b' ' if at == 0 || at == last => out.push_str("\\ "),
            b' '..=0x7e => out.push(char::from(byte)),
            _ => _ = write!(out, "\\{byte:02X}"),
        }
    }
}

pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13();
    suite.map(|suite| suite.common.hash_provider.hash(bytes).as_ref().to_vec()).unwrap_or_default()
}

/// PEM (RFC 7468) in URL encoding.
fn pem(out: &mut String, der: &[u8]) {
    out.push_str("-----BEGIN%20CERTIFICATE-----%0A");
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            base64(out, group);
        }
        out.push_str("%0A");
    }
    out.push_str("-----END%20CERTIFICATE-----%0A");
}

/// Up to three bytes as four letters (RFC 4648 section 4).
fn base64(out: &mut String, group: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = (0..3).fold(0, |bits, at| bits << 8 | usize::from(group.get(at).copied().unwrap_or_default()));
    for at in 0..4 {
        let letter = ALPHABET.get(bits >> (18 - 6 * at) & 63).filter(|_| at <= group.len());
        match letter {
            Some(b'+') => out.push_str("%2B"),
            Some(b'/') => out.push_str("%2F"),
            Some(letter) => out.push(char::from(*letter)),
            None => out.push_str("%3D"),
        }
    }
}

#[cfg(test)]
mod tests;
