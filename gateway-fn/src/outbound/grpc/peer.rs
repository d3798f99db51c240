//! Calls the gRPC services at one address, by the method that the peer implements.

use std::{
    num::NonZeroUsize,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use executor_fn::{Answer, info::Traffic};
use flowgate_grpc::{
    Budget, Encoding, PREFIX_BYTES,
    client::{Address, Call, ConnectError, Expect, Pool},
    frame,
};
use flowgate_proto::{Chunks, DataRequest, IS_ERROR_TRAILER, jina::EndpointsProto};
use http::{HeaderMap, HeaderValue};
use prost::Message as _;
use tokio::time::Instant;

use super::{
    GrpcOptions,
    outgoing::Outgoing,
    status::{is_unimplemented, not_started_in_time, timed_out, undecodable},
};
use crate::{
    context::Context,
    outbound::attempt::{AttemptError, ReplicaState},
};

/// How long a peer may take to return its endpoints, so that a peer that never answers is asked again. As in Jina the
/// deadline is not sent.
pub(super) const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// The peer at one address.
#[derive(Debug)]
pub(super) struct Peer {
    pool: Pool,
    options: Arc<PeerOptions>,
    /// The [`CallMethod`] that the peer implements, or [`UNKNOWN`] before one has succeeded.
    method: AtomicU8,
}

/// How the peers of a deployment are called.
#[derive(Debug)]
pub(super) struct PeerOptions {
    metadata: HeaderMap,
    timeout: Option<Duration>,
    encoding: Option<Encoding>,
    max_message_bytes: usize,
    connections: NonZeroUsize,
    traffic: Arc<Traffic>,
    budget: Option<Arc<Budget>>,
}

impl PeerOptions {
    pub(super) fn new(metadata: &HeaderMap, options: &GrpcOptions) -> Self {
        Self {
            metadata: metadata.clone(),
            timeout: options.timeout,
            encoding: Encoding::of(options.compression),
            max_message_bytes: options.max_message_bytes,
            connections: options.connections,
            traffic: Arc::clone(&options.traffic),
            budget: options.budget.clone(),
        }
    }
}

const SINGLE: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";
const STREAM: &str = "/jina.JinaRPC/Call";
const LIST: &str = "/jina.JinaDataRequestRPC/process_data";
const DISCOVERY: &str = "/jina.JinaDiscoverEndpointsRPC/endpoint_discovery";

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

impl Peer {
    /// Prepares the connections to an address; none is opened yet.
    pub(super) fn new(address: Address, options: &Arc<PeerOptions>) -> Self {
        Self {
            pool: Pool::new(address, options.connections),
            options: Arc::clone(options),
            method: AtomicU8::new(UNKNOWN),
        }
    }

    pub(super) const fn address(&self) -> &Address {
        self.pool.address()
    }

    /// Sends one request.
    pub(super) async fn process(
        &self,
        message: &Outgoing,
        context: &Context,
    ) -> Result<Answer, AttemptError> {
        if message.has_several_parts() {
            return self.process_by(CallMethod::List, message, context).await;
        }
        match self.known_method() {
            Some(method) => {
                let result = self.process_by(method, message, context).await;
                result.inspect_err(|error| self.forget_unimplemented(error))
            }
            None => self.find_method(message, context).await,
        }
    }

    /// Returns the peer's endpoints. The call carries no metadata, as in Jina (Jina 3.13).
    pub(super) async fn endpoints(&self) -> Result<Vec<String>, AttemptError> {
        let call = Call {
            path: DISCOVERY,
            metadata: HeaderMap::new(),
            message: frame(Chunks::default(), None),
            encoding: None,
            max_message_bytes: self.options.max_message_bytes,
            budget: None,
        };
        let connection = self.pool.connection().await?;
        let answer = async {
            let started = self.pool.start(connection, call).await?;
            started.answer(Expect::Unary).await
        };
        let answer = tokio::time::timeout(DISCOVERY_TIMEOUT, answer);
        let answer = answer.await.map_err(|_| timed_out())??;
        let endpoints = EndpointsProto::decode(answer.message).map_err(|_| undecodable())?;
        Ok(endpoints.endpoints)
    }

    /// Whether the peer takes a connection.
    pub(super) async fn is_reachable(&self) -> bool {
        self.pool.connection().await.is_ok()
    }

    /// Whether the peer answers a call that does no work. One that does not know the method answers too.
    pub(super) async fn is_answering(&self) -> bool {
        match self.endpoints().await {
            Ok(_) => true,
            Err(error) => error.replica == ReplicaState::Answers,
        }
    }

    /// Tries one method after the other until the peer implements it, and remembers which it was. If the peer implements
    /// none, the next request tries again: a proxy in front of it may not know it yet.
    async fn find_method(
        &self,
        message: &Outgoing,
        context: &Context,
    ) -> Result<Answer, AttemptError> {
        for method in [CallMethod::Single, CallMethod::Stream] {
            match self.process_by(method, message, context).await {
                Err(error) if is_unimplemented(&error.failure) => {}
                Err(error) => return Err(error),
                Ok(answer) => {
                    self.remember(method);
                    return Ok(answer);
                }
            }
        }
        let answer = self.process_by(CallMethod::List, message, context).await?;
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

    /// Connects if there is no connection yet, and calls the method, in the time for one attempt. Until the connection is open
    /// and has a stream for the call, the peer has received nothing of it, so that another attempt is safe.
    async fn process_by(
        &self,
        method: CallMethod,
        message: &Outgoing,
        context: &Context,
    ) -> Result<Answer, AttemptError> {
        let (path, expect) = match method {
            CallMethod::Single => (SINGLE, Expect::Unary),
            // A stream of one request, and its first answer (Jina 3.13: a Gateway as an Executor).
            CallMethod::Stream => (STREAM, Expect::First),
            CallMethod::List => (LIST, Expect::Unary),
        };
        let mut metadata = self.metadata_for(message.endpoint(), context);
        let message = match method {
            CallMethod::Single | CallMethod::Stream => message.frame(),
            CallMethod::List => message.list_frame().await,
        };
        let timeout = context.timeout(self.options.timeout);
        if let Some(timeout) = timeout {
            metadata.insert("grpc-timeout", timeout_header(timeout));
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let connection = until(deadline, pin!(self.pool.connection())).await;
        let connection = connection.ok_or(ConnectError::TimedOut)??;
        self.options.traffic.add_sent(message.len() - PREFIX_BYTES);
        let call = Call {
            path,
            metadata,
            message,
            encoding: self.options.encoding,
            max_message_bytes: self.options.max_message_bytes,
            budget: self.options.budget.clone(),
        };
        // Pinned here, because a future that is moved takes its space twice.
        let started = pin!(self.pool.start(connection, call));
        let started = until(deadline, started).await;
        let started = started.ok_or_else(not_started_in_time)??;
        let answer = pin!(started.answer(expect));
        let answer = until(deadline, answer).await;
        let answer = answer.ok_or_else(timed_out)??;
        let is_error = answer.trailers.contains_key(IS_ERROR_TRAILER);
        self.options.traffic.add_received(answer.message.len());
        let request = DataRequest::from_chunks(answer.message).map_err(|_| undecodable())?;
        Ok(Answer { request, is_error })
    }

    /// Returns `grpc_metadata` of the deployment, the trace, and the endpoint, by which a Head chooses its polling.
    fn metadata_for(&self, endpoint: Option<&HeaderValue>, context: &Context) -> HeaderMap {
        let mut metadata = self.options.metadata.clone();
        for (name, value) in context.trace.headers() {
            if !metadata.contains_key(name) {
                metadata.insert(name, value.clone());
            }
        }
        if let Some(endpoint) = endpoint {
            metadata.insert("endpoint", endpoint.clone());
        }
        metadata
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

/// Waits for a future until the deadline; `None` if that passes first.
async fn until<T>(
    deadline: Option<Instant>,
    future: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    match deadline {
        None => Some(future.await),
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
    }
}

/// Returns the value of `grpc-timeout`: at most eight digits and a unit ("gRPC over HTTP2", `Timeout`).
fn timeout_header(timeout: Duration) -> HeaderValue {
    const MAX: u128 = 99_999_999;
    let units = [
        (timeout.as_micros(), "u"),
        (timeout.as_millis(), "m"),
        (timeout.as_secs().into(), "S"),
    ];
    let fitting = units.into_iter().find(|(count, _)| *count <= MAX);
    let (count, unit) = fitting.unwrap_or((MAX, "S"));
    HeaderValue::try_from(format!("{count}{unit}")).unwrap_or(HeaderValue::from_static("99999999S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_has_at_most_eight_digits() {
        for (timeout, expected) in [
            (Duration::ZERO, "0u"),
            (Duration::from_micros(1500), "1500u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::MAX, "99999999S"),
        ] {
            assert_eq!(timeout_header(timeout), expected);
        }
    }
}
