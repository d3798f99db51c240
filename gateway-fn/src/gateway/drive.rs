//! Drives the walk of one request through the graph: makes the calls that are ready, reports their results to the walk,
//! until the answer is complete, and finishes floating work after it.

use std::{panic::resume_unwind, sync::Arc};

use executor_fn::Answer;
use flowgate_flow::{
    graph::NodeId,
    walk::{Step, Walk},
};
use flowgate_grpc::{
    Held,
    blocking::{self, MAX_INLINE_BYTES},
};
use flowgate_proto::{DataRequest, LimitExceeded, now, with_causes};
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use prost::Message as _;
use tokio::sync::{Mutex, oneshot};

use super::{FREE_DECODED_TIMES, Shared, admission::Place, discovery::note_answer};
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
    /// Locked only while the walk works on a message, perhaps on another thread.
    walk: Arc<Mutex<Walk>>,
    /// Whether the walk decodes documents: of the request, and of the answers that come to a join or a condition.
    decodes: bool,
    /// The bytes of the request and of all answers, which may meet at a join; of their parameters alone if no documents are
    /// decoded.
    bytes: usize,
    /// The memory of decoded documents: of the request, and of the answers that come to a join or a condition.
    decoded: Vec<Held>,
    /// The number of calls that were begun.
    calls: usize,
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
    pub(super) async fn begin(
        shared: &Arc<Shared>,
        request: DataRequest,
        context: Context,
    ) -> Result<Self, GatewayError> {
        let decodes = shared.graph.has_joins() || shared.graph.has_filters();
        let checks = shared.decodes_documents();
        let parameter_bytes = request.parameters.encoded_len();
        let bytes = match decodes || checks {
            true => request.encoded_len(),
            false => parameter_bytes,
        };
        let start = {
            let shared = Arc::clone(shared);
            move || start_walk(&shared, request, decodes, checks)
        };
        // What is decoded at the start alone does not count for the work that follows.
        let later = match decodes {
            true => bytes,
            false => parameter_bytes,
        };
        // A panic goes on here, where it ends the request.
        let walk = blocking::run(bytes, start).await;
        let (walk, held) = walk.unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok(Self {
            shared: Arc::clone(shared),
            context: Arc::new(context),
            walk: Arc::new(Mutex::new(walk)),
            decodes,
            bytes: later,
            decoded: held.into_iter().collect(),
            calls: 0,
            concurrent: None,
        })
    }

    /// Lets the walk work on messages: on another thread if what it may decode of them is large.
    async fn work<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Walk) -> T + Send + 'static,
    ) -> T {
        let mut walk = Arc::clone(&self.walk).lock_owned().await;
        if self.bytes <= MAX_INLINE_BYTES {
            return work(&mut walk);
        }
        // A task of its own, because a client that disconnects must not take away an answer from floating Executors. They go
        // on when the walk is unlocked.
        let worked = blocking::run(self.bytes, move || work(&mut walk));
        match tokio::spawn(worked).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(error) => resume_unwind(
                error
                    .try_into_panic()
                    .unwrap_or_else(|cancelled| Box::new(cancelled)),
            ),
        }
    }

    /// Runs until the client's answer is complete.
    pub(super) async fn run_until_answered(&mut self) -> Result<DataRequest, GatewayError> {
        loop {
            let mut ready = self.take_ready().await;
            // A linear Flow has one call at a time: it needs no boxed future and no set.
            if let ([Step { node, .. }], None) = (ready.as_slice(), &self.concurrent)
                && self.shared.graph[*node].is_awaited
            {
                let Step { node, requests } = ready.swap_remove(0);
                let context = self.context_for(node);
                self.calls += 1;
                let result = visit(&self.shared, node, requests, &context).await;
                self.apply(node, result).await?;
                continue;
            }
            self.start_calls(ready);
            if self.walk.lock().await.is_response_ready() {
                return Ok(self.work(|walk| walk.build_response(now())).await);
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
            let ready = self.take_ready().await;
            self.start_calls(ready);
            let Some(calls) = &mut self.concurrent else {
                return;
            };
            calls.awaited.clear();
            let Some((node, result)) = calls.floating.next().await else {
                return;
            };
            if let Err(error) = self.apply(node, result).await {
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
            self.calls += 1;
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
            Some((node, result)) => self.apply(node, result).await,
            None => Ok(()),
        }
    }

    /// Reports the result of a call to the walk. The failure of a floating Executor is only logged.
    async fn apply(
        &mut self,
        id: NodeId,
        result: Result<Answer, CallError>,
    ) -> Result<(), GatewayError> {
        let limits = self.shared.decode_limits;
        let shared = Arc::clone(&self.shared);
        let node = &shared.graph[id];
        let executor = &node.name;
        match result {
            Ok(Answer {
                mut request,
                is_error,
            }) => {
                let bytes = match self.decodes {
                    true => request.encoded_len(),
                    false => request.parameters.encoded_len(),
                };
                let budget = shared.budget.as_ref().filter(|_| self.decodes);
                let account = budget.map(|budget| budget.answer_account());
                let check = move || {
                    request.set_decode_limits(limits)?;
                    let held = hold_decoded(&request, account)?;
                    Ok::<_, LimitExceeded>((request, held))
                };
                let checked = blocking::run(bytes, check).await;
                let request = match checked.unwrap_or_else(|panic| resume_unwind(panic)) {
                    Ok((request, held)) => {
                        self.decoded.extend(held);
                        request
                    }
                    Err(error) if node.is_awaited => {
                        return Err(GatewayError::of_answer(error));
                    }
                    Err(error) => {
                        tracing::warn!(executor, %error, "floating executor's answer is too large");
                        return Ok(());
                    }
                };
                if is_error && !node.is_awaited {
                    let status = request.header.status.as_ref();
                    let status = status.map(|status| status.description.as_str());
                    tracing::warn!(executor, status, "floating executor returned an error");
                }
                self.bytes = self.bytes.saturating_add(bytes);
                let record =
                    move |walk: &mut Walk| walk.record_response(id, request, is_error, now());
                Ok(self.work(record).await?)
            }
            Err(mut error) if node.is_awaited => {
                // Another Executor has run the request, or is running it.
                error.may_have_run |= self.calls > 1;
                Err(error.into())
            }
            Err(error) => {
                let (address, error) = (error.joined_addresses(), with_causes(&error));
                tracing::warn!(executor, address, %error, "call to floating executor failed");
                Ok(())
            }
        }
    }

    /// Takes the calls that can be made now, and logs the errors at floating nodes.
    async fn take_ready(&mut self) -> Vec<Step> {
        let mut walk = self.walk.lock().await;
        for (id, error) in walk.take_floating_errors() {
            let executor = &self.shared.graph[id].name;
            let error = with_causes(&error);
            tracing::warn!(executor, %error, "request did not reach floating executor");
        }
        walk.take_ready()
    }
}

/// Holds the memory that the documents of a message take when they are decoded. An account without bytes is dropped.
fn hold_decoded(
    request: &DataRequest,
    account: Option<Held>,
) -> Result<Option<Held>, LimitExceeded> {
    let Some(mut held) = account else {
        return Ok(None);
    };
    let bytes = request.documents.decoding_excess(FREE_DECODED_TIMES);
    held.add(bytes).map_err(|_full| LimitExceeded::NoRoom)?;
    Ok(Some(held).filter(|_| bytes > 0))
}

/// Checks the limits of a request, and starts its walk; returns it with the memory of its documents. `decodes`: the walk
/// decodes them; `checks`: an Executor of this process does.
fn start_walk(
    shared: &Shared,
    mut request: DataRequest,
    decodes: bool,
    checks: bool,
) -> Result<(Walk, Option<Held>), GatewayError> {
    request.set_decode_limits(shared.decode_limits)?;
    if checks {
        request.documents.check_limits()?;
    }
    let budget = shared.budget.as_ref().filter(|_| decodes || checks);
    let held = hold_decoded(&request, budget.map(|budget| budget.account()))?;
    let (graph, known) = (Arc::clone(&shared.graph), Arc::clone(&shared.known));
    Ok((Walk::start(graph, known, request, now())?, held))
}

/// Calls an Executor and records the visit.
async fn visit(
    shared: &Arc<Shared>,
    node: NodeId,
    requests: Vec<DataRequest>,
    context: &Context,
) -> Result<Answer, CallError> {
    let visit = context.record.begin_visit(&shared.graph[node].name);
    let result = shared.deployments[node.0].call(requests, context).await;
    note_answer(shared, node);
    let failed = result.as_ref().map_or(true, |answer| answer.is_error);
    context.record.end_visit(&visit, failed);
    result
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use flowgate_config::Config;
    use flowgate_proto::{Kind, Struct, Value, docarray::DocumentProto};

    use crate::{
        context::Context,
        gateway::{Gateway, Registry},
        outbound::Clients,
    };

    use super::*;

    fn request(bytes: usize) -> DataRequest {
        let document = DocumentProto {
            id: "x".repeat(bytes),
            ..DocumentProto::default()
        };
        DataRequest {
            documents: vec![document].into(),
            ..DataRequest::default()
        }
    }

    #[test]
    fn large_messages_of_a_join_are_decoded_on_another_thread() {
        let yaml = "jtype: Flow\nexecutors:\n\
                    - {name: a, uses: 'inproc://pass_through'}\n\
                    - {name: b, uses: 'inproc://pass_through', needs: gateway}\n\
                    - {name: c, uses: 'inproc://pass_through', needs: [a, b]}\n";
        assert_is_decoded_on_another_thread(yaml, request);
    }

    /// They have a key for a single node.
    #[test]
    fn large_parameters_are_decoded_on_another_thread_in_a_linear_flow() {
        let yaml = "jtype: Flow\nexecutors:\n- {name: a, uses: 'inproc://pass_through'}\n";
        assert_is_decoded_on_another_thread(yaml, |bytes| {
            let text = Kind::StringValue("x".repeat(bytes));
            let value = Value { kind: Some(text) };
            let fields = [("a__key".to_owned(), value)].into();
            DataRequest {
                parameters: Struct { fields }.into(),
                ..request(1)
            }
        });
    }

    fn assert_is_decoded_on_another_thread(yaml: &str, request: fn(usize) -> DataRequest) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let loaded = Config::from_yaml(yaml, "test.yml", &|_| None).expect("a Flow");
            let clients = Clients::new(&loaded.config.gateway.invoke);
            let gateway = Gateway::new(&loaded.config, &Registry::default(), &clients);
            let gateway = gateway.expect("it can be served");
            // The only other thread is busy.
            let (release, held) = mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || held.recv());
            let [large, small] = [MAX_INLINE_BYTES + 1, 1].map(|bytes| {
                let gateway = gateway.clone();
                tokio::spawn(
                    async move { gateway.handle(request(bytes), Context::default()).await },
                )
            });
            let answer = small.await.expect("no panic").expect("an answer");
            assert_eq!(answer.documents.into_vec().expect("documents").len(), 1);
            assert!(!large.is_finished());
            release.send(()).expect("the thread waits");
            busy.await.expect("no panic").expect("released");
            let answer = large.await.expect("no panic").expect("an answer");
            assert_eq!(answer.documents.into_vec().expect("documents").len(), 1);
        });
    }
}
