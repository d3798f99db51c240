//! A call to a deployment behind gRPC: the next replica, and the one after that when it fails.

mod channel;

mod peer;

mod refusal;

mod replica;

mod rotation;

use std::{num::NonZeroUsize, ops::ControlFlow, sync::Arc, time::Duration};

use executor_fn::{Answer, info::Traffic};
use flowgate_proto::{Compression, DEFAULT_ENDPOINT, DataRequest};
use tonic::metadata::MetadataMap;

use self::{refusal::Refusal, replica::Replica, rotation::Rotation};
use super::{CallError, Failure};
use crate::context::Context;

pub use channel::{ChannelError, TlsRoots};

/// How every gRPC deployment of a Flow is called.
#[derive(Clone, Debug)]
pub struct GrpcOptions {
    /// For one try; `None` waits for ever, as Jina does without `timeout_send`.
    pub timeout: Option<Duration>,
    /// Tries of one call. `None`: Jina's rule, one more than the replicas and at least four.
    pub tries: Option<NonZeroUsize>,
    /// Of the requests; answers may come in any of the three.
    pub compression: Compression,
    /// Bytes of an answer, decompressed.
    pub max_message_bytes: usize,
    /// HTTP/2 connections to each replica.
    pub connections: NonZeroUsize,
    /// Whom to trust where an address says TLS.
    pub roots: TlsRoots,
    /// Whether an error's text for the client names the addresses tried.
    pub show_addresses: bool,
    /// Counts the bytes of data requests and answers.
    pub traffic: Arc<Traffic>,
}

/// Where one replica listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcAddress {
    /// `host:port`, as error texts name it.
    pub authority: String,
    /// Whether the connection is TLS.
    pub tls: bool,
}

/// A deployment's replicas, their connections made when first needed.
#[derive(Debug)]
pub struct GrpcDeployment {
    name: String,
    rotation: Rotation,
    tries: usize,
    show_addresses: bool,
}

impl GrpcDeployment {
    /// Prepares the connections; none is opened yet.
    ///
    /// # Errors
    /// When an address is no address or the trusted roots cannot be read.
    pub fn new(
        name: &str,
        addresses: &[GrpcAddress],
        metadata: &MetadataMap,
        options: &GrpcOptions,
    ) -> Result<Self, ChannelError> {
        let replicas: Vec<Replica> = addresses
            .iter()
            .map(|address| Replica::new(address, metadata, options))
            .collect::<Result<_, _>>()?;
        // Facts of Jina 3.13: 1 + retries, else max(3, replicas) + 1.
        let tries = options
            .tries
            .map_or_else(|| replicas.len().max(3) + 1, NonZeroUsize::get);
        Ok(Self {
            name: name.to_owned(),
            rotation: Rotation::new(replicas),
            tries,
            show_addresses: options.show_addresses,
        })
    }

    pub(super) async fn call(
        &self,
        parts: Vec<DataRequest>,
        context: &Context,
    ) -> Result<Answer, CallError> {
        let mut tries = Tries::of(self);
        let mut parts = parts;
        loop {
            let replica = tries.next();
            // Only a try that may be followed by another leaves a copy behind.
            let sent = if tries.left == 0 {
                std::mem::take(&mut parts)
            } else {
                parts.clone()
            };
            let answer = replica.peer.process(sent, context).await;
            if answer.is_err() && context.is_over() {
                return Err(CallError::out_of_time(&self.name));
            }
            if let ControlFlow::Break(done) = tries.note(replica, answer) {
                return done;
            }
        }
    }

    pub(super) async fn endpoints(&self) -> Result<Vec<String>, CallError> {
        let mut tries = Tries::of(self);
        let found = loop {
            let replica = tries.next();
            let answer = replica.peer.endpoints().await;
            if let ControlFlow::Break(done) = tries.note(replica, answer) {
                break done;
            }
        };
        match found {
            // Facts of Jina 3.13: an Executor without discovery is taken to serve everything.
            Err(CallError {
                failure: Failure::Refused(tonic::Code::Unimplemented),
                ..
            }) => Ok(vec![DEFAULT_ENDPOINT.to_owned()]),
            found => found,
        }
    }
}

/// The tries of one call: no pause between them, because the next one goes elsewhere where there is an elsewhere.
struct Tries<'a> {
    deployment: &'a GrpcDeployment,
    tried: Vec<&'a str>,
    left: usize,
}

impl<'a> Tries<'a> {
    const fn of(deployment: &'a GrpcDeployment) -> Self {
        Self {
            deployment,
            tried: Vec::new(),
            left: deployment.tries,
        }
    }

    fn next(&mut self) -> &'a Replica {
        let replica = self.deployment.rotation.next(&self.tried);
        if !self.tried.contains(&replica.authority()) {
            self.tried.push(replica.authority());
        }
        self.left = self.left.saturating_sub(1);
        replica
    }

    /// What came of a try; to go on where another may do better.
    fn note<T>(
        &self,
        replica: &Replica,
        answer: Result<T, Refusal>,
    ) -> ControlFlow<Result<T, CallError>> {
        let refusal = match answer {
            Ok(answer) => {
                replica.note_there();
                return ControlFlow::Break(Ok(answer));
            }
            Err(refusal) => refusal,
        };
        let (executor, left) = (&self.deployment.name, self.left);
        tracing::debug!(executor, address = replica.authority(), %refusal, left, "call failed");
        match refusal.failure() {
            Failure::Unreachable => replica.note_gone(),
            Failure::TimedOut | Failure::OutOfTime => {}
            Failure::Refused(_) | Failure::Invocation(_) => replica.note_there(),
        }
        if left > 0 && refusal.is_retryable() {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(Err(self.error(refusal)))
    }

    fn error(&self, refusal: Refusal) -> CallError {
        CallError {
            deployment: self.deployment.name.clone(),
            addresses: self
                .tried
                .iter()
                .map(|&address| address.to_owned())
                .collect(),
            shown: self.deployment.show_addresses,
            failure: refusal.failure(),
            peer_detail: refusal.detail,
            trailers: Box::new(refusal.trailers),
        }
    }
}
