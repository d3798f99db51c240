//! Whom a ping over TLS trusts: `GRPC_DEFAULT_SSL_ROOTS_FILE_PATH`, else the system's certificates.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio_rustls::TlsConnector;
use tonic::transport::{Certificate, ClientTlsConfig};

use super::NotReady;
use crate::cli::env;

/// For gRPC.
pub(super) fn of_grpc() -> Result<ClientTlsConfig, NotReady> {
    let Some(path) = file() else {
        return Ok(ClientTlsConfig::new().with_native_roots());
    };
    let pem = std::fs::read(&path).map_err(|error| unusable(&path, &error))?;
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
}

/// For HTTP.
pub(super) fn connector() -> Result<TlsConnector, NotReady> {
    let mut roots = RootCertStore::empty();
    match file() {
        Some(path) => {
            let certificates: Vec<_> = CertificateDer::pem_file_iter(&path)
                .and_then(Iterator::collect)
                .map_err(|error| unusable(&path, &error))?;
            roots.add_parsable_certificates(certificates);
        }
        None => {
            let system = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(system.certs);
        }
    }
    if roots.is_empty() {
        return Err(NotReady::Roots("there are none".to_owned()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| NotReady::Roots(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn file() -> Option<String> {
    env("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH").filter(|path| !path.is_empty())
}

fn unusable(path: &str, error: &dyn std::error::Error) -> NotReady {
    NotReady::Roots(format!("{path}: {error}"))
}
