//! One replica's services -> the call over them that its peer understands.

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
use prost::Message as _;
use tonic::{
    Code, Extensions, Request, Response, Status,
    codec::CompressionEncoding,
    metadata::{MetadataMap, MetadataValue},
    transport::Channel,
};

use super::{ChannelError, GrpcAddress, GrpcOptions, channel, refusal::Refusal};
use crate::context::Context;

/// How long a peer may take to tell its endpoints. Jina sets no deadline on the wire, and neither does this; but a peer
/// that never answers must be asked again.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// What is behind one address.
#[derive(Debug)]
pub(super) struct Peer {
    channels: Vec<Channel>,
    turn: AtomicUsize,
    metadata: MetadataMap,
    timeout: Option<Duration>,
    compression: Compression,
    max_message_bytes: usize,
    traffic: Arc<Traffic>,
    /// A [`Dialect`] once one has worked, else [`UNKNOWN`].
    dialect: AtomicU8,
}

/// How a peer takes one request: most take it alone, a few only as a stream of one, or a list of one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Single = 1,
    Stream = 2,
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
            dialect: AtomicU8::new(UNKNOWN),
        })
    }

    /// Sends the parts of one request.
    pub(super) async fn process(
        &self,
        parts: Vec<DataRequest>,
        context: &Context,
    ) -> Result<Answer, Refusal> {
        match <[DataRequest; 1]>::try_from(parts) {
            Err(parts) => self.process_list(parts, context).await,
            Ok([one]) => match self.dialect() {
                Some(dialect) => {
                    let answer = self.process_as(dialect, one, context).await;
                    answer.inspect_err(|refusal| self.reconsider(refusal))
                }
                None => self.find_dialect(one, context).await,
            },
        }
    }

    /// Asks for the endpoints; without metadata, as Jina asks (facts of Jina 3.13).
    pub(super) async fn endpoints(&self) -> Result<Vec<String>, Refusal> {
        let mut client = JinaDiscoverEndpointsRpcClient::new(self.channel());
        let asked = tokio::time::timeout(DISCOVERY_TIMEOUT, client.endpoint_discovery(())).await;
        let answer = asked.map_err(|_| Refusal::deadline())??;
        Ok(answer.into_inner().endpoints)
    }

    /// Sends one request in one way after the other, until the peer understands, and remembers which it was. A peer
    /// that understands none is asked anew next time: it may be behind a proxy that does not know it yet.
    async fn find_dialect(
        &self,
        request: DataRequest,
        context: &Context,
    ) -> Result<Answer, Refusal> {
        for dialect in [Dialect::Single, Dialect::Stream] {
            match self.process_as(dialect, request.clone(), context).await {
                Err(refusal) if refusal.code == Code::Unimplemented => {}
                Err(refusal) => return Err(refusal),
                Ok(answer) => return Ok(self.understood(dialect, answer)),
            }
        }
        let answer = self.process_as(Dialect::List, request, context).await?;
        Ok(self.understood(Dialect::List, answer))
    }

    /// Another peer may have come to the address, one that takes requests in another way.
    fn reconsider(&self, refusal: &Refusal) {
        if refusal.code == Code::Unimplemented {
            self.dialect.store(UNKNOWN, Ordering::Relaxed);
        }
    }

    fn understood(&self, dialect: Dialect, answer: Answer) -> Answer {
        self.dialect.store(dialect as u8, Ordering::Relaxed);
        answer
    }

    async fn process_as(
        &self,
        dialect: Dialect,
        request: DataRequest,
        context: &Context,
    ) -> Result<Answer, Refusal> {
        match dialect {
            Dialect::Single => {
                self.traffic.sent(request.encoded_len());
                let call = self.call(self.metadata_for(Some(&request), context), request, context);
                let mut client = client!(JinaSingleDataRequestRpcClient, self);
                self.answer(client.process_single_data(call), context).await
            }
            Dialect::Stream => self.process_stream(request, context).await,
            Dialect::List => self.process_list(vec![request], context).await,
        }
    }

    async fn process_list(
        &self,
        requests: Vec<DataRequest>,
        context: &Context,
    ) -> Result<Answer, Refusal> {
        let metadata = self.metadata_for(requests.first(), context);
        let list = DataRequestListProto { requests };
        self.traffic.sent(list.encoded_len());
        let call = self.call(metadata, list, context);
        let mut client = client!(JinaDataRequestRpcClient, self);
        self.answer(client.process_data(call), context).await
    }

    /// A stream of one request; its first answer counts (facts of Jina 3.13: how a Gateway serves as an Executor).
    async fn process_stream(
        &self,
        request: DataRequest,
        context: &Context,
    ) -> Result<Answer, Refusal> {
        self.traffic.sent(request.encoded_len());
        let call = self.call(
            self.metadata_for(Some(&request), context),
            tokio_stream::once(request),
            context,
        );
        let mut client = client!(JinaRpcClient, self);
        let first = async {
            let mut answers = client.call(call).await?.into_inner();
            let first = answers.message().await?;
            first
                .map(Response::new)
                .ok_or_else(|| Status::internal("the stream ended without an answer"))
        };
        self.answer(first, context).await
    }

    async fn answer(
        &self,
        call: impl Future<Output = Result<Response<DataRequest>, Status>>,
        context: &Context,
    ) -> Result<Answer, Refusal> {
        let response = match context.time_for(self.timeout) {
            None => call.await?,
            Some(timeout) => tokio::time::timeout(timeout, call)
                .await
                .map_err(|_| Refusal::deadline())??,
        };
        // For a unary call tonic puts the trailers with the initial metadata.
        let is_error = response.metadata().contains_key(IS_ERROR_TRAILER);
        let request = response.into_inner();
        self.traffic.received(request.encoded_len());
        Ok(Answer { request, is_error })
    }

    /// The trace, `grpc_metadata` of the deployment, and the endpoint, by which a Head chooses its polling.
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

    /// The call as it goes out: with its metadata, and the deadline for the peer to know.
    fn call<T>(&self, metadata: MetadataMap, message: T, context: &Context) -> Request<T> {
        let mut request = Request::from_parts(metadata, Extensions::new(), message);
        if let Some(timeout) = context.time_for(self.timeout) {
            request.set_timeout(timeout);
        }
        request
    }

    fn channel(&self) -> Channel {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.channels[turn % self.channels.len()].clone()
    }

    fn dialect(&self) -> Option<Dialect> {
        match self.dialect.load(Ordering::Relaxed) {
            1 => Some(Dialect::Single),
            2 => Some(Dialect::Stream),
            3 => Some(Dialect::List),
            _ => None,
        }
    }
}
