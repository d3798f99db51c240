//! Registers an internal Lambda extension without events: Lambda sends SIGTERM before it ends a function only if it has
//! an extension (AWS Lambda, Extensions API, "Shutdown phase"). It costs one local call at the start, and one that
//! stays open.

use flowgate_proto::with_causes;
use http::{HeaderName, Method};
use lambda_runtime::Error;
use lambda_runtime_api_client::{PooledClient, body::Body, build_request};

const NAME: HeaderName = HeaderName::from_static("lambda-extension-name");
const IDENTIFIER: HeaderName = HeaderName::from_static("lambda-extension-identifier");

/// Registers the extension. If that fails, the function runs without SIGTERM.
pub(super) async fn register() {
    if let Err(error) = try_register().await {
        tracing::warn!(
            error = %with_causes(&*error),
            "cannot register the shutdown extension: Lambda will end this function without SIGTERM"
        );
    }
}

async fn try_register() -> Result<(), Error> {
    let client = PooledClient::builder().build();
    let register = request(Method::POST, "/2020-01-01/extension/register")
        .header(NAME, "flowgate-shutdown")
        .body(Body::from(r#"{"events":[]}"#))?;
    let response = client.call(register).await?;
    let identifier = response.headers().get(IDENTIFIER).cloned();
    let identifier =
        identifier.ok_or_else(|| format!("the registration was answered {}", response.status()))?;
    let next = request(Method::GET, "/2020-01-01/extension/event/next")
        .header(IDENTIFIER, identifier)
        .body(Body::empty())?;
    // INIT ends only when every extension waits for its next event. This one never receives an event.
    tokio::spawn(async move { client.call(next).await.map(drop) });
    Ok(())
}

fn request(method: Method, path: &str) -> http::request::Builder {
    build_request().method(method).uri(path)
}
