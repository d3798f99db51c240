//! Payloads in, answers and faults out; and the examples of `proto/INVOKE.md`.

use std::{sync::Arc, time::Instant as Clock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flowgate_proto::{
    Compression, DataRequest,
    docarray::{DocumentProto, document_proto::Content},
    invoke::{Call, Invocation, InvocationResponse, decompress},
    jina::{DataRequestListProto, EndpointsProto, JinaInfoProto},
    limits::MAX_INVOKE_PAYLOAD_BYTES,
};
use prost::Message as _;

use super::*;
use crate::{Batching, Error, Executor, Identity, Reply, Request, Service, greet};

const MEBIBYTE: usize = 1 << 20;

fn function(executor: Executor) -> Function<Service> {
    let limits = Limits {
        body_bytes: 16 * MEBIBYTE,
        margin: Duration::from_millis(50),
    };
    Function::new(executor.into_service(Identity::of("executor")), limits)
}

fn asking(endpoint: &str) -> DataRequest {
    let mut request = DataRequest::default();
    request.header.request_id = "r".to_owned();
    request.header.exec_endpoint = Some(endpoint.to_owned());
    request.documents = vec![DocumentProto {
        id: "d".to_owned(),
        content: Some(Content::Text("hello".to_owned())),
        ..DocumentProto::default()
    }]
    .into();
    request
}

fn process(requests: Vec<DataRequest>, compression: Compression) -> Invocation<'static> {
    let list = DataRequestListProto { requests }.encode_to_vec();
    Invocation::process(&list, compression).expect("an invocation")
}

fn bytes(invocation: &Invocation<'_>) -> Bytes {
    invocation.to_json().expect("JSON").into()
}

async fn call(
    function: &Function<Service>,
    invocation: &Invocation<'_>,
) -> Result<(DataRequest, bool), FunctionError> {
    let text = function.answer(bytes(invocation), None).await?;
    let answer = InvocationResponse::from_json(&text).expect("an answer");
    let request = answer.decode_message(64 * MEBIBYTE).expect("a message");
    Ok((request, answer.is_error))
}

async fn refused(executor: Executor, payload: Bytes, end: Option<SystemTime>) -> FunctionError {
    let answered = function(executor).answer(payload, end).await;
    answered.expect_err("a fault")
}

const EMPTY: Bytes = Bytes::from_static(b"{}");

fn texts(answer: &DataRequest) -> Vec<String> {
    let documents = answer.documents.decode().expect("documents");
    let texts = documents.iter().map(|document| match &document.content {
        Some(Content::Text(text)) => text.clone(),
        other => panic!("{other:?} is no text"),
    });
    texts.collect()
}

#[tokio::test]
async fn an_answer_is_compressed_as_the_request_was() {
    let function = function(greet::greeter());
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::Deflate,
        Compression::Zstd,
    ] {
        let invocation = process(vec![asking("/")], compression);
        let text = function.answer(bytes(&invocation), None).await;
        let text = text.expect("an answer");
        let encoding = format!("\"encoding\":\"{}\"", compression.name());
        assert!(text.contains(&encoding), "{text}");
        let (answer, is_error) = call(&function, &invocation).await.expect("an answer");
        assert_eq!(texts(&answer), ["hello", greet::GREETING]);
        assert!(!is_error);
    }
}

#[tokio::test]
async fn the_parts_of_a_join_are_one_request() {
    let function = function(greet::pass_through());
    let invocation = process(vec![asking("/"), asking("/")], Compression::None);
    let (answer, _) = call(&function, &invocation).await.expect("an answer");
    assert_eq!(texts(&answer), ["hello", "hello"]);
}

#[tokio::test]
async fn endpoints_and_status_are_told() {
    let function = function(Executor::new("E").on("/foo", |_| async { Ok(Reply::unchanged()) }));
    let first = process(vec![asking("/")], Compression::None);
    call(&function, &first).await.expect("an answer");
    let text = function
        .answer(bytes(&Invocation::new(Call::Endpoints)), None)
        .await;
    let text = text.expect("an answer");
    let endpoints: EndpointsProto = InvocationResponse::from_json(&text)
        .and_then(|answer| answer.decode_message(MEBIBYTE))
        .expect("endpoints");
    assert_eq!(endpoints.endpoints, ["/foo", "_jina_dry_run_"]);
    let text = function
        .answer(bytes(&Invocation::new(Call::Status)), None)
        .await;
    let text = text.expect("an answer");
    let status: JinaInfoProto = InvocationResponse::from_json(&text)
        .and_then(|answer| answer.decode_message(MEBIBYTE))
        .expect("a status");
    let received = asking("/").encoded_len().to_string();
    assert_eq!(status.envs["JINA_GRPC_RECV_BYTES"], received);
    assert_ne!(status.envs["JINA_GRPC_SEND_BYTES"], "(unset)");
}

#[tokio::test]
async fn json_by_hand_is_answered_as_http_does() {
    let payload = r#"{"data":[{"text":"hello"}],"execEndpoint":"/"}"#;
    let function = function(greet::greeter());
    let text = function
        .answer(Bytes::from_static(payload.as_bytes()), None)
        .await;
    let answer: serde_json::Value = serde_json::from_str(&text.expect("an answer")).expect("JSON");
    assert_eq!(answer["data"][0]["text"], "hello");
    assert_eq!(answer["data"][1]["text"], greet::GREETING);
    assert_eq!(answer["header"]["execEndpoint"], "/");
}

#[tokio::test]
async fn an_executors_error_is_an_answer() {
    let failing = || Executor::new("E").on_default(|_| async { Err(Error::value("boom")) });
    let invocation = process(vec![asking("/")], Compression::None);
    let (answer, is_error) = call(&function(failing()), &invocation)
        .await
        .expect("an answer");
    assert!(is_error);
    let status = answer.header.status.expect("a status");
    assert_eq!(status.description, "ValueError('boom')");
    let by_hand = function(failing())
        .answer(Bytes::from_static(b"{\"data\":[]}"), None)
        .await;
    assert!(by_hand.expect("an answer").contains("ValueError('boom')"));
}

#[tokio::test]
async fn a_panic_is_a_fault_wherever_it_happens() {
    let here = Executor::new("E").on_default(|_| async { panic!("dropped it") });
    let in_a_task = Executor::new("E").on_default(|_| async {
        tokio::spawn(async { panic!("dropped it") }).await?;
        Ok(Reply::unchanged())
    });
    let in_a_batch = Executor::new("E").batched(
        "/default",
        Batching {
            preferred_batch_size: 1,
            ..Batching::default()
        },
        |_| async { panic!("dropped it") },
    );
    for executor in [here, in_a_task, in_a_batch] {
        let fault = refused(executor, EMPTY, None).await;
        assert_eq!(fault.kind(), Some(FunctionErrorKind::Panic), "{fault:?}");
        assert!(fault.error_message.contains("dropped it"), "{fault:?}");
    }
}

#[tokio::test]
async fn a_payload_that_cannot_be_read_says_why() {
    for (payload, told) in [
        ("nonsense", "expected ident"),
        ("[1]", "invalid"),
        (r#"{"flowgate":2}"#, "version 2"),
        (r#"{"flowgate":1}"#, "missing field `call`"),
        (r#"{"flowgate":1,"call":"process","body":"?"}"#, "base64"),
        (
            r#"{"flowgate":1,"call":"process","encoding":"zstd","body":"AAAA"}"#,
            "zstd",
        ),
        (r#"{"data":[{"text":[]}]}"#, "body.data.0.text"),
        (r#"{"data":"a"}"#, "body.data"),
    ] {
        let bytes = Bytes::from_static(payload.as_bytes());
        let fault = refused(greet::greeter(), bytes, None).await;
        assert_eq!(
            fault.kind(),
            Some(FunctionErrorKind::BadPayload),
            "{payload}"
        );
        assert!(fault.error_message.contains(told), "{payload}: {fault:?}");
    }
    let no_text = Bytes::from_static(b"\"\xff\"");
    let fault = refused(greet::greeter(), no_text, None).await;
    assert_eq!(fault.kind(), Some(FunctionErrorKind::BadPayload));
}

#[tokio::test]
async fn a_body_that_swells_beyond_the_limit_is_refused() {
    let mut request = asking("/");
    request.unknown_fields = vec![0; 17 * MEBIBYTE];
    // Field 15, length-delimited, of so many bytes.
    let mut field = vec![0x7a];
    prost::encoding::encode_varint((17 * MEBIBYTE) as u64, &mut field);
    request.unknown_fields.splice(0..0, field);
    let invocation = process(vec![request], Compression::Gzip);
    let fault = call(&function(greet::greeter()), &invocation).await;
    let fault = fault.expect_err("too large");
    assert_eq!(fault.kind(), Some(FunctionErrorKind::RequestTooLarge));
    assert!(fault.error_message.contains("16777216"), "{fault:?}");
}

fn inflated(text: Arc<str>) -> Executor {
    Executor::new("E").on_default(move |_: Request| {
        let text = Arc::clone(&text);
        async move {
            Ok(Reply::documents(vec![DocumentProto {
                content: Some(Content::Text((*text).to_owned())),
                ..DocumentProto::default()
            }]))
        }
    })
}

/// Text that no compression makes smaller than three quarters.
fn noise(bytes: usize) -> String {
    let mut state = 1_u64;
    let letters = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        char::from(letters[(state >> 58) as usize])
    });
    letters.take(bytes).collect()
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_compressed() {
    let function = function(inflated("a".repeat(MAX_INVOKE_PAYLOAD_BYTES).into()));
    let invocation = process(vec![asking("/")], Compression::None);
    let text = function.answer(bytes(&invocation), None).await;
    let text = text.expect("an answer");
    assert!(text.contains("\"encoding\":\"zstd\""));
    let answer: DataRequest = InvocationResponse::from_json(&text)
        .and_then(|answer| answer.decode_message(64 * MEBIBYTE))
        .expect("a message");
    assert_eq!(texts(&answer)[0].len(), MAX_INVOKE_PAYLOAD_BYTES);
}

#[tokio::test]
async fn an_answer_that_never_fits_is_told_with_its_size_and_the_limit() {
    let function = function(inflated(noise(6_700_000).into()));
    let invocation = process(vec![asking("/")], Compression::None);
    let fault = call(&function, &invocation).await.expect_err("too large");
    assert_eq!(
        fault.kind(),
        Some(FunctionErrorKind::AnswerTooLarge),
        "{fault:?}"
    );
    assert!(fault.error_message.contains("67000"), "{fault:?}");
    assert!(fault.error_message.contains("6291456"), "{fault:?}");
    let by_hand = function.answer(EMPTY, None).await;
    let fault = by_hand.expect_err("too large");
    assert_eq!(
        fault.kind(),
        Some(FunctionErrorKind::AnswerTooLarge),
        "{fault:?}"
    );
}

fn endless() -> Executor {
    Executor::new("E").on_default(|_| std::future::pending())
}

fn milliseconds_from_now(milliseconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(now.expect("after 1970").as_millis()).expect("this era") + milliseconds
}

#[tokio::test]
async fn work_ends_before_the_function_does() {
    let started = Clock::now();
    let end = SystemTime::now() + Duration::from_millis(300);
    let fault = refused(endless(), EMPTY, Some(end)).await;
    assert_eq!(fault.kind(), Some(FunctionErrorKind::OutOfTime));
    assert!(
        fault.error_message.contains("function's own time"),
        "{fault:?}"
    );
    assert!(SystemTime::now() < end, "no margin was kept");
    assert!(started.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn work_ends_when_the_caller_no_longer_waits() {
    let end = SystemTime::now() + Duration::from_secs(900);
    for left in [0, 100] {
        let mut invocation = process(vec![asking("/")], Compression::None);
        invocation.deadline = Some(milliseconds_from_now(left));
        let fault = refused(endless(), bytes(&invocation), Some(end)).await;
        assert_eq!(fault.kind(), Some(FunctionErrorKind::OutOfTime));
        assert!(
            fault.error_message.contains("caller's deadline"),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn work_that_is_given_up_is_ended() {
    struct Told(Option<tokio::sync::oneshot::Sender<()>>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.take().expect("once").send(());
        }
    }
    let (sender, ended) = tokio::sync::oneshot::channel();
    let told = Arc::new(std::sync::Mutex::new(Some(Told(Some(sender)))));
    let executor = Executor::new("E").on_default(move |_| {
        let told = told.lock().expect("no panic").take();
        async move {
            let _told = told;
            std::future::pending().await
        }
    });
    let end = SystemTime::now() + Duration::from_millis(50);
    refused(executor, EMPTY, Some(end)).await;
    ended.await.expect("the handler's future was dropped");
}

/// `(request, answer)` of each pair of blocks in the document, by the mark behind the fence.
fn examples() -> Vec<(&'static str, &'static str)> {
    let document = include_str!("../../../../proto/INVOKE.md");
    let mut blocks = document.split("```").skip(1).step_by(2);
    let mut pairs = Vec::new();
    while let Some(block) = blocks.next() {
        let Some(request) = block.strip_prefix("json request\n") else {
            continue;
        };
        let answer = blocks.next().expect("an answer behind each request");
        pairs.push((request.trim(), answer.trim()));
    }
    pairs
}

/// What an answer or a fault says; the bytes of a compressed body are its compressor's business.
fn meaning(text: &str) -> (serde_json::Value, Option<Vec<u8>>) {
    let mut value: serde_json::Value = serde_json::from_str(text).expect(text);
    let body = value.get_mut("body").map(serde_json::Value::take);
    let body = body.map(|body| {
        let body = STANDARD
            .decode(body.as_str().expect("a text"))
            .expect("base64");
        let encoding = value["encoding"].as_str().expect("a text");
        let encoding = encoding.parse().expect("an encoding");
        decompress(body, encoding, MEBIBYTE).expect("a message")
    });
    (value, body)
}

#[tokio::test]
async fn the_examples_of_the_document_hold() {
    let function = function(greet::pass_through());
    let examples = examples();
    assert!(examples.len() >= 5, "{} examples", examples.len());
    for (request, expected) in examples {
        let answered = function
            .answer(Bytes::from_static(request.as_bytes()), None)
            .await;
        let (kind, expected) = expected.split_once('\n').expect("a mark behind the fence");
        let (got, got_kind) = match answered {
            Ok(answer) => (answer, "json answer"),
            Err(fault) => (serde_json::to_string(&fault).expect("JSON"), "json fault"),
        };
        assert_eq!(got_kind, kind, "{request}\ngives {got}");
        assert_eq!(meaning(&got), meaning(expected), "{request}\ngives {got}");
    }
}
