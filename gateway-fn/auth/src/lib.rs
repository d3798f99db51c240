//! Who may call: the Flow's `auth` and a request's headers -> a caller, or a refusal. API keys and JSON Web Tokens open;
//! where both are set, either does. Every inbound asks here, and a host that has only headers can ask too.

pub mod fetch;

mod api_key;

mod credentials;

mod jwks;

mod jwt;

pub mod layer;

mod policy;

mod refusal;

mod ring;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use flowgate_config::{AuthConfig, Protocol};
use http::{HeaderMap, HeaderName};

pub use self::{credentials::SUBPROTOCOL_PREFIX, jwks::JwksError, refusal::Refusal};

use self::{api_key::ApiKeys, credentials::Credential, jwt::Tokens, policy::Policy};

/// The door of a Gateway. Clones share it.
#[derive(Clone, Debug)]
pub struct Auth(Option<Arc<Door>>);

/// What opens, and where.
struct Door {
    policy: Policy,
    key_header: HeaderName,
    keys: ApiKeys,
    tokens: Option<Tokens>,
}

/// Why nobody could be told from anybody. No key is ever shown.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A file of keys cannot be read.
    #[error("the key file {path} cannot be read")]
    KeyFile {
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A file of keys is too large; half of it would let half of the callers in.
    #[error("the key file {path} is larger than {most} bytes")]
    LargeKeyFile {
        /// The file.
        path: String,
        /// As many as may be.
        most: u64,
    },
    /// A file of keys has none.
    #[error("the key file {path} has no key in it")]
    NoKeys {
        /// The file.
        path: String,
    },
    /// A key in a file does not serve.
    #[error(
        "line {line} of the key file {path} is no key: at least 16 visible ASCII characters, one key a line"
    )]
    KeyLine {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// There are too many keys.
    #[error("there are more than {most} API keys")]
    TooManyKeys {
        /// As many as may be.
        most: usize,
    },
    /// The issuer's keys do not serve.
    #[error("the keys of the tokens' issuer cannot be used")]
    Jwks {
        /// Why not.
        source: JwksError,
    },
}

/// Who calls, for the log: it goes no further. Displayed as `-`, `key NAME` or `token SUBJECT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nothing was demanded.
    Anyone,
    /// The holder of a key.
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
    /// The door by a Flow's settings. Key files are read now, and a file of an issuer's keys.
    ///
    /// # Errors
    /// When one of them does not serve.
    pub fn new(config: &AuthConfig) -> Result<Self, AuthError> {
        if !config.is_enabled() {
            return Ok(Self(None));
        }
        let tokens = config.jwt.as_ref().map(Tokens::new).transpose();
        Ok(Self(Some(Arc::new(Door {
            policy: Policy::new(config),
            key_header: config.api_key_header.clone(),
            keys: ApiKeys::new(&config.api_keys)?,
            tokens: tokens.map_err(|source| AuthError::Jwks { source })?,
        }))))
    }

    /// Whether anything is demanded of anybody.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until no issuer is being asked for its keys, which goes on beside requests: before a host is frozen.
    pub async fn settled(&self) {
        if let Some(tokens) = self.0.as_ref().and_then(|door| door.tokens.as_ref()) {
            tokens.settled().await;
        }
    }

    /// Who calls this path of a protocol (for gRPC, `/package.Service/Method`), by a request's headers.
    ///
    /// # Errors
    /// When the caller may not.
    pub async fn check(
        &self,
        headers: &HeaderMap,
        protocol: Protocol,
        path: &str,
    ) -> Result<Caller, Refusal> {
        self.check_any(headers, &[protocol], path).await
    }

    /// As [`Auth::check`], for a route of the first protocol on the port of several: what one of them demands counts.
    pub async fn check_any(
        &self,
        headers: &HeaderMap,
        protocols: &[Protocol],
        path: &str,
    ) -> Result<Caller, Refusal> {
        let (Some(door), Some(first)) = (&self.0, protocols.first()) else {
            return Ok(Caller::Anyone);
        };
        let covered = protocols
            .iter()
            .any(|protocol| door.policy.covers(*protocol));
        if !covered || door.policy.is_open(*first, path) {
            return Ok(Caller::Anyone);
        }
        let outcome = door.caller(headers, *first).await;
        match &outcome {
            Ok(caller) => tracing::debug!(%caller, protocol = %first, path, "admitted"),
            Err(refusal) => tracing::debug!(%refusal, protocol = %first, path, "refused"),
        }
        outcome
    }
}

impl Door {
    /// The first of a request's credentials that opens, or the refusal that says most.
    async fn caller(&self, headers: &HeaderMap, protocol: Protocol) -> Result<Caller, Refusal> {
        let mut refusal = Refusal::Missing {
            wanted: self.wanted(),
        };
        for credential in credentials::of(headers, protocol, &self.key_header) {
            match self.try_one(credential).await {
                Ok(caller) => return Ok(caller),
                Err(other) if other.weight() > refusal.weight() => refusal = other,
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    async fn try_one(&self, credential: Credential<'_>) -> Result<Caller, Refusal> {
        let (Credential::Key(text) | Credential::Bearer(text)) = credential;
        if let Some(name) = self.keys.name(text) {
            let name = name.to_owned();
            return Ok(Caller::Key { name });
        }
        match (&self.tokens, credential) {
            (Some(tokens), Credential::Bearer(token)) => {
                let subject = tokens.subject(token).await?;
                Ok(Caller::Token { subject })
            }
            _ => Err(Refusal::Invalid {
                reason: "the API key is not known",
            }),
        }
    }

    fn wanted(&self) -> String {
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
    /// What a request's log lines stand in.
    pub fn span(&self) -> tracing::Span {
        match self {
            Self::Anyone => tracing::Span::none(),
            caller => tracing::info_span!("call", %caller),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("-"),
            Self::Key { name } => write!(f, "key {name}"),
            Self::Token { subject } => write!(f, "token {subject}"),
        }
    }
}

impl fmt::Debug for Door {
    /// Without the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
