//! Drives one request's walk: makes the calls that are ready, tells the walk what came of them, until the answer is
//! there, and floating work after it.

use std::{sync::Arc, time::SystemTime};

use executor_fn::Answer;
use flowgate_flow::{
    graph::NodeId,
    walk::{Step, Walk},
};
use flowgate_proto::{DataRequest, Timestamp, with_causes};
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Shared;
use crate::{context::Context, error::GatewayError, outbound::CallError};

/// A call under way, and whose it is.
type Call = BoxFuture<'static, (NodeId, Result<Answer, CallError>)>;

/// One request on its way.
pub(super) struct Drive {
    shared: Arc<Shared>,
    context: Arc<Context>,
    walk: Walk,
    /// Calls beside each other; a linear Flow never has any.
    side_by_side: Option<Calls>,
}

#[derive(Default)]
struct Calls {
    /// Those that the client's answer waits for.
    awaited: FuturesUnordered<Call>,
    floating: FuturesUnordered<Call>,
}

impl Drive {
    pub(super) fn begin(
        shared: &Arc<Shared>,
        request: DataRequest,
        context: Context,
    ) -> Result<Self, GatewayError> {
        let walk = Walk::begin(
            Arc::clone(&shared.graph),
            Arc::clone(&shared.known),
            request,
            now(),
        )?;
        Ok(Self {
            shared: Arc::clone(shared),
            context: Arc::new(context),
            walk,
            side_by_side: None,
        })
    }

    /// Runs until the client's answer is there.
    pub(super) async fn settle(&mut self) -> Result<DataRequest, GatewayError> {
        loop {
            let mut ready = self.walk.take_ready();
            self.report_lost();
            // A linear Flow has one call at a time: no task and no set for it.
            if let ([Step { node, .. }], None) = (ready.as_slice(), &self.side_by_side)
                && self.shared.graph[*node].awaited
            {
                let Step { node, parts } = ready.swap_remove(0);
                let context = self.context_for(node);
                let answer = visit(&self.shared, node, parts, &context).await;
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

    /// Runs apart from the client's connection, because floating work that has begun goes on when the client has its
    /// answer or has left. A client that leaves still cancels the calls that only its answer waits for.
    pub(super) async fn run_in_background(
        mut self,
        admitted: OwnedSemaphorePermit,
    ) -> Result<DataRequest, GatewayError> {
        let (mut client, answer) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        shared.floating.spawn(async move {
            let settled = tokio::select! {
                settled = self.settle() => Some(settled),
                () = client.closed() => None,
            };
            if let Some(settled) = settled {
                // A client that left in this very moment needs no answer.
                let _ = client.send(settled);
            }
            self.drain().await;
            drop(admitted);
        });
        answer.await.unwrap_or(Err(GatewayError::Internal))
    }

    /// Runs what floats to its end; its failures are only logged. Calls that were awaited are dropped: nobody wants
    /// what they say now.
    async fn drain(&mut self) {
        loop {
            let ready = self.walk.take_ready();
            self.start(ready);
            self.report_lost();
            let Some(calls) = &mut self.side_by_side else {
                return;
            };
            calls.awaited.clear();
            let Some((node, answer)) = calls.floating.next().await else {
                return;
            };
            if let Err(error) = self.note(node, answer) {
                tracing::warn!(
                    error = %with_causes(&error),
                    "floating work of a request failed"
                );
            }
        }
    }

    fn start(&mut self, ready: Vec<Step>) {
        if ready.is_empty() {
            return;
        }
        for Step { node, parts } in ready {
            let (shared, context) = (Arc::clone(&self.shared), self.context_for(node));
            let awaited = shared.graph[node].awaited;
            let call: Call = Box::pin(async move {
                let answer = visit(&shared, node, parts, &context).await;
                (node, answer)
            });
            let calls = self.side_by_side.get_or_insert_default();
            if awaited {
                calls.awaited.push(call);
            } else {
                calls.floating.push(call);
            }
        }
    }

    /// What goes with a call of this node: a deadline that leaves time for the nodes behind it, or, where nobody waits,
    /// the host's own.
    fn context_for(&self, node: NodeId) -> Arc<Context> {
        let graph = &self.shared.graph;
        let deadline = match graph[node].awaited {
            true => self.context.deadline_before(graph.nodes_behind(node)),
            false => self.context.end,
        };
        if deadline == self.context.deadline {
            return Arc::clone(&self.context);
        }
        Arc::new(Context {
            deadline,
            ..(*self.context).clone()
        })
    }

    async fn next_call(&mut self) -> Result<(), GatewayError> {
        let Some(calls) = &mut self.side_by_side else {
            return Ok(());
        };
        let done = tokio::select! {
            Some(done) = calls.awaited.next() => Some(done),
            Some(done) = calls.floating.next() => Some(done),
            else => None,
        };
        match done {
            Some((node, answer)) => self.note(node, answer),
            None => Ok(()),
        }
    }

    fn note(&mut self, id: NodeId, answer: Result<Answer, CallError>) -> Result<(), GatewayError> {
        let node = &self.shared.graph[id];
        match answer {
            Ok(Answer { request, is_error }) => {
                if is_error && !node.awaited {
                    let status = request.header.status.as_ref();
                    let status = status.map(|status| status.description.as_str());
                    tracing::warn!(
                        executor = node.name,
                        status,
                        "a floating executor answered with an error"
                    );
                }
                Ok(self.walk.answered(id, request, is_error, now())?)
            }
            Err(error) if node.awaited => Err(error.into()),
            Err(error) => {
                tracing::warn!(
                    error = %with_causes(&error),
                    "a floating executor gave no answer"
                );
                Ok(())
            }
        }
    }

    fn report_lost(&mut self) {
        for (id, error) in self.walk.take_lost() {
            let executor = &self.shared.graph[id].name;
            tracing::warn!(
                executor,
                error = %with_causes(&error),
                "a request did not reach a floating executor"
            );
        }
    }
}

/// Sends a request to an Executor, and notes that it was there.
async fn visit(
    shared: &Shared,
    node: NodeId,
    parts: Vec<DataRequest>,
    context: &Context,
) -> Result<Answer, CallError> {
    let begun = context.record.begin(&shared.graph[node].name);
    let answer = shared.deployments[node.0].call(parts, context).await;
    let failed = answer.as_ref().map_or(true, |answer| answer.is_error);
    context.record.end(&begun, failed);
    answer
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
