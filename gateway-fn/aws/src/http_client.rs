//! The HTTPS client of the SDK. The SDK's own client has no settings for compiled-in roots and TCP keep-alive.

use std::time::Duration;

use aws_smithy_runtime_api::client::{
    http::{
        HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use flowgate_tls::{ConnectTimeout, ConnectorOptions, HttpsConnector, TlsRoots, https_connector};
use hyper_util::{
    client::legacy::{self, Client, connect},
    rt::{TokioExecutor, TokioTimer},
};

/// How long an idle connection is kept. A frozen function does not notice that a connection is closed, and a request over
/// a dead connection is lost: the caller cannot know whether the function has run, so the request cannot be retried. The
/// clock goes on during the freeze, so that connections from before it are not reused. Five seconds are enough for the
/// calls of one request, and for requests in quick succession.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

const CONNECTOR: ConnectorOptions = ConnectorOptions {
    // The default of the SDK.
    connect_timeout: Duration::from_millis(3100),
    // A NAT gateway forgets a connection after 350 s (Amazon VPC, "NAT gateway basics"), and a function may run for 900.
    keep_alive: Some(Duration::from_secs(60)),
};

#[derive(Clone, Debug)]
struct HttpsClient(Client<ConnectTimeout<HttpsConnector<connect::HttpConnector>>, SdkBody>);

/// A client whose TLS cannot be set up: each request fails with the reason.
#[derive(Clone, Debug)]
struct Unusable(String);

/// Returns the HTTPS client that trusts these roots. Its errors appear at the first request.
pub(super) fn https_client(roots: &TlsRoots) -> SharedHttpClient {
    let store = roots.store().map_err(|error| error.to_string());
    let connector = store
        .and_then(|store| https_connector(store, CONNECTOR).map_err(|error| error.to_string()));
    let connector = match connector {
        Ok(connector) => {
            let client = Client::builder(TokioExecutor::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_timer(TokioTimer::new())
                .build(connector);
            SharedHttpConnector::new(HttpsClient(client))
        }
        Err(reason) => SharedHttpConnector::new(Unusable(reason)),
    };
    http_client_fn(move |_, _| connector.clone())
}

impl HttpConnector for HttpsClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request
                .try_into_http1x()
                .map_err(|error| ConnectorError::user(error.into()))?;
            let response = client.request(request).await.map_err(connector_error)?;
            let response = response.map(SdkBody::from_body_1_x);
            HttpResponse::try_from(response)
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Only what was certainly not sent is reported as such: `flowgate` decides by that whether to send it again.
fn connector_error(error: legacy::Error) -> ConnectorError {
    match error.is_connect() {
        true => ConnectorError::io(error.into()),
        false => ConnectorError::other(error.into(), None),
    }
}

impl HttpConnector for Unusable {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let error = ConnectorError::user(self.0.clone().into());
        HttpConnectorFuture::ready(Err(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `flowgate_tls` tests that the socket has the option.
    #[test]
    fn keep_alive_begins_before_a_nat_gateway_forgets_a_connection() {
        let nat_gateway = Duration::from_secs(350);
        assert!(CONNECTOR.keep_alive.is_some_and(|time| time < nat_gateway));
    }
}
