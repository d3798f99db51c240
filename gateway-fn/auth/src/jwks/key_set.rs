//! The JSON of a JSON Web Key Set (RFC 7517) -> public keys, each with the algorithms that it is for.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;

use super::JwksError;

/// Keys of an issuer at once; a few are usual, and a token without a `kid` is compared with all.
const MOST_KEYS: usize = 100;

/// The keys of an issuer that verify signatures.
#[derive(Debug)]
pub(crate) struct KeySet(Vec<PublicKey>);

#[derive(Debug)]
struct PublicKey {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// What a token's head leads to.
#[derive(Debug)]
pub(crate) enum Lookup<'a> {
    Key(&'a DecodingKey),
    /// No key has this `kid`: it may be newer than the set.
    Unknown,
    /// Keys there are, but not one for this algorithm.
    Unfit,
}

impl KeySet {
    /// Leaves out what is not for signatures, or of a kind that nobody here knows.
    pub(crate) fn read(json: &[u8]) -> Result<Self, JwksError> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<serde_json::Value>,
        }
        let document: Document = serde_json::from_slice(json).map_err(|_| JwksError::NoKeySet)?;
        let keys = document.keys.into_iter().take(MOST_KEYS);
        let keys: Vec<_> = keys
            .filter_map(|key| PublicKey::new(&Jwk::deserialize(key).ok()?))
            .collect();
        match keys.is_empty() {
            true => Err(JwksError::NoKeySet),
            false => Ok(Self(keys)),
        }
    }

    /// The key that a token was signed with. One without a `kid` must leave no choice.
    pub(crate) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Lookup<'_> {
        let named: Vec<_> = match id {
            Some(id) => self
                .0
                .iter()
                .filter(|key| key.id.as_deref() == Some(id))
                .collect(),
            None => self.0.iter().collect(),
        };
        let mut fit = named
            .iter()
            .filter(|key| key.algorithms.contains(&algorithm));
        match (fit.next(), fit.next()) {
            _ if named.is_empty() => Lookup::Unknown,
            (Some(key), None) => Lookup::Key(&key.key),
            _ => Lookup::Unfit,
        }
    }
}

impl PublicKey {
    fn new(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        let signs =
            !matches!(&common.public_key_use, Some(other) if *other != PublicKeyUse::Signature);
        let verifies = common
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        let mut algorithms = algorithms(&jwk.algorithm).to_vec();
        if let Some(only) = common.key_algorithm {
            algorithms.retain(|algorithm| is_same(*algorithm, only));
        }
        (signs && verifies && !algorithms.is_empty()).then_some(())?;
        Some(Self {
            id: common.key_id.clone(),
            algorithms,
            key: DecodingKey::from_jwk(jwk).ok()?,
        })
    }
}

/// What a key's type allows, so that no token can choose for it. A secret (`oct`) allows nothing: whoever can read
/// the set could sign with it.
const fn algorithms(parameters: &AlgorithmParameters) -> &'static [Algorithm] {
    match parameters {
        AlgorithmParameters::RSA(_) => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            EllipticCurve::P521 | EllipticCurve::Ed25519 => &[],
        },
        AlgorithmParameters::OctetKeyPair(key) => match key.curve {
            EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
            EllipticCurve::P256 | EllipticCurve::P384 | EllipticCurve::P521 => &[],
        },
        AlgorithmParameters::OctetKey(_) => &[],
    }
}

/// Both types spell an algorithm as RFC 7518 does.
fn is_same(algorithm: Algorithm, named: KeyAlgorithm) -> bool {
    format!("{algorithm:?}") == named.to_string()
}
