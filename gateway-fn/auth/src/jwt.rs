//! A JSON Web Token -> whose it is, once its signature, its times, its issuer, its audience and its scopes have been seen
//! to hold.

use std::collections::HashSet;

use flowgate_config::JwtConfig;
use jsonwebtoken::{
    DecodingKey, Header, Validation, decode, decode_header, errors::ErrorKind,
    get_current_timestamp,
};
use serde_json::{Map, Value};

use super::{
    jwks::{Jwks, JwksError, Lookup, NoKeys},
    refusal::Refusal,
    ring,
};

/// The tokens of one issuer.
#[derive(Debug)]
pub(super) struct Tokens {
    jwks: Jwks,
    config: JwtConfig,
}

type Claims = Map<String, Value>;

impl Tokens {
    pub(super) fn new(config: &JwtConfig) -> Result<Self, JwksError> {
        ring::install();
        Ok(Self {
            jwks: Jwks::new(config)?,
            config: config.clone(),
        })
    }

    /// Waits until the issuer is not being asked.
    pub(super) async fn settled(&self) {
        self.jwks.settled().await;
    }

    /// The token's subject.
    pub(super) async fn subject(&self, token: &str) -> Result<String, Refusal> {
        let header = decode_header(token).map_err(|_| UNREADABLE)?;
        // `none` is no algorithm here and does not get so far.
        if !ring::is_asymmetric(header.alg) {
            return Err(ALGORITHM);
        }
        // No extension is known, so that one which must be understood is not (RFC 7515, section 4.1.11).
        if header.crit.is_some() {
            return Err(UNREADABLE);
        }
        let claims = self.verified(token, &header).await?;
        self.check_claims(&claims)?;
        self.check_scopes(&claims)?;
        let subject = claims.get("sub").and_then(Value::as_str);
        Ok(subject
            .unwrap_or_default()
            .chars()
            // It stands in log lines, of which it must not make more.
            .filter(|letter| !letter.is_control())
            .take(LONGEST_SUBJECT)
            .collect())
    }

    async fn verified(&self, token: &str, header: &Header) -> Result<Claims, Refusal> {
        let id = header.kid.as_deref();
        let keys = self
            .jwks
            .keys()
            .await
            .map_err(|NoKeys| Refusal::Unavailable)?;
        let newer;
        let found = match keys.find(id, header.alg) {
            Lookup::Unknown => {
                let asked = self.jwks.newer().await;
                newer = asked
                    .map_err(|NoKeys| Refusal::Unavailable)?
                    .ok_or(SIGNATURE)?;
                newer.find(id, header.alg)
            }
            found => found,
        };
        match found {
            Lookup::Key(key) => self.decoded(token, header, key),
            Lookup::Unknown => Err(SIGNATURE),
            Lookup::Unfit => Err(ALGORITHM),
        }
    }

    fn decoded(&self, token: &str, header: &Header, key: &DecodingKey) -> Result<Claims, Refusal> {
        let decoded = decode::<Claims>(token, key, &self.validation(header));
        let claims = decoded.map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => SIGNATURE,
            ErrorKind::InvalidAlgorithm => ALGORITHM,
            ErrorKind::ExpiredSignature => invalid("the token has expired"),
            ErrorKind::ImmatureSignature => invalid("the token is not valid yet"),
            ErrorKind::InvalidIssuer => invalid("the token is of another issuer"),
            ErrorKind::InvalidAudience => invalid("the token is for another audience"),
            ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => CLAIMS,
            _ => UNREADABLE,
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
        // The algorithm is one that the key is for: that is how the key was found.
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

    /// What the library leaves open: an issuer that is a list, and a token from the future.
    fn check_claims(&self, claims: &Claims) -> Result<(), Refusal> {
        if claims.get("iss").and_then(Value::as_str) != Some(&self.config.issuer) {
            return Err(CLAIMS);
        }
        let Some(issued) = claims.get("iat") else {
            return Ok(());
        };
        let issued = issued.as_f64().ok_or(CLAIMS)?;
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

    fn check_scopes(&self, claims: &Claims) -> Result<(), Refusal> {
        let granted: HashSet<&str> = ["scope", "scp"]
            .into_iter()
            .filter_map(|name| claims.get(name))
            .flat_map(words)
            .collect();
        let scopes = self.config.scopes.iter().map(String::as_str);
        let lacking: Vec<_> = scopes.filter(|scope| !granted.contains(scope)).collect();
        match lacking.is_empty() {
            true => Ok(()),
            false => Err(Refusal::Forbidden {
                scopes: lacking.join(" "),
            }),
        }
    }
}

/// Words with spaces between them (RFC 8693, section 4.2), or a list of them, as some issuers have it.
fn words(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => text.split(' ').collect(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// For the log; an issuer may say what it likes.
const LONGEST_SUBJECT: usize = 128;

const UNREADABLE: Refusal = invalid("the token cannot be read");

const ALGORITHM: Refusal = invalid("the token is signed by an algorithm that is not accepted");

const SIGNATURE: Refusal = invalid("the token's signature cannot be verified");

const CLAIMS: Refusal =
    invalid("the token lacks a claim that it needs, or has one of another type");

const fn invalid(reason: &'static str) -> Refusal {
    Refusal::Invalid { reason }
}
