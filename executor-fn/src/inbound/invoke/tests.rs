//! Answers and function errors for all kinds of payloads, and the examples of `proto/INVOKE.md`.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flowgate_proto::{
    Compression, DataRequest,
    docarray::{DocumentProto, document_proto::Content},
    invoke::{Call, Invocation, InvocationResponse, decompress},
    jina::{DataRequestListProto, EndpointsProto, JinaInfoProto, status_proto::StatusCode},
    limits::MAX_INVOKE_PAYLOAD_BYTES,
};
use prost::Message as _;

use super::*;
use crate::{Batching, Error, Executor, Identity, Reply, Request, Service, builtin};

mod context;

mod foreign_events;

const MEBIBYTE: usize = 1 << 20;

fn server(executor: Executor) -> InvokeServer<Service> {
    let limits = InvokeLimits {
        max_request_bytes: 16 * MEBIBYTE,
        margin: Duration::from_millis(50),
    };
    InvokeServer::new(
        executor.into_service(Identity::first_replica("executor")),
        limits,
    )
}

fn request(endpoint: &str) -> DataRequest {
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
    server: &InvokeServer<Service>,
    invocation: &Invocation<'_>,
) -> Result<(DataRequest, bool), FunctionError> {
    let text = server.answer(bytes(invocation), None).await?;
    let answer = InvocationResponse::from_json(&text).expect("an answer");
    let request = answer.decode_message(64 * MEBIBYTE).expect("a message");
    Ok((request, answer.is_error))
}

async fn answer_error(
    executor: Executor,
    payload: Bytes,
    end: Option<SystemTime>,
) -> FunctionError {
    let lambda = LambdaContext {
        deadline: end,
        ..LambdaContext::default()
    };
    let answer = server(executor).answer(payload, Some(lambda)).await;
    answer.expect_err("a function error")
}

const EMPTY: Bytes = Bytes::from_static(br#"{"data":[]}"#);

fn texts(answer: &DataRequest) -> Vec<String> {
    let documents = answer.documents.decode().expect("documents");
    let texts = documents.iter().map(|document| match &document.content {
        Some(Content::Text(text)) => text.clone(),
        other => panic!("{other:?} is not a text"),
    });
    texts.collect()
}

#[tokio::test]
async fn an_answer_is_compressed_as_the_request_was() {
    let server = server(builtin::greeter());
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::Deflate,
        Compression::Zstd,
    ] {
        let invocation = process(vec![request("/")], compression);
        let text = server.answer(bytes(&invocation), None).await;
        let text = text.expect("an answer");
        let encoding = format!("\"encoding\":\"{}\"", compression.name());
        assert!(text.contains(&encoding), "{text}");
        let (answer, is_error) = call(&server, &invocation).await.expect("an answer");
        assert_eq!(texts(&answer), ["hello", builtin::GREETING]);
        assert!(!is_error);
    }
}

#[tokio::test]
async fn the_parts_of_a_join_are_one_request() {
    let server = server(builtin::pass_through());
    let invocation = process(vec![request("/"), request("/")], Compression::None);
    let (answer, _) = call(&server, &invocation).await.expect("an answer");
    assert_eq!(texts(&answer), ["hello", "hello"]);
}

#[tokio::test]
async fn endpoints_and_status_are_answered() {
    let server = server(Executor::new("E").on("/foo", |_| async { Ok(Reply::unchanged()) }));
    let first = process(vec![request("/")], Compression::None);
    call(&server, &first).await.expect("an answer");
    let text = server
        .answer(bytes(&Invocation::new(Call::Endpoints)), None)
        .await;
    let text = text.expect("an answer");
    let endpoints: EndpointsProto = InvocationResponse::from_json(&text)
        .and_then(|answer| answer.decode_message(MEBIBYTE))
        .expect("endpoints");
    assert_eq!(endpoints.endpoints, ["/foo", "_jina_dry_run_"]);
    let text = server
        .answer(bytes(&Invocation::new(Call::Status)), None)
        .await;
    let text = text.expect("an answer");
    let status: JinaInfoProto = InvocationResponse::from_json(&text)
        .and_then(|answer| answer.decode_message(MEBIBYTE))
        .expect("a status");
    let received = request("/").encoded_len().to_string();
    assert_eq!(status.envs["JINA_GRPC_RECV_BYTES"], received);
    assert_ne!(status.envs["JINA_GRPC_SEND_BYTES"], "(unset)");
}

#[tokio::test]
async fn plain_json_is_answered_as_over_http() {
    let payload = r#"{"data":[{"text":"hello"}],"execEndpoint":"/"}"#;
    let server = server(builtin::greeter());
    let text = server
        .answer(Bytes::from_static(payload.as_bytes()), None)
        .await;
    let answer: serde_json::Value = serde_json::from_str(&text.expect("an answer")).expect("JSON");
    assert_eq!(answer["data"][0]["text"], "hello");
    assert_eq!(answer["data"][1]["text"], builtin::GREETING);
    assert_eq!(answer["header"]["execEndpoint"], "/");
}

#[tokio::test]
async fn an_executors_error_is_an_answer() {
    let failing = || Executor::new("E").on_default(|_| async { Err(Error::value_error("boom")) });
    let invocation = process(vec![request("/")], Compression::None);
    let (answer, is_error) = call(&server(failing()), &invocation)
        .await
        .expect("an answer");
    assert!(is_error);
    let status = answer.header.status.expect("a status");
    assert_eq!(status.description, "ValueError('boom')");
    let json_answer = server(failing())
        .answer(Bytes::from_static(b"{\"data\":[]}"), None)
        .await;
    assert!(
        json_answer
            .expect("an answer")
            .contains("ValueError('boom')")
    );
}

#[tokio::test]
async fn a_panic_is_an_answer_with_an_error_as_over_grpc() {
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
    let invocation = process(vec![request("/")], Compression::None);
    for executor in [here, in_a_task, in_a_batch] {
        let server = server(executor);
        let (answer, is_error) = call(&server, &invocation).await.expect("an answer");
        assert!(is_error);
        assert_eq!(texts(&answer), ["hello"]);
        let status = answer.header.status.expect("a status");
        assert_eq!(status.code(), StatusCode::Error);
        assert!(status.description.contains("dropped it"), "{status:?}");
        assert_eq!(status.exception.expect("an exception").executor, "E");
        let json_answer = server.answer(EMPTY, None).await.expect("an answer");
        assert!(json_answer.contains("dropped it"), "{json_answer}");
    }
}

#[tokio::test]
async fn an_invalid_payload_is_rejected_with_the_reason() {
    for (payload, reason) in [
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
        (r#"{"data":[{"text":"\ud800"}]}"#, "Lone surrogate"),
        (r#"{"parameters":{"\udc00":1}}"#, "Lone surrogate"),
        (r#"{"flowgate":1,"call":"process"}"#, "no `body`"),
        (
            r#"{"flowgate":1,"call":"process","body":null}"#,
            "no `body`",
        ),
    ] {
        let bytes = Bytes::from_static(payload.as_bytes());
        let error = answer_error(builtin::greeter(), bytes, None).await;
        assert_eq!(
            error.kind(),
            Some(FunctionErrorKind::BadPayload),
            "{payload}"
        );
        assert!(error.error_message.contains(reason), "{payload}: {error:?}");
    }
    let not_utf8 = Bytes::from_static(b"\"\xff\"");
    let error = answer_error(builtin::greeter(), not_utf8, None).await;
    assert_eq!(error.kind(), Some(FunctionErrorKind::BadPayload));
}

#[tokio::test]
async fn a_body_over_the_limit_after_decompression_is_rejected() {
    let mut request = request("/");
    request.unknown_fields = vec![0; 17 * MEBIBYTE];
    // Field 15, length-delimited, of 17 MiB.
    let mut field = vec![0x7a];
    prost::encoding::encode_varint((17 * MEBIBYTE) as u64, &mut field);
    request.unknown_fields.splice(0..0, field);
    let invocation = process(vec![request], Compression::Gzip);
    let error = call(&server(builtin::greeter()), &invocation).await;
    let error = error.expect_err("too large");
    assert_eq!(error.kind(), Some(FunctionErrorKind::RequestTooLarge));
    assert!(error.error_message.contains("16777216"), "{error:?}");
}

fn replying_with(text: Arc<str>) -> Executor {
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

/// A text that no compression makes smaller than three quarters.
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
async fn an_answer_over_the_payload_limit_is_compressed() {
    let server = server(replying_with("a".repeat(MAX_INVOKE_PAYLOAD_BYTES).into()));
    let invocation = process(vec![request("/")], Compression::None);
    let text = server.answer(bytes(&invocation), None).await;
    let text = text.expect("an answer");
    assert!(text.contains("\"encoding\":\"zstd\""));
    let answer: DataRequest = InvocationResponse::from_json(&text)
        .and_then(|answer| answer.decode_message(64 * MEBIBYTE))
        .expect("a message");
    assert_eq!(texts(&answer)[0].len(), MAX_INVOKE_PAYLOAD_BYTES);
}

#[tokio::test]
async fn an_answer_that_does_not_fit_compressed_is_rejected_with_size_and_limit() {
    let server = server(replying_with(noise(6_700_000).into()));
    let invocation = process(vec![request("/")], Compression::None);
    let error = call(&server, &invocation).await.expect_err("too large");
    assert_eq!(
        error.kind(),
        Some(FunctionErrorKind::AnswerTooLarge),
        "{error:?}"
    );
    assert!(error.error_message.contains("67000"), "{error:?}");
    assert!(error.error_message.contains("6291456"), "{error:?}");
    let json_answer = server.answer(EMPTY, None).await;
    let error = json_answer.expect_err("too large");
    assert_eq!(
        error.kind(),
        Some(FunctionErrorKind::AnswerTooLarge),
        "{error:?}"
    );
}

fn never_answering() -> Executor {
    Executor::new("E").on_default(|_| std::future::pending())
}

fn deadline_in(milliseconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(now.expect("after 1970").as_millis()).expect("this era") + milliseconds
}

#[tokio::test]
async fn an_invocation_is_answered_before_the_functions_timeout() {
    let started = Instant::now();
    let end = SystemTime::now() + Duration::from_millis(300);
    let error = answer_error(never_answering(), EMPTY, Some(end)).await;
    assert_eq!(error.kind(), Some(FunctionErrorKind::OutOfTime));
    assert!(
        error.error_message.contains("function's timeout"),
        "{error:?}"
    );
    assert!(SystemTime::now() < end, "the margin was not kept");
    assert!(started.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn an_invocation_ends_at_the_callers_deadline() {
    let end = SystemTime::now() + Duration::from_secs(900);
    for milliseconds in [0, 100] {
        let mut invocation = process(vec![request("/")], Compression::None);
        invocation.deadline = Some(deadline_in(milliseconds));
        let error = answer_error(never_answering(), bytes(&invocation), Some(end)).await;
        assert_eq!(error.kind(), Some(FunctionErrorKind::OutOfTime));
        assert!(
            error.error_message.contains("caller's deadline"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_handler_is_cancelled_at_the_deadline() {
    struct NotifyOnDrop(Option<tokio::sync::oneshot::Sender<()>>);
    impl Drop for NotifyOnDrop {
        fn drop(&mut self) {
            let _ = self.0.take().expect("once").send(());
        }
    }
    let (sender, dropped) = tokio::sync::oneshot::channel();
    let notify = Arc::new(std::sync::Mutex::new(Some(NotifyOnDrop(Some(sender)))));
    let executor = Executor::new("E").on_default(move |_| {
        let notify = notify.lock().expect("no panic").take();
        async move {
            let _notify = notify;
            std::future::pending().await
        }
    });
    let end = SystemTime::now() + Duration::from_millis(50);
    answer_error(executor, EMPTY, Some(end)).await;
    dropped.await.expect("the handler's future was dropped");
}

/// Every `(request, answer)` of `proto/INVOKE.md`: a code block marked `json request` and the block after it.
fn examples() -> Vec<(&'static str, &'static str)> {
    let document = include_str!("../../../../proto/INVOKE.md");
    let mut blocks = document.split("```").skip(1).step_by(2);
    let mut pairs = Vec::new();
    while let Some(block) = blocks.next() {
        let Some(request) = block.strip_prefix("json request\n") else {
            continue;
        };
        let answer = blocks.next().expect("an answer after each request");
        pairs.push((request.trim(), answer.trim()));
    }
    pairs
}

/// Separates and decompresses the body, whose compressed bytes depend on the compressor's version.
fn decode_body(text: &str) -> (serde_json::Value, Option<Vec<u8>>) {
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
async fn the_documented_examples_are_answered_as_documented() {
    let server = server(builtin::pass_through());
    let examples = examples();
    assert!(examples.len() >= 5, "{} examples", examples.len());
    for (request, expected) in examples {
        let answer = server
            .answer(Bytes::from_static(request.as_bytes()), None)
            .await;
        let (kind, expected) = expected.split_once('\n').expect("a mark after the fence");
        let (got, got_kind) = match answer {
            Ok(answer) => (answer.to_string(), "json answer"),
            Err(error) => (serde_json::to_string(&error).expect("JSON"), "json fault"),
        };
        assert_eq!(got_kind, kind, "{request}\ngives {got}");
        assert_eq!(
            decode_body(&got),
            decode_body(expected),
            "{request}\ngives {got}"
        );
    }
}
