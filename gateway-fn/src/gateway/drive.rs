//! Drives one request's walk: makes the calls that are ready, tells the walk what came of them, until the answer is
//! there, and floating work after it.

use std::{sync::Arc, time::SystemTime};

use executor_fn::Answer;
use flowgate_proto::{DataRequest, Timestamp};
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::oneshot;

use super::Shared;
use crate::{
    error::GatewayError,
    flow::{
        graph::NodeId,
        walk::{Step, Walk},
    },
    outbound::CallError,
};

/// A call under way, and whose it is.
type Call = BoxFuture<'static, (NodeId, Result<Answer, CallError>)>;

/// One request on its way.
pub(super) struct Drive {
    shared: Arc<Shared>,
    walk: Walk,
    /// Calls that the client's answer waits for.
    awaited: FuturesUnordered<Call>,
    floating: FuturesUnordered<Call>,
}

impl Drive {
    pub(super) fn begin(shared: &Arc<Shared>, request: DataRequest) -> Result<Self, GatewayError> {
        let walk = Walk::begin(
            Arc::clone(&shared.graph),
            Arc::clone(&shared.known),
            request,
            now(),
        )?;
        Ok(Self {
            shared: Arc::clone(shared),
            walk,
            awaited: FuturesUnordered::new(),
            floating: FuturesUnordered::new(),
        })
    }

    /// Runs until the client's answer is there.
    pub(super) async fn settle(&mut self) -> Result<DataRequest, GatewayError> {
        loop {
            let mut ready = self.walk.take_ready();
            // A linear Flow has one call at a time: no task, no set, no allocation for it.
            if let (1, true) = (
                ready.len(),
                self.awaited.is_empty() && self.floating.is_empty(),
            ) && self.shared.graph[ready[0].node].awaited
            {
                let Step { node, parts } = ready.swap_remove(0);
                let answer = self.shared.deployments[node.0].call(parts).await;
                self.note(node, answer)?;
                continue;
            }
            self.start(ready);
            if self.walk.is_settled() {
                return Ok(self.walk.answer(now()));
            }
            self.next_call().await?;
        }
    }

    /// Runs apart from the client's connection, because floating work goes on when the client has its answer or has
    /// left. A client that leaves still cancels the calls that only its answer waits for.
    pub(super) async fn run_in_background(
        mut self,
        shared: &Arc<Shared>,
    ) -> Result<DataRequest, GatewayError> {
        let admitted = Arc::clone(&shared.admission)
            .try_acquire_owned()
            .map_err(|_| shared.overloaded())?;
        let (mut client, answer) = oneshot::channel();
        shared.background.spawn(async move {
            let settled = tokio::select! {
                settled = self.settle() => Some(settled),
                () = client.closed() => None,
            };
            if let Some(settled) = settled {
                // A client that left in this very moment needs no answer.
                let _ = client.send(settled);
            }
            self.awaited.clear();
            self.drain().await;
            drop(admitted);
        });
        answer.await.unwrap_or(Err(GatewayError::ShuttingDown))
    }

    /// Runs what floats to its end; its failures are only logged.
    async fn drain(&mut self) {
        loop {
            let ready = self.walk.take_ready();
            self.start(ready);
            // Only floating work is left to wait for: nobody wants what an awaited call says now.
            self.awaited.clear();
            let Some((node, answer)) = self.floating.next().await else {
                return;
            };
            if let Err(error) = self.note(node, answer) {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "floating work of a request failed"
                );
            }
        }
    }

    fn start(&mut self, ready: Vec<Step>) {
        for Step { node, parts } in ready {
            let shared = Arc::clone(&self.shared);
            let awaited = shared.graph[node].awaited;
            let call: Call =
                Box::pin(async move { (node, shared.deployments[node.0].call(parts).await) });
            if awaited {
                self.awaited.push(call);
            } else {
                self.floating.push(call);
            }
        }
    }

    async fn next_call(&mut self) -> Result<(), GatewayError> {
        let done = tokio::select! {
            Some(done) = self.awaited.next() => Some(done),
            Some(done) = self.floating.next() => Some(done),
            else => None,
        };
        match done {
            Some((node, answer)) => self.note(node, answer),
            None => Ok(()),
        }
    }

    fn note(
        &mut self,
        node: NodeId,
        answer: Result<Answer, CallError>,
    ) -> Result<(), GatewayError> {
        match answer {
            Ok(Answer { request, is_error }) => {
                Ok(self.walk.answered(node, request, is_error, now())?)
            }
            Err(error) if self.shared.graph[node].awaited => Err(error.into()),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a floating executor gave no answer"
                );
                self.walk.lost(node);
                Ok(())
            }
        }
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
