//! The key `open` of `auth` -> the routes that need no authentication.

use crate::{
    diagnostic::Report,
    section::{Commas, Section},
};

/// Paths that need no authentication, by protocol. A `/*` at the end includes all paths below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenRoutes {
    /// HTTP paths.
    pub http: Vec<String>,
    /// gRPC methods, `/package.Service/Method`.
    pub grpc: Vec<String>,
    /// WebSocket paths.
    pub websocket: Vec<String>,
}

pub(super) fn read(section: &Section<'_>, report: &mut Report) -> OpenRoutes {
    OpenRoutes {
        grpc: routes(section, "grpc", report),
        http: routes(section, "http", report),
        websocket: routes(section, "websocket", report),
    }
}

fn routes(section: &Section<'_>, name: &'static str, report: &mut Report) -> Vec<String> {
    let items = section.items(&[name], Commas::Keep, report);
    let mut routes = Vec::with_capacity(items.len());
    for item in items {
        let has_other_stars = item.text.trim_end_matches("/*").contains('*');
        if !item.text.starts_with('/') || has_other_stars || item.text.ends_with("/*/*") {
            let expected =
                "a path that starts with `/`, with `/*` only at its end, for all paths below";
            item.entry.invalid::<()>(expected, report);
        }
        routes.push(item.text);
    }
    routes
}
