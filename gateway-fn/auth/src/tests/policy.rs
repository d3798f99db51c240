//! Tests which requests need credentials.

use super::*;

#[tokio::test]
async fn which_requests_need_credentials_depends_on_protocol_and_path() {
    let config = AuthConfig {
        protocols: vec![Protocol::WebSocket],
        open: OpenRoutes {
            http: vec!["/status".to_owned()],
            ..OpenRoutes::default()
        },
        ..key_config()
    };
    let auth = Auth::new(&config, &TlsRoots::System).expect("a valid configuration");
    for (protocols, path, is_open) in [
        (vec![Protocol::Grpc], "/jina.JinaRPC/Call", true),
        (vec![Protocol::Http], "/post", true),
        (vec![Protocol::WebSocket], "/", false),
        // HTTP on a port that WebSocket shares needs credentials too.
        (vec![Protocol::Http, Protocol::WebSocket], "/dry_run", false),
        (vec![Protocol::Http, Protocol::WebSocket], "/status", true),
    ] {
        let result = auth.authenticate(&HeaderMap::new(), &protocols, path).await;
        assert_eq!(result.is_ok(), is_open, "{protocols:?} {path}");
    }
    let disabled =
        Auth::new(&AuthConfig::default(), &TlsRoots::System).expect("a valid configuration");
    assert!(!disabled.is_enabled());
}
