//! Drives the walk of one request through the graph: makes the calls that are ready, reports their results to the walk,
//! until the answer is complete, and finishes floating work after it.

use std::sync::Arc;

use executor_fn::Answer;
use flowgate_flow::{
    graph::NodeId,
    walk::{Step, Walk},
};
use flowgate_proto::{DataRequest, now, with_causes};
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::oneshot;

use super::{Shared, admission::Place};
use crate::{
    context::Context,
    error::{CallError, GatewayError},
};

/// A call, and the node that it calls.
type Call = BoxFuture<'static, (NodeId, Result<Answer, CallError>)>;

/// One request on its way through the Flow. Its [`Walk`] decides which calls are ready and builds the answer, without any
/// I/O; `Drive` makes these calls and waits for them.
pub(super) struct Drive {
    shared: Arc<Shared>,
    context: Arc<Context>,
    walk: Walk,
    /// Calls that run at the same time; `None` in a linear Flow, which has one call at a time.
    concurrent: Option<ConcurrentCalls>,
}

#[derive(Default)]
struct ConcurrentCalls {
    /// The calls that the client's answer waits for.
    awaited: FuturesUnordered<Call>,
    floating: FuturesUnordered<Call>,
}

impl Drive {
    pub(super) fn begin(
        shared: &Arc<Shared>,
        mut request: DataRequest,
        context: Context,
    ) -> Result<Self, GatewayError> {
        request.set_decode_limits(shared.decode_limits)?;
        if shared.decodes_documents() {
            request.documents.check_limits()?;
        }
        let walk = Walk::start(
            Arc::clone(&shared.graph),
            Arc::clone(&shared.known),
            request,
            now(),
        )?;
        Ok(Self {
            shared: Arc::clone(shared),
            context: Arc::new(context),
            walk,
            concurrent: None,
        })
    }

    /// Runs until the client's answer is complete.
    pub(super) async fn run_until_answered(&mut self) -> Result<DataRequest, GatewayError> {
        loop {
            let mut ready = self.walk.take_ready();
            self.log_floating_errors();
            // A linear Flow has one call at a time: it needs no boxed future and no set.
            if let ([Step { node, .. }], None) = (ready.as_slice(), &self.concurrent)
                && self.shared.graph[*node].is_awaited
            {
                let Step { node, requests } = ready.swap_remove(0);
                let context = self.context_for(node);
                let result = visit(&self.shared, node, requests, &context).await;
                self.apply(node, result)?;
                continue;
            }
            self.start_calls(ready);
            if self.walk.is_response_ready() {
                return Ok(self.walk.build_response(now()));
            }
            self.wait_for_call().await?;
        }
    }

    /// Runs in a task, because floating work that has begun goes on when the client has its answer or has disconnected.
    /// A client that disconnects still cancels the calls that only its answer waits for.
    pub(super) async fn run_in_background(
        mut self,
        place: Place,
    ) -> Result<DataRequest, GatewayError> {
        let (mut client, answer) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        shared.floating.spawn(async move {
            let result = tokio::select! {
                result = self.run_until_answered() => Some(result),
                () = client.closed() => None,
            };
            if let Some(result) = result {
                // Fails if the client has just disconnected.
                let _ = client.send(result);
            }
            self.finish_floating_work().await;
            drop(place);
        });
        answer.await.unwrap_or(Err(GatewayError::Internal))
    }

    /// Runs the floating Executors to their end; their failures are only logged. Cancels calls that the answer was
    /// waiting for.
    async fn finish_floating_work(&mut self) {
        loop {
            let ready = self.walk.take_ready();
            self.start_calls(ready);
            self.log_floating_errors();
            let Some(calls) = &mut self.concurrent else {
                return;
            };
            calls.awaited.clear();
            let Some((node, result)) = calls.floating.next().await else {
                return;
            };
            if let Err(error) = self.apply(node, result) {
                let executor = &self.shared.graph[node].name;
                tracing::warn!(executor, error = %with_causes(&error), "floating work failed");
            }
        }
    }

    fn start_calls(&mut self, ready: Vec<Step>) {
        if ready.is_empty() {
            return;
        }
        for Step { node, requests } in ready {
            let (shared, context) = (Arc::clone(&self.shared), self.context_for(node));
            let awaited = shared.graph[node].is_awaited;
            let call: Call = Box::pin(async move {
                let result = visit(&shared, node, requests, &context).await;
                (node, result)
            });
            let calls = self.concurrent.get_or_insert_default();
            if awaited {
                calls.awaited.push(call);
            } else {
                calls.floating.push(call);
            }
        }
    }

    /// Returns the context of a call to this node. Its deadline leaves time for the nodes behind it; a floating node,
    /// which no answer waits for, has time until the end of the invocation or the process.
    fn context_for(&self, node: NodeId) -> Arc<Context> {
        let graph = &self.shared.graph;
        let deadline = match graph[node].is_awaited {
            true => self.context.deadline_before(graph.max_nodes_after(node)),
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

    async fn wait_for_call(&mut self) -> Result<(), GatewayError> {
        let Some(calls) = &mut self.concurrent else {
            return Ok(());
        };
        let completed = tokio::select! {
            Some(completed) = calls.awaited.next() => Some(completed),
            Some(completed) = calls.floating.next() => Some(completed),
            else => None,
        };
        match completed {
            Some((node, result)) => self.apply(node, result),
            None => Ok(()),
        }
    }

    /// Reports the result of a call to the walk. The failure of a floating Executor is only logged.
    fn apply(&mut self, id: NodeId, result: Result<Answer, CallError>) -> Result<(), GatewayError> {
        let limits = self.shared.decode_limits;
        let node = &self.shared.graph[id];
        let executor = &node.name;
        match result {
            Ok(Answer {
                mut request,
                is_error,
            }) => {
                match request.set_decode_limits(limits) {
                    Err(error) if node.is_awaited => return Err(error.into()),
                    Err(error) => {
                        tracing::warn!(executor, %error, "floating executor's answer is too large");
                        return Ok(());
                    }
                    Ok(()) => {}
                }
                if is_error && !node.is_awaited {
                    let status = request.header.status.as_ref();
                    let status = status.map(|status| status.description.as_str());
                    tracing::warn!(executor, status, "floating executor returned an error");
                }
                Ok(self.walk.record_response(id, request, is_error, now())?)
            }
            Err(error) if node.is_awaited => Err(error.into()),
            Err(error) => {
                let error = with_causes(&error);
                tracing::warn!(executor, %error, "call to floating executor failed");
                Ok(())
            }
        }
    }

    fn log_floating_errors(&mut self) {
        for (id, error) in self.walk.take_floating_errors() {
            let executor = &self.shared.graph[id].name;
            let error = with_causes(&error);
            tracing::warn!(executor, %error, "request did not reach floating executor");
        }
    }
}

/// Calls an Executor and records the visit.
async fn visit(
    shared: &Shared,
    node: NodeId,
    requests: Vec<DataRequest>,
    context: &Context,
) -> Result<Answer, CallError> {
    let visit = context.record.begin_visit(&shared.graph[node].name);
    let result = shared.deployments[node.0].call(requests, context).await;
    let failed = result.as_ref().map_or(true, |answer| answer.is_error);
    context.record.end_visit(&visit, failed);
    result
}
