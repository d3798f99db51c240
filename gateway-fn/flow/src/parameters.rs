//! A client's parameters -> what each node sees of them.

use std::collections::HashSet;

use flowgate_proto::{Kind, Parameters, Struct};
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
        mut nodes: impl Iterator<Item = &'a str>,
    ) -> Result<Self, DecodeError> {
        let keys = client.keys()?;
        let is_specific = keys.iter().any(|key| is_split(key)) || {
            // A client may send many keys, and a Flow may have many nodes.
            let keys: HashSet<&str> = keys.iter().map(String::as_str).collect();
            !keys.is_empty() && nodes.any(|name| keys.contains(name))
        };
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
            if !is_split(key) {
                seen.fields.insert(key.clone(), value.clone());
            } else if let Some(key) = own_key(key, name) {
                own.push((key.to_owned(), value.clone()));
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

/// Whether a key is meant for one node only.
fn is_split(key: &str) -> bool {
    !key.starts_with(SEPARATOR) && !key.ends_with(SEPARATOR) && key.contains(SEPARATOR)
}

/// What the node sees a split key as; `None` when it is another node's.
fn own_key<'k>(key: &'k str, node: &str) -> Option<&'k str> {
    // Pieces are cut off from the left, which matters for `a___b`: it is `_b`, for the node `a`.
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
