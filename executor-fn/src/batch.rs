//! Dynamic batching: requests of one endpoint that have the same parameters wait for each other, and
//! the handler sees their documents as one batch (Jina 3.13's `dynamic_batching`).

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
    Error,
    endpoint::{Handler, call},
};

/// When a batch is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Documents at which a batch is handed over at once. It may hold more, because a request is not
    /// split.
    pub preferred_batch_size: usize,
    /// How long the first request of a batch waits for others.
    pub timeout: Duration,
    /// Requests that may wait or be worked on at this endpoint, those included whose client has left
    /// meanwhile; one more is refused with an error.
    pub max_waiting: usize,
}

impl Default for Batching {
    /// Jina's: 4 documents, 10 seconds. The bound is ours: a Gateway's default `prefetch` of 1000
    /// requests fits.
    fn default() -> Self {
        Self {
            preferred_batch_size: 4,
            timeout: Duration::from_secs(10),
            max_waiting: 1024,
        }
    }
}

/// What a batched handler gets.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The documents of all requests, request after request.
    pub documents: Vec<DocumentProto>,
    /// The parameters that all of them have.
    pub parameters: Struct,
}

/// The queues of one endpoint.
pub(crate) struct Batcher(Arc<Shared>);

struct Shared {
    handler: Handler<Batch, Vec<DocumentProto>>,
    batching: Batching,
    /// Encoded parameters to the queue that has them. A queue is there while something is in it.
    queues: Mutex<HashMap<Vec<u8>, mpsc::Sender<Waiting>>>,
    places: Arc<Semaphore>,
    closing: CancellationToken,
}

/// One request in a queue.
struct Waiting {
    documents: Vec<DocumentProto>,
    since: Instant,
    answer: oneshot::Sender<Result<Vec<DocumentProto>, Error>>,
    /// Held as long as the documents are: a client that leaves does not take them out of the queue.
    place: OwnedSemaphorePermit,
}

impl Batcher {
    pub(crate) fn new(
        handler: Handler<Batch, Vec<DocumentProto>>,
        batching: Batching,
        closing: CancellationToken,
    ) -> Self {
        let most = batching.max_waiting.clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Shared {
            handler,
            batching,
            queues: Mutex::default(),
            places: Arc::new(Semaphore::new(most)),
            closing,
        }))
    }

    /// The documents as the handler gave them back for this request.
    pub(crate) async fn push(
        &self,
        documents: Vec<DocumentProto>,
        parameters: Struct,
    ) -> Result<Vec<DocumentProto>, Error> {
        let place = Arc::clone(&self.0.places).try_acquire_owned();
        let place = place.map_err(|_| self.0.full())?;
        let (answer, dealt) = oneshot::channel();
        let since = Instant::now();
        let waiting = Waiting {
            documents,
            since,
            answer,
            place,
        };
        self.enqueue(parameters, waiting)?;
        dealt
            .await
            .unwrap_or_else(|_| Err(Error::new("RuntimeError", "the batch was given up")))
    }

    fn enqueue(&self, parameters: Struct, waiting: Waiting) -> Result<(), Error> {
        // The map behind a Struct is sorted: equal parameters have equal bytes.
        let key = parameters.encode_to_vec();
        let mut queues = self.0.queues();
        if let Some(queue) = queues.get(&key) {
            return queue.try_send(waiting).map_err(|_| self.0.full());
        }
        let (queue, requests) = mpsc::channel(self.0.batching.max_waiting.max(1));
        queue.try_send(waiting).map_err(|_| self.0.full())?;
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
    fn queues(&self) -> MutexGuard<'_, HashMap<Vec<u8>, mpsc::Sender<Waiting>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn full(&self) -> Error {
        let most = self.batching.max_waiting;
        Error::new(
            "QueueFull",
            format!("{most} requests wait for a batch already"),
        )
    }
}

/// The requests that share one parameters value. Batch after batch: the next one gathers while the
/// handler is at work.
struct Queue {
    shared: Arc<Shared>,
    key: Vec<u8>,
    parameters: Struct,
    requests: mpsc::Receiver<Waiting>,
}

impl Queue {
    async fn run(mut self) {
        loop {
            let mut batch = self.gather().await;
            // Who has left needs no answer.
            batch.retain(|waiting| !waiting.answer.is_closed());
            if !batch.is_empty() {
                self.work(batch).await;
            }
            let mut queues = self.shared.queues();
            if self.requests.is_empty() {
                queues.remove(&self.key);
                return;
            }
        }
    }

    async fn gather(&mut self) -> Vec<Waiting> {
        let Batching {
            preferred_batch_size,
            timeout,
            ..
        } = self.shared.batching;
        let Some(first) = self.requests.recv().await else {
            return Vec::new();
        };
        // A timeout beyond what a clock holds is none.
        let deadline = first.since.checked_add(timeout);
        let mut documents = first.documents.len();
        let mut batch = vec![first];
        while documents < preferred_batch_size {
            let next = tokio::select! {
                biased;
                next = self.requests.recv() => next,
                () = sleep_until(deadline) => None,
                () = self.shared.closing.cancelled() => None,
            };
            let Some(next) = next else { break };
            documents += next.documents.len();
            batch.push(next);
        }
        batch
    }

    async fn work(&self, mut batch: Vec<Waiting>) {
        let lengths: Vec<_> = batch
            .iter()
            .map(|waiting| waiting.documents.len())
            .collect();
        let documents = batch
            .iter_mut()
            .flat_map(|waiting| waiting.documents.drain(..))
            .collect();
        let input = Batch {
            documents,
            parameters: self.parameters.clone(),
        };
        let expected = lengths.iter().sum();
        let done = call(&self.shared.handler, input).await;
        let mut done = done
            .and_then(|documents| same_length(documents, expected))
            .map(Vec::into_iter);
        for (waiting, length) in batch.into_iter().zip(lengths) {
            let dealt = match &mut done {
                Ok(documents) => Ok(documents.by_ref().take(length).collect()),
                Err(error) => Err(error.clone()),
            };
            drop(waiting.place);
            // Nobody is there any more: nothing to do.
            let _ = waiting.answer.send(dealt);
        }
    }
}

fn same_length(
    documents: Vec<DocumentProto>,
    expected: usize,
) -> Result<Vec<DocumentProto>, Error> {
    let got = documents.len();
    if got == expected {
        return Ok(documents);
    }
    Err(Error::value(format!(
        "Dynamic Batching requires input size to equal output size. \
         Expected output size {expected}, but got {got}"
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
