//! A local server in place of AWS: it records the calls, and answers them with prepared statuses.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use aws_credential_types::provider::{
    error::CredentialsError, future::ProvideCredentials as Provided,
};
use aws_sdk_lambda::config::{BehaviorVersion, Region, retry::RetryConfig};
use aws_sdk_lambda::config::{Credentials, ProvideCredentials, SharedCredentialsProvider};
use axum::{Router, extract::State, http::Request, response::IntoResponse as _};
use flowgate_aws::SdkConfig;
use http_body_util::BodyExt as _;
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::task::AbortOnDropHandle;

use super::*;

/// A server in place of AWS.
pub(super) struct Aws {
    pub(super) url: String,
    state: Arc<ServerState>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct ServerState {
    calls: Mutex<Vec<(String, String)>>,
    responses: Mutex<VecDeque<(u16, &'static str)>>,
    called: Notify,
}

/// What is missing in the configuration of AWS clients.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lacking {
    Region,
    Credentials,
}

/// A provider that finds no credentials.
#[derive(Debug)]
struct NoCredentials;

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::ready(Err(CredentialsError::not_loaded("none")))
    }
}

impl Aws {
    /// Answers every call with 200.
    pub(super) async fn start() -> Self {
        Self::answering(&[]).await
    }

    /// Answers with these statuses and bodies, one after the other, and then with 200.
    pub(super) async fn answering(responses: &[(u16, &'static str)]) -> Self {
        let state = Arc::new(ServerState::default());
        *state.responses.lock().expect("responses") = responses.iter().copied().collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new()
            .fallback(record)
            .with_state(Arc::clone(&state));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("serving");
        });
        Self {
            url,
            state,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// Clients of this server, with invented credentials and plain HTTP.
    pub(super) fn connections(&self) -> Connections {
        self.connections_lacking(None)
    }

    /// As [`Aws::connections`], without a part of the configuration.
    pub(super) fn connections_lacking(&self, lacking: Option<Lacking>) -> Connections {
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "tests");
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(flowgate_aws::https_client())
            .retry_config(RetryConfig::disabled())
            .endpoint_url(&self.url);
        match lacking {
            None => {}
            Some(Lacking::Region) => {
                config.set_region(None);
            }
            Some(Lacking::Credentials) => {
                let none = SharedCredentialsProvider::new(NoCredentials);
                config.set_credentials_provider(Some(none));
            }
        }
        let endpoints = Endpoints {
            url: Some(self.url.clone()),
            region: None,
        };
        Connections::new(endpoints, AwsConfig::Fixed(Box::new(config.build())))
    }

    /// Method and path of each call, and its body.
    pub(super) fn calls(&self) -> Vec<(String, String)> {
        self.state.calls.lock().expect("calls").clone()
    }

    /// Methods and paths of the calls.
    pub(super) fn requests(&self) -> Vec<String> {
        let calls = self.calls().into_iter();
        calls.map(|(request, _)| request).collect()
    }

    /// Waits for a call.
    pub(super) async fn wait_for_call(&self) {
        while self.calls().is_empty() {
            self.state.called.notified().await;
        }
    }
}

async fn record(
    State(state): State<Arc<ServerState>>,
    request: Request<axum::body::Body>,
) -> axum::response::Response {
    let (head, body) = request.into_parts();
    // The Flow's `sign` turns the signatures of invocations off.
    let is_signed = head.headers.contains_key("authorization");
    assert_eq!(is_signed, head.uri.path().starts_with("/@connections"));
    let body = body.collect().await.expect("a body").to_bytes();
    let body = String::from_utf8(body.to_vec()).expect("text");
    let request = format!("{} {}", head.method, head.uri.path());
    state.calls.lock().expect("calls").push((request, body));
    state.called.notify_waiters();
    state.called.notify_one();
    let response = state.responses.lock().expect("responses").pop_front();
    let (status, body) = response.unwrap_or((200, "{}"));
    let status = http::StatusCode::from_u16(status).expect("a status");
    (status, body).into_response()
}
