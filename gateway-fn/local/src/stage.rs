//! The stage of an API: its name and address in events, and its part of every path.

use std::net::SocketAddr;

/// The stage that is no part of any path.
pub(crate) const DEFAULT_STAGE: &str = "$default";

/// One API's stage and address.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    prefix: String,
}

impl Stage {
    pub(crate) fn new(name: &str, address: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            address,
            prefix: path_prefix(name),
        }
    }

    pub(crate) fn is_default(&self) -> bool {
        self.prefix.is_empty()
    }

    /// Returns the path after the stage, or `None` for a path that is not in this stage.
    pub(crate) fn strip_prefix<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(&self.prefix)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }
}

/// Returns the beginning of every path in this stage: `/NAME`, or nothing for `$default`.
pub(crate) fn path_prefix(name: &str) -> String {
    match name {
        DEFAULT_STAGE => String::new(),
        name => format!("/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_stage_is_a_whole_segment_of_the_path() {
        let stage = Stage::new("prod", ([127, 0, 0, 1], 3000).into());
        assert_eq!(stage.strip_prefix("/prod"), Some(""));
        assert_eq!(stage.strip_prefix("/prod/x"), Some("/x"));
        assert_eq!(stage.strip_prefix("/production"), None);
    }
}
