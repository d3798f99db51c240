//! Authenticates callers by the Flow's `auth` and a request's headers. API keys and JSON Web Tokens are accepted; where
//! both are configured, either is enough. It depends on no server: all it needs is the headers and the path.

pub mod fetch;

mod api_key;

mod credentials;

mod error;

mod jwks;

mod jwt;

pub mod layer;

mod policy;

mod ring;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use flowgate_config::{AuthConfig, Protocol};
use flowgate_tls::TlsRoots;
use http::{HeaderMap, HeaderName};

pub use self::{credentials::SUBPROTOCOL_PREFIX, error::AuthError, jwks::JwksError};

use self::{api_key::ApiKeys, credentials::Credential, jwt::TokenVerifier, policy::Policy};

/// The authentication of a Gateway, which may be disabled. Clones share its state.
#[derive(Clone, Debug)]
pub struct Auth(Option<Arc<Authenticator>>);

/// The accepted credentials, and the routes that need them.
struct Authenticator {
    policy: Policy,
    key_header: HeaderName,
    keys: ApiKeys,
    tokens: Option<TokenVerifier>,
}

/// Why authentication cannot be set up. No key is ever part of the text.
#[derive(Debug, thiserror::Error)]
pub enum AuthSetupError {
    /// A key file cannot be read.
    #[error("cannot read the key file {path}")]
    KeyFile {
        /// The path of the file.
        path: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A key file is too large. Reading only its beginning would silently drop keys.
    #[error("the key file {path} is larger than {max_bytes} bytes")]
    LargeKeyFile {
        /// The path of the file.
        path: String,
        /// The largest size allowed.
        max_bytes: u64,
    },
    /// A key file contains no key.
    #[error("the key file {path} contains no key")]
    NoKeys {
        /// The path of the file.
        path: String,
    },
    /// A key in a file is not valid.
    #[error(
        "the key file {path}, line {line}: invalid key (expected at least 16 visible ASCII characters, one key per line)"
    )]
    KeyLine {
        /// The path of the file.
        path: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// There are too many keys.
    #[error("more than {max} API keys are configured")]
    TooManyKeys {
        /// The most allowed.
        max: usize,
    },
    /// The keys of the token issuer cannot be loaded.
    #[error("cannot load the keys of the token issuer")]
    Jwks {
        /// The cause.
        source: JwksError,
    },
}

/// The caller of a request, for the log only. Displayed as `-`, `key NAME` or `token SUBJECT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The route needs no credentials.
    Anonymous,
    /// The holder of an API key.
    Key {
        /// The key's name in the Flow.
        name: String,
    },
    /// The holder of a token.
    Token {
        /// The token's `sub`.
        subject: String,
    },
}

impl Auth {
    /// Sets up authentication by a Flow's settings. Key files and a JSON Web Key Set in a file are read now. `roots`
    /// are trusted for a key set at a URL.
    ///
    /// # Errors
    /// When one of the files cannot be read or has no valid keys.
    pub fn new(config: &AuthConfig, roots: &TlsRoots) -> Result<Self, AuthSetupError> {
        if !config.is_enabled() {
            return Ok(Self(None));
        }
        let tokens = config.jwt.as_ref();
        let tokens = tokens.map(|jwt| TokenVerifier::new(jwt, roots)).transpose();
        Ok(Self(Some(Arc::new(Authenticator {
            policy: Policy::new(config),
            key_header: config.api_key_header.clone(),
            keys: ApiKeys::new(&config.api_keys)?,
            tokens: tokens.map_err(|source| AuthSetupError::Jwks { source })?,
        }))))
    }

    /// Whether authentication is enabled.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until no request for an issuer's keys is in flight. Such requests run in the background; call this before
    /// a Lambda function is frozen.
    pub async fn wait_for_key_refresh(&self) {
        let authenticator = self.0.as_ref();
        if let Some(tokens) = authenticator.and_then(|authenticator| authenticator.tokens.as_ref())
        {
            tokens.wait_for_key_refresh().await;
        }
    }

    /// Authenticates a request by its headers. `path` is decoded; for gRPC it is `/package.Service/Method`.
    ///
    /// `protocols` are the protocols of the port. The first one is the protocol of the route: its open paths need no
    /// credentials. All other paths need credentials if `auth` covers any of the protocols.
    ///
    /// # Errors
    /// When the credentials are missing or not accepted, or cannot be verified now.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        protocols: &[Protocol],
        path: &str,
    ) -> Result<Caller, AuthError> {
        let (Some(authenticator), Some(&protocol)) = (&self.0, protocols.first()) else {
            return Ok(Caller::Anonymous);
        };
        let policy = &authenticator.policy;
        if !policy.covers_any(protocols) || policy.is_open(protocol, path) {
            return Ok(Caller::Anonymous);
        }
        let result = authenticator.authenticate(headers, protocol).await;
        match &result {
            Ok(caller) => tracing::debug!(%caller, %protocol, path, "authenticated"),
            Err(error) => tracing::debug!(%error, %protocol, path, "authentication failed"),
        }
        result
    }
}

impl Authenticator {
    /// Returns the caller of the first valid credential, or the most specific error.
    async fn authenticate(
        &self,
        headers: &HeaderMap,
        protocol: Protocol,
    ) -> Result<Caller, AuthError> {
        let mut error = AuthError::MissingCredentials {
            accepted: self.accepted_credentials(),
        };
        for credential in credentials::extract(headers, protocol, &self.key_header) {
            match self.verify(credential).await {
                Ok(caller) => return Ok(caller),
                Err(other) if other.specificity() > error.specificity() => error = other,
                Err(_) => {}
            }
        }
        Err(error)
    }

    async fn verify(&self, credential: Credential<'_>) -> Result<Caller, AuthError> {
        let (Credential::Key(text) | Credential::Bearer(text)) = credential;
        if let Some(name) = self.keys.find_name(text) {
            let name = name.to_owned();
            return Ok(Caller::Key { name });
        }
        match (&self.tokens, credential) {
            (Some(tokens), Credential::Bearer(token)) => {
                let subject = tokens.verify(token).await?;
                Ok(Caller::Token { subject })
            }
            _ if self.keys.is_empty() => Err(AuthError::InvalidCredentials {
                reason: "API keys are not accepted here: send a token in `authorization: Bearer`",
            }),
            _ => Err(AuthError::InvalidCredentials {
                reason: "unknown API key",
            }),
        }
    }

    fn accepted_credentials(&self) -> String {
        let header = &self.key_header;
        match (self.keys.is_empty(), self.tokens.is_some()) {
            (false, true) => {
                format!("an API key in `{header}`, or a token in `authorization: Bearer`")
            }
            (false, false) => format!("an API key in `{header}` or `authorization: Bearer`"),
            (true, _) => "a token in `authorization: Bearer`".to_owned(),
        }
    }
}

impl Caller {
    /// Returns the span for the log lines of the caller's request.
    pub fn span(&self) -> tracing::Span {
        match self {
            Self::Anonymous => tracing::Span::none(),
            caller => tracing::info_span!("call", %caller),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("-"),
            Self::Key { name } => write!(f, "key {name}"),
            Self::Token { subject } => write!(f, "token {subject}"),
        }
    }
}

impl fmt::Debug for Authenticator {
    /// Leaves out the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
