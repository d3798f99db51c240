//! A protocol and a path -> whether the caller must say who it is.

use flowgate_config::{AuthConfig, OpenRoutes, Protocol};

/// Every gRPC health check; a load balancer has no key.
const GRPC_HEALTH: &str = "/grpc.health.v1.Health/";

/// Where something is demanded.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    protocols: Vec<Protocol>,
    open: OpenRoutes,
}

impl Policy {
    pub(super) fn new(config: &AuthConfig) -> Self {
        Self {
            protocols: config.protocols.clone(),
            open: config.open.clone(),
        }
    }

    /// Whether something is demanded of a protocol's callers at all.
    pub(super) fn covers(&self, protocol: Protocol) -> bool {
        self.protocols.contains(&protocol)
    }

    /// Whether a path needs nothing even so. It is compared as the routes are: literally, once decoded.
    pub(super) fn is_open(&self, protocol: Protocol, path: &str) -> bool {
        let open = match protocol {
            Protocol::Grpc if path.starts_with(GRPC_HEALTH) => return true,
            Protocol::Grpc => &self.open.grpc,
            Protocol::Http => &self.open.http,
            Protocol::WebSocket => &self.open.websocket,
        };
        open.iter().any(|open| match open.strip_suffix('*') {
            Some(below) => path.starts_with(below),
            None => open == path,
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
    fn what_is_open_in_one_protocol_is_not_in_another() {
        assert!(!policy().is_open(Protocol::WebSocket, "/status"));
        assert!(policy().is_open(Protocol::Grpc, "/jina.JinaInfoRPC/_status"));
        assert!(!policy().is_open(Protocol::Grpc, "/jina.JinaRPC/Call"));
        assert!(!policy().covers(Protocol::WebSocket));
    }

    #[test]
    fn grpc_health_is_always_open() {
        assert!(policy().is_open(Protocol::Grpc, "/grpc.health.v1.Health/Check"));
        assert!(!policy().is_open(Protocol::Http, "/grpc.health.v1.Health/Check"));
    }
}
