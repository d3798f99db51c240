//! Tests messages that arrive slowly. The clock is paused, so that no test waits.

use std::time::Duration;

use bytes::Bytes;
use flowgate_server::budget::Budget;
use h2::{SendStream, client::Builder};

use super::*;
use crate::test_stream::TestStream;

const RATE: MinRate = MinRate {
    bytes_per_second: 1000,
    period: Duration::from_secs(20),
};

/// Returns the reading end and the writing end of a stream of messages.
async fn stream() -> (Messages, SendStream<Bytes>, impl Sized) {
    let stream = TestStream::open(&Builder::new()).await;
    let messages = Messages::new(stream.body, &HeaderMap::new(), 1 << 20);
    let rest = (stream.response, stream.respond);
    (messages.with_min_rate(RATE), stream.request, rest)
}

fn send(request: &mut SendStream<Bytes>, bytes: &[u8]) {
    request
        .send_data(Bytes::copy_from_slice(bytes), false)
        .expect("sent");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_stays_incomplete_ends_and_gives_its_bytes_back() {
    // Within its head, after it, and within the message.
    for begun in [&[0][..], &[0, 0, 0, 0, 9], &[0, 0, 0, 0, 9, 1, 2]] {
        let budget = Budget::new(1000);
        let (messages, mut request, _rest) = stream().await;
        let mut messages = messages.with_account(budget.account());
        send(&mut request, begun);
        let error = messages.next().await.expect_err("too slow");
        assert!(matches!(error, MessageError::TooSlow), "{error}");
        drop(messages);
        assert_eq!(budget.used(), 0);
        let status = Status::from(error);
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_trickles_in_ends() {
    let (mut messages, mut request, _rest) = stream().await;
    send(&mut request, &[0, 0, 1, 0, 0]);
    let sending = async {
        for _ in 0..1000 {
            tokio::time::sleep(RATE.period * 3 / 10).await;
            send(&mut request, &[0; 100]);
        }
    };
    let error = tokio::select! {
        () = sending => panic!("all was taken"),
        message = messages.next() => message.expect_err("too slow"),
    };
    assert!(matches!(error, MessageError::TooSlow), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_pause_between_its_messages() {
    let (mut messages, mut request, _rest) = stream().await;
    for _ in 0..3 {
        let sending = async {
            tokio::time::sleep(RATE.period * 10).await;
            send(&mut request, &[0, 0, 0, 0, 2, 7]);
            tokio::time::sleep(RATE.period * 3 / 4).await;
            send(&mut request, &[8]);
        };
        let (message, ()) = tokio::join!(messages.next(), sending);
        let message = message.expect("in time").expect("a message");
        assert_eq!(message.into_iter().collect::<Vec<_>>().concat(), [7, 8]);
    }
}

#[tokio::test(start_paused = true)]
async fn time_in_which_the_server_does_not_read_does_not_count() {
    let (mut messages, mut request, _rest) = stream().await;
    send(&mut request, &[0, 0, 0, 0, 3, 7]);
    let reading = tokio::time::timeout(RATE.period / 4, messages.next());
    reading.await.expect_err("the message is not complete");
    tokio::time::sleep(RATE.period * 2).await;
    send(&mut request, &[8]);
    tokio::time::sleep(RATE.period / 4).await;
    let sending = async {
        tokio::time::sleep(RATE.period / 2).await;
        send(&mut request, &[9]);
    };
    let (message, ()) = tokio::join!(messages.next(), sending);
    let message = message.expect("in time").expect("a message");
    assert_eq!(message.into_iter().collect::<Vec<_>>().concat(), [7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_call_with_one_message_may_not_pause_before_or_after_it() {
    let (messages, mut request, _rest) = stream().await;
    let mut messages = messages.without_pauses();
    send(&mut request, &[0, 0, 0, 0, 1, 7]);
    let message = messages.next().await.expect("in time");
    assert!(message.is_some());
    let error = messages.next().await.expect_err("no end of the stream");
    assert!(matches!(error, MessageError::TooSlow), "{error}");
    let (messages, _request, _rest) = stream().await;
    let error = messages.without_pauses().next().await;
    assert!(matches!(error, Err(MessageError::TooSlow)));
}

/// Reads ahead until nothing more arrives.
async fn read_ahead(messages: &mut Messages) {
    for _ in 0..100 {
        poll_fn(|context| {
            messages.poll_ahead(context);
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_read_ahead_count_and_are_read_later() {
    let budget = Budget::new(10);
    let (messages, mut request, _rest) = stream().await;
    let mut messages = messages.with_account(budget.account());
    for byte in [1, 2, 3] {
        send(&mut request, &[&[0, 0, 0, 0, 20][..], &[byte; 20]].concat());
    }
    read_ahead(&mut messages).await;
    assert_eq!(budget.used(), 75);
    // What was read ahead is there although it is more than the limit.
    for byte in [1, 2, 3] {
        let message = messages.next().await.expect("valid").expect("a message");
        assert_eq!(message.into_bytes(), [byte; 20].as_slice());
        let held = messages.take_held().expect("counted");
        assert_eq!(held.bytes(), 25);
    }
    assert_eq!(budget.used(), 0);
    request.send_data(Bytes::new(), true).expect("sent");
    read_ahead(&mut messages).await;
    assert!(messages.next().await.expect("an end").is_none());
    assert!(messages.trailers().await.expect("an end").is_none());
}
