//! Derives the parameters of each node from the client's parameters.

use flowgate_proto::{Kind, Parameters, Struct};
use prost::DecodeError;

#[cfg(test)]
mod tests;

/// Separates the name of a node from the rest of a key.
const SEPARATOR: &str = "__";

/// The parameters of one request, as the client sent them and as each node gets them.
#[derive(Debug, Clone)]
pub struct RequestParameters {
    client: Parameters,
    /// The decoded parameters, if some are for a single node.
    decoded: Option<Struct>,
}

impl RequestParameters {
    /// Looks at the keys. The values are decoded only if a key is for a single node: it contains `__`, or is the name of one
    /// by `is_node`.
    ///
    /// # Errors
    /// When the parameters cannot be decoded.
    pub fn new(client: Parameters, is_node: impl Fn(&str) -> bool) -> Result<Self, DecodeError> {
        let is_specific = client.any_key(|key| is_node_key(key) || is_node(key))?;
        let decoded = is_specific.then(|| client.decode()).transpose()?;
        Ok(Self { client, decoded })
    }

    /// Returns the parameters as the client sent them.
    #[must_use]
    pub const fn client(&self) -> &Parameters {
        &self.client
    }

    /// Returns the parameters for the node of this name. They are always present, even if empty.
    ///
    /// Only the node `NAME` gets a key `NAME__KEY`, as `KEY`. If there are more than two pieces, all but the last form
    /// the name (`exec0__z__w` is for a node `exec0z`). Last, the fields of an object whose key is the node's name are
    /// merged over the rest, and the object stays (recording `grpc/13-specific_parameters`).
    #[must_use]
    pub fn for_node(&self, name: &str) -> Parameters {
        let Some(decoded) = &self.decoded else {
            return if self.client.is_present() {
                self.client.clone()
            } else {
                Parameters::EMPTY
            };
        };
        let mut parameters = Struct::default();
        let mut specific = Vec::new();
        for (key, value) in &decoded.fields {
            if !is_node_key(key) {
                parameters.fields.insert(key.clone(), value.clone());
            } else if let Some(key) = strip_node_name(key, name) {
                specific.push((key.to_owned(), value.clone()));
            }
        }
        parameters.fields.extend(specific);
        let object = decoded.fields.get(name).and_then(|v| v.kind.as_ref());
        if let Some(Kind::StructValue(object)) = object {
            parameters.fields.extend(object.fields.clone());
        }
        parameters.into()
    }
}

/// Whether a key is for a single node.
fn is_node_key(key: &str) -> bool {
    !key.starts_with(SEPARATOR) && !key.ends_with(SEPARATOR) && key.contains(SEPARATOR)
}

/// Returns a node's key without the name of the node, or `None` if it is for another node.
fn strip_node_name<'k>(key: &'k str, node: &str) -> Option<&'k str> {
    // Splits from the left, which matters for `a___b`: it is the key `_b` for the node `a`.
    let mut pieces = key.split(SEPARATOR).peekable();
    let mut rest = node;
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.is_empty().then_some(piece);
        }
        rest = rest.strip_prefix(piece)?;
    }
    None
}
