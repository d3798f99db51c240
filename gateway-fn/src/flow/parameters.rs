//! A client's parameters -> what each node sees of them, and the results maps that travel under
//! `__results__`.

use flowgate_proto::{Kind, Parameters, RESULTS_KEY, Struct, Value};
use prost::DecodeError;

#[cfg(test)]
mod tests;

/// What parts a node's name from the rest of a key.
const SEPARATOR: &str = "__";

/// One request's parameters, as the client sent them and as each node sees them.
#[derive(Debug, Clone)]
pub struct RequestParameters {
    client: Parameters,
    /// Decoded when something in them is meant for one node only.
    specific: Option<Struct>,
}

impl RequestParameters {
    /// Looks through the keys. Nothing else is decoded unless a key is meant for a node: has `__` inside,
    /// or is the name of one of the `nodes`.
    ///
    /// # Errors
    /// When the parameters cannot be decoded.
    pub fn new<'a>(
        client: Parameters,
        nodes: impl Iterator<Item = &'a str>,
    ) -> Result<Self, DecodeError> {
        let keys = client.keys()?;
        let is_known = |name: &str| keys.iter().any(|key| key == name);
        let is_specific = !keys.is_empty()
            && (keys.iter().any(|key| split(key).is_some()) || { nodes }.any(is_known));
        let specific = is_specific.then(|| client.decode()).transpose()?;
        Ok(Self { client, specific })
    }

    /// The parameters as the client sent them.
    #[must_use]
    pub const fn client(&self) -> &Parameters {
        &self.client
    }

    /// What the node of this name gets to see. They are always there, if only empty.
    ///
    /// A key `NAME__KEY` is for the node `NAME` alone, which sees it as `KEY`; more than two pieces are
    /// joined into the name (`exec0__z__w` is for a node `exec0z`). Then the members of an object under the
    /// node's own name are merged over the rest; the object stays (recording `grpc/13-specific_parameters`).
    #[must_use]
    pub fn for_node(&self, name: &str) -> Parameters {
        let Some(given) = &self.specific else {
            return if self.client.is_present() {
                self.client.clone()
            } else {
                Parameters::EMPTY
            };
        };
        let mut seen = Struct::default();
        let mut own = Vec::new();
        for (key, value) in &given.fields {
            match split(key) {
                None => {
                    seen.fields.insert(key.clone(), value.clone());
                }
                Some((node, key)) if node == name => own.push((key.to_owned(), value.clone())),
                Some(_) => {}
            }
        }
        seen.fields.extend(own);
        if let Some(Kind::StructValue(object)) =
            given.fields.get(name).and_then(|v| v.kind.as_ref())
        {
            seen.fields.extend(object.fields.clone());
        }
        seen.into()
    }
}

/// The results maps that an answer carries; `None` when there are none. Nothing is decoded then.
///
/// # Errors
/// When the parameters cannot be decoded.
pub fn results_of(answer: &Parameters) -> Result<Option<Struct>, DecodeError> {
    if !answer.keys()?.iter().any(|key| key == RESULTS_KEY) {
        return Ok(None);
    }
    let results = answer.decode()?.fields.remove(RESULTS_KEY);
    Ok(match results.and_then(|results| results.kind) {
        Some(Kind::StructValue(results)) if !results.fields.is_empty() => Some(results),
        _ => None,
    })
}

/// The parameters with these results maps in the place of any that they had.
///
/// # Errors
/// When the parameters cannot be decoded.
pub fn with_results(client: &Parameters, results: Struct) -> Result<Parameters, DecodeError> {
    let mut parameters = client.decode()?;
    let results = Value::from(results.fields);
    parameters.fields.insert(RESULTS_KEY.to_owned(), results);
    Ok(parameters.into())
}

/// The node that a key is meant for, and the key that it sees; `None` for a key that is for all.
fn split(key: &str) -> Option<(String, &str)> {
    if key.starts_with(SEPARATOR) || key.ends_with(SEPARATOR) {
        return None;
    }
    // Pieces are cut off from the left, which matters for `a___b`: it is `_b`, for the node `a`.
    let mut pieces: Vec<_> = key.split(SEPARATOR).collect();
    let key = pieces.pop()?;
    (!pieces.is_empty()).then(|| (pieces.concat(), key))
}
