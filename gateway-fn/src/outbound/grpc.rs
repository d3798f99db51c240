//! A call to a deployment behind gRPC: the next replica, and the one after that when it fails.

mod channel;

mod replica;

mod rotation;

use std::{num::NonZeroUsize, time::Duration};

use executor_fn::Answer;
use flowgate_proto::{Compression, DEFAULT_ENDPOINT, DataRequest};
use tonic::metadata::MetadataMap;

use self::{
    replica::{Refusal, Replica},
    rotation::Rotation,
};
use super::{CallError, Failure};

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
        let tries = options.tries.map_or_else(|| replicas.len().max(3) + 1, NonZeroUsize::get);
        Ok(Self {
            name: name.to_owned(),
            rotation: Rotation::new(replicas),
            tries,
            show_addresses: options.show_addresses,
        })
    }

    pub(super) async fn call(&self, parts: Vec<DataRequest>) -> Result<Answer, CallError> {
        self.with_retries(async |replica: &Replica| replica.process(parts.clone()).await).await
    }

    pub(super) async fn endpoints(&self) -> Result<Vec<String>, CallError> {
        let found = self.with_retries(async |replica: &Replica| replica.endpoints().await).await;
        match found {
            // Facts of Jina 3.13: an Executor without discovery is taken to serve everything.
            Err(CallError { failure: Failure::Refused(tonic::Code::Unimplemented), .. }) => {
                Ok(vec![DEFAULT_ENDPOINT.to_owned()])
            }
            found => found,
        }
    }

    /// The one retry loop: no pause between tries, because the next one goes elsewhere where there is an elsewhere.
    async fn with_retries<T>(&self, call: impl AsyncFn(&Replica) -> Result<T, Refusal>) -> Result<T, CallError> {
        let mut tried: Vec<&str> = Vec::new();
        let mut tries_left = self.tries;
        loop {
            let replica = self.rotation.next();
            if !tried.contains(&replica.authority()) {
                tried.push(replica.authority());
            }
            tries_left = tries_left.saturating_sub(1);
            match call(replica).await {
                Ok(answer) => {
                    replica.is_back();
                    return Ok(answer);
                }
                Err(refusal) => {
                    tracing::debug!(executor = self.name, address = replica.authority(), %refusal, tries_left, "call failed");
                    if refusal.failure() == Failure::Unreachable {
                        replica.is_gone();
                    }
                    if tries_left == 0 || !refusal.is_retryable() {
                        return Err(self.error(&tried, refusal));
                    }
                }
            }
        }
    }

    fn error(&self, tried: &[&str], refusal: Refusal) -> CallError {
        let addresses = if self.show_addresses { tried } else { &[] };
        CallError {
            deployment: self.name.clone(),
            addresses: addresses.iter().map(|&address| address.to_owned()).collect(),
            failure: refusal.failure(),
            peer_detail: refusal.detail,
            trailers: refusal.trailers,
        }
    }
}
