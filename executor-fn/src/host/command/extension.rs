//! An internal extension of no events: only to a function that has one does Lambda send SIGTERM before it ends it
//! (AWS Lambda, Extensions API, "Shutdown phase"). It costs one local call at the start and one that stays open.

use flowgate_proto::with_causes;
use http::{HeaderName, Method};
use lambda_runtime::Error;
use lambda_runtime_api_client::{PooledClient, body::Body, build_request};

const NAME: HeaderName = HeaderName::from_static("lambda-extension-name");
const IDENTIFIER: HeaderName = HeaderName::from_static("lambda-extension-identifier");

/// Registers it. Where that fails, all goes on without SIGTERM.
pub(super) async fn register() {
    if let Err(error) = try_register().await {
        tracing::warn!(error = %with_causes(&*error), "Lambda will not tell before it ends this function");
    }
}

async fn try_register() -> Result<(), Error> {
    let client = PooledClient::builder().build();
    let register = request(Method::POST, "/2020-01-01/extension/register")
        .header(NAME, "flowgate-shutdown")
        .body(Body::from(r#"{"events":[]}"#))?;
    let registered = client.call(register).await?;
    let identifier = registered.headers().get(IDENTIFIER).cloned();
    let identifier =
        identifier.ok_or_else(|| format!("registering was answered {}", registered.status()))?;
    let next = request(Method::GET, "/2020-01-01/extension/event/next")
        .header(IDENTIFIER, identifier)
        .body(Body::empty())?;
    // INIT is over only when every extension waits for its next event; this one waits for ever.
    tokio::spawn(async move { client.call(next).await.map(drop) });
    Ok(())
}

fn request(method: Method, path: &str) -> http::request::Builder {
    build_request().method(method).uri(path)
}
