//! Forwards the calls of an invocation to the command by gRPC, as a Jina Gateway would. While the command is
//! unavailable, calls wait for it: a function that returned at once would be frozen, and its command could not start.

use std::{
    future::{Future, pending},
    time::Duration,
};

use flowgate_proto::{
    DataRequest, IS_ERROR_TRAILER,
    invoke::{FunctionError, FunctionErrorKind},
    jina::{
        DataRequestListProto, EndpointsProto, HeaderProto, JinaInfoProto,
        jina_data_request_rpc_client::JinaDataRequestRpcClient,
        jina_discover_endpoints_rpc_client::JinaDiscoverEndpointsRpcClient,
        jina_info_rpc_client::JinaInfoRpcClient,
        jina_single_data_request_rpc_client::JinaSingleDataRequestRpcClient,
    },
};
use tokio::time::timeout;
use tonic::{
    Code, Response, Status,
    metadata::{MetadataMap, MetadataValue},
    transport::Channel,
};

use super::supervisor::{CommandState, SupervisorHandle, is_broken};
use crate::{
    Answer, CallContext, Error, Identity,
    host::error::CommandError,
    inbound::invoke::{InvokeHandler, function_error},
};

/// How long a call whose connection broke waits for the supervisor to notice the end of the command.
const END_NOTICE_TIMEOUT: Duration = Duration::from_secs(3);

/// The reason while no supervisor runs.
const NOT_RESTARTED: &str = "it is not restarted any more";

/// Calls the command in its current run.
#[derive(Clone, Debug)]
pub(super) struct CommandClient {
    supervisor: SupervisorHandle,
    max_answer_bytes: usize,
    /// The command's name, if it is a default: answers have the name in the caller's Flow in its place.
    default_identity: Option<Identity>,
}

impl CommandClient {
    pub(super) const fn new(
        supervisor: SupervisorHandle,
        max_answer_bytes: usize,
        default_identity: Option<Identity>,
    ) -> Self {
        Self {
            supervisor,
            max_answer_bytes,
            default_identity,
        }
    }

    /// Waits until the command is ready, at most for `limit`. Never returns once the supervisor has ended: its own error says
    /// why.
    pub(super) async fn wait_until_ready(&self, limit: Duration) -> Result<(), CommandError> {
        match timeout(limit, self.channel()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => pending().await,
            Err(_) => Err(CommandError::NotReady {
                timeout: limit,
                reason: self.unavailable_reason().unwrap_or_default(),
            }),
        }
    }

    /// Waits until the command is ready, and returns a channel to it.
    async fn channel(&self) -> Result<Channel, FunctionError> {
        let mut state = self.supervisor.state.clone();
        let ready = state
            .wait_for(|state| matches!(state, CommandState::Ready(_)))
            .await;
        match ready.as_deref() {
            Ok(CommandState::Ready(channel)) => Ok(channel.clone()),
            Ok(CommandState::Unavailable(_)) | Err(_) => Err(unavailable_error(NOT_RESTARTED)),
        }
    }

    fn unavailable_reason(&self) -> Option<String> {
        match &*self.supervisor.state.borrow() {
            CommandState::Unavailable(reason) => Some(reason.clone()),
            CommandState::Ready(_) => None,
        }
    }

    /// Waits until the command is unavailable.
    async fn wait_until_unavailable(&self) -> FunctionError {
        let mut state = self.supervisor.state.clone();
        match state
            .wait_for(|state| matches!(state, CommandState::Unavailable(_)))
            .await
            .as_deref()
        {
            Ok(CommandState::Unavailable(reason)) => unavailable_error(reason),
            Ok(CommandState::Ready(_)) | Err(_) => unavailable_error(NOT_RESTARTED),
        }
    }

    /// Runs a call, and gives up when the command ends meanwhile.
    async fn run_call<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<Response<T>, CallError> {
        let in_flight = self.supervisor.calls.token();
        let status = tokio::select! {
            biased;
            response = call => match response {
                Ok(response) => return Ok(response),
                Err(status) => status,
            },
            error = self.wait_until_unavailable() => return Err(CallError::Function(error)),
        };
        drop(in_flight);
        if !is_broken(&status) {
            return Err(status.into());
        }
        self.supervisor.broken_call.notify_one();
        let error = timeout(END_NOTICE_TIMEOUT, self.wait_until_unavailable()).await;
        Err(CallError::Function(error.unwrap_or_else(|_| {
            unavailable_error(&format!("the connection broke: {}", describe(&status)))
        })))
    }
}

impl InvokeHandler for CommandClient {
    async fn process(
        &self,
        mut requests: Vec<DataRequest>,
        context: CallContext,
    ) -> Result<Answer, FunctionError> {
        let channel = self.channel().await?;
        let first = requests.first().cloned().unwrap_or_default();
        let metadata = metadata(&first.header, &context);
        let max_bytes = self.max_answer_bytes;
        let response = if requests.len() == 1 {
            let mut client =
                JinaSingleDataRequestRpcClient::new(channel).max_decoding_message_size(max_bytes);
            let request = grpc_request(metadata, requests.remove(0));
            self.run_call(client.process_single_data(request)).await
        } else {
            let mut client =
                JinaDataRequestRpcClient::new(channel).max_decoding_message_size(max_bytes);
            let request = grpc_request(metadata, DataRequestListProto { requests });
            self.run_call(client.process_data(request)).await
        };
        match response {
            Ok(response) => {
                let is_error = response.metadata().contains_key(IS_ERROR_TRAILER);
                let mut request = response.into_inner();
                if let (Some(default), Some(node)) = (&self.default_identity, context.executor()) {
                    rename(&mut request, default, Identity::first_replica(node));
                }
                Ok(Answer { request, is_error })
            }
            Err(CallError::Function(error)) => Err(error),
            Err(CallError::Status(status)) => Ok(error_answer(first, &status)),
        }
    }

    async fn endpoints(&self) -> Result<EndpointsProto, FunctionError> {
        let mut client = JinaDiscoverEndpointsRpcClient::new(self.channel().await?);
        let response = self.run_call(client.endpoint_discovery(())).await?;
        Ok(response.into_inner())
    }

    async fn status(&self) -> Result<JinaInfoProto, FunctionError> {
        let mut client = JinaInfoRpcClient::new(self.channel().await?);
        let response = self.run_call(client.status(())).await?;
        Ok(response.into_inner())
    }

    fn unavailable(&self) -> Option<FunctionError> {
        let reason = self.unavailable_reason()?;
        Some(unavailable_error(&reason))
    }
}

/// Why a call to the command has no response.
enum CallError {
    /// The command is unavailable, or its response cannot be used.
    Function(FunctionError),
    /// The command answered with an error status.
    Status(Status),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let kind = match status.code() {
            Code::DeadlineExceeded => FunctionErrorKind::OutOfTime,
            // tonic's status for a response over the size limit.
            Code::OutOfRange => FunctionErrorKind::AnswerTooLarge,
            _ => return Self::Status(status),
        };
        Self::Function(function_error(
            kind,
            format!("the command: {}", describe(&status)),
        ))
    }
}

impl From<CallError> for FunctionError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Function(error) => error,
            CallError::Status(status) => {
                unavailable_error(&format!("it answered {}", describe(&status)))
            }
        }
    }
}

fn describe(status: &Status) -> String {
    format!("gRPC status {:?}: {}", status.code(), status.message())
}

fn unavailable_error(reason: &str) -> FunctionError {
    function_error(
        FunctionErrorKind::Unavailable,
        format!("the command of the Executor is unavailable: {reason}"),
    )
}

/// Writes an error status of the command into the first request, as an error of the Executor.
fn error_answer(mut request: DataRequest, status: &Status) -> Answer {
    Error::new("RpcError", describe(status)).write_status(&mut request.header, "command");
    Answer {
        request,
        is_error: true,
    }
}

/// Renames the Executor in its route and in the key of its results.
fn rename(answer: &mut DataRequest, from: &Identity, to: Identity) {
    if let Some(own) = answer.routes.last_mut()
        && own.executor == from.deployment
    {
        own.executor = to.deployment;
    }
    if let Ok(Some(mut results)) = answer.parameters.results()
        && let Some(own) = results.fields.remove(&from.runtime)
    {
        results.fields.insert(to.runtime, own);
        if let Ok(parameters) = answer.parameters.with_results(results) {
            answer.parameters = parameters;
        }
    }
}

fn grpc_request<T>(metadata: MetadataMap, message: T) -> tonic::Request<T> {
    tonic::Request::from_parts(metadata, tonic::Extensions::new(), message)
}

/// The metadata of a Jina Gateway: the endpoint, by which a Head chooses its polling, and what the caller passes on, such as
/// the trace.
fn metadata(header: &HeaderProto, context: &CallContext) -> MetadataMap {
    let mut metadata = MetadataMap::from_headers(context.all_metadata().clone());
    let endpoint = header.exec_endpoint.as_deref();
    let endpoint = endpoint.filter(|endpoint| !endpoint.is_empty());
    if let Some(Ok(endpoint)) = endpoint.map(MetadataValue::try_from) {
        metadata.insert("endpoint", endpoint);
    }
    metadata
}

#[cfg(test)]
mod tests {
    use flowgate_proto::jina::RouteProto;
    use serde_json::json;

    use super::*;

    fn answer(routes: &[&str], results: &serde_json::Value) -> DataRequest {
        let route = |name: &&str| RouteProto {
            executor: (*name).to_owned(),
            ..RouteProto::default()
        };
        let parameters = json!({"k": 1, "__results__": results});
        let parameters = crate::struct_from_json(parameters).expect("an object");
        DataRequest {
            routes: routes.iter().map(route).collect(),
            parameters: parameters.into(),
            ..DataRequest::default()
        }
    }

    #[test]
    fn only_the_commands_own_route_and_results_are_renamed() {
        let default = Identity::first_replica("executor");
        let mut renamed = answer(
            &["gateway", "executor", "executor"],
            &json!({"executor/rep-0": {"n": 1}, "other/rep-0": {}}),
        );
        rename(&mut renamed, &default, Identity::first_replica("enc"));
        let expected = answer(
            &["gateway", "executor", "enc"],
            &json!({"enc/rep-0": {"n": 1}, "other/rep-0": {}}),
        );
        assert_eq!(renamed.routes, expected.routes);
        let decoded = |answer: &DataRequest| answer.parameters.decode().expect("parameters");
        assert_eq!(decoded(&renamed), decoded(&expected));

        let foreign = answer(&["gateway"], &json!({"other/rep-0": {}}));
        let mut unchanged = foreign.clone();
        rename(&mut unchanged, &default, Identity::first_replica("enc"));
        assert_eq!(unchanged, foreign);
    }
}
