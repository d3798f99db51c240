//! The calls of an invocation -> gRPC calls to the command, as a Jina Gateway would make them; while it is not
//! there they wait, because a function that nobody calls is frozen and starts nothing.

use std::{collections::BTreeMap, future::Future, time::Duration};

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
    metadata::{MetadataKey, MetadataMap, MetadataValue},
    transport::Channel,
};

use super::{
    CommandError,
    supervisor::{State, Watch, is_broken},
};
use crate::{
    Answer, Error,
    inbound::invoke::{Callee, fault},
};

/// A connection breaks a moment before the command's end is known, or is found out by asking it.
const END_IS_KNOWN: Duration = Duration::from_secs(3);

/// Calls the command, wherever it runs at the moment.
#[derive(Clone, Debug)]
pub(super) struct Client {
    watch: Watch,
    /// Bytes of an answer.
    limit: usize,
}

impl Client {
    pub(super) const fn new(watch: Watch, limit: usize) -> Self {
        Self { watch, limit }
    }

    /// Done when the command is ready.
    pub(super) async fn ready_within(&self, after: Duration) -> Result<(), CommandError> {
        match timeout(after, self.channel()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(CommandError::NotReady {
                after,
                why: self.why().unwrap_or_default(),
            }),
        }
    }

    /// Waits until the command is there.
    async fn channel(&self) -> Result<Channel, FunctionError> {
        let mut state = self.watch.state.clone();
        let ready = state
            .wait_for(|state| matches!(state, State::Ready(_)))
            .await;
        match ready.as_deref() {
            Ok(State::Ready(channel)) => Ok(channel.clone()),
            Ok(State::Absent(_)) | Err(_) => Err(absent("it is not started any more")),
        }
    }

    fn why(&self) -> Option<String> {
        match &*self.watch.state.borrow() {
            State::Absent(why) => Some(why.clone()),
            State::Ready(_) => None,
        }
    }

    /// Done when the command is gone.
    async fn gone(&self) -> FunctionError {
        let mut state = self.watch.state.clone();
        match state
            .wait_for(|state| matches!(state, State::Absent(_)))
            .await
            .as_deref()
        {
            Ok(State::Absent(why)) => absent(why),
            Ok(State::Ready(_)) | Err(_) => absent("it is not started any more"),
        }
    }

    /// The outcome of a call that the command may not live to answer.
    async fn answered<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<Response<T>, Failure> {
        let running = self.watch.calls.token();
        let status = tokio::select! {
            biased;
            answer = call => match answer {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            },
            fault = self.gone() => return Err(Failure::Fault(fault)),
        };
        drop(running);
        if !is_broken(&status) {
            return Err(failure(status));
        }
        self.watch.doubt.notify_one();
        let known = timeout(END_IS_KNOWN, self.gone()).await;
        let fault = known.unwrap_or_else(|_| absent(&format!("the call broke: {}", told(&status))));
        Err(Failure::Fault(fault))
    }
}

impl Callee for Client {
    async fn process(
        &self,
        mut requests: Vec<DataRequest>,
        trace: &BTreeMap<String, String>,
    ) -> Result<Answer, FunctionError> {
        let channel = self.channel().await?;
        let sent = requests.first().cloned().unwrap_or_default();
        let metadata = metadata(&sent.header, trace);
        let answered = if requests.len() == 1 {
            let mut client =
                JinaSingleDataRequestRpcClient::new(channel).max_decoding_message_size(self.limit);
            let call = call(metadata, requests.remove(0));
            self.answered(client.process_single_data(call)).await
        } else {
            let mut client =
                JinaDataRequestRpcClient::new(channel).max_decoding_message_size(self.limit);
            let call = call(metadata, DataRequestListProto { requests });
            self.answered(client.process_data(call)).await
        };
        match answered {
            Ok(response) => Ok(Answer {
                is_error: response.metadata().contains_key(IS_ERROR_TRAILER),
                request: response.into_inner(),
            }),
            Err(Failure::Fault(fault)) => Err(fault),
            Err(Failure::Status(status)) => Ok(failed(sent, &status)),
        }
    }

    async fn endpoints(&self) -> Result<EndpointsProto, FunctionError> {
        let mut client = JinaDiscoverEndpointsRpcClient::new(self.channel().await?);
        let answered = self.answered(client.endpoint_discovery(())).await;
        answered
            .map(Response::into_inner)
            .map_err(Failure::into_fault)
    }

    async fn status(&self) -> Result<JinaInfoProto, FunctionError> {
        let mut client = JinaInfoRpcClient::new(self.channel().await?);
        let answered = self.answered(client.status(())).await;
        answered
            .map(Response::into_inner)
            .map_err(Failure::into_fault)
    }

    fn absence(&self) -> Option<FunctionError> {
        self.why().map(|why| absent(&why))
    }
}

/// Why a call to the command has no answer.
enum Failure {
    /// It is not there, or what it answered is of no use.
    Fault(FunctionError),
    /// It refused the call.
    Status(Status),
}

impl Failure {
    fn into_fault(self) -> FunctionError {
        match self {
            Self::Fault(fault) => fault,
            Self::Status(status) => absent(&format!("it answered {}", told(&status))),
        }
    }
}

fn failure(status: Status) -> Failure {
    let kind = match status.code() {
        Code::DeadlineExceeded => FunctionErrorKind::OutOfTime,
        // tonic's word for an answer larger than the limit.
        Code::OutOfRange => FunctionErrorKind::AnswerTooLarge,
        _ => return Failure::Status(status),
    };
    Failure::Fault(fault(kind, format!("the command: {}", told(&status))))
}

fn told(status: &Status) -> String {
    format!("gRPC status {:?}: {}", status.code(), status.message())
}

fn absent(why: &str) -> FunctionError {
    fault(
        FunctionErrorKind::Unavailable,
        format!("the command that is the Executor is not there: {why}"),
    )
}

/// A refused call is the Executor's failure, told in the first request as it came.
fn failed(mut request: DataRequest, status: &Status) -> Answer {
    Error::new("RpcError", told(status)).write(&mut request.header, "command");
    Answer {
        request,
        is_error: true,
    }
}

fn call<T>(metadata: MetadataMap, message: T) -> tonic::Request<T> {
    tonic::Request::from_parts(metadata, tonic::Extensions::new(), message)
}

/// The endpoint, by which a Head chooses its polling, and the trace.
fn metadata(header: &HeaderProto, trace: &BTreeMap<String, String>) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    let endpoint = header.exec_endpoint.as_deref();
    let endpoint = endpoint.filter(|endpoint| !endpoint.is_empty());
    let pairs = trace.iter().map(|(name, value)| (&**name, &**value));
    for (name, value) in pairs.chain(endpoint.map(|endpoint| ("endpoint", endpoint))) {
        let name = MetadataKey::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, MetadataValue::try_from(value)) {
            metadata.insert(name, value);
        }
    }
    metadata
}
