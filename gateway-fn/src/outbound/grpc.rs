//! Calls a deployment behind gRPC: on the next replica, and on another one if that fails.

mod channel;

mod outgoing;

mod peer;

mod replica;

mod rotation;

mod status;

use std::{num::NonZeroUsize, ops::ControlFlow, sync::Arc, time::Duration};

use executor_fn::{Answer, info::Traffic};
use flowgate_config::RetryPolicy;
use flowgate_grpc::{Budget, Encoding};
use flowgate_proto::{Compression, DEFAULT_ENDPOINT, DataRequest};
use http::HeaderMap;

use self::{outgoing::Outgoing, replica::Replica, rotation::Rotation, status::is_unimplemented};
use super::attempt::{AttemptError, ReplicaState};
use crate::{context::Context, error::CallError};

pub use channel::ChannelError;
pub use flowgate_grpc::client::{ClientTls, Resolve, SystemResolver};

/// How every gRPC deployment of a Flow is called.
#[derive(Clone, Debug)]
pub struct GrpcOptions {
    /// The timeout of one attempt; `None` waits without limit, as Jina does without `timeout_send`.
    pub timeout: Option<Duration>,
    /// The number of attempts of one call. `None` is Jina's rule: one more than the replicas, and at least four.
    pub attempts: Option<NonZeroUsize>,
    /// Which failed attempts are followed by another one.
    pub retry_policy: RetryPolicy,
    /// The compression of requests; answers may be compressed in any way.
    pub compression: Compression,
    /// The largest answer in bytes, decompressed.
    pub max_message_bytes: usize,
    /// The number of HTTP/2 connections to each replica: each address of a host.
    pub connections: NonZeroUsize,
    /// Resolves the names of hosts.
    pub resolver: Arc<dyn Resolve>,
    /// TLS to the addresses that ask for it.
    pub tls: ClientTls,
    /// Whether an error's text for the client contains the addresses.
    pub show_addresses: bool,
    /// Counts the bytes of data requests and answers.
    pub traffic: Arc<Traffic>,
    /// Bounds the bytes of answers while they arrive.
    pub budget: Option<Arc<Budget>>,
}

/// The address of one replica, or of several: all addresses to which a name resolves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcAddress {
    /// `host:port`, as in error texts.
    pub authority: String,
    /// Whether the connection is TLS.
    pub tls: bool,
}

/// A deployment's replicas. Their connections are opened at the first call.
#[derive(Debug)]
pub struct GrpcDeployment {
    name: String,
    rotation: Rotation,
    encoding: Option<Encoding>,
    max_attempts: usize,
    retry_policy: RetryPolicy,
    show_addresses: bool,
}

impl GrpcDeployment {
    /// Prepares the connections; none is opened yet.
    ///
    /// # Errors
    /// When an address is invalid or the trusted roots cannot be read.
    pub fn new(
        name: &str,
        addresses: &[GrpcAddress],
        metadata: &HeaderMap,
        options: &GrpcOptions,
    ) -> Result<Self, ChannelError> {
        let rotation = Rotation::new(name, addresses, metadata, options)?;
        Ok(Self {
            name: name.to_owned(),
            max_attempts: super::max_attempts(options.attempts, rotation.len()),
            rotation,
            encoding: Encoding::of(options.compression),
            retry_policy: options.retry_policy,
            show_addresses: options.show_addresses,
        })
    }

    pub(super) async fn call(
        &self,
        parts: Vec<DataRequest>,
        context: &Context,
    ) -> Result<Answer, CallError> {
        let message = Outgoing::new(parts, self.encoding).await;
        let mut attempts = Attempts::of(self);
        loop {
            let replica = attempts.next_replica();
            let in_flight = replica.begin();
            let result = replica.peer.process(&message, context).await;
            in_flight.end(result.as_ref().is_err_and(AttemptError::has_timed_out));
            if result.is_err() && context.is_expired() {
                let error = CallError::deadline_exceeded(&self.name);
                attempts.tried.push(replica);
                return Err(error.with_addresses(attempts.addresses()));
            }
            if let ControlFlow::Break(result) = attempts.evaluate(replica, result) {
                return result;
            }
        }
    }

    pub(super) async fn endpoints(&self) -> Result<Vec<String>, CallError> {
        let mut attempts = Attempts::of(self);
        let result = loop {
            let replica = attempts.next_replica();
            let result = replica.peer.endpoints().await;
            if let ControlFlow::Break(result) = attempts.evaluate(replica, result) {
                break result;
            }
        };
        match result {
            // As in Jina 3.13, an Executor without discovery is taken for one that serves every endpoint.
            Err(error) if is_unimplemented(&error.failure) => Ok(vec![DEFAULT_ENDPOINT.to_owned()]),
            result => result,
        }
    }
}

/// The attempts of one call. There is no pause between them, because the next one goes to another replica if there is
/// one.
struct Attempts<'a> {
    deployment: &'a GrpcDeployment,
    /// The replicas of the attempts that failed.
    tried: Vec<Arc<Replica>>,
    remaining: usize,
    /// Whether an Executor may have run the call in a failed attempt.
    may_have_run: bool,
}

impl<'a> Attempts<'a> {
    const fn of(deployment: &'a GrpcDeployment) -> Self {
        Self {
            deployment,
            tried: Vec::new(),
            remaining: deployment.max_attempts,
            may_have_run: false,
        }
    }

    fn next_replica(&mut self) -> Arc<Replica> {
        self.remaining = self.remaining.saturating_sub(1);
        self.deployment.rotation.next(&self.tried)
    }

    /// Updates the replica's health by the result of an attempt. Continues if another attempt should follow.
    fn evaluate<T>(
        &mut self,
        replica: Arc<Replica>,
        result: Result<T, AttemptError>,
    ) -> ControlFlow<Result<T, CallError>> {
        let error = match result {
            Ok(answer) => {
                replica.note_answer();
                return ControlFlow::Break(Ok(answer));
            }
            Err(error) => error,
        };
        let (executor, remaining) = (&self.deployment.name, self.remaining);
        tracing::debug!(executor, address = replica.authority(), %error, remaining, "attempt failed");
        match error.replica {
            ReplicaState::Answers => replica.note_answer(),
            ReplicaState::Unreachable => replica.leave_out(&error),
            ReplicaState::Unknown => {}
        }
        self.tried.push(replica);
        self.may_have_run |= error.may_have_run();
        if remaining > 0 && error.retry.is_allowed(self.deployment.retry_policy) {
            return ControlFlow::Continue(());
        }
        let show_addresses = self.deployment.show_addresses;
        let mut error = error.into_call_error(executor, self.addresses(), show_addresses);
        error.may_have_run = self.may_have_run;
        ControlFlow::Break(Err(error))
    }

    /// Returns the addresses that were tried, as they are in the Flow.
    fn addresses(&self) -> Vec<String> {
        let mut addresses = Vec::new();
        for address in self.tried.iter().map(|replica| replica.authority()) {
            if !addresses.iter().any(|known| known == address) {
                addresses.push(address.to_owned());
            }
        }
        addresses
    }
}
