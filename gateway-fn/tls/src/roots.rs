//! Loads the certificate authorities that a client trusts.

use std::{io, path::PathBuf};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// The certificate authorities that a client trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TlsRoots {
    /// The system's certificate store, which an operator can add to. Reading and parsing some 140 certificates takes 3 to
    /// 5 ms.
    #[default]
    System,
    /// Mozilla's list, which is compiled in and already parsed. A function starts faster with it.
    Bundled,
    /// The certificates in a PEM file.
    File(PathBuf),
}

/// Why the trusted certificate authorities cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The file cannot be read, or contains no certificate.
    #[error("cannot read the trusted roots in {path}")]
    File {
        /// The path of the file.
        path: String,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// The system has no usable certificate store.
    #[error("the system's certificate store cannot be used")]
    System(#[source] io::Error),
}

impl TlsRoots {
    /// Returns the roots for the verification of certificates.
    ///
    /// # Errors
    /// When the store or the file cannot be read.
    pub fn store(&self) -> Result<RootCertStore, RootsError> {
        Ok(store_of(&self.certificates()?, self))
    }

    /// Returns the roots as certificates and as a store. The bundled roots are names and keys, not certificates.
    ///
    /// # Errors
    /// When the store or the file cannot be read.
    pub fn certificates_and_store(
        &self,
    ) -> Result<(Vec<CertificateDer<'static>>, RootCertStore), RootsError> {
        let certificates = self.certificates()?;
        let store = store_of(&certificates, self);
        Ok((certificates, store))
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, RootsError> {
        match self {
            Self::Bundled => Ok(Vec::new()),
            Self::System => {
                let found = rustls_native_certs::load_native_certs();
                match (found.certs.is_empty(), found.errors.into_iter().next()) {
                    (true, Some(error)) => Err(RootsError::System(io::Error::other(error))),
                    (true, None) => Err(RootsError::System(io::ErrorKind::NotFound.into())),
                    (false, _) => Ok(found.certs),
                }
            }
            Self::File(path) => {
                let error = |source| RootsError::File {
                    path: path.display().to_string(),
                    source,
                };
                let certificates: Result<Vec<_>, _> =
                    CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
                let certificates =
                    certificates.map_err(|source| error(io::Error::other(source)))?;
                if certificates.is_empty() {
                    return Err(error(io::Error::other("the file contains no certificate")));
                }
                Ok(certificates)
            }
        }
    }
}

fn store_of(certificates: &[CertificateDer<'static>], roots: &TlsRoots) -> RootCertStore {
    let mut store = RootCertStore::empty();
    if *roots == TlsRoots::Bundled {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    // A system's store may contain certificates that no library takes.
    store.add_parsable_certificates(certificates.iter().cloned());
    store
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundled_roots_include_the_authorities_of_aws() {
        let store = TlsRoots::Bundled.store().expect("compiled in");
        let subjects = store.roots.iter().map(|root| root.subject.as_ref());
        let amazon = subjects.filter(|subject| {
            let name = b"Amazon Root CA ";
            subject.windows(name.len()).any(|part| part == name)
        });
        assert_eq!(amazon.count(), 4);
    }

    #[test]
    fn a_file_without_certificates_is_an_error() {
        let missing = TlsRoots::File("/nonexistent/roots.pem".into());
        let error = missing.store().expect_err("no such file");
        assert!(error.to_string().contains("/nonexistent/roots.pem"));
    }
}
