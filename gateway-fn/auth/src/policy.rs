//! Decides by protocol and path whether a request needs credentials.

use flowgate_config::{AuthConfig, OpenRoutes, Protocol};

/// The gRPC health service, which is always open: a load balancer has no credentials.
const GRPC_HEALTH: &str = "/grpc.health.v1.Health/";

/// The protocols that need credentials, and the paths that do not.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    protocols: Vec<Protocol>,
    open_routes: OpenRoutes,
}

impl Policy {
    pub(super) fn new(config: &AuthConfig) -> Self {
        Self {
            protocols: config.protocols.clone(),
            open_routes: config.open.clone(),
        }
    }

    /// Whether at least one of the protocols needs credentials.
    pub(super) fn covers_any(&self, protocols: &[Protocol]) -> bool {
        protocols
            .iter()
            .any(|protocol| self.protocols.contains(protocol))
    }

    /// Whether `path` is open to everyone. It must equal an open route, or start with the text before a route's final
    /// `*`. An HTTP path is already decoded by the caller.
    pub(super) fn is_open(&self, protocol: Protocol, path: &str) -> bool {
        let routes = match protocol {
            Protocol::Grpc if path.starts_with(GRPC_HEALTH) => return true,
            Protocol::Grpc => &self.open_routes.grpc,
            Protocol::Http => &self.open_routes.http,
            Protocol::WebSocket => &self.open_routes.websocket,
        };
        routes.iter().any(|route| match route.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => route == path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        let paths = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect();
        Policy::new(&AuthConfig {
            protocols: vec![Protocol::Grpc, Protocol::Http],
            open: OpenRoutes {
                http: paths(&["/status", "/docs/*"]),
                grpc: paths(&["/jina.JinaInfoRPC/*"]),
                websocket: Vec::new(),
            },
            ..AuthConfig::default()
        })
    }

    #[test]
    fn a_path_is_open_literally_or_below_a_star() {
        for (path, open) in [
            ("/status", true),
            ("/status/", false),
            ("/Status", false),
            ("/statusx", false),
            ("/docs", false),
            ("/docs/", true),
            ("/docs/assets/a.js", true),
            ("/", false),
        ] {
            assert_eq!(policy().is_open(Protocol::Http, path), open, "{path}");
        }
    }

    #[test]
    fn a_path_is_open_for_its_own_protocol_only() {
        assert!(!policy().is_open(Protocol::WebSocket, "/status"));
        assert!(policy().is_open(Protocol::Grpc, "/jina.JinaInfoRPC/_status"));
        assert!(!policy().is_open(Protocol::Grpc, "/jina.JinaRPC/Call"));
        assert!(!policy().covers_any(&[Protocol::WebSocket]));
        assert!(policy().covers_any(&[Protocol::WebSocket, Protocol::Http]));
    }

    #[test]
    fn grpc_health_is_always_open() {
        assert!(policy().is_open(Protocol::Grpc, "/grpc.health.v1.Health/Check"));
        assert!(!policy().is_open(Protocol::Http, "/grpc.health.v1.Health/Check"));
    }
}
