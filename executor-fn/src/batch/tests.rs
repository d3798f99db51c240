//! Batches under a paused clock: when they flush, what they bound, who gets which documents.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;

use super::*;
use crate::endpoint::erased;

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

const THREE: Batching = Batching {
    preferred_batch_size: 3,
    timeout: Duration::from_secs(10),
    max_waiting: 4,
};

/// Writes the size of the batch into each document's `modality`.
fn sizes(batching: Batching) -> (Batcher, CancellationToken) {
    let closing = CancellationToken::new();
    let handler = erased(|batch: Batch| async move {
        let size = batch.documents.len().to_string();
        let mut documents = batch.documents;
        for document in &mut documents {
            document.modality.clone_from(&size);
        }
        Ok(documents)
    });
    (Batcher::new(handler, batching, closing.clone()), closing)
}

fn read(answer: Result<Vec<DocumentProto>, Error>) -> Vec<(String, String)> {
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
async fn a_full_batch_waits_for_nobody_and_is_dealt_back_by_position() {
    let (batcher, _) = sizes(THREE);
    let start = Instant::now();
    let (first, second) = tokio::join!(
        batcher.push(documents(&["a", "b"]), Struct::default()),
        batcher.push(documents(&["c", "d"]), Struct::default()),
    );
    assert_eq!(read(first), [pair("a", "4"), pair("b", "4")]);
    assert_eq!(read(second), [pair("c", "4"), pair("d", "4")]);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(batcher.0.queues().is_empty(), "an idle queue is forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_stays_small_goes_at_its_first_requests_timeout() {
    let (batcher, _) = sizes(THREE);
    let start = Instant::now();
    let (first, second) = tokio::join!(batcher.push(documents(&["a"]), Struct::default()), async {
        tokio::time::sleep(Duration::from_secs(6)).await;
        batcher.push(documents(&["b"]), Struct::default()).await
    },);
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    assert_eq!(read(first), [pair("a", "2")]);
    assert_eq!(read(second), [pair("b", "2")]);
}

#[tokio::test(start_paused = true)]
async fn requests_with_other_parameters_wait_apart() {
    let (batcher, _) = sizes(THREE);
    let (x, y) = tokio::join!(
        batcher.push(documents(&["a", "b"]), parameters("x")),
        batcher.push(documents(&["c", "d"]), parameters("y")),
    );
    assert_eq!(read(x), [pair("a", "2"), pair("b", "2")]);
    assert_eq!(read(y), [pair("c", "2"), pair("d", "2")]);
}

#[tokio::test(start_paused = true)]
async fn closing_lets_nothing_wait() {
    let (batcher, closing) = sizes(THREE);
    let start = Instant::now();
    let (waiting, ()) = tokio::join!(batcher.push(documents(&["a"]), Struct::default()), async {
        tokio::task::yield_now().await;
        closing.cancel();
    },);
    assert_eq!(read(waiting), [pair("a", "1")]);
    let late = batcher.push(documents(&["b"]), Struct::default()).await;
    assert_eq!(read(late), [pair("b", "1")]);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded() {
    let small = Batching {
        preferred_batch_size: 100,
        ..THREE
    };
    let (batcher, _) = sizes(small);
    let pushes = (0..5).map(|_| batcher.push(documents(&["a"]), Struct::default()));
    let answers = join_all(pushes).await;
    let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].name(), "QueueFull");
    let after = batcher.push(documents(&["a"]), Struct::default()).await;
    assert_eq!(read(after), [pair("a", "1")]);
}

#[tokio::test(start_paused = true)]
async fn who_has_left_still_takes_a_place_until_the_batch_is_taken_up() {
    let (batcher, _) = sizes(Batching {
        preferred_batch_size: 100,
        ..THREE
    });
    for _ in 0..4 {
        let mut left = Box::pin(batcher.push(documents(&["a"]), Struct::default()));
        assert!(futures_util::poll!(&mut left).is_pending());
    }
    let refused = batcher.push(documents(&["b"]), Struct::default()).await;
    assert_eq!(refused.expect_err("full").name(), "QueueFull");
    tokio::time::sleep(2 * THREE.timeout).await;
    let after = batcher.push(documents(&["b"]), Struct::default()).await;
    assert_eq!(read(after), [pair("b", "1")]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_fails_every_request_of_the_batch() {
    let one_too_many = erased(|mut batch: Batch| async move {
        batch.documents.push(DocumentProto::default());
        Ok(batch.documents)
    });
    let panics = erased(|_: Batch| async { panic!("no") });
    for (handler, description) in [
        (
            one_too_many,
            "ValueError('Dynamic Batching requires input size to equal output size. \
             Expected output size 3, but got 4')",
        ),
        (panics, "Panic('no')"),
    ] {
        let batcher = Batcher::new(handler, THREE, CancellationToken::new());
        let (first, second) = tokio::join!(
            batcher.push(documents(&["a", "b"]), Struct::default()),
            batcher.push(documents(&["c"]), Struct::default()),
        );
        for answer in [first, second] {
            let error = answer.expect_err("a failure");
            assert_eq!(error.to_string(), description);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_left_is_not_worked_for() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    let handler = erased(|batch: Batch| async move {
        SEEN.fetch_add(batch.documents.len(), Ordering::Relaxed);
        Ok(batch.documents)
    });
    let batcher = Batcher::new(handler, THREE, CancellationToken::new());
    let left = batcher.push(documents(&["a"]), Struct::default());
    let left = tokio::time::timeout(Duration::from_secs(1), left).await;
    assert!(left.is_err(), "still waiting");
    let stays = batcher.push(documents(&["b"]), Struct::default()).await;
    assert_eq!(stays.expect("documents").len(), 1);
    assert_eq!(SEEN.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn the_next_batch_gathers_while_the_handler_works() {
    let handler = erased(|batch: Batch| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(batch.documents)
    });
    let batcher = Batcher::new(handler, THREE, CancellationToken::new());
    let start = Instant::now();
    let push = |ids| batcher.push(documents(ids), Struct::default());
    let full = &["a", "b", "c"];
    let answers = tokio::join!(push(full), push(full));
    assert!(answers.0.is_ok() && answers.1.is_ok());
    assert_eq!(
        start.elapsed(),
        Duration::from_secs(2),
        "one after the other"
    );
}
