//! Calls the gRPC services at one address, by the method that the peer implements.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use executor_fn::{Answer, info::Traffic};
use flowgate_proto::{
    Compression, DataRequest, IS_ERROR_TRAILER,
    jina::{
        DataRequestListProto, jina_data_request_rpc_client::JinaDataRequestRpcClient,
        jina_discover_endpoints_rpc_client::JinaDiscoverEndpointsRpcClient,
        jina_rpc_client::JinaRpcClient,
        jina_single_data_request_rpc_client::JinaSingleDataRequestRpcClient,
    },
};
use futures_util::{future, stream};
use prost::Message as _;
use tonic::{
    Extensions, Request, Response, Status,
    codec::CompressionEncoding,
    metadata::{MetadataMap, MetadataValue},
    transport::Channel,
};

use super::{
    ChannelError, GrpcAddress, GrpcOptions, channel,
    status::{is_unimplemented, timed_out},
};
use crate::{context::Context, outbound::attempt::AttemptError};

/// How long a peer may take to return its endpoints, so that a peer that never answers is asked again. As in Jina the
/// deadline is not sent.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// The peer at one address.
#[derive(Debug)]
pub(super) struct Peer {
    channels: Vec<Channel>,
    turn: AtomicUsize,
    metadata: MetadataMap,
    timeout: Option<Duration>,
    compression: Compression,
    max_message_bytes: usize,
    traffic: Arc<Traffic>,
    /// The [`CallMethod`] that the peer implements, or [`UNKNOWN`] before one has succeeded.
    method: AtomicU8,
}

/// The gRPC method for one request: most peers implement `process_single_data`, a few only `Call` or `process_data`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CallMethod {
    /// `jina.JinaSingleDataRequestRPC/process_single_data`.
    Single = 1,
    /// `jina.JinaRPC/Call`, with a stream of one request.
    Stream = 2,
    /// `jina.JinaDataRequestRPC/process_data`, with a list of one request.
    List = 3,
}

const UNKNOWN: u8 = 0;

/// A client with the limits and the compression of the peer.
macro_rules! client {
    ($client:ident, $peer:expr) => {{
        let client = $client::new($peer.channel())
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Deflate)
            .max_decoding_message_size($peer.max_message_bytes)
            .max_encoding_message_size(usize::MAX);
        match $peer.compression.grpc_encoding() {
            Some(encoding) => client.send_compressed(encoding),
            None => client,
        }
    }};
}

impl Peer {
    pub(super) fn new(
        address: &GrpcAddress,
        metadata: &MetadataMap,
        options: &GrpcOptions,
    ) -> Result<Self, ChannelError> {
        let channels = (0..options.connections.get())
            .map(|_| channel::lazy(address, &options.roots))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            channels,
            turn: AtomicUsize::new(0),
            metadata: metadata.clone(),
            timeout: options.timeout,
            compression: options.compression,
            max_message_bytes: options.max_message_bytes,
            traffic: Arc::clone(&options.traffic),
            method: AtomicU8::new(UNKNOWN),
        })
    }

    /// Sends the parts of one request.
    pub(super) async fn process(
        &self,
        parts: Vec<DataRequest>,
        context: &Context,
    ) -> Result<Answer, AttemptError> {
        match <[DataRequest; 1]>::try_from(parts) {
            Err(parts) => self.process_list(parts, context).await,
            Ok([request]) => match self.known_method() {
                Some(method) => {
                    let result = self.process_by(method, request, context).await;
                    result.inspect_err(|error| self.forget_unimplemented(error))
                }
                None => self.find_method(request, context).await,
            },
        }
    }

    /// Returns the peer's endpoints. The call carries no metadata, as in Jina (Jina 3.13).
    pub(super) async fn endpoints(&self) -> Result<Vec<String>, AttemptError> {
        let mut client = JinaDiscoverEndpointsRpcClient::new(self.channel());
        let call = tokio::time::timeout(DISCOVERY_TIMEOUT, client.endpoint_discovery(()));
        let response = call.await.map_err(|_| timed_out())??;
        Ok(response.into_inner().endpoints)
    }

    /// Tries one method after the other until the peer implements it, and remembers which it was. If the peer implements
    /// none, the next request tries again: a proxy in front of it may not know it yet.
    async fn find_method(
        &self,
        request: DataRequest,
        context: &Context,
    ) -> Result<Answer, AttemptError> {
        for method in [CallMethod::Single, CallMethod::Stream] {
            match self.process_by(method, request.clone(), context).await {
                Err(error) if is_unimplemented(&error.failure) => {}
                Err(error) => return Err(error),
                Ok(answer) => {
                    self.remember(method);
                    return Ok(answer);
                }
            }
        }
        let answer = self.process_by(CallMethod::List, request, context).await?;
        self.remember(CallMethod::List);
        Ok(answer)
    }

    /// Forgets the method if the peer does not implement it: another peer may have taken over the address.
    fn forget_unimplemented(&self, error: &AttemptError) {
        if is_unimplemented(&error.failure) {
            self.method.store(UNKNOWN, Ordering::Relaxed);
        }
    }

    fn remember(&self, method: CallMethod) {
        self.method.store(method as u8, Ordering::Relaxed);
    }

    async fn process_by(
        &self,
        method: CallMethod,
        request: DataRequest,
        context: &Context,
    ) -> Result<Answer, AttemptError> {
        match method {
            CallMethod::Single => {
                self.traffic.add_sent(request.encoded_len());
                let metadata = self.metadata_for(Some(&request), context);
                let call = self.request(metadata, request, context);
                let mut client = client!(JinaSingleDataRequestRpcClient, self);
                self.receive(client.process_single_data(call), context)
                    .await
            }
            CallMethod::Stream => self.process_stream(request, context).await,
            CallMethod::List => self.process_list(vec![request], context).await,
        }
    }

    async fn process_list(
        &self,
        requests: Vec<DataRequest>,
        context: &Context,
    ) -> Result<Answer, AttemptError> {
        let metadata = self.metadata_for(requests.first(), context);
        let list = DataRequestListProto { requests };
        self.traffic.add_sent(list.encoded_len());
        let call = self.request(metadata, list, context);
        let mut client = client!(JinaDataRequestRpcClient, self);
        self.receive(client.process_data(call), context).await
    }

    /// Sends a stream of one request and returns the first answer (Jina 3.13: a Gateway as an Executor).
    async fn process_stream(
        &self,
        request: DataRequest,
        context: &Context,
    ) -> Result<Answer, AttemptError> {
        self.traffic.add_sent(request.encoded_len());
        let metadata = self.metadata_for(Some(&request), context);
        let requests = stream::once(future::ready(request));
        let call = self.request(metadata, requests, context);
        let mut client = client!(JinaRpcClient, self);
        let first = async {
            let mut answers = client.call(call).await?.into_inner();
            let first = answers.message().await?;
            first
                .map(Response::new)
                .ok_or_else(|| Status::internal("the stream ended without an answer"))
        };
        self.receive(first, context).await
    }

    async fn receive(
        &self,
        call: impl Future<Output = Result<Response<DataRequest>, Status>>,
        context: &Context,
    ) -> Result<Answer, AttemptError> {
        let response = match context.timeout(self.timeout) {
            None => call.await?,
            Some(timeout) => tokio::time::timeout(timeout, call)
                .await
                .map_err(|_| timed_out())??,
        };
        // tonic adds the trailers of a unary call to the initial metadata.
        let is_error = response.metadata().contains_key(IS_ERROR_TRAILER);
        let request = response.into_inner();
        self.traffic.add_received(request.encoded_len());
        Ok(Answer { request, is_error })
    }

    /// Returns `grpc_metadata` of the deployment, the trace, and the endpoint, by which a Head chooses its polling.
    fn metadata_for(&self, request: Option<&DataRequest>, context: &Context) -> MetadataMap {
        let mut metadata = self.metadata.clone();
        for (name, value) in context.trace.iter() {
            if let (false, Ok(value)) =
                (metadata.contains_key(name), MetadataValue::try_from(value))
            {
                metadata.insert(name, value);
            }
        }
        let endpoint = request
            .and_then(DataRequest::exec_endpoint)
            .unwrap_or_default();
        if let (false, Ok(value)) = (endpoint.is_empty(), MetadataValue::try_from(endpoint)) {
            metadata.insert("endpoint", value);
        }
        metadata
    }

    /// Returns the gRPC request with its metadata and, for the peer, its deadline.
    fn request<T>(&self, metadata: MetadataMap, message: T, context: &Context) -> Request<T> {
        let mut request = Request::from_parts(metadata, Extensions::new(), message);
        if let Some(timeout) = context.timeout(self.timeout) {
            request.set_timeout(timeout);
        }
        request
    }

    fn channel(&self) -> Channel {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.channels[turn % self.channels.len()].clone()
    }

    fn known_method(&self) -> Option<CallMethod> {
        match self.method.load(Ordering::Relaxed) {
            1 => Some(CallMethod::Single),
            2 => Some(CallMethod::Stream),
            3 => Some(CallMethod::List),
            _ => None,
        }
    }
}
