//! What is behind the APIs: an event in, and out the function's answer or why there is none.

mod endpoint;

mod process;

mod queue;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use flowgate_proto::limits::MAX_INVOKE_PAYLOAD_BYTES;
use serde_json::{Value, json};

pub(super) use self::{
    endpoint::check_url,
    process::{ACCOUNT, Processes, arn},
    queue::{Patience, Queue, Request, Taken},
};
use super::{Local, Options, options};
use endpoint::Endpoint;

/// The header by which an X-Ray trace is handed on.
pub(super) const TRACE_HEADER: &str = "x-amzn-trace-id";

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The function's answer.
    Answered(Bytes),
    /// Lambda's error object: the function failed.
    Failed(Bytes),
}

/// Why there was no invocation.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvokeError {
    #[error("the function is not found")]
    NotFound,
    #[error("the event of {bytes} bytes is over Lambda's limit of {MAX_INVOKE_PAYLOAD_BYTES}")]
    TooLarge { bytes: usize },
    #[error("every runtime is busy")]
    Throttled,
    #[error("the endpoint answered {status}")]
    Refused { status: u16 },
    #[error("the endpoint cannot be reached: {reason}")]
    Unreachable { reason: String },
    #[error("it is stopping")]
    Stopping,
}

/// The function that the APIs call.
#[derive(Clone, Debug)]
pub(super) enum Front {
    Endpoint(Arc<Endpoint>),
    Here(Arc<Processes>),
}

/// The functions that run here, by name.
#[derive(Clone, Debug)]
pub(super) struct Functions {
    by_name: Arc<BTreeMap<String, Arc<Processes>>>,
    front: Arc<Processes>,
}

impl Outcome {
    /// Lambda's error object for a failure that the function did not report itself.
    pub(super) fn failed(error_type: &str, error_message: &str) -> Self {
        let error = json!({ "errorType": error_type, "errorMessage": error_message });
        Self::Failed(Bytes::from(error.to_string()))
    }

    /// What Lambda makes of an answer that is larger than it passes on.
    pub(super) fn too_large() -> Self {
        Self::failed(
            "Function.ResponseSizeTooLarge",
            "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        )
    }
}

impl Front {
    pub(super) fn endpoint(url: &str, function: &str) -> Self {
        Self::Endpoint(Arc::new(Endpoint::new(url, function)))
    }

    /// Invokes the function with this event and waits for its answer.
    pub(super) async fn invoke(&self, event: &Value, trace: &str) -> Result<Outcome, InvokeError> {
        let payload = Bytes::from(event.to_string());
        if payload.len() > MAX_INVOKE_PAYLOAD_BYTES {
            let bytes = payload.len();
            return Err(InvokeError::TooLarge { bytes });
        }
        let outcome = match self {
            Self::Endpoint(endpoint) => endpoint.invoke(payload, trace).await?,
            Self::Here(processes) => {
                let request = Request::new(payload, Some(trace.to_owned()));
                processes.invoke(request, Patience::None)?.await?
            }
        };
        if let Outcome::Failed(error) = &outcome {
            let error = String::from_utf8_lossy(&error[..error.len().min(SAID)]);
            tracing::warn!(%error, "the function failed");
        }
        Ok(outcome)
    }
}

/// So much of a function's error is logged.
const SAID: usize = 2000;

impl Functions {
    /// Starts nothing yet: the first invocation does.
    pub(super) fn new(functions: &[options::Function], options: &Options, local: &Local) -> Self {
        let surroundings = Surroundings::of(options, local);
        let make = |function: &options::Function| {
            Arc::new(Processes::new(
                function.clone(),
                options.max_queued,
                surroundings.clone(),
            ))
        };
        let by_name: BTreeMap<_, _> = functions
            .iter()
            .map(|function| (function.name.clone(), make(function)))
            .collect();
        let front = Arc::clone(&by_name[&functions[0].name]);
        Self {
            by_name: Arc::new(by_name),
            front,
        }
    }

    pub(super) fn front(&self) -> Front {
        Front::Here(Arc::clone(&self.front))
    }

    pub(super) fn named(&self, name: &str) -> Option<&Arc<Processes>> {
        self.by_name.get(name)
    }

    /// The first function whose runtimes are started by hand.
    pub(super) fn by_hand(&self) -> Option<&Arc<Processes>> {
        let mut all = [&self.front].into_iter().chain(self.by_name.values());
        all.find(|processes| processes.is_by_hand())
    }
}

/// What every function that runs here is told of the others, and what ends them.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    /// Where they invoke each other.
    pub(super) lambda: Option<SocketAddr>,
    /// Where they push to WebSockets, with the stage.
    pub(super) connections: String,
    pub(super) stopping: tokio_util::sync::CancellationToken,
    pub(super) tasks: tokio_util::task::TaskTracker,
}

impl Surroundings {
    fn of(options: &Options, local: &Local) -> Self {
        Self {
            lambda: local.addresses.lambda,
            connections: format!("http://{}{}", local.addresses.websocket, options.prefix()),
            stopping: local.stopping.clone(),
            tasks: local.tasks.clone(),
        }
    }
}
