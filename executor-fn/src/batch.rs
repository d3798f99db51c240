//! Dynamic batching, as Jina 3.13's `dynamic_batching`: requests to one endpoint with equal parameters are
//! collected, and the handler gets their documents as one batch.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flowgate_proto::{Struct, docarray::DocumentProto};
use prost::Message as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    CallContext, Error,
    handler::{Handler, call_catching_panics},
};

/// When a batch is handed to the handler, and how many requests may be pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// The number of documents at which a batch is complete. A batch may hold more, because the documents of
    /// one request stay together.
    pub preferred_batch_size: usize,
    /// How long the first request of a batch waits for others.
    pub timeout: Duration,
    /// How many requests may wait or be processed at this endpoint, including those whose caller has
    /// disconnected. Further requests fail with the error `QueueFull`. Zero means 1.
    pub max_pending: usize,
}

impl Default for Batching {
    /// Jina's defaults of 4 documents and 10 seconds. Jina has no `max_pending`: 1024 leaves room for a Gateway's
    /// default `prefetch` of 1000 requests.
    fn default() -> Self {
        Self {
            preferred_batch_size: 4,
            timeout: Duration::from_secs(10),
            max_pending: 1024,
        }
    }
}

/// The input of a batched handler.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The documents of all requests, one request after the other.
    pub documents: Vec<DocumentProto>,
    /// The parameters, which are equal in all requests of a batch.
    pub parameters: Struct,
    /// The contexts of the requests, in the order of their documents.
    pub contexts: Vec<CallContext>,
}

/// Collects the requests to one endpoint into batches.
pub(crate) struct Batcher(Arc<Shared>);

struct Shared {
    handler: Handler<Batch, Vec<DocumentProto>>,
    batching: Batching,
    /// One queue for each distinct value of the parameters; the key is the encoded parameters. Empty queues are removed.
    queues: Mutex<HashMap<Vec<u8>, mpsc::Sender<PendingRequest>>>,
    permits: Arc<Semaphore>,
    /// Once cancelled, batches no longer wait for more requests.
    flush: CancellationToken,
}

/// One request in a queue.
struct PendingRequest {
    documents: Vec<DocumentProto>,
    context: CallContext,
    enqueued_at: Instant,
    response: oneshot::Sender<Result<Vec<DocumentProto>, Error>>,
    /// Held while the documents are in memory. A request whose caller has disconnected stays in the queue and keeps its
    /// permit.
    permit: OwnedSemaphorePermit,
}

impl Batcher {
    pub(crate) fn new(
        handler: Handler<Batch, Vec<DocumentProto>>,
        batching: Batching,
        flush: CancellationToken,
    ) -> Self {
        let max_pending = batching.max_pending.clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Shared {
            handler,
            batching: Batching {
                max_pending,
                ..batching
            },
            queues: Mutex::default(),
            permits: Arc::new(Semaphore::new(max_pending)),
            flush,
        }))
    }

    /// Adds a request and returns the documents that the handler returned for it.
    pub(crate) async fn process(
        &self,
        documents: Vec<DocumentProto>,
        parameters: Struct,
        context: CallContext,
    ) -> Result<Vec<DocumentProto>, Error> {
        let permit = Arc::clone(&self.0.permits).try_acquire_owned();
        let permit = permit.map_err(|_| self.0.queue_full())?;
        let (response, receiver) = oneshot::channel();
        let pending = PendingRequest {
            documents,
            context,
            enqueued_at: Instant::now(),
            response,
            permit,
        };
        self.enqueue(parameters, pending)?;
        receiver.await.unwrap_or_else(|_| {
            let text = "the Executor stopped before the batch was processed";
            Err(Error::new("RuntimeError", text))
        })
    }

    fn enqueue(&self, parameters: Struct, pending: PendingRequest) -> Result<(), Error> {
        // The map in a Struct is sorted, so equal parameters have equal bytes.
        let key = parameters.encode_to_vec();
        let mut queues = self.0.queues();
        if let Some(queue) = queues.get(&key) {
            return queue.try_send(pending).map_err(|_| self.0.queue_full());
        }
        let (queue, requests) = mpsc::channel(self.0.batching.max_pending);
        queue.try_send(pending).map_err(|_| self.0.queue_full())?;
        queues.insert(key.clone(), queue);
        let queue = Queue {
            shared: Arc::clone(&self.0),
            key,
            parameters,
            requests,
        };
        tokio::spawn(queue.run());
        Ok(())
    }
}

impl Shared {
    fn queues(&self) -> MutexGuard<'_, HashMap<Vec<u8>, mpsc::Sender<PendingRequest>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue_full(&self) -> Error {
        let max = self.batching.max_pending;
        let text = format!("the limit of {max} pending requests of this endpoint is reached");
        Error::new("QueueFull", text)
    }
}

/// The requests with one value of the parameters. Batches run one after the other; the next one is collected
/// while the handler runs.
struct Queue {
    shared: Arc<Shared>,
    key: Vec<u8>,
    parameters: Struct,
    requests: mpsc::Receiver<PendingRequest>,
}

impl Queue {
    /// Runs batches until the queue is empty.
    async fn run(mut self) {
        loop {
            let mut batch = self.collect_batch().await;
            // Drops requests whose caller has disconnected.
            batch.retain(|pending| !pending.response.is_closed());
            if !batch.is_empty() {
                self.run_batch(batch).await;
            }
            let mut queues = self.shared.queues();
            if self.requests.is_empty() {
                queues.remove(&self.key);
                return;
            }
        }
    }

    async fn collect_batch(&mut self) -> Vec<PendingRequest> {
        let Batching {
            preferred_batch_size,
            timeout,
            ..
        } = self.shared.batching;
        let Some(first) = self.requests.recv().await else {
            return Vec::new();
        };
        // `None` if the timeout is too long for the clock: then only a complete batch or a flush ends the wait.
        let deadline = first.enqueued_at.checked_add(timeout);
        let mut documents = first.documents.len();
        let mut batch = vec![first];
        while documents < preferred_batch_size {
            let next = tokio::select! {
                biased;
                next = self.requests.recv() => next,
                () = sleep_until(deadline) => None,
                () = self.shared.flush.cancelled() => None,
            };
            let Some(next) = next else { break };
            documents += next.documents.len();
            batch.push(next);
        }
        batch
    }

    /// Calls the handler and gives each request its share of the documents.
    async fn run_batch(&self, mut batch: Vec<PendingRequest>) {
        let lengths: Vec<_> = batch
            .iter()
            .map(|pending| pending.documents.len())
            .collect();
        let documents = batch
            .iter_mut()
            .flat_map(|pending| pending.documents.drain(..))
            .collect();
        let input = Batch {
            documents,
            parameters: self.parameters.clone(),
            contexts: batch
                .iter()
                .map(|pending| pending.context.clone())
                .collect(),
        };
        let expected = lengths.iter().sum();
        let output = call_catching_panics(&self.shared.handler, input).await;
        let mut output = output
            .and_then(|documents| check_length(documents, expected))
            .map(Vec::into_iter);
        for (pending, length) in batch.into_iter().zip(lengths) {
            let response = match &mut output {
                Ok(documents) => Ok(documents.by_ref().take(length).collect()),
                Err(error) => Err(error.clone()),
            };
            drop(pending.permit);
            // Sending fails when the caller has disconnected.
            let _ = pending.response.send(response);
        }
    }
}

fn check_length(
    documents: Vec<DocumentProto>,
    expected: usize,
) -> Result<Vec<DocumentProto>, Error> {
    let length = documents.len();
    if length == expected {
        return Ok(documents);
    }
    Err(Error::value_error(format!(
        "Dynamic Batching requires input size to equal output size. \
         Expected output size {expected}, but got {length}"
    )))
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
