//! Verifies a JSON Web Token and returns its subject. Checks the signature, the times, the issuer, the audience and the
//! scopes.

use std::collections::HashSet;

use flowgate_config::JwtConfig;
use jsonwebtoken::{
    DecodingKey, Header, Validation, decode, decode_header, errors::ErrorKind,
    get_current_timestamp,
};
use serde_json::{Map, Value};

use super::{
    error::AuthError,
    jwks::{JwksCache, JwksError, Lookup},
    ring,
};

/// Verifies the tokens of one issuer.
#[derive(Debug)]
pub(super) struct TokenVerifier {
    jwks: JwksCache,
    config: JwtConfig,
}

type Claims = Map<String, Value>;

impl TokenVerifier {
    pub(super) fn new(config: &JwtConfig) -> Result<Self, JwksError> {
        ring::install();
        Ok(Self {
            jwks: JwksCache::new(config)?,
            config: config.clone(),
        })
    }

    /// Waits until no request for the issuer's keys is in flight.
    pub(super) async fn wait_for_key_refresh(&self) {
        self.jwks.wait_for_refresh().await;
    }

    /// Verifies a token and returns its subject.
    pub(super) async fn verify(&self, token: &str) -> Result<String, AuthError> {
        let header = decode_header(token).map_err(|_| MALFORMED)?;
        // The algorithm `none` is rejected above: `jsonwebtoken` does not know it.
        if !ring::is_asymmetric(header.alg) {
            return Err(WRONG_ALGORITHM);
        }
        // `crit` names extensions that must be understood (RFC 7515, section 4.1.11); none is supported.
        if header.crit.is_some() {
            return Err(MALFORMED);
        }
        let claims = self.verify_signature(token, &header).await?;
        self.check_claims(&claims)?;
        self.check_scopes(&claims)?;
        let subject = claims.get("sub").and_then(Value::as_str);
        Ok(subject
            .unwrap_or_default()
            .chars()
            // A subject must not break up the log lines that show it.
            .filter(|letter| !letter.is_control())
            .take(MAX_SUBJECT_CHARS)
            .collect())
    }

    async fn verify_signature(&self, token: &str, header: &Header) -> Result<Claims, AuthError> {
        let id = header.kid.as_deref();
        let keys = self.jwks.keys().await?;
        let refreshed;
        let lookup = match keys.find(id, header.alg) {
            Lookup::UnknownKey => {
                let newer = self.jwks.refresh_for_unknown_key().await?;
                refreshed = newer.ok_or(BAD_SIGNATURE)?;
                refreshed.find(id, header.alg)
            }
            lookup => lookup,
        };
        match lookup {
            Lookup::Key(key) => self.decode_claims(token, header, key),
            Lookup::UnknownKey => Err(BAD_SIGNATURE),
            Lookup::WrongAlgorithm => Err(WRONG_ALGORITHM),
        }
    }

    fn decode_claims(
        &self,
        token: &str,
        header: &Header,
        key: &DecodingKey,
    ) -> Result<Claims, AuthError> {
        let decoded = decode::<Claims>(token, key, &self.validation(header));
        let claims = decoded.map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => BAD_SIGNATURE,
            ErrorKind::InvalidAlgorithm => WRONG_ALGORITHM,
            ErrorKind::ExpiredSignature => invalid("the token has expired"),
            ErrorKind::ImmatureSignature => invalid("the token is not valid yet"),
            ErrorKind::InvalidIssuer => invalid("the token is from another issuer"),
            ErrorKind::InvalidAudience => invalid("the token is for another audience"),
            ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => BAD_CLAIMS,
            _ => MALFORMED,
        })?;
        Ok(claims.claims)
    }

    fn validation(&self, header: &Header) -> Validation {
        let JwtConfig {
            issuer,
            audience,
            leeway,
            ..
        } = &self.config;
        // The algorithm fits the key: the key was looked up by it.
        let mut validation = Validation::new(header.alg);
        validation.leeway = leeway.as_secs();
        validation.validate_nbf = true;
        validation.set_issuer(&[issuer]);
        validation.set_required_spec_claims(&["exp", "iss"]);
        validation.validate_aud = !audience.is_empty();
        if validation.validate_aud {
            validation.set_audience(audience);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        validation
    }

    /// Checks what `jsonwebtoken` does not: that the issuer is a single text, and that the token was not issued in the
    /// future.
    fn check_claims(&self, claims: &Claims) -> Result<(), AuthError> {
        if claims.get("iss").and_then(Value::as_str) != Some(&self.config.issuer) {
            return Err(BAD_CLAIMS);
        }
        let Some(issued) = claims.get("iat") else {
            return Ok(());
        };
        let issued = issued.as_f64().ok_or(BAD_CLAIMS)?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "exact for the next few million years"
        )]
        let latest = (get_current_timestamp() + self.config.leeway.as_secs()) as f64;
        match issued <= latest {
            true => Ok(()),
            false => Err(invalid("the token is not valid yet")),
        }
    }

    fn check_scopes(&self, claims: &Claims) -> Result<(), AuthError> {
        let granted: HashSet<&str> = ["scope", "scp"]
            .into_iter()
            .filter_map(|name| claims.get(name))
            .flat_map(scope_names)
            .collect();
        let scopes = self.config.scopes.iter().map(String::as_str);
        let missing: Vec<_> = scopes.filter(|scope| !granted.contains(scope)).collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(AuthError::InsufficientScope {
                missing: missing.join(" "),
            }),
        }
    }
}

/// Splits a scope claim: names separated by spaces (RFC 8693, section 4.2), or a list of names as some issuers send it.
fn scope_names(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => text.split(' ').collect(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The length at which a subject is cut for the log; the issuer does not limit it.
const MAX_SUBJECT_CHARS: usize = 128;

const MALFORMED: AuthError = invalid("malformed token");

const WRONG_ALGORITHM: AuthError =
    invalid("the token is signed with an algorithm that is not accepted");

const BAD_SIGNATURE: AuthError = invalid("the token's signature cannot be verified");

const BAD_CLAIMS: AuthError =
    invalid("the token lacks a required claim, or a claim has the wrong type");

const fn invalid(reason: &'static str) -> AuthError {
    AuthError::InvalidCredentials { reason }
}
