//! Parses a JSON Web Key Set (RFC 7517) into public keys, each with the algorithms that it may verify.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;

/// Further keys of a set are ignored. Issuers have a few, and a token without a `kid` is compared with all.
const MAX_KEYS: usize = 100;

/// The keys of an issuer that may verify signatures.
#[derive(Debug)]
pub(crate) struct KeySet(Vec<PublicKey>);

#[derive(Debug)]
struct PublicKey {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// The result of looking up the key for a token's header.
#[derive(Debug)]
pub(crate) enum Lookup<'a> {
    Key(&'a DecodingKey),
    /// No key has this `kid`; it may be newer than the set.
    UnknownKey,
    /// No key, or more than one, fits the algorithm.
    WrongAlgorithm,
}

impl KeySet {
    /// Parses a set and skips keys that are not for signatures or of an unsupported type. Returns `None` if no key is left.
    pub(crate) fn parse(json: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<serde_json::Value>,
        }
        let document: Document = serde_json::from_slice(json).ok()?;
        let keys = document.keys.into_iter().take(MAX_KEYS);
        let keys: Vec<_> = keys
            .filter_map(|key| PublicKey::new(&Jwk::deserialize(key).ok()?))
            .collect();
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// Finds the key that a token was signed with. Without a `kid`, exactly one key must fit the algorithm.
    pub(crate) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Lookup<'_> {
        let candidates: Vec<_> = match id {
            Some(id) => self
                .0
                .iter()
                .filter(|key| key.id.as_deref() == Some(id))
                .collect(),
            None => self.0.iter().collect(),
        };
        let mut fitting = candidates
            .iter()
            .filter(|key| key.algorithms.contains(&algorithm));
        match (fitting.next(), fitting.next()) {
            _ if candidates.is_empty() => Lookup::UnknownKey,
            (Some(key), None) => Lookup::Key(&key.key),
            _ => Lookup::WrongAlgorithm,
        }
    }
}

impl PublicKey {
    /// Returns `None` for a key that may not verify signatures.
    fn new(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        let is_for_signatures =
            !matches!(&common.public_key_use, Some(other) if *other != PublicKeyUse::Signature);
        let may_verify = common
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        let mut algorithms = algorithms(&jwk.algorithm).to_vec();
        if let Some(only) = common.key_algorithm {
            algorithms.retain(|algorithm| has_name_of(*algorithm, only));
        }
        (is_for_signatures && may_verify && !algorithms.is_empty()).then_some(())?;
        Some(Self {
            id: common.key_id.clone(),
            algorithms,
            key: DecodingKey::from_jwk(jwk).ok()?,
        })
    }
}

/// Returns the algorithms of a key's type, so that a token cannot choose another. A shared secret (`oct`) has none:
/// any reader of the set could sign with it.
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

/// Whether two types mean the same algorithm; both spell it as RFC 7518 does.
fn has_name_of(algorithm: Algorithm, other: KeyAlgorithm) -> bool {
    format!("{algorithm:?}") == other.to_string()
}
