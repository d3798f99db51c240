//! Answers direct invocations with the Flow: invocations by another Gateway, to which this function is one Executor, and
//! invocations with the plain JSON of `POST /post`. The library's `executor_fn::invoke` decodes payloads and encodes
//! answers.

use executor_fn::{
    Answer, CallContext,
    invoke::{InvokeHandler, function_error},
};
use flowgate_flow::reduce::reduce;
use flowgate_proto::{
    DEFAULT_ENDPOINT, DataRequest,
    invoke::{FunctionError, FunctionErrorKind},
    jina::{EndpointsProto, JinaInfoProto, status_proto::StatusCode},
    json::WriteError,
};
use lambda_http::lambda_runtime::Diagnostic;

use crate::{
    context::{Context, Trace},
    error::{ErrorCode, GatewayError},
    inbound::Services,
};

/// Answers the calls of one invocation with the Flow.
pub(super) struct FlowHandler<'a> {
    pub(super) services: &'a Services,
    pub(super) context: Context,
}

impl InvokeHandler for FlowHandler<'_> {
    async fn process(
        &self,
        requests: Vec<DataRequest>,
        caller: CallContext,
    ) -> Result<Answer, FunctionError> {
        let request = reduce(requests)
            .map_err(|error| function_error(FunctionErrorKind::BadPayload, error.to_string()))?;
        let unchanged = request.clone();
        let context = with_callers_trace(self.context.clone(), &caller);
        let request = match self.services.gateway.handle(request, context).await {
            Ok(answer) => answer,
            Err(error) if error.code() == ErrorCode::DeadlineExceeded => {
                return Err(flow_error(&error));
            }
            // To the caller this Flow is one Executor, whose errors are in the status of the unchanged request.
            Err(error) => {
                let mut answer = unchanged;
                answer.header.status = Some(error.status());
                answer
            }
        };
        let status = request.header.status.as_ref();
        let is_error = status.is_some_and(|status| status.code == i32::from(StatusCode::Error));
        Ok(Answer { request, is_error })
    }

    /// An error of the Flow is a function error: no caller reads the status.
    async fn process_json(
        &self,
        request: DataRequest,
        _: CallContext,
    ) -> Result<DataRequest, FunctionError> {
        let answer = self.services.gateway.handle(request, self.context.clone());
        answer.await.map_err(|error| flow_error(&error))
    }

    fn unrepresentable_as_json(
        &self,
        _: &DataRequest,
        error: &WriteError,
    ) -> Result<Vec<u8>, FunctionError> {
        let text = format!("Internal: cannot encode the answer as JSON: {error}");
        Err(function_error(FunctionErrorKind::Failed, text))
    }

    /// Accepts every endpoint: the Executors of the Flow decide which they serve.
    async fn endpoints(&self) -> Result<EndpointsProto, FunctionError> {
        let endpoints = vec![DEFAULT_ENDPOINT.to_owned()];
        Ok(EndpointsProto { endpoints })
    }

    async fn status(&self) -> Result<JinaInfoProto, FunctionError> {
        Ok(self.services.status.info())
    }
}

/// Puts the caller's trace before Lambda's.
fn with_callers_trace(mut context: Context, caller: &CallContext) -> Context {
    let callers = Trace::from_headers(caller.all_metadata());
    context.trace = context.trace.overridden_by(callers);
    context
}

/// The function error for an error of the Flow.
fn flow_error(error: &GatewayError) -> FunctionError {
    let kind = match error.code() {
        ErrorCode::DeadlineExceeded => FunctionErrorKind::OutOfTime,
        ErrorCode::InvalidTarget | ErrorCode::InvalidRequest => FunctionErrorKind::BadPayload,
        ErrorCode::Unavailable => FunctionErrorKind::Unavailable,
        code @ (ErrorCode::Overloaded
        | ErrorCode::TooLarge
        | ErrorCode::FunctionFailed
        | ErrorCode::Misconfigured
        | ErrorCode::Refused
        | ErrorCode::Internal) => {
            let text = format!("{code:?}: {}", error.detail());
            return function_error(FunctionErrorKind::Failed, text);
        }
    };
    function_error(kind, error.detail())
}

/// Converts a function error to the runtime client's type.
pub(super) fn into_diagnostic(error: FunctionError) -> Diagnostic {
    Diagnostic {
        error_type: error.error_type,
        error_message: error.error_message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_a_retry_does_not_change_is_not_unavailable() {
        let overloaded = flow_error(&GatewayError::Overloaded { limit: 1 });
        assert_eq!(overloaded.error_type, "Flowgate.Failed");
        assert!(overloaded.error_message.starts_with("Overloaded: "));
    }
}
