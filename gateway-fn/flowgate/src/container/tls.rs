//! `ssl_certfile` and `ssl_keyfile` -> TLS to clients, for every protocol of the Gateway.

use std::{path::Path, sync::Arc};

use flowgate_config::TlsFiles;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

/// Why clients cannot be served over TLS. The files are named; nothing of the key is ever shown.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read.
    #[error("the PEM file {path} cannot be read: {source}")]
    Pem {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not go together, or one of them does not serve.
    #[error("the certificate {certfile} cannot be served: {source}")]
    Certificate {
        /// The certificate's file.
        certfile: String,
        /// What is wrong.
        source: rustls::Error,
    },
}

/// TLS to clients by these files.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let TlsFiles { certfile, keyfile } = files;
    let certificates: Vec<_> = CertificateDer::pem_file_iter(certfile)
        .and_then(Iterator::collect)
        .map_err(|source| pem(certfile, source))?;
    let key = PrivateKeyDer::from_pem_file(keyfile).map_err(|source| pem(keyfile, source))?;
    let refused = |source| TlsError::Certificate {
        certfile: certfile.display().to_string(),
        source,
    };
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(refused)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn pem(path: &Path, source: rustls::pki_types::pem::Error) -> TlsError {
    TlsError::Pem {
        path: path.display().to_string(),
        source,
    }
}
