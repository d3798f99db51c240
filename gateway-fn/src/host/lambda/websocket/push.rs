//! A request that takes longer than API Gateway waits -> the function's own asynchronous event, and back.
//!
//! `{"flowgateWebSocket": {"version": 1, "id", "connection": {"id", "endpoint"}, "requestId", "message"}}`

use aws_sdk_lambda::{Client, primitives::Blob, types::InvocationType};
use flowgate_proto::{fresh_id, limits};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{sync::OnceCell, time::Instant};

use super::{
    call::{CallError, Sdk, call},
    event::Connection,
};

/// The key by which the event is known.
pub(super) const KEY: &str = "flowgateWebSocket";

/// A request that the function hands to itself.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HandedOver {
    version: u64,
    /// This event's own, the same however often it is delivered.
    pub(super) id: String,
    pub(super) connection: Connection,
    /// The request's.
    pub(super) request_id: String,
    /// The client's message as it came.
    pub(super) message: String,
}

/// Why a request was not handed over, or not taken on.
#[derive(Debug, thiserror::Error)]
pub(super) enum PushError {
    /// It is no event of this kind.
    #[error("the event is none that a function hands to itself")]
    Unreadable(#[from] serde_json::Error),
    /// Another release wrote it.
    #[error("the event has version {version}, and {VERSION} is read")]
    Version {
        /// What it has.
        version: u64,
    },
    /// An asynchronous event has a limit.
    #[error(
        "the request is {bytes} bytes as an asynchronous event, more than {}",
        limits::ASYNC_INVOKE_BYTES
    )]
    TooLarge {
        /// Of the event.
        bytes: usize,
    },
    /// Lambda did not take it.
    #[error("the function could not be invoked asynchronously: {0}")]
    Invoke(#[from] CallError),
}

impl HandedOver {
    pub(super) fn new(connection: Connection, request_id: String, message: String) -> Self {
        Self {
            version: VERSION,
            id: fresh_id(),
            connection,
            request_id,
            message,
        }
    }

    /// # Errors
    /// When the event is not one that this version writes.
    pub(super) fn read(mut event: Value) -> Result<Self, PushError> {
        let read: Self = serde_json::from_value(event[KEY].take())?;
        match read.version {
            VERSION => Ok(read),
            version => Err(PushError::Version { version }),
        }
    }
}

/// The function itself, as one that can be invoked.
#[derive(Debug, Default)]
pub(super) struct Itself(OnceCell<Client>);

impl Itself {
    /// Hands a request over.
    ///
    /// # Errors
    /// When it is too large, or Lambda does not take it until then.
    pub(super) async fn invoke(
        &self,
        sdk: &Sdk,
        function: &str,
        request: &HandedOver,
        until: Instant,
    ) -> Result<(), PushError> {
        let event = json!({KEY: request}).to_string();
        if event.len() > limits::ASYNC_INVOKE_BYTES {
            return Err(PushError::TooLarge { bytes: event.len() });
        }
        let client = self
            .0
            .get_or_init(|| async { Client::new(sdk.config().await) });
        let invoke = client
            .await
            .invoke()
            .function_name(function)
            .invocation_type(InvocationType::Event)
            .payload(Blob::new(event));
        call(until, || invoke.clone().send()).await?;
        Ok(())
    }
}

/// What an invocation's context says of the function: its ARN, with the version or alias that was invoked.
pub(super) fn own_name(lambda: &lambda_runtime::Context) -> &str {
    match lambda.invoked_function_arn.as_str() {
        arn if arn.starts_with("arn:") => arn,
        // An emulator that knows no ARNs.
        _ => &lambda.env_config.function_name,
    }
}

const VERSION: u64 = 1;
