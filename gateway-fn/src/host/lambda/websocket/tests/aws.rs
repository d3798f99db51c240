//! What stands in for AWS: an HTTP server that notes what it is asked and answers with the statuses it was told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_sdk_lambda::config::{Credentials, SharedCredentialsProvider};
use axum::{Router, extract::State, http::Request, response::IntoResponse as _};
use http_body_util::BodyExt as _;
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::task::AbortOnDropHandle;

use super::*;

/// The server.
pub(super) struct Aws {
    pub(super) url: String,
    asked: Arc<Asked>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Asked {
    calls: Mutex<Vec<(String, String)>>,
    statuses: Mutex<VecDeque<(u16, &'static str)>>,
    news: Notify,
}

impl Aws {
    /// Says 200 to whatever it is asked.
    pub(super) async fn start() -> Self {
        Self::saying(&[]).await
    }

    /// Answers with these statuses and bodies, one after the other, and then 200.
    pub(super) async fn saying(statuses: &[(u16, &'static str)]) -> Self {
        let asked = Arc::new(Asked::default());
        *asked.statuses.lock().expect("statuses") = statuses.iter().copied().collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(note).with_state(Arc::clone(&asked));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("serving");
        });
        Self {
            url,
            asked,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// The SDK with credentials of nobody's, over plain HTTP.
    pub(super) fn sdk(&self) -> Sdk {
        let nobody = Credentials::new("AKIDEXAMPLE", "secret", None, None, "tests");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(nobody))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .retry_config(RetryConfig::disabled())
            .endpoint_url(&self.url);
        Sdk::Given(Box::new(config.build()))
    }

    /// Method and path of each call, and its body.
    pub(super) fn calls(&self) -> Vec<(String, String)> {
        self.asked.calls.lock().expect("calls").clone()
    }

    /// Methods and paths of the calls.
    pub(super) fn asked(&self) -> Vec<String> {
        self.calls().into_iter().map(|(what, _)| what).collect()
    }

    /// Waits for a call.
    pub(super) async fn a_call(&self) {
        while self.calls().is_empty() {
            self.asked.news.notified().await;
        }
    }
}

async fn note(
    State(asked): State<Arc<Asked>>,
    request: Request<axum::body::Body>,
) -> axum::response::Response {
    let (head, body) = request.into_parts();
    // Invocations are not to be signed here: the Flow's `sign` says so.
    let is_signed = head.headers.contains_key("authorization");
    assert_eq!(is_signed, head.uri.path().starts_with("/@connections"));
    let body = body.collect().await.expect("a body").to_bytes();
    let body = String::from_utf8(body.to_vec()).expect("text");
    let what = format!("{} {}", head.method, head.uri.path());
    asked.calls.lock().expect("calls").push((what, body));
    asked.news.notify_waiters();
    asked.news.notify_one();
    let told = asked.statuses.lock().expect("statuses").pop_front();
    let (status, body) = told.unwrap_or((200, "{}"));
    let status = http::StatusCode::from_u16(status).expect("a status");
    (status, body).into_response()
}
