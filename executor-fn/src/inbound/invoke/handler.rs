//! What a function does with the calls of an invocation: an Executor in this process, a command beside it, or a Flow.

use std::future::Future;

use flowgate_proto::{
    DataRequest,
    invoke::FunctionError,
    jina::{EndpointsProto, JinaInfoProto},
    json::{self, WriteError},
};
use prost::Message as _;

use crate::{Answer, CallContext, Service};

/// Answers the calls of an invocation.
pub trait InvokeHandler: Send + Sync {
    /// Answers one request, or all requests of a `no_reduce` join. The context has what the caller passes on, such as the
    /// trace, and the deadline.
    fn process(
        &self,
        requests: Vec<DataRequest>,
        context: CallContext,
    ) -> impl Future<Output = Result<Answer, FunctionError>> + Send;

    /// Answers a request that was sent as plain JSON, the body of Jina's HTTP `POST /post`. By default an error of the
    /// Executor is in the answer's status, as over HTTP.
    fn process_json(
        &self,
        request: DataRequest,
        context: CallContext,
    ) -> impl Future<Output = Result<DataRequest, FunctionError>> + Send {
        async {
            let answer = self.process(vec![request], context).await?;
            Ok(answer.request)
        }
    }

    /// Returns the JSON to answer with when JSON cannot represent an answer to `request`. By default it is the request with
    /// the error in its status, as over HTTP.
    fn unrepresentable_as_json(
        &self,
        request: &DataRequest,
        error: &WriteError,
    ) -> Result<Vec<u8>, FunctionError> {
        Ok(json::write_failed_request(request, &error.to_string()))
    }

    /// Returns the names of the endpoints.
    fn endpoints(&self) -> impl Future<Output = Result<EndpointsProto, FunctionError>> + Send;

    /// Returns the answer to Jina's `_status`.
    fn status(&self) -> impl Future<Output = Result<JinaInfoProto, FunctionError>> + Send;

    /// Returns the function error to answer with when a deadline passes while the Executor is unavailable.
    fn unavailable(&self) -> Option<FunctionError> {
        None
    }
}

impl InvokeHandler for Service {
    async fn process(
        &self,
        requests: Vec<DataRequest>,
        context: CallContext,
    ) -> Result<Answer, FunctionError> {
        let bytes = requests.iter().map(DataRequest::encoded_len).sum();
        self.traffic().add_received(bytes);
        let answer = self.process_in(requests, context).await;
        self.traffic().add_sent(answer.request.encoded_len());
        Ok(answer)
    }

    async fn endpoints(&self) -> Result<EndpointsProto, FunctionError> {
        let endpoints = Self::endpoints(self);
        Ok(EndpointsProto { endpoints })
    }

    async fn status(&self) -> Result<JinaInfoProto, FunctionError> {
        Ok(self.info())
    }
}
