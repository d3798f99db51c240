//! The TLS configuration for Executors: which certificates are trusted, and how they are checked.

use std::sync::{Arc, OnceLock};

use flowgate_tls::{RootsError, TlsRoots};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The trusted roots cannot be loaded.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// rustls does not accept the roots.
    #[error("the trusted roots cannot be used")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// TLS to Executors, which is set up for the first connection that needs it: a cold start need not wait for it. Clones share
/// it.
#[derive(Clone, Debug)]
pub struct ClientTls {
    roots: TlsRoots,
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl ClientTls {
    /// Trusts these roots.
    #[must_use]
    pub fn new(roots: TlsRoots) -> Self {
        Self {
            roots,
            config: Arc::default(),
        }
    }

    /// Loads roots that are not compiled in, so that a missing file is an error at the start.
    ///
    /// # Errors
    /// When the trusted roots cannot be loaded.
    pub fn check(&self) -> Result<(), TlsError> {
        match self.roots {
            TlsRoots::Bundled => Ok(()),
            TlsRoots::System | TlsRoots::File(_) => self.config().map(drop),
        }
    }

    /// Returns the configuration for connections to Executors.
    ///
    /// # Errors
    /// When the trusted roots cannot be loaded.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = client_config(&self.roots)?;
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }
}

fn client_config(roots: &TlsRoots) -> Result<Arc<ClientConfig>, TlsError> {
    let (trusted, store) = roots.certificates_and_store()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider))
            .build()
            .map_err(|error| TlsError::Unusable(error.into()))?;
    let verifier = Verifier {
        inner: verifier,
        trusted,
        provider: Arc::clone(&provider),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Unusable(error.into()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
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
