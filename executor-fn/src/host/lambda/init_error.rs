//! Reports to Lambda that a function cannot start. CloudWatch and the console then show the reason, and not only that the
//! process ended.

use std::{any::Any, time::Duration};

use flowgate_proto::{invoke::FunctionErrorKind, with_causes};
use http::{HeaderName, Method, StatusCode, Uri};
use lambda_runtime::Error;
use lambda_runtime_api_client::{PooledClient, body::Body, build_request};
use tokio::time::timeout;

use crate::{
    Error as ExecutorError, host::environment::non_empty, inbound::invoke::function_error,
};

const PATH: &str = "/2018-06-01/runtime/init/error";

const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");

/// The Runtime API is in the same machine and answers within milliseconds. An emulator that does not answer must not keep
/// the process from ending.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Reports to Lambda's Runtime API that this function cannot start, before the process ends (AWS Lambda, Runtime API,
/// "Initialization error"). `error_type` is `Category.Reason`, like `Flowgate.InvalidSettings`. A message of more than
/// 4096 bytes is cut off. `env` looks up an environment variable. Does nothing outside of Lambda. A failure is logged,
/// and the report takes at most 2 seconds.
///
/// Lambda rejects the report after the start: then the end of the process is enough.
pub async fn post_init_error(
    error_type: &str,
    message: &str,
    env: &(dyn Fn(&str) -> Option<String> + Sync),
) {
    let Some(api) = non_empty(env, "AWS_LAMBDA_RUNTIME_API") else {
        return;
    };
    let result = match timeout(TIMEOUT, post(&api, error_type, message)).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {TIMEOUT:?}").into()),
    };
    if let Err(error) = result {
        tracing::warn!(
            error = %with_causes(&*error),
            "cannot report to Lambda why the function does not start"
        );
    }
}

/// Does the same as [`post_init_error`], before the program has started its async runtime.
///
/// # Panics
/// When it is called in an async runtime.
pub fn post_init_error_blocking(
    error_type: &str,
    message: &str,
    env: &(dyn Fn(&str) -> Option<String> + Sync),
) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    match runtime.enable_all().build() {
        Ok(runtime) => runtime.block_on(post_init_error(error_type, message, env)),
        Err(error) => tracing::warn!(
            error = %with_causes(&error),
            "cannot report to Lambda why the function does not start"
        ),
    }
}

/// Returns the message for [`post_init_error`] about a panic while the program started. `panic` is the payload that
/// [`std::panic::catch_unwind`] returns; the place in the code is only in the log.
#[must_use]
pub fn init_panic_message(panic: &(dyn Any + Send)) -> String {
    format!(
        "the program panicked while it started: {}",
        ExecutorError::panic_text(panic)
    )
}

async fn post(api: &str, error_type: &str, message: &str) -> Result<(), Error> {
    let endpoint: Uri = api.parse()?;
    // The client panics without it.
    if endpoint.authority().is_none() {
        return Err(format!("AWS_LAMBDA_RUNTIME_API is {api:?}: expected HOST:PORT").into());
    }
    // The message is cut off as that of an invocation's error.
    let mut error = function_error(FunctionErrorKind::Failed, message);
    error_type.clone_into(&mut error.error_type);
    let request = build_request()
        .method(Method::POST)
        .uri(PATH)
        .header(ERROR_TYPE, error_type)
        .body(Body::from(serde_json::to_vec(&error)?))?;
    let client = PooledClient::builder().with_endpoint(endpoint).build();
    let status = client.call(request).await?.status();
    match status {
        // Lambda's answer once the function has started.
        StatusCode::FORBIDDEN => Ok(()),
        status if status.is_success() => Ok(()),
        status => Err(format!("the Runtime API answered {status}").into()),
    }
}
