//! A request that takes longer than API Gateway waits: the function invokes itself asynchronously with it, and that
//! invocation sends the response by `@connections`.
//!
//! The event is `{"flowgateWebSocket": {"version": 1, "id", "connection": {"id", "apiId", "stage"}, "requestId",
//! "message"}}`.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use flowgate_proto::{generate_id, limits};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{error::MessageError, event::Connection};
use crate::{
    context::Context,
    outbound::lambda::{EnqueueError, LambdaClient, enqueue},
};

/// The event's only key.
pub(super) const KEY: &str = "flowgateWebSocket";

/// A request with which the function invokes itself asynchronously.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AsyncRequest {
    version: u64,
    /// The event's id, which is the same for every delivery.
    pub(super) id: String,
    pub(super) connection: Connection,
    /// The id of the request.
    pub(super) request_id: String,
    /// The client's message, unchanged.
    pub(super) message: String,
}

/// Why an asynchronous request was not sent, or not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum AsyncRequestError {
    /// The event is not an asynchronous request.
    #[error("invalid asynchronous event under the key {KEY}")]
    Invalid(#[from] serde_json::Error),
    /// Another release of the function wrote it.
    #[error(
        "the asynchronous event has version {version}, and this function reads version {VERSION}"
    )]
    Version {
        /// The event's version.
        version: u64,
    },
    /// The event exceeds Lambda's limit.
    #[error(
        "the request is {bytes} bytes as an asynchronous event, and the limit is {}",
        limits::MAX_ASYNC_INVOKE_PAYLOAD_BYTES
    )]
    TooLarge {
        /// The event's size in bytes.
        bytes: usize,
    },
    /// Lambda did not accept it.
    #[error("the function could not be invoked asynchronously: {0}")]
    Invoke(#[from] EnqueueError),
}

impl AsyncRequestError {
    /// Returns the error for the client.
    pub(super) fn to_message_error(&self) -> MessageError {
        match self {
            Self::TooLarge { .. } => MessageError::too_large(self.to_string()),
            Self::Invoke(error) => MessageError::of_aws_call(error.code(), self.to_string()),
            Self::Invalid(_) | Self::Version { .. } => MessageError::internal(self.to_string()),
        }
    }
}

impl AsyncRequest {
    pub(super) fn new(connection: Connection, request_id: String, message: String) -> Self {
        Self {
            version: VERSION,
            id: generate_id(),
            connection,
            request_id,
            message,
        }
    }

    /// Invokes `function` with this request.
    ///
    /// # Errors
    /// When the event is too large, or Lambda does not accept it before the context's deadline.
    pub(super) async fn send(
        &self,
        client: &LambdaClient,
        function: &str,
        context: &Context,
    ) -> Result<(), AsyncRequestError> {
        let event = json!({KEY: self}).to_string();
        if event.len() > limits::MAX_ASYNC_INVOKE_PAYLOAD_BYTES {
            return Err(AsyncRequestError::TooLarge { bytes: event.len() });
        }
        Ok(enqueue(client, function, &event, context).await?)
    }

    /// Reads the request from its event.
    ///
    /// # Errors
    /// When the event is invalid or has another version.
    pub(super) fn from_event(mut event: Value) -> Result<Self, AsyncRequestError> {
        let request: Self = serde_json::from_value(event[KEY].take())?;
        match request.version {
            VERSION => Ok(request),
            version => Err(AsyncRequestError::Version { version }),
        }
    }
}

/// Returns the name by which the function invokes itself: its ARN with the version or alias that was invoked.
pub(super) fn own_name(lambda: &lambda_http::Context) -> &str {
    match lambda.invoked_function_arn.as_str() {
        arn if arn.starts_with("arn:") => arn,
        // Emulators send no ARN.
        _ => &lambda.env_config.function_name,
    }
}

const VERSION: u64 = 1;

/// Recognizes asynchronous events that are delivered again, which Lambda may do although nothing failed. Holds the ids
/// of the latest events, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Deduplicator(Mutex<VecDeque<String>>);

impl Deduplicator {
    /// Returns whether the event with this id comes for the first time, and remembers it.
    pub(super) fn is_new(&self, id: &str) -> bool {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.iter().any(|known| known == id) {
            return false;
        }
        if ids.len() == MAX_REMEMBERED_EVENTS {
            ids.pop_front();
        }
        ids.push_back(id.to_owned());
        true
    }
}

/// More events than one process receives within the minutes in which Lambda delivers again.
const MAX_REMEMBERED_EVENTS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_new_only_the_first_time() {
        let events = Deduplicator::default();
        assert!(events.is_new("a") && !events.is_new("a"));
        for number in 0..MAX_REMEMBERED_EVENTS {
            assert!(events.is_new(&number.to_string()));
        }
        assert!(events.is_new("a"), "the oldest id is forgotten");
    }
}
