//! The TLS configuration for Executors: which certificates are trusted, and how they are checked.

use std::{io, path::PathBuf, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};

/// The certificate authorities that are trusted.
#[derive(Clone, Debug, Default)]
pub enum TlsRoots {
    /// The system's certificate store.
    #[default]
    System,
    /// A PEM file: `GRPC_DEFAULT_SSL_ROOTS_FILE_PATH`, as with Jina's own gRPC.
    File(PathBuf),
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of trusted roots cannot be read, or contains no certificate.
    #[error("cannot read the trusted roots in {path}")]
    Roots {
        /// The path of the file.
        path: String,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// The system has no usable certificate store.
    #[error("the system's certificate store cannot be used")]
    System(#[source] io::Error),
    /// rustls does not accept the roots.
    #[error("the trusted roots cannot be used")]
    Rustls(#[source] Error),
}

/// Returns the configuration for connections to Executors.
///
/// # Errors
/// When the trusted roots cannot be read.
pub fn client_config(roots: &TlsRoots) -> Result<Arc<ClientConfig>, TlsError> {
    let trusted = trusted_certificates(roots)?;
    let mut store = RootCertStore::empty();
    // A system's store may contain certificates that no library takes.
    store.add_parsable_certificates(trusted.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider))
            .build()
            .map_err(|error| TlsError::System(io::Error::other(error)))?;
    let verifier = Verifier {
        inner: verifier,
        trusted,
        provider: Arc::clone(&provider),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Rustls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn trusted_certificates(roots: &TlsRoots) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    match roots {
        TlsRoots::System => {
            let found = rustls_native_certs::load_native_certs();
            match (found.certs.is_empty(), found.errors.into_iter().next()) {
                (true, Some(error)) => Err(TlsError::System(io::Error::other(error))),
                (true, None) => Err(TlsError::System(io::ErrorKind::NotFound.into())),
                (false, _) => Ok(found.certs),
            }
        }
        TlsRoots::File(path) => {
            let error = |source| TlsError::Roots {
                path: path.display().to_string(),
                source,
            };
            let certificates: Result<Vec<_>, _> =
                CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            let certificates = certificates.map_err(|source| error(io::Error::other(source)))?;
            if certificates.is_empty() {
                return Err(error(io::Error::other("the file contains no certificate")));
            }
            Ok(certificates)
        }
    }
}

/// Checks certificates by the trusted roots. A self-signed certificate that is itself a trusted root is accepted too, as by
/// gRPC's own clients: openssl makes such certificates with `CA:TRUE`, which webpki does not take for a server.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.inner
                .verify_server_cert(certificate, intermediates, name, ocsp_response, now);
        match verified {
            // webpki checks the time before it finds that the certificate is an authority's, so that only this is left.
            Err(Error::InvalidCertificate(CertificateError::Other(_)))
                if self.trusted.iter().any(|trusted| trusted == certificate) =>
            {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
