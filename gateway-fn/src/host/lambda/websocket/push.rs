//! A request that takes longer than API Gateway waits -> the function's own asynchronous event, and back.
//!
//! `{"flowgateWebSocket": {"version": 1, "id", "connection": {"id", "apiId", "stage"}, "requestId", "message"}}`

use flowgate_proto::{fresh_id, limits};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{event::Connection, fault::Fault};
use crate::{
    context::Context,
    outbound::lambda::{InvokeFault, LambdaClient, enqueue},
};

/// The key by which the event is known.
pub(super) const KEY: &str = "flowgateWebSocket";

/// A request that the function hands to itself.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AsyncRequest {
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
    Invoke(#[from] InvokeFault),
}

impl PushError {
    /// What the client is told.
    pub(super) fn fault(&self) -> Fault {
        match self {
            Self::TooLarge { .. } => Fault::too_large(self.to_string()),
            Self::Unreadable(_) | Self::Version { .. } | Self::Invoke(_) => {
                Fault::unavailable(self.to_string())
            }
        }
    }
}

impl AsyncRequest {
    pub(super) fn new(connection: Connection, request_id: String, message: String) -> Self {
        Self {
            version: VERSION,
            id: fresh_id(),
            connection,
            request_id,
            message,
        }
    }

    /// Has Lambda invoke the function with it.
    ///
    /// # Errors
    /// When it is too large, or Lambda does not take it until the context's deadline.
    pub(super) async fn send(
        &self,
        client: &LambdaClient,
        function: &str,
        context: &Context,
    ) -> Result<(), PushError> {
        let event = json!({KEY: self}).to_string();
        if event.len() > limits::ASYNC_INVOKE_BYTES {
            return Err(PushError::TooLarge { bytes: event.len() });
        }
        Ok(enqueue(client, function, &event, context).await?)
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

/// What an invocation's context says of the function: its ARN, with the version or alias that was invoked.
pub(super) fn own_name(lambda: &lambda_runtime::Context) -> &str {
    match lambda.invoked_function_arn.as_str() {
        arn if arn.starts_with("arn:") => arn,
        // An emulator that knows no ARNs.
        _ => &lambda.env_config.function_name,
    }
}

const VERSION: u64 = 1;
