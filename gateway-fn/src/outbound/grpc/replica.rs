//! One replica: its connections, the one call over them, and how it refused.

use std::{
    fmt,
    sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use executor_fn::Answer;
use flowgate_proto::{
    Compression, DataRequest, IS_ERROR_TRAILER,
    jina::{
        DataRequestListProto, jina_data_request_rpc_client::JinaDataRequestRpcClient,
        jina_discover_endpoints_rpc_client::JinaDiscoverEndpointsRpcClient,
        jina_rpc_client::JinaRpcClient,
        jina_single_data_request_rpc_client::JinaSingleDataRequestRpcClient,
    },
};
use tonic::{
    Code, Request, Response, Status,
    codec::CompressionEncoding,
    metadata::{MetadataMap, MetadataValue},
    transport::Channel,
};

use super::{ChannelError, GrpcAddress, GrpcOptions, channel};
use crate::outbound::Failure;

/// How long a replica that was found gone is passed over: long enough that a burst does not try it again and again,
/// short enough that one that restarts is back at once.
const COOL_OFF: Duration = Duration::from_secs(1);

/// One replica of a deployment.
#[derive(Debug)]
pub(super) struct Replica {
    authority: String,
    channels: Vec<Channel>,
    turn: AtomicUsize,
    metadata: MetadataMap,
    timeout: Option<Duration>,
    compression: Compression,
    max_message_bytes: usize,
    born: Instant,
    /// Milliseconds after `born` until which the replica is passed over.
    gone_until: AtomicU64,
    dialect: AtomicU8,
}

/// How a peer takes one request: most take it alone; a few only as a stream of one, or a list of one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Single = 0,
    Stream = 1,
    List = 2,
}

/// A try that failed.
#[derive(Debug)]
pub(super) struct Refusal {
    code: Code,
    /// What the peer said; gRPC's own words where there was no peer to say anything.
    pub(super) detail: String,
    pub(super) trailers: MetadataMap,
}

impl Replica {
    pub(super) fn new(
        address: &GrpcAddress,
        metadata: &MetadataMap,
        options: &GrpcOptions,
    ) -> Result<Self, ChannelError> {
        let channels = (0..options.connections.get())
            .map(|_| channel::lazy(address, &options.roots))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            authority: address.authority.clone(),
            channels,
            turn: AtomicUsize::new(0),
            metadata: metadata.clone(),
            timeout: options.timeout,
            compression: options.compression,
            max_message_bytes: options.max_message_bytes,
            born: Instant::now(),
            gone_until: AtomicU64::new(0),
            dialect: AtomicU8::new(Dialect::Single as u8),
        })
    }

    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) fn is_there(&self) -> bool {
        let until = self.gone_until.load(Ordering::Relaxed);
        until == 0 || self.age() >= until
    }

    pub(super) fn is_gone(&self) {
        let cool_off = u64::try_from(COOL_OFF.as_millis()).unwrap_or(u64::MAX);
        self.gone_until
            .store(self.age().saturating_add(cool_off), Ordering::Relaxed);
    }

    pub(super) fn is_back(&self) {
        if self.gone_until.load(Ordering::Relaxed) != 0 {
            self.gone_until.store(0, Ordering::Relaxed);
        }
    }

    /// Sends the parts of one request.
    pub(super) async fn process(&self, parts: Vec<DataRequest>) -> Result<Answer, Refusal> {
        match <[DataRequest; 1]>::try_from(parts) {
            Ok([one]) => self.process_one(one).await,
            Err(parts) => self.process_list(parts).await,
        }
    }

    /// Asks for the endpoints; without metadata or a deadline, as Jina asks (facts of Jina 3.13).
    pub(super) async fn endpoints(&self) -> Result<Vec<String>, Refusal> {
        let mut client = JinaDiscoverEndpointsRpcClient::new(self.channel());
        Ok(client.endpoint_discovery(()).await?.into_inner().endpoints)
    }

    /// Sends one request the way the peer takes it, and finds that way out at the first call.
    async fn process_one(&self, request: DataRequest) -> Result<Answer, Refusal> {
        let mut dialect = self.dialect();
        loop {
            let refusal = match self.process_as(dialect, request.clone()).await {
                Err(refusal) if refusal.code == Code::Unimplemented => refusal,
                done => return done,
            };
            dialect = match dialect {
                Dialect::Single => Dialect::Stream,
                Dialect::Stream => Dialect::List,
                Dialect::List => return Err(refusal),
            };
            self.dialect.store(dialect as u8, Ordering::Relaxed);
        }
    }

    async fn process_as(&self, dialect: Dialect, request: DataRequest) -> Result<Answer, Refusal> {
        match dialect {
            Dialect::Single => {
                let metadata = self.metadata_for(&request);
                let mut client = self.single_client();
                self.answer(client.process_single_data(self.call(request, metadata)))
                    .await
            }
            Dialect::Stream => self.process_stream(request).await,
            Dialect::List => self.process_list(vec![request]).await,
        }
    }

    async fn process_list(&self, requests: Vec<DataRequest>) -> Result<Answer, Refusal> {
        let metadata = self.metadata_for(&requests[0]);
        let mut client = JinaDataRequestRpcClient::new(self.channel())
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Deflate)
            .max_decoding_message_size(self.max_message_bytes)
            .max_encoding_message_size(usize::MAX);
        if let Some(encoding) = self.compression.encoding() {
            client = client.send_compressed(encoding);
        }
        let list = DataRequestListProto { requests };
        self.answer(client.process_data(self.call(list, metadata)))
            .await
    }

    /// A stream of one request; its first answer counts (facts of Jina 3.13: how a Gateway serves as an Executor).
    async fn process_stream(&self, request: DataRequest) -> Result<Answer, Refusal> {
        let metadata = self.metadata_for(&request);
        let mut client = JinaRpcClient::new(self.channel())
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Deflate)
            .max_decoding_message_size(self.max_message_bytes)
            .max_encoding_message_size(usize::MAX);
        if let Some(encoding) = self.compression.encoding() {
            client = client.send_compressed(encoding);
        }
        let one = self.call(tokio_stream::once(request), metadata);
        self.answer(async {
            let mut answers = client.call(one).await?.into_inner();
            let first = answers.message().await?;
            first
                .map(Response::new)
                .ok_or_else(|| Status::internal("the stream ended without an answer"))
        })
        .await
    }

    fn single_client(&self) -> JinaSingleDataRequestRpcClient<Channel> {
        let client = JinaSingleDataRequestRpcClient::new(self.channel())
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Deflate)
            .max_decoding_message_size(self.max_message_bytes)
            .max_encoding_message_size(usize::MAX);
        match self.compression.encoding() {
            Some(encoding) => client.send_compressed(encoding),
            None => client,
        }
    }

    async fn answer(
        &self,
        call: impl Future<Output = Result<Response<DataRequest>, Status>>,
    ) -> Result<Answer, Refusal> {
        let response = match self.timeout {
            None => call.await?,
            Some(timeout) => tokio::time::timeout(timeout, call)
                .await
                .map_err(|_| Refusal::deadline())??,
        };
        // For a unary call tonic puts the trailers with the initial metadata.
        let is_error = response.metadata().contains_key(IS_ERROR_TRAILER);
        Ok(Answer {
            request: response.into_inner(),
            is_error,
        })
    }

    /// `grpc_metadata` of the deployment, and the endpoint, by which a Head chooses its polling.
    fn metadata_for(&self, request: &DataRequest) -> MetadataMap {
        let mut metadata = self.metadata.clone();
        let endpoint = request
            .exec_endpoint()
            .filter(|endpoint| !endpoint.is_empty());
        if let Some(value) = endpoint.and_then(|endpoint| MetadataValue::try_from(endpoint).ok()) {
            metadata.insert("endpoint", value);
        }
        metadata
    }

    /// The call as it goes out: with its metadata, and the deadline for the peer to know.
    fn call<T>(&self, message: T, metadata: MetadataMap) -> Request<T> {
        let mut request = Request::from_parts(metadata, tonic::Extensions::new(), message);
        if let Some(timeout) = self.timeout {
            request.set_timeout(timeout);
        }
        request
    }

    fn channel(&self) -> Channel {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.channels[turn % self.channels.len()].clone()
    }

    fn dialect(&self) -> Dialect {
        match self.dialect.load(Ordering::Relaxed) {
            1 => Dialect::Stream,
            2 => Dialect::List,
            _ => Dialect::Single,
        }
    }

    fn age(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Refusal {
    fn deadline() -> Self {
        Self {
            code: Code::DeadlineExceeded,
            detail: "Deadline Exceeded".to_owned(),
            trailers: MetadataMap::new(),
        }
    }

    pub(super) const fn failure(&self) -> Failure {
        match self.code {
            Code::Unavailable => Failure::Unreachable,
            Code::DeadlineExceeded => Failure::TimedOut,
            code => Failure::Refused(code),
        }
    }

    /// Facts of Jina 3.13: the codes by which a peer says that another try may do better.
    pub(super) const fn is_retryable(&self) -> bool {
        matches!(
            self.code,
            Code::Unavailable
                | Code::DeadlineExceeded
                | Code::Cancelled
                | Code::Unknown
                | Code::Internal
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.code, self.detail)
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        // The deadline that travels with the call is also kept on this side, by tonic.
        if caused_by::<tonic::TimeoutExpired>(&status) {
            return Self::deadline();
        }
        // A status with a source was made on this side: the connection failed, no peer said anything. gRPC's own
        // words are what Jina's clients know.
        if std::error::Error::source(&status).is_some() {
            tracing::debug!(
                error = &status as &dyn std::error::Error,
                "the connection failed"
            );
            return Self {
                code: Code::Unavailable,
                detail: "failed to connect to all addresses".to_owned(),
                trailers: MetadataMap::new(),
            };
        }
        Self {
            code: status.code(),
            detail: status.message().to_owned(),
            trailers: status.metadata().clone(),
        }
    }
}

fn caused_by<E: std::error::Error + 'static>(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        cause = error.source();
    }
    false
}
