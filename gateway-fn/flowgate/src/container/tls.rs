//! TLS to clients, for every protocol of the Gateway: `files -> certificate and key -> acceptor`. The files are read again
//! when they change and at SIGHUP; open connections keep the certificate with which they began.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use flowgate_config::{ConfigErrors, Diagnostic, TlsConfig, TlsVersions};
use rustls::{
    ServerConfig, SupportedCipherSuite,
    crypto::{CryptoProvider, ring},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio_rustls::TlsAcceptor;

use self::{clients::CurrentClients, files::Certificates, reload::Stamp};

mod ciphers;

mod clients;

mod files;

mod key;

mod pem;

mod reload;

mod validity;

pub(crate) use reload::Reloader;

/// Why TLS to clients cannot be set up: errors of the Flow, with line and key. They name the files, and never contain the
/// key or its password.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TlsError(#[from] pub ConfigErrors);

/// TLS that is set up.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    source: Arc<Source>,
    /// The version of the files that was read, or an earlier one.
    stamp: Stamp,
}

/// The files, and what was last read from them.
struct Source {
    config: TlsConfig,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<Certificates>>,
}

impl Tls {
    /// Reads the files.
    pub(crate) fn load(config: &TlsConfig) -> Result<Self, TlsError> {
        let stamp = Stamp::of(config);
        let mut errors = Vec::new();
        let mut provider = ring::default_provider();
        match suites(config, &provider) {
            Ok(suites) => provider.cipher_suites = suites,
            Err(error) => errors.push(error),
        }
        let provider = Arc::new(provider);
        let certificates = Certificates::read(config, &provider)
            .inspect_err(|more| errors.extend_from_slice(more))
            .ok();
        let certificates = certificates
            .filter(|_| errors.is_empty())
            .ok_or(ConfigErrors(errors))?;
        let source = Arc::new(Source {
            config: config.clone(),
            provider,
            current: RwLock::new(Arc::new(certificates)),
        });
        let server = server_config(&source).map_err(|error| {
            let found = format!("files with which TLS cannot be set up ({error})");
            ConfigErrors(vec![
                config.certfile.error(found, "a certificate and its key"),
            ])
        })?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            source,
            stamp,
        })
    }

    /// Returns the acceptor of connections; each takes the certificate that is the current one when it begins.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// Returns a warning if a certificate of the Gateway has expired or expires soon.
    pub(crate) fn expiry_warning(&self) -> Option<Diagnostic> {
        self.source
            .current()
            .expiry_warning(&self.source.config, validity::now())
    }
}

impl Source {
    fn current(&self) -> Arc<Certificates> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again. If that fails, the certificates remain.
    fn reload(&self) -> Result<(), ConfigErrors> {
        let certificates =
            Certificates::read(&self.config, &self.provider).map_err(ConfigErrors)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(certificates);
        Ok(())
    }
}

/// Returns the cipher suites of the Flow.
fn suites(
    config: &TlsConfig,
    provider: &CryptoProvider,
) -> Result<Vec<SupportedCipherSuite>, Diagnostic> {
    let Some(list) = &config.ciphers else {
        return Ok(provider.cipher_suites.clone());
    };
    ciphers::select(list.value(), &provider.cipher_suites)
        .map_err(|error| list.error(error.found, error.expected))
}

fn server_config(source: &Arc<Source>) -> Result<ServerConfig, rustls::Error> {
    let versions: &[_] = match source.config.versions {
        TlsVersions::All => &[&TLS13, &TLS12],
        TlsVersions::Only12 => &[&TLS12],
    };
    let clients = source.config.client_certificates.as_ref();
    let verifier = clients.map_or_else(WebPkiClientVerifier::no_client_auth, |clients| {
        Arc::new(CurrentClients::new(Arc::clone(source), clients.required))
    });
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&source.provider))
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::clone(source) as Arc<dyn ResolvesServerCert>);
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if clients.is_some() {
        // A resumed session would not be verified by issuers that have changed.
        server.session_storage = Arc::new(NoServerSessionStorage {});
    }
    Ok(server)
}

impl ResolvesServerCert for Source {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current().key))
    }
}

impl fmt::Debug for Tls {
    /// Leaves out the private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Source {
    /// Leaves out the private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
