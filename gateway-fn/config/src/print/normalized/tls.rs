//! The settings of TLS in the form in which they are printed.

use serde::Serialize;

use super::{REDACTED, path};
use crate::{
    TlsConfig, TlsVersions,
    gateway::tls::{CERT_REQUIRED, PROTOCOL_TLSV1_2},
};

/// The options of TLS that Jina takes only there.
#[derive(Serialize, PartialEq, Eq, Default)]
pub(super) struct NormalizedUvicorn<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ssl_keyfile_password: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssl_ca_certs: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssl_cert_reqs: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssl_version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssl_ciphers: Option<&'a str>,
}

impl<'a> From<&'a TlsConfig> for NormalizedUvicorn<'a> {
    fn from(tls: &'a TlsConfig) -> Self {
        let clients = tls.client_certificates.as_ref();
        let requirement = |required| {
            if required {
                CERT_REQUIRED
            } else {
                CERT_REQUIRED - 1
            }
        };
        Self {
            ssl_keyfile_password: tls.keyfile_password.as_ref().map(|_| REDACTED),
            ssl_ca_certs: clients.map(|clients| path(clients.ca_file.value())),
            ssl_cert_reqs: clients.map(|clients| requirement(clients.required)),
            ssl_version: (tls.versions == TlsVersions::Only12).then_some(PROTOCOL_TLSV1_2),
            ssl_ciphers: tls.ciphers.as_ref().map(|ciphers| ciphers.value().as_str()),
        }
    }
}
