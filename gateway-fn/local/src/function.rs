//! The function behind the APIs, which is at another Invoke endpoint or run by the emulator, and the other functions that
//! the emulator runs.

mod invocation;

mod queue;

mod runtime_api;

mod process;

mod leftovers;

mod variables;

mod log;

mod endpoint;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use flowgate_proto::limits::MAX_INVOKE_PAYLOAD_BYTES;
use serde_json::Value;

use self::{endpoint::Endpoint, invocation::log_error};
pub(crate) use self::{
    invocation::{Invocation, InvokeError, InvokeResult},
    process::{Function, RuntimeEnv},
    queue::QueuePolicy,
};
use crate::options::FunctionOptions;

/// The function that the HTTP and WebSocket APIs invoke.
#[derive(Clone, Debug)]
pub(crate) enum Integration {
    Endpoint(Arc<Endpoint>),
    Function(Arc<Function>),
}

/// The functions that the emulator runs, by name.
#[derive(Clone, Debug)]
pub(crate) struct Functions {
    by_name: Arc<BTreeMap<String, Arc<Function>>>,
    /// The function behind the HTTP and WebSocket APIs.
    first: Arc<Function>,
}

impl Integration {
    /// Returns the integration for a function at another endpoint, whose URL is valid.
    pub(crate) fn endpoint(url: &str, function: &str) -> Self {
        Self::Endpoint(Arc::new(Endpoint::new(url, function)))
    }

    /// Invokes the function with this event and waits for its result.
    pub(crate) async fn invoke(
        &self,
        event: &Value,
        trace: &str,
    ) -> Result<InvokeResult, InvokeError> {
        let payload = Bytes::from(event.to_string());
        if payload.len() > MAX_INVOKE_PAYLOAD_BYTES {
            let bytes = payload.len();
            return Err(InvokeError::TooLarge { bytes });
        }
        let result = match self {
            Self::Endpoint(endpoint) => endpoint.invoke(payload, trace).await?,
            Self::Function(function) => {
                let invocation = Invocation::new(payload, Some(trace.to_owned()));
                let result = function.invoke(invocation, QueuePolicy::Throttle)?;
                result.await?
            }
        };
        if let InvokeResult::FunctionError(error) = &result {
            log_error("function failed", error);
        }
        Ok(result)
    }
}

impl Functions {
    /// Prepares the functions; their first invocations start processes.
    pub(crate) fn new(functions: &[FunctionOptions], max_queued: usize, env: &RuntimeEnv) -> Self {
        let by_name = functions.iter().map(|options| {
            let function = Function::new(options.clone(), max_queued, env.clone());
            (options.name.clone(), Arc::new(function))
        });
        let by_name: BTreeMap<_, _> = by_name.collect();
        let first = Arc::clone(&by_name[&functions[0].name]);
        Self {
            by_name: Arc::new(by_name),
            first,
        }
    }

    pub(crate) fn integration(&self) -> Integration {
        Integration::Function(Arc::clone(&self.first))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Function>> {
        self.by_name.get(name)
    }

    /// Returns the function whose runtime uses the Runtime API without a function name in the path.
    pub(crate) fn default_external(&self) -> Option<&Arc<Function>> {
        let mut functions = [&self.first].into_iter().chain(self.by_name.values());
        functions.find(|function| function.is_external())
    }
}
