//! Answers of an Executor that the Gateway cannot take, or that never come: each is the error of its own call only.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use executor_fn::{Executor, Reply};
use flowgate_config::Protocol;
use flowgate_proto::{DataRequest, docarray::DocumentProto};
use flowgate_tests::{
    client::{RawGrpc, post},
    flow::{ServedExecutor, ServedGateway},
    gate::Gate,
    raw_executor::{EMPTY_MESSAGE, RawCall, RawExecutor},
    recorder::{Recorder, Rpc},
};
use prost::Message as _;
use serde_json::json;
use tokio::sync::mpsc;
use tonic::{Code, Request, Status, metadata::MetadataValue};

fn yaml(ports: &[u16], limits: &str) -> String {
    format!(
        "jtype: Flow\ngateway: {{protocol: [grpc, http], port: [0, 0]{limits}}}\n\
         executors:\n  - {{name: e, external: true, host: localhost, port: {ports:?}}}\n"
    )
}

async fn send(gateway: &ServedGateway, text: &str) -> Result<DataRequest, Status> {
    send_by(&RawGrpc::new(&gateway.authority(Protocol::Grpc)), text).await
}

/// Sends a request on the connection of this client.
async fn send_by(client: &RawGrpc, text: &str) -> Result<DataRequest, Status> {
    let document = DocumentProto {
        id: text.to_owned(),
        ..Default::default()
    };
    let request = DataRequest {
        documents: vec![document].into(),
        ..Default::default()
    };
    let mut client = client.clone();
    let path = "/jina.JinaSingleDataRequestRPC/process_single_data";
    let message = Request::new(request.encode_to_vec().into());
    let answer = client.unary(path, message).await?.into_inner();
    Ok(DataRequest::decode(answer).expect("a message"))
}

#[tokio::test]
async fn an_error_with_large_trailers_keeps_its_code() {
    let executor = Recorder::start(&[Rpc::Single]).await;
    let gateway = ServedGateway::start(&yaml(&[executor.port()], "")).await;
    let mut status = Status::new(Code::NotFound, "nothing here");
    let large = MetadataValue::try_from("x".repeat(20_000)).expect("metadata");
    status.metadata_mut().insert("large", large);
    executor.fail_next(1, &status);
    let error = send(&gateway, "a").await.expect_err("not found");
    assert_eq!(error.code(), Code::NotFound, "{error}");
    assert!(error.message().starts_with("nothing here"), "{error}");
    assert_eq!(executor.data_calls().len(), 1, "not repeated");
    gateway.stop().await;
    executor.stop().await;
}

#[tokio::test]
async fn trailers_beyond_the_limit_are_not_an_unreachable_executor() {
    let executor = Recorder::start(&[Rpc::Single]).await;
    let gateway = ServedGateway::start(&yaml(&[executor.port()], "")).await;
    let mut status = Status::new(Code::NotFound, "nothing here");
    let large = MetadataValue::try_from("x".repeat(200_000)).expect("metadata");
    status.metadata_mut().insert("large", large);
    executor.fail_next(1, &status);
    let error = send(&gateway, "a").await.expect_err("too large");
    assert_eq!(error.code(), Code::Internal, "{error}");
    assert!(error.message().contains("headers or trailers"), "{error}");
    assert_eq!(executor.data_calls().len(), 1, "not repeated");
    gateway.stop().await;
    executor.stop().await;
}

#[tokio::test]
async fn a_long_text_of_an_executor_is_shortened() {
    let executor = Recorder::start(&[Rpc::Single]).await;
    let gateway = ServedGateway::start(&yaml(&[executor.port()], "")).await;
    executor.fail_next(1, &Status::new(Code::NotFound, "long ".repeat(5_000)));
    let error = send(&gateway, "a").await.expect_err("not found");
    assert_eq!(error.code(), Code::NotFound, "{error}");
    assert!(error.message().starts_with("long long"), "{error}");
    assert!(error.message().len() < 4096);
    gateway.stop().await;
    executor.stop().await;
}

/// Returns the frames of an answer to a call.
type BadAnswer = fn(&RawCall) -> Vec<u8>;

/// Calls an Executor that answers a document `good` only after the document `bad`, on the same connection, and that one with
/// `answer`. Returns the error of the bad one.
async fn error_beside_a_good_call(answer: BadAnswer) -> Status {
    let (arrived, mut has_arrived) = mpsc::channel(1);
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    let executor = RawExecutor::start(move |call| {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if call.contains("good") {
            seen.push(call.clone());
            arrived.try_send(()).expect("one good call");
            Vec::new()
        } else {
            seen.push(call.clone());
            [answer(call), seen[0].answer(&EMPTY_MESSAGE)].concat()
        }
    });
    let executor = executor.await;
    let gateway = ServedGateway::start(&yaml(&[executor.port()], "")).await;
    let client = RawGrpc::new(&gateway.authority(Protocol::Grpc));
    let bad = async {
        has_arrived.recv().await.expect("the good call");
        send_by(&client, "bad").await.expect_err("a bad answer")
    };
    let both = async { tokio::join!(send_by(&client, "good"), bad) };
    let both = tokio::time::timeout(Duration::from_secs(60), both).await;
    let (good, error) = both.expect("both are answered");
    good.expect("an answer");
    let calls = calls.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(calls.len(), 2, "not repeated: {calls:?}");
    assert_eq!(calls[0].connection, calls[1].connection);
    gateway.stop().await;
    error
}

#[tokio::test]
async fn a_broken_frame_fails_only_its_own_call() {
    let cases: [(BadAnswer, &str); 4] = [
        (
            |call| call.answer(&[7, 0, 0, 0, 0]),
            "begins with the byte 7",
        ),
        (
            |call| call.answer(&[0, 0, 0, 0, 10, 1, 2]),
            "ended within a message",
        ),
        (
            |call| call.answer(&[EMPTY_MESSAGE, EMPTY_MESSAGE].concat()),
            "more than one message",
        ),
        (|call| call.answer(&[]), "ended without an answer"),
    ];
    for (answer, text) in cases {
        let error = error_beside_a_good_call(answer).await;
        assert_eq!(error.code(), Code::Internal, "{error}");
        assert!(error.message().contains(text), "{text}: {error}");
    }
}

/// Starts an Executor that answers a document `large` with one of this size, and counts its calls.
async fn start_enlarging(bytes: usize) -> (ServedExecutor, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let executor = Executor::new("Large").on_default(move |request| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            let mut documents = request.into_documents();
            if documents[0].id == "large" {
                documents[0].id = "x".repeat(bytes);
            }
            Ok(Reply::from(documents))
        }
    });
    (ServedExecutor::start(executor, "e").await, calls)
}

#[tokio::test]
async fn an_answer_over_the_limit_fails_only_its_own_call() {
    let (executor, calls) = start_enlarging(20_000).await;
    let limits = ", limits: {max_message_bytes: 10000}";
    let gateway = ServedGateway::start(&yaml(&[executor.port()], limits)).await;
    let (large, small) = tokio::join!(send(&gateway, "large"), send(&gateway, "small"));
    let error = large.expect_err("too large");
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    assert!(error.message().contains("10000"), "{error}");
    small.expect("an answer");
    assert_eq!(calls.load(Ordering::Relaxed), 2, "not repeated");
    gateway.stop().await;
    executor.stop().await;
}

/// Its work has been done, and would be lost.
#[tokio::test]
async fn an_answer_may_take_a_reserve_beyond_the_limit() {
    let (executor, _) = start_enlarging(110_000).await;
    let limits = ", limits: {max_bytes_in_flight: 100000}";
    let gateway = ServedGateway::start(&yaml(&[executor.port()], limits)).await;
    send(&gateway, "large").await.expect("an answer");
    gateway.stop().await;
    executor.stop().await;
}

#[tokio::test]
async fn an_answer_that_does_not_fit_beside_the_others_fails_only_its_own_call() {
    let (executor, calls) = start_enlarging(200_000).await;
    let limits = ", limits: {max_bytes_in_flight: 100000}";
    let gateway = ServedGateway::start(&yaml(&[executor.port()], limits)).await;
    let error = send(&gateway, "large").await.expect_err("no room");
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    assert!(error.message().contains("100000"), "{error}");
    send(&gateway, "small").await.expect("an answer");
    assert_eq!(calls.load(Ordering::Relaxed), 2, "not repeated");
    gateway.stop().await;
    executor.stop().await;
}

#[tokio::test]
async fn a_replica_that_hangs_gets_no_more_than_its_share_in_flight() {
    let (hanging, running) = (Gate::closed(), Gate::closed());
    let (hung, ran) = (
        ServedExecutor::start(hanging.executor(), "e").await,
        ServedExecutor::start(running.executor(), "e").await,
    );
    let gateway = ServedGateway::start(&yaml(&[hung.port(), ran.port()], "")).await;
    let authority = gateway.authority(Protocol::Http);
    let request = || {
        let authority = authority.clone();
        tokio::spawn(async move { post(&authority, &json!({"data": []})).await.status })
    };
    // While both hold a request each, neither has fewer in flight.
    let first = [request(), request()];
    tokio::join!(hanging.wait_for_requests(1), running.wait_for_requests(1));
    running.release(1000);
    for _ in 0..50 {
        assert_eq!(request().await.expect("no panic"), 200);
    }
    assert_eq!(running.completed(), 51);
    hanging.release(1);
    for request in first {
        assert_eq!(request.await.expect("no panic"), 200);
    }
    gateway.stop().await;
    hung.stop().await;
    ran.stop().await;
}
