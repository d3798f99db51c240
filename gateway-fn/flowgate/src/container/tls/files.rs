//! The files of a Flow -> the certificates and the key that they contain. What is wrong with a file is an error of the Flow,
//! with the line and key that name the file.

use std::{path::PathBuf, sync::Arc, time::Duration};

use flowgate_config::{ClientCertificates, Diagnostic, Placed, TlsConfig};
use rustls::{
    Error, InconsistentKeys, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SigningKey},
};

use super::{
    key::{self, KeyError},
    pem::{self, Block},
    validity::{self, Validity},
};

/// What the files contain.
pub(super) struct Certificates {
    /// The Gateway's certificate with its chain and key.
    pub(super) key: Arc<CertifiedKey>,
    /// How long the certificate and its chain are valid, in their order.
    validities: Vec<Validity>,
    /// Verifies the certificates of clients.
    pub(super) clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Certificates {
    /// Reads all files and returns what is wrong with each.
    pub(super) fn read(
        config: &TlsConfig,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let chain = certificates(&config.certfile, CERTIFICATE);
        let key = private_key(config, provider);
        let clients = config.client_certificates.as_ref();
        let clients = clients
            .map(|clients| client_verifier(clients, provider))
            .transpose();
        match (chain, key, clients) {
            (Ok((chain, validities)), Ok(key), Ok(clients)) => {
                let key = certified_key(config, chain, key).map_err(|error| vec![error])?;
                Ok(Self {
                    key: Arc::new(key),
                    validities,
                    clients,
                })
            }
            (chain, key, clients) => {
                let errors = [chain.err(), key.err(), clients.err()];
                Err(errors.into_iter().flatten().collect())
            }
        }
    }

    /// Returns a warning about the certificate of the chain that expires first, if that is soon. `now` counts from 1970.
    pub(super) fn expiry_warning(&self, config: &TlsConfig, now: Duration) -> Option<Diagnostic> {
        let found = validity::warning(&self.validities, now)?;
        let path = config.certfile.value();
        Some(config.certfile.error(
            format!("{found} in {path:?}"),
            "a certificate that is valid for more than 30 days: replace the file, and it is read without a restart",
        ))
    }
}

type Chain = (Vec<CertificateDer<'static>>, Vec<Validity>);

/// Reads the certificates of a file; there has to be at least one.
fn certificates(file: &Placed<PathBuf>, expected: &str) -> Result<Chain, Diagnostic> {
    let blocks = blocks(file, expected)?;
    let certificates: Vec<_> = blocks
        .iter()
        .filter(|block| block.is_certificate())
        .collect();
    if certificates.is_empty() {
        let found = format!("{} in {:?}", pem::describe(&blocks), file.value());
        return Err(file.error(found, expected));
    }
    let mut chain = Vec::with_capacity(certificates.len());
    let mut validities = Vec::with_capacity(certificates.len());
    for block in certificates {
        let validity = Validity::of_certificate(&block.der).map_err(|error| {
            let found = format!("a damaged certificate in {:?} ({error})", file.value());
            file.error(found, expected)
        })?;
        chain.push(CertificateDer::from(block.der.clone()));
        validities.push(validity);
    }
    Ok((chain, validities))
}

/// Reads the first private key of the file.
fn private_key(
    config: &TlsConfig,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, Diagnostic> {
    let file = &config.keyfile;
    let mut blocks = blocks(file, PRIVATE_KEY)?;
    let Some(index) = blocks.iter().position(Block::is_private_key) else {
        let found = format!("{} in {:?}", pem::describe(&blocks), file.value());
        return Err(file.error(found, PRIVATE_KEY));
    };
    let password = config.keyfile_password.as_ref();
    let key = key::decode(
        blocks.swap_remove(index),
        password.map(|password| password.value().expose()),
    );
    let key = key.map_err(|error| key_error(config, &error))?;
    load_key(file, key, provider)
}

fn load_key(
    file: &Placed<PathBuf>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, Diagnostic> {
    provider.key_provider.load_private_key(key).map_err(|_| {
        let found = format!("an unusable private key in {:?}", file.value());
        file.error(
            found,
            "an RSA key of 2048 to 8192 bits, or one for ECDSA (P-256, P-384, P-521) or Ed25519",
        )
    })
}

fn key_error(config: &TlsConfig, error: &KeyError) -> Diagnostic {
    let file = &config.keyfile;
    let path = file.value();
    match (error, &config.keyfile_password) {
        (KeyError::Encrypted, _) => file.error(
            format!("an encrypted private key in {path:?}"),
            "its password in uvicorn_kwargs.ssl_keyfile_password (`${{ ENV.NAME }}` keeps it out of the Flow)",
        ),
        (KeyError::WrongPassword, Some(password)) => password.error(
            format!("a password that does not decrypt the private key in {path:?}"),
            "the password of this key",
        ),
        (KeyError::WrongPassword, None) => {
            file.error(format!("a damaged private key in {path:?}"), PRIVATE_KEY)
        }
        (KeyError::Unsupported(what), _) => file.error(
            format!("{what} in {path:?}, which is not supported"),
            "a key as `openssl pkcs8 -topk8 -in OLD -out NEW` writes it",
        ),
    }
}

/// Combines the certificate with its key.
fn certified_key(
    config: &TlsConfig,
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
) -> Result<CertifiedKey, Diagnostic> {
    let TlsConfig {
        certfile, keyfile, ..
    } = config;
    let (certificate_path, key_path) = (certfile.value(), keyfile.value());
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) if belongs_to_another(&certified) => Err(certfile.error(
            format!("the certificate of the key {key_path:?} after others in {certificate_path:?}"),
            "it as the first one, and then its issuers",
        )),
        Err(Error::InconsistentKeys(_)) => Err(keyfile.error(
            format!("a private key in {key_path:?} that does not belong to the certificate in {certificate_path:?}"),
            "the key of this certificate",
        )),
        Err(error) => Err(certfile.error(
            format!("an unusable certificate in {certificate_path:?} ({error})"),
            "an X.509 certificate of version 3",
        )),
    }
}

/// Whether the key belongs to a certificate of the chain that is not the first.
fn belongs_to_another(certified: &CertifiedKey) -> bool {
    certified.cert.iter().skip(1).any(|certificate| {
        let other = CertifiedKey::new(vec![certificate.clone()], Arc::clone(&certified.key));
        other.keys_match().is_ok()
    })
}

fn client_verifier(
    clients: &ClientCertificates,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Diagnostic> {
    let file = &clients.ca_file;
    let unusable = |error: &dyn std::error::Error| {
        let found = format!("an unusable certificate in {:?} ({error})", file.value());
        file.error(found, ISSUERS)
    };
    let (certificates, _) = certificates(file, ISSUERS)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    builder.build().map_err(|error| unusable(&error))
}

fn blocks(file: &Placed<PathBuf>, expected: &str) -> Result<Vec<Block>, Diagnostic> {
    pem::read(file.value()).map_err(|error| {
        let found = format!("{error} ({:?})", file.value());
        file.error(found, expected)
    })
}

const CERTIFICATE: &str = "a PEM file with the certificate, followed by those of its issuers";

const PRIVATE_KEY: &str = "a PEM file with the private key of the certificate";

const ISSUERS: &str = "a PEM file with the certificates of the issuers of clients' certificates";
