//! Batching under a paused clock: when a batch runs, how many requests may be pending, and which documents each
//! request gets back.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;

use super::*;
use crate::handler::into_handler;

fn documents(ids: &[&str]) -> Vec<DocumentProto> {
    let document = |id: &&str| DocumentProto {
        id: (*id).to_owned(),
        ..DocumentProto::default()
    };
    ids.iter().map(document).collect()
}

fn parameters(key: &str) -> Struct {
    Struct {
        fields: [(key.to_owned(), true.into())].into(),
    }
}

const THREE_DOCUMENTS: Batching = Batching {
    preferred_batch_size: 3,
    timeout: Duration::from_secs(10),
    max_pending: 4,
};

/// Returns a batcher whose handler writes the size of the batch into each document's `modality`, and the token that
/// flushes it.
fn size_recording_batcher(batching: Batching) -> (Batcher, CancellationToken) {
    let flush = CancellationToken::new();
    let handler = into_handler(|batch: Batch| async move {
        let size = batch.documents.len().to_string();
        let mut documents = batch.documents;
        for document in &mut documents {
            document.modality.clone_from(&size);
        }
        Ok(documents)
    });
    (Batcher::new(handler, batching, flush.clone()), flush)
}

fn ids_and_sizes(answer: Result<Vec<DocumentProto>, Error>) -> Vec<(String, String)> {
    let documents = answer.expect("documents");
    documents
        .into_iter()
        .map(|document| (document.id, document.modality))
        .collect()
}

fn pair(id: &str, size: &str) -> (String, String) {
    (id.to_owned(), size.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_runs_at_once_and_each_request_gets_its_documents_back() {
    let (batcher, _) = size_recording_batcher(THREE_DOCUMENTS);
    let start = Instant::now();
    let (first, second) = tokio::join!(
        batcher.process(
            documents(&["a", "b"]),
            Struct::default(),
            CallContext::default()
        ),
        batcher.process(
            documents(&["c", "d"]),
            Struct::default(),
            CallContext::default()
        ),
    );
    assert_eq!(ids_and_sizes(first), [pair("a", "4"), pair("b", "4")]);
    assert_eq!(ids_and_sizes(second), [pair("c", "4"), pair("d", "4")]);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(batcher.0.queues().is_empty(), "an empty queue is removed");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_stays_small_runs_at_its_first_requests_timeout() {
    let (batcher, _) = size_recording_batcher(THREE_DOCUMENTS);
    let start = Instant::now();
    let (first, second) = tokio::join!(
        batcher.process(documents(&["a"]), Struct::default(), CallContext::default()),
        async {
            tokio::time::sleep(Duration::from_secs(6)).await;
            batcher
                .process(documents(&["b"]), Struct::default(), CallContext::default())
                .await
        },
    );
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    assert_eq!(ids_and_sizes(first), [pair("a", "2")]);
    assert_eq!(ids_and_sizes(second), [pair("b", "2")]);
}

#[tokio::test(start_paused = true)]
async fn requests_with_different_parameters_are_batched_separately() {
    let (batcher, _) = size_recording_batcher(THREE_DOCUMENTS);
    let (x, y) = tokio::join!(
        batcher.process(
            documents(&["a", "b"]),
            parameters("x"),
            CallContext::default()
        ),
        batcher.process(
            documents(&["c", "d"]),
            parameters("y"),
            CallContext::default()
        ),
    );
    assert_eq!(ids_and_sizes(x), [pair("a", "2"), pair("b", "2")]);
    assert_eq!(ids_and_sizes(y), [pair("c", "2"), pair("d", "2")]);
}

#[tokio::test(start_paused = true)]
async fn after_a_flush_no_batch_waits() {
    let (batcher, flush) = size_recording_batcher(THREE_DOCUMENTS);
    let start = Instant::now();
    let (waiting, ()) = tokio::join!(
        batcher.process(documents(&["a"]), Struct::default(), CallContext::default()),
        async {
            tokio::task::yield_now().await;
            flush.cancel();
        },
    );
    assert_eq!(ids_and_sizes(waiting), [pair("a", "1")]);
    let late = batcher
        .process(documents(&["b"]), Struct::default(), CallContext::default())
        .await;
    assert_eq!(ids_and_sizes(late), [pair("b", "1")]);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_pending_requests_is_bounded() {
    let few_pending = Batching {
        preferred_batch_size: 100,
        ..THREE_DOCUMENTS
    };
    let (batcher, _) = size_recording_batcher(few_pending);
    let requests = (0..5)
        .map(|_| batcher.process(documents(&["a"]), Struct::default(), CallContext::default()));
    let answers = join_all(requests).await;
    let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].name(), "QueueFull");
    let after = batcher
        .process(documents(&["a"]), Struct::default(), CallContext::default())
        .await;
    assert_eq!(ids_and_sizes(after), [pair("a", "1")]);
}

#[tokio::test(start_paused = true)]
async fn a_disconnected_caller_counts_as_pending_until_its_batch_runs() {
    let (batcher, _) = size_recording_batcher(Batching {
        preferred_batch_size: 100,
        ..THREE_DOCUMENTS
    });
    for _ in 0..4 {
        let mut disconnected =
            Box::pin(batcher.process(documents(&["a"]), Struct::default(), CallContext::default()));
        assert!(futures_util::poll!(&mut disconnected).is_pending());
    }
    let refused = batcher
        .process(documents(&["b"]), Struct::default(), CallContext::default())
        .await;
    assert_eq!(refused.expect_err("full").name(), "QueueFull");
    tokio::time::sleep(2 * THREE_DOCUMENTS.timeout).await;
    let after = batcher
        .process(documents(&["b"]), Struct::default(), CallContext::default())
        .await;
    assert_eq!(ids_and_sizes(after), [pair("b", "1")]);
}

#[tokio::test(start_paused = true)]
async fn an_error_fails_every_request_of_the_batch() {
    let one_too_many = into_handler(|mut batch: Batch| async move {
        batch.documents.push(DocumentProto::default());
        Ok(batch.documents)
    });
    let panics = into_handler(|_: Batch| async { panic!("no") });
    for (handler, description) in [
        (
            one_too_many,
            "ValueError('Dynamic Batching requires input size to equal output size. \
             Expected output size 3, but got 4')",
        ),
        (panics, "Panic('no')"),
    ] {
        let batcher = Batcher::new(handler, THREE_DOCUMENTS, CancellationToken::new());
        let (first, second) = tokio::join!(
            batcher.process(
                documents(&["a", "b"]),
                Struct::default(),
                CallContext::default()
            ),
            batcher.process(documents(&["c"]), Struct::default(), CallContext::default()),
        );
        for answer in [first, second] {
            let error = answer.expect_err("an error");
            assert_eq!(error.to_string(), description);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_disconnected_callers_documents_are_not_processed() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    let handler = into_handler(|batch: Batch| async move {
        SEEN.fetch_add(batch.documents.len(), Ordering::Relaxed);
        Ok(batch.documents)
    });
    let batcher = Batcher::new(handler, THREE_DOCUMENTS, CancellationToken::new());
    let disconnected =
        batcher.process(documents(&["a"]), Struct::default(), CallContext::default());
    let timed_out = tokio::time::timeout(Duration::from_secs(1), disconnected).await;
    assert!(timed_out.is_err(), "still waiting");
    let connected = batcher
        .process(documents(&["b"]), Struct::default(), CallContext::default())
        .await;
    assert_eq!(connected.expect("documents").len(), 1);
    assert_eq!(SEEN.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn the_next_batch_is_collected_while_the_handler_runs() {
    let handler = into_handler(|batch: Batch| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(batch.documents)
    });
    let batcher = Batcher::new(handler, THREE_DOCUMENTS, CancellationToken::new());
    let start = Instant::now();
    let process = |ids| batcher.process(documents(ids), Struct::default(), CallContext::default());
    let full = &["a", "b", "c"];
    let answers = tokio::join!(process(full), process(full));
    assert!(answers.0.is_ok() && answers.1.is_ok());
    assert_eq!(
        start.elapsed(),
        Duration::from_secs(2),
        "one after the other"
    );
}
