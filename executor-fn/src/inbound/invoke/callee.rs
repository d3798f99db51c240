//! Who answers the calls of an invocation: an Executor in this process, or a command beside it.

use std::{collections::BTreeMap, future::Future};

use flowgate_proto::{
    DataRequest,
    invoke::{FunctionError, FunctionErrorKind},
    jina::{EndpointsProto, JinaInfoProto},
};
use prost::Message as _;

use super::fault;
use crate::{Answer, Service};

/// Who answers. A clone is the same one.
pub trait Callee: Clone + Send + Sync + 'static {
    /// Answers one request or the parts of one. `trace` holds `traceparent` and `tracestate`, if there are any.
    fn process(
        &self,
        requests: Vec<DataRequest>,
        trace: &BTreeMap<String, String>,
    ) -> impl Future<Output = Result<Answer, FunctionError>> + Send;

    /// The endpoints it answers to.
    fn endpoints(&self) -> impl Future<Output = Result<EndpointsProto, FunctionError>> + Send;

    /// What `_status` tells.
    fn status(&self) -> impl Future<Output = Result<JinaInfoProto, FunctionError>> + Send;

    /// Why it is not there at the moment, if it is not.
    fn absence(&self) -> Option<FunctionError> {
        None
    }
}

impl Callee for Service {
    async fn process(
        &self,
        requests: Vec<DataRequest>,
        _: &BTreeMap<String, String>,
    ) -> Result<Answer, FunctionError> {
        let bytes = requests.iter().map(DataRequest::encoded_len).sum();
        self.traffic().received(bytes);
        let answer = self.try_process(requests).await.map_err(|panicked| {
            let text = panicked.error.to_string();
            tracing::error!(
                request_id = panicked.request.header.request_id,
                "the Executor panicked: {text}"
            );
            fault(FunctionErrorKind::Panic, text)
        })?;
        self.traffic().sent(answer.request.encoded_len());
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
