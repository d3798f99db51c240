//! Connects HTTPS clients, with a limit on the time for TCP and TLS together.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tower::{BoxError, Service};

/// How an HTTPS client connects.
#[derive(Clone, Copy, Debug)]
pub struct ConnectorOptions {
    /// The time for connecting to the addresses of one family (IPv4 or IPv6), divided evenly among them, and the time for
    /// everything together with TLS. An address that drops packets must not use up the caller's whole deadline.
    pub connect_timeout: Duration,
    /// After how much silence TCP checks that the peer is still there; `None` never checks. Without it a NAT gateway
    /// forgets a connection on which an answer is awaited for minutes.
    pub keep_alive: Option<Duration>,
}

/// Limits the time of a connector.
#[derive(Clone, Debug)]
pub struct ConnectTimeout<C> {
    connector: C,
    limit: Duration,
}

/// The connection was not made in time.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {0:?}")]
pub struct TimedOut(Duration);

/// Returns a connector for HTTP/1.1 over TLS, or in plain text where the URL says so.
///
/// # Errors
/// When rustls does not support its own defaults, which does not happen.
pub fn https_connector(
    roots: RootCertStore,
    options: ConnectorOptions,
) -> Result<ConnectTimeout<HttpsConnector<HttpConnector>>, rustls::Error> {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(options.connect_timeout));
    if let Some(keep_alive) = options.keep_alive {
        tcp.set_keepalive(Some(keep_alive));
        tcp.set_keepalive_interval(Some(keep_alive / 4));
        tcp.set_keepalive_retries(Some(KEEP_ALIVE_PROBES));
    }
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(ConnectTimeout {
        connector,
        limit: options.connect_timeout,
    })
}

/// Unanswered checks until the peer is taken for dead.
const KEEP_ALIVE_PROBES: u32 = 4;

impl<C> Service<Uri> for ConnectTimeout<C>
where
    C: Service<Uri, Future: Send + 'static, Error: Into<BoxError>>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let limit = self.limit;
        let connecting = tokio::time::timeout(limit, self.connector.call(url));
        Box::pin(async move {
            let connected = connecting.await.map_err(|_| TimedOut(limit))?;
            connected.map_err(Into::into)
        })
    }
}

#[cfg(test)]
mod tests {
    use hyper_rustls::MaybeHttpsStream;
    use socket2::SockRef;
    use tokio::net::TcpListener;

    use super::*;

    /// Whether TCP keep-alive is on, and the silence before it begins, of a connection with this option.
    async fn keep_alive_of(keep_alive: Option<Duration>) -> (bool, Duration) {
        let peer = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", peer.local_addr().expect("bound"));
        let options = ConnectorOptions {
            connect_timeout: Duration::from_secs(60),
            keep_alive,
        };
        let connector = https_connector(RootCertStore::empty(), options);
        let mut connector = connector.expect("rustls' defaults");
        let connected = connector.call(url.parse().expect("a URL")).await;
        let MaybeHttpsStream::Http(stream) = connected.expect("a connection") else {
            panic!("the URL has no TLS");
        };
        let stream = stream.into_inner();
        let socket = SockRef::from(&stream);
        let time = socket.tcp_keepalive_time().expect("an option of TCP");
        (socket.keepalive().expect("an option"), time)
    }

    #[tokio::test]
    async fn a_socket_has_the_keep_alive_of_the_options() {
        let minute = Duration::from_secs(60);
        assert_eq!(keep_alive_of(Some(minute)).await, (true, minute));
        assert!(!keep_alive_of(None).await.0);
    }

    /// A peer that accepts connections, and never answers the TLS handshake.
    #[tokio::test]
    async fn a_peer_that_does_not_answer_the_handshake_is_given_up() {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("https://{}", silent.local_addr().expect("bound"));
        let options = ConnectorOptions {
            connect_timeout: Duration::from_millis(10),
            keep_alive: None,
        };
        let connector = https_connector(RootCertStore::empty(), options);
        let mut connector = connector.expect("rustls' defaults");
        let connected = connector.call(url.parse().expect("a URL")).await;
        let error = connected.expect_err("no handshake");
        assert!(error.is::<TimedOut>(), "{error}");
    }
}
