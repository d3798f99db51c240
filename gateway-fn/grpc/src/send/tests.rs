//! Tests answers to clients that do not read. The clock is paused, so that no test waits.

use std::{sync::Arc, time::Duration};

use flowgate_server::budget::Budget;
use h2::client::Builder;

use super::*;
use crate::test_stream::TestStream;

const RATE: MinRate = MinRate {
    bytes_per_second: 1000,
    period: Duration::from_secs(20),
};

fn answer(budget: &Arc<Budget>, len: usize) -> (Chunks, Held) {
    let mut held = budget.account();
    held.set(len);
    (frame(Bytes::from(vec![7; len]).into(), None), held)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_read_is_counted_until_the_client_is_too_slow() {
    for len in [100, MAX_COPIED_BYTES, MAX_UNASKED_BYTES / 2, 1 << 20] {
        let budget = Budget::new(1 << 30);
        let mut ends = TestStream::open(Builder::new().initial_window_size(0)).await;
        let mut stream = ends.begin_response();
        let (message, held) = answer(&budget, len);
        let begun = tokio::time::Instant::now();
        let mut sending = Box::pin(send_answer(&mut stream, message, Some(held), RATE));
        let waited = tokio::time::timeout(RATE.period * 3 / 4, &mut sending);
        waited.await.expect_err("the window has no room");
        assert!(budget.used() >= len, "{len}");
        sending.await.expect_err("too slow");
        assert_eq!(begun.elapsed().as_secs(), RATE.period.as_secs());
        drop(stream);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(budget.used(), 0, "{len}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_answer_is_counted_until_it_has_left() {
    const LEN: usize = 200 << 10;
    let budget = Budget::new(1 << 30);
    let mut ends = TestStream::open(
        Builder::new()
            .initial_window_size(1 << 20)
            .initial_connection_window_size(1 << 20),
    )
    .await;
    let mut stream = ends.begin_response();
    let response = (&mut ends.response).await.expect("a head");
    let (message, held) = answer(&budget, LEN);
    // The connection is not driven meanwhile: what is sent stays in its buffer.
    let sent =
        futures_util::FutureExt::now_or_never(send_answer(&mut stream, message, Some(held), RATE));
    sent.expect("the window has room").expect("sent");
    assert!(budget.used() >= LEN);
    stream.send_data(Bytes::new(), true).expect("sent");
    let mut body = response.into_body();
    let mut received = 0;
    while let Some(piece) = body.data().await {
        received += piece.expect("a piece").len();
    }
    assert_eq!(received, PREFIX_BYTES + LEN);
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn a_small_answer_needs_no_account_in_a_window_with_room() {
    let budget = Budget::new(1 << 30);
    let mut ends = TestStream::open(&Builder::new()).await;
    let mut stream = ends.begin_response();
    let (message, held) = answer(&budget, 1000);
    send_answer(&mut stream, message, Some(held), RATE)
        .await
        .expect("sent");
    assert_eq!(budget.used(), 0);
}
