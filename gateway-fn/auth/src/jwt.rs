//! Verifies a JSON Web Token and returns its subject. Checks the signature, the times, the issuer, the audience and the
//! scopes.

use std::collections::HashSet;

use flowgate_config::JwtConfig;
use flowgate_tls::TlsRoots;
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
    pub(super) fn new(config: &JwtConfig, roots: &TlsRoots) -> Result<Self, JwksError> {
        ring::install();
        Ok(Self {
            jwks: JwksCache::new(config, roots)?,
            config: config.clone(),
        })
    }

    /// Waits until no request for the issuer's keys is in flight.
    pub(super) async fn wait_for_key_refresh(&self) {
        self.jwks.wait_for_refresh().await;
    }

    /// Verifies a token and returns its subject.
    pub(super) async fn verify(&self, token: &str) -> Result<String, AuthError> {
        let header = decode_header(token).map_err(|error| header_error(error.kind()))?;
        // `decode_header` has rejected the algorithm `none`: `jsonwebtoken` does not know it.
        if !ring::is_asymmetric(header.alg) {
            return Err(WRONG_ALGORITHM);
        }
        // `crit` lists extensions that the recipient must support (RFC 7515, section 4.1.11). Flowgate supports no
        // extension.
        if header.crit.is_some() {
            return Err(UNSUPPORTED_EXTENSION);
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
                refreshed = newer.ok_or(UNKNOWN_KEY)?;
                refreshed.find(id, header.alg)
            }
            lookup => lookup,
        };
        match lookup {
            Lookup::Key(key) => self.decode_claims(token, header, key),
            Lookup::UnknownKey => Err(UNKNOWN_KEY),
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
            ErrorKind::ImmatureSignature => invalid("the token is not valid yet (`nbf`)"),
            ErrorKind::InvalidIssuer => invalid("the token is from another issuer"),
            ErrorKind::InvalidAudience => invalid("the token is for another audience"),
            ErrorKind::MissingRequiredClaim(name) => missing_claim(name),
            ErrorKind::InvalidClaimFormat(name) => invalid_claim(name),
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
        // The key was looked up by this algorithm, so the two match.
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

    /// Checks what `jsonwebtoken` does not: that the issuer is one string, not a list, and that the token was not
    /// issued in the future.
    fn check_claims(&self, claims: &Claims) -> Result<(), AuthError> {
        if claims.get("iss").and_then(Value::as_str) != Some(&self.config.issuer) {
            return Err(invalid_claim("iss"));
        }
        let Some(issued) = claims.get("iat") else {
            return Ok(());
        };
        let issued = issued.as_f64().ok_or_else(|| invalid_claim("iat"))?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "exact for the next few million years"
        )]
        let latest = (get_current_timestamp() + self.config.leeway.as_secs()) as f64;
        match issued <= latest {
            true => Ok(()),
            false => Err(invalid("the token was issued in the future (`iat`)")),
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

/// The longest subject in the log; a longer one is cut.
const MAX_SUBJECT_CHARS: usize = 128;

const MALFORMED: AuthError = invalid("malformed token");

const WRONG_ALGORITHM: AuthError =
    invalid("the token is signed with an algorithm that is not accepted");

const BAD_SIGNATURE: AuthError = invalid("the token's signature cannot be verified");

const UNKNOWN_KEY: AuthError =
    invalid("the token's key (`kid`) is not among the known keys of the issuer");

const UNSUPPORTED_EXTENSION: AuthError =
    invalid("the token requires an extension (`crit`) that is not supported");

/// Explains why a token's header cannot be decoded. A header that is JSON has an algorithm that `jsonwebtoken` does not
/// know, such as `none`, or another field with an invalid value.
fn header_error(error: &ErrorKind) -> AuthError {
    match error {
        ErrorKind::Json(error) if error.is_data() => {
            invalid("the token's header has an unsupported algorithm (`alg`) or an invalid field")
        }
        _ => MALFORMED,
    }
}

/// Explains `MissingRequiredClaim`, which `jsonwebtoken` also returns for a required claim of the wrong type.
fn missing_claim(name: &str) -> AuthError {
    invalid(match name {
        "exp" => "the token's claim `exp` is missing or is not a valid time",
        "iss" => "the token's claim `iss` is missing or has the wrong type",
        "aud" => "the token's claim `aud` is missing or has the wrong type",
        _ => "a required claim of the token is missing or has the wrong type",
    })
}

fn invalid_claim(name: &str) -> AuthError {
    invalid(match name {
        "exp" => "the token's claim `exp` is not a valid time",
        "nbf" => "the token's claim `nbf` is not a valid time",
        "iat" => "the token's claim `iat` is not a number",
        "iss" => "the token's claim `iss` is not the issuer as one string",
        _ => "a claim of the token has the wrong type",
    })
}

const fn invalid(reason: &'static str) -> AuthError {
    AuthError::InvalidCredentials { reason }
}
