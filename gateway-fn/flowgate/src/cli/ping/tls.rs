//! Whom a ping over TLS trusts: `GRPC_DEFAULT_SSL_ROOTS_FILE_PATH`, else the system's certificates.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tonic::transport::{Certificate, ClientTlsConfig};

use super::NotReady;
use flowgate_auth::fetch;
use gateway::host::program::env;

/// For gRPC.
pub(super) fn of_grpc() -> Result<ClientTlsConfig, NotReady> {
    let Some(path) = file() else {
        return Ok(ClientTlsConfig::new().with_native_roots());
    };
    let pem = std::fs::read(&path).map_err(|error| unusable(&path, &error))?;
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
}

/// For HTTP.
pub(super) fn roots() -> Result<RootCertStore, NotReady> {
    let Some(path) = file() else {
        return Ok(fetch::system_roots());
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(&path)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(&path, &error))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    Ok(roots)
}

fn file() -> Option<String> {
    env("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH").filter(|path| !path.is_empty())
}

fn unusable(path: &str, error: &dyn std::error::Error) -> NotReady {
    NotReady::Roots(format!("{path}: {error}"))
}
