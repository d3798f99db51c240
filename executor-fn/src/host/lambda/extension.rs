//! Registers internal Lambda extensions and receives their events (AWS Lambda, Extensions API). Lambda sends SIGTERM before it
//! ends a function only if it has an extension, and freezes a function only when each extension waits for its next event.
//! Each costs one local call at the start, and one that stays open.

use flowgate_proto::with_causes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use lambda_runtime::Error;
use lambda_runtime_api_client::{PooledClient, body::Body, build_request};
use serde::Deserialize;

const NAME: HeaderName = HeaderName::from_static("lambda-extension-name");
const IDENTIFIER: HeaderName = HeaderName::from_static("lambda-extension-identifier");

/// An event has a few hundred bytes.
const MAX_EVENT_BYTES: usize = 64 << 10;

/// A registered extension.
pub(super) struct Extension {
    client: PooledClient,
    identifier: HeaderValue,
}

/// An event of an invocation, which begins when the function gets its payload.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InvokeEvent {
    pub(super) request_id: String,
    /// When Lambda ends the function, in milliseconds since 1970.
    pub(super) deadline_ms: u64,
}

impl Extension {
    /// Registers an extension for these events. It must be called before the first invocation is asked for, and
    /// [`next`](Self::next) soon after it: INIT ends only when every extension waits for its next event.
    pub(super) async fn register(name: &'static str, events: &[&str]) -> Result<Self, Error> {
        let client = PooledClient::builder().build();
        let body = serde_json::json!({ "events": events }).to_string();
        let register = build_request()
            .method(Method::POST)
            .uri("/2020-01-01/extension/register")
            .header(NAME, name)
            .body(Body::from(body))?;
        let response = client.call(register).await?;
        let identifier = response.headers().get(IDENTIFIER).cloned();
        let identifier = identifier
            .ok_or_else(|| format!("the registration was answered {}", response.status()))?;
        Ok(Self { client, identifier })
    }

    /// Waits for the next event. Until this is called again, Lambda does not freeze the process; an invocation without that call
    /// lasts until the function's timeout. Returns `None` for an event that is not an invocation's.
    ///
    /// # Errors
    /// When the API does not answer with an event.
    pub(super) async fn next(&self) -> Result<Option<InvokeEvent>, Error> {
        let next = build_request()
            .method(Method::GET)
            .uri("/2020-01-01/extension/event/next")
            .header(IDENTIFIER, self.identifier.clone())
            .body(Body::empty())?;
        let response = self.client.call(next).await?;
        let (status, body) = (response.status(), response.into_body());
        if status != StatusCode::OK {
            return Err(format!("the request for the next event was answered {status}").into());
        }
        let body = Limited::new(body, MAX_EVENT_BYTES).collect().await?;
        Ok(serde_json::from_slice(&body.to_bytes()).ok())
    }
}

/// Registers an extension without events, so that Lambda sends SIGTERM. If that fails, the function runs without it.
pub(in crate::host) async fn register_for_shutdown() {
    match Extension::register("flowgate-shutdown", &[]).await {
        // It never receives an event.
        Ok(extension) => drop(tokio::spawn(
            async move { extension.next().await.map(drop) },
        )),
        Err(error) => tracing::warn!(
            error = %with_causes(&*error),
            "cannot register the shutdown extension: Lambda will end this function without SIGTERM"
        ),
    }
}
