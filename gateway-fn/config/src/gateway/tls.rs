//! TLS to clients: `ssl_certfile` and `ssl_keyfile`, and the keys of `uvicorn_kwargs` with which Jina's HTTP and WebSocket
//! Gateways set up TLS. Here they apply to every protocol.

use std::{fmt, path::PathBuf};

use super::uvicorn;
use crate::{
    diagnostic::{Placed, Report},
    node::{Value, VariableKind},
    section::{Layer, Section},
};

/// How the listeners use TLS. The files are read when the Gateway starts, and again when they change.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsConfig {
    /// The PEM file with the certificate and its chain.
    pub certfile: Placed<PathBuf>,
    /// The PEM file with the private key; it may be the same file.
    pub keyfile: Placed<PathBuf>,
    /// What decrypts the private key.
    pub keyfile_password: Option<Placed<Password>>,
    /// The certificates of clients; by default clients are not asked for one.
    pub client_certificates: Option<ClientCertificates>,
    /// The versions of TLS.
    pub versions: TlsVersions,
    /// The cipher suites of TLS 1.2 in OpenSSL's notation; `None` is all that are secure.
    pub ciphers: Option<Placed<String>>,
}

/// Which certificates of clients are accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientCertificates {
    /// The PEM file with the certificates of their issuers.
    pub ca_file: Placed<PathBuf>,
    /// Whether a client without a certificate is rejected.
    pub required: bool,
}

/// Versions of TLS that are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersions {
    /// TLS 1.2 and 1.3.
    #[default]
    All,
    /// TLS 1.2 alone.
    Only12,
}

/// The password of a private key. Its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Returns the password itself, which must not appear in errors and logs.
    #[must_use]
    pub const fn expose(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

pub(super) fn read(section: &Section<'_>, report: &mut Report) -> Option<TlsConfig> {
    let (place, entries) = uvicorn::read(section, report);
    let options = Section::new([Layer::of_file(place, &entries)]);
    let password = password(&options, report);
    let client_certificates = client_certificates(&options, report);
    let versions = versions(&options, report).unwrap_or_default();
    let ciphers = placed_text(&options, "ssl_ciphers", report);
    let certfile = path(section, &options, "ssl_certfile", report);
    let keyfile = path(section, &options, "ssl_keyfile", report);
    uvicorn::report_unknown_ssl_keys(&options, &entries, report);
    // uvicorn takes the key from the certificate's file if it has no other.
    let is_combined = keyfile.is_none() && options.find(&["ssl_certfile"]).is_some();
    let (certfile, keyfile) = match (certfile, keyfile) {
        (Some(certfile), None) if is_combined => (certfile.clone(), certfile),
        (Some(certfile), Some(keyfile)) => (certfile, keyfile),
        (Some(_), None) => return without(section, "ssl_certfile", "ssl_keyfile", report),
        (None, Some(_)) => {
            let is_option = options.find(&["ssl_keyfile"]).is_some();
            let given = if is_option { &options } else { section };
            return without(given, "ssl_keyfile", "ssl_certfile", report);
        }
        (None, None) => {
            report_without_certificate(&options, report);
            return None;
        }
    };
    Some(TlsConfig {
        certfile,
        keyfile,
        keyfile_password: password,
        client_certificates,
        versions,
        ciphers,
    })
}

/// Returns a path from the Gateway's keys or from uvicorn's options; both at once must be the same.
fn path(
    section: &Section<'_>,
    options: &Section<'_>,
    name: &'static str,
    report: &mut Report,
) -> Option<Placed<PathBuf>> {
    let top = placed_text(section, name, report);
    let option = placed_text(options, name, report);
    if let (Some(top), Some(option)) = (&top, &option)
        && top != option
        && let Some(entry) = options.find(&[name])
    {
        report.error(
            &entry.place,
            format!("another file than in the key {name} of the Gateway"),
            "one of the two: all protocols have the same certificate",
        );
    }
    top.or(option).map(|text| text.map(PathBuf::from))
}

fn placed_text(
    section: &Section<'_>,
    name: &'static str,
    report: &mut Report,
) -> Option<Placed<String>> {
    let text = section.text(&[name], report)?;
    let place = section.find(&[name])?.place;
    Some(report.placed(place, text))
}

fn without<T>(
    section: &Section<'_>,
    given: &'static str,
    missing: &str,
    report: &mut Report,
) -> Option<T> {
    let place = section.find(&[given])?.place;
    let found = format!("{given} without {missing}");
    report.error(&place, found, "both keys, or neither for no TLS");
    None
}

/// Rejects options of TLS where there is no certificate: the ports would use plain text.
fn report_without_certificate(options: &Section<'_>, report: &mut Report) {
    for name in [
        "ssl_keyfile_password",
        "ssl_ca_certs",
        "ssl_cert_reqs",
        "ssl_version",
        "ssl_ciphers",
    ] {
        let entry = options.find(&[name]);
        if let Some(entry) = entry.filter(|entry| entry.node.guessed() != Value::Int(CERT_NONE)) {
            let found = format!("{name} without ssl_certfile");
            report.error(
                &entry.place,
                found,
                "a certificate, without which there is no TLS",
            );
        }
    }
}

/// Reads the password. Errors never show it, nor the text in which it is written.
fn password(options: &Section<'_>, report: &mut Report) -> Option<Placed<Password>> {
    let entry = options.find(&["ssl_keyfile_password"])?;
    let variables = entry.node.variables.iter();
    let unset = variables
        .flat_map(|variables| &variables.unset)
        .find(|unset| unset.kind != VariableKind::Dollar);
    match (unset, &entry.node.value) {
        (Some(unset), _) => {
            report.error(
                &entry.place,
                "a variable without a value",
                unset.requirement(),
            );
            None
        }
        (None, Value::Text(text)) if !text.is_empty() => {
            Some(report.placed(entry.place, Password(text.clone())))
        }
        // Of a number that YAML read it is no longer known how it was written.
        _ => {
            let expected = "a password as a string, in quotes, or ${{ ENV.NAME }}";
            report.error(&entry.place, entry.node.kind(), expected);
            None
        }
    }
}

fn client_certificates(options: &Section<'_>, report: &mut Report) -> Option<ClientCertificates> {
    let ca_file = placed_text(options, "ssl_ca_certs", report);
    let expected = "0 (none), 1 (optional) or 2 (required)";
    let requirement = options.integer(
        &["ssl_cert_reqs"],
        CERT_NONE..=CERT_REQUIRED,
        expected,
        report,
    );
    let requirement = requirement.unwrap_or(CERT_NONE);
    match (ca_file, requirement) {
        (None, CERT_NONE) => None,
        (Some(_), CERT_NONE) => {
            let place = options.find(&["ssl_ca_certs"])?.place;
            let expected = "ssl_cert_reqs 1 or 2 with it: clients are not asked for a certificate";
            report.warn(&place, "ssl_ca_certs without ssl_cert_reqs", expected);
            None
        }
        (None, _) => {
            let place = options.find(&["ssl_cert_reqs"])?.place;
            let expected = "ssl_ca_certs with it: the issuers of the certificates of clients";
            report.error(&place, "ssl_cert_reqs without ssl_ca_certs", expected);
            None
        }
        (Some(ca_file), _) => Some(ClientCertificates {
            ca_file: ca_file.map(PathBuf::from),
            required: requirement == CERT_REQUIRED,
        }),
    }
}

fn versions(options: &Section<'_>, report: &mut Report) -> Option<TlsVersions> {
    let entry = options.find(&["ssl_version"])?;
    match entry.node.guessed() {
        Value::Int(PROTOCOL_TLS | PROTOCOL_TLS_SERVER) => Some(TlsVersions::All),
        Value::Int(PROTOCOL_TLSV1_2) => Some(TlsVersions::Only12),
        _ => entry.invalid(
            "17 (TLS 1.2 and 1.3) or 5 (TLS 1.2): this Gateway supports no older versions",
            report,
        ),
    }
}

/// `ssl.CERT_NONE` of Python.
const CERT_NONE: i64 = 0;

/// `ssl.CERT_REQUIRED` of Python; `CERT_OPTIONAL` is between the two.
pub(crate) const CERT_REQUIRED: i64 = 2;

/// `ssl.PROTOCOL_TLS` of Python: any version that client and server have.
const PROTOCOL_TLS: i64 = 2;

/// `ssl.PROTOCOL_TLSv1_2` of Python.
pub(crate) const PROTOCOL_TLSV1_2: i64 = 5;

/// `ssl.PROTOCOL_TLS_SERVER` of Python, uvicorn's default.
const PROTOCOL_TLS_SERVER: i64 = 17;
