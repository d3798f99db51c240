use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest as _, protocol::CloseFrame},
};

use super::*;

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A `Local` whose only function is this test.
struct Bench {
    local: Local,
}

/// An invocation that the test has taken.
struct Invocation {
    lambda: SocketAddr,
    id: String,
    event: Value,
}

impl Bench {
    async fn start(change: impl FnOnce(&mut Options)) -> Self {
        let function = Function::new("function", Source::ByHand);
        let mut options = Options::new(Target::Functions(vec![function]));
        (
            options.http_port,
            options.websocket_port,
            options.lambda_port,
        ) = (0, 0, 0);
        change(&mut options);
        let local = Local::start(options).await.expect("it starts");
        Self { local }
    }

    fn lambda(&self) -> SocketAddr {
        self.local.addresses().lambda.expect("functions run here")
    }

    /// The next invocation, as a runtime takes it.
    async fn next(&self) -> Invocation {
        let lambda = self.lambda();
        let next = send(
            lambda,
            Method::GET,
            "/2018-06-01/runtime/invocation/next",
            &[],
            "",
        )
        .await;
        let id = next.headers()["lambda-runtime-aws-request-id"]
            .to_str()
            .expect("text");
        Invocation {
            lambda,
            id: id.to_owned(),
            event: serde_json::from_slice(next.body()).expect("an event"),
        }
    }

    /// Answers the next invocation, and gives back its event.
    async fn serve(&self, answer: Value) -> Value {
        let invocation = self.next().await;
        invocation.answer(&answer.to_string()).await;
        invocation.event
    }

    /// A client that the function lets in.
    async fn client(&self) -> (Client, Value) {
        let url = format!("ws://{}/?a=1", self.local.addresses().websocket);
        let (client, event) =
            tokio::join!(connect_async(url), self.serve(json!({"statusCode": 200})));
        (client.expect("let in").0, event)
    }

    async fn connections(&self, method: Method, id: &str, body: &str) -> Response<Bytes> {
        let path = format!(
            "/@connections/{}",
            id.replace('/', "%2F").replace('=', "%3D")
        );
        let signed = [("authorization", "AWS4-HMAC-SHA256 Credential=x")];
        send(
            self.local.addresses().websocket,
            method,
            &path,
            &signed,
            body,
        )
        .await
    }

    async fn get(&self, path: &str) -> Response<Bytes> {
        send(self.local.addresses().http, Method::GET, path, &[], "").await
    }

    async fn invoke(&self, kind: &str, body: &str) -> Response<Bytes> {
        let path = "/2015-03-31/functions/function/invocations";
        send(
            self.lambda(),
            Method::POST,
            path,
            &[("x-amz-invocation-type", kind)],
            body,
        )
        .await
    }
}

impl Invocation {
    async fn answer(&self, body: &str) -> StatusCode {
        self.end("response", body).await
    }

    async fn end(&self, how: &str, body: &str) -> StatusCode {
        let path = format!("/2018-06-01/runtime/invocation/{}/{how}", self.id);
        send(self.lambda, Method::POST, &path, &[], body)
            .await
            .status()
    }
}

async fn send(
    to: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response<Bytes> {
    let stream = TcpStream::connect(to).await.expect("listening");
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "local");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .body(Full::new(Bytes::from(body.to_owned())))
        .expect("holds");
    let answer = client.send_request(request).await.expect("an answer");
    let (parts, body) = answer.into_parts();
    Response::from_parts(parts, body.collect().await.expect("whole").to_bytes())
}

/// What the client hears next, pings aside.
async fn hear(client: &mut Client) -> Message {
    let heard = tokio::time::timeout(Duration::from_secs(20), client.next()).await;
    heard.expect("in time").expect("open").expect("a frame")
}

async fn closed(client: &mut Client) -> (u16, String) {
    match hear(client).await {
        Message::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
        other => panic!("no close frame: {other:?}"),
    }
}

fn text(message: &Message) -> &str {
    message.to_text().expect("text")
}

fn said(answer: &Response<Bytes>) -> (u16, &str) {
    (
        answer.status().as_u16(),
        std::str::from_utf8(answer.body()).expect("text"),
    )
}

#[tokio::test]
async fn an_http_request_reaches_the_function_and_its_answer_the_client() {
    let bench = Bench::start(|_| {}).await;
    let answer = json!({"statusCode": 202, "body": "done", "cookies": ["a=1"]});
    let (answered, event) = tokio::join!(bench.get("/x?y=1"), bench.serve(answer));
    assert_eq!(said(&answered), (202, "done"));
    assert_eq!(answered.headers()["set-cookie"], "a=1");
    assert_eq!(
        (&event["rawPath"], &event["rawQueryString"]),
        (&json!("/x"), &json!("y=1"))
    );
    bench.local.stop().await;
}

#[tokio::test]
async fn a_stage_with_a_name_is_the_beginning_of_every_path() {
    let bench = Bench::start(|options| options.stage = "prod".to_owned()).await;
    assert_eq!(
        said(&bench.get("/x").await),
        (404, "{\"message\":\"Not Found\"}")
    );
    let (answered, event) = tokio::join!(bench.get("/prod/x"), bench.serve(json!({"a": 1})));
    assert_eq!(said(&answered), (200, "{\"a\":1}"));
    assert_eq!(event["requestContext"]["stage"], "prod");
    assert_eq!(event["rawPath"], "/prod/x");
}

#[tokio::test]
async fn a_function_that_fails_is_500_and_one_that_is_late_503() {
    let bench = Bench::start(|options| options.times.http = Duration::from_millis(300)).await;
    let fail = async {
        let error = "{\"errorType\":\"E\",\"errorMessage\":\"m\"}";
        assert_eq!(
            bench.next().await.end("error", error).await,
            StatusCode::ACCEPTED
        );
    };
    let (answered, ()) = tokio::join!(bench.get("/"), fail);
    assert_eq!(
        said(&answered),
        (500, "{\"message\":\"Internal Server Error\"}")
    );
    let (answered, late) = tokio::join!(bench.get("/"), bench.next());
    assert_eq!(
        said(&answered),
        (503, "{\"message\":\"Service Unavailable\"}")
    );
    drop(late);
}

#[tokio::test]
async fn requests_over_the_limits_are_refused() {
    let bench = Bench::start(|_| {}).await;
    let http = bench.local.addresses().http;
    let long = "x".repeat(10_240);
    let answer = send(http, Method::GET, "/", &[("a", &long)], "").await;
    assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    // Under 10 MB, and over 6 MB in base64.
    let body = "x".repeat(5 << 20);
    let answer = send(http, Method::POST, "/", &[], &body).await;
    assert_eq!(
        said(&answer),
        (413, "{\"message\":\"Request Entity Too Large\"}")
    );
}

#[tokio::test]
async fn messages_go_to_the_function_and_answers_and_posts_to_the_client() {
    let bench = Bench::start(|options| options.routes = vec!["join".to_owned()]).await;
    let (mut client, connect) = bench.client().await;
    assert_eq!(connect["requestContext"]["eventType"], "CONNECT");
    assert_eq!(connect["queryStringParameters"], json!({"a": "1"}));
    assert_eq!(connect["headers"]["Sec-WebSocket-Version"], "13");
    let id = connect["requestContext"]["connectionId"]
        .as_str()
        .expect("an id")
        .to_owned();

    for (message, route) in [
        ("{\"action\":\"join\"}", "join"),
        ("{\"action\":\"x\"}", "$default"),
        ("no JSON", "$default"),
    ] {
        client.send(Message::text(message)).await.expect("sent");
        let event = bench
            .serve(json!({"statusCode": 200, "body": "answer"}))
            .await;
        assert_eq!(event["requestContext"]["routeKey"], route);
        assert_eq!(event["body"], message);
        assert_eq!(text(&hear(&mut client).await), "answer");
    }

    let (posted, heard) = tokio::join!(
        bench.connections(Method::POST, &id, "pushed"),
        hear(&mut client)
    );
    assert_eq!((posted.status(), text(&heard)), (StatusCode::OK, "pushed"));
    let asked = bench.connections(Method::GET, &id, "").await;
    let asked: Value = serde_json::from_slice(asked.body()).expect("JSON");
    assert_eq!(asked["identity"]["sourceIp"], "127.0.0.1");
    let large = bench
        .connections(Method::POST, &id, &"x".repeat((128 << 10) + 1))
        .await;
    assert_eq!(
        large.headers()["x-amzn-errortype"],
        "PayloadTooLargeException"
    );

    let deleted = bench.connections(Method::DELETE, &id, "").await;
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert_eq!(
        closed(&mut client).await,
        (1000, "Connection Closed Normally".to_owned())
    );
    drop(client);
    let event = bench.serve(json!({"statusCode": 200})).await;
    assert_eq!(event["requestContext"]["disconnectStatusCode"], 1000);
    let gone = bench.connections(Method::POST, &id, "late").await;
    assert_eq!(gone.headers()["x-amzn-errortype"], "GoneException");
    assert_eq!(gone.status(), StatusCode::GONE);
    let invalid = bench.connections(Method::POST, "a%20b", "").await;
    assert_eq!(invalid.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn connections_want_a_signature() {
    let bench = Bench::start(|_| {}).await;
    let to = bench.local.addresses().websocket;
    let answer = send(to, Method::POST, "/@connections/a", &[], "x").await;
    assert_eq!(
        said(&answer),
        (403, "{\"message\":\"Missing Authentication Token\"}")
    );
}

#[tokio::test]
async fn a_subprotocol_is_answered_only_by_the_function() {
    let bench = Bench::start(|_| {}).await;
    for (answer, accepted) in [
        (
            json!({"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "json"}}),
            Some("json"),
        ),
        (json!({"statusCode": 403}), None),
    ] {
        let url = format!("ws://{}", bench.local.addresses().websocket);
        let mut request = url.into_client_request().expect("holds");
        let offered = http::HeaderValue::from_static("json");
        request
            .headers_mut()
            .insert("sec-websocket-protocol", offered);
        let (client, event) = tokio::join!(connect_async(request), bench.serve(answer));
        assert_eq!(event["headers"]["Sec-WebSocket-Protocol"], "json");
        match (client, accepted) {
            (Ok((client, answer)), Some(accepted)) => {
                assert_eq!(answer.headers()["sec-websocket-protocol"], accepted);
                drop(client);
                bench.serve(json!({"statusCode": 200})).await;
            }
            (Err(tungstenite::Error::Http(answer)), None) => assert_eq!(answer.status(), 403),
            (client, _) => panic!("{client:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_too_large_or_binary_closes_with_its_code() {
    let bench = Bench::start(|_| {}).await;
    let in_frames = |sizes: &[usize]| -> Vec<Message> {
        use tungstenite::protocol::frame::{
            Frame,
            coding::{Data, OpCode},
        };
        let last = sizes.len() - 1;
        let frame = |(place, &size): (usize, &usize)| {
            let kind = if place == 0 {
                Data::Text
            } else {
                Data::Continue
            };
            Message::Frame(Frame::message(
                vec![b'x'; size],
                OpCode::Data(kind),
                place == last,
            ))
        };
        sizes.iter().enumerate().map(frame).collect()
    };
    let frame = 32 << 10;
    for (messages, code) in [
        (vec![Message::text("x".repeat(frame + 1))], 1009),
        (in_frames(&[frame, frame, frame, frame, 1]), 1009),
        (vec![Message::binary(vec![1])], 1003),
    ] {
        let (mut client, _) = bench.client().await;
        for message in messages {
            client.send(message).await.expect("sent");
        }
        assert_eq!(closed(&mut client).await.0, code);
        drop(client);
        let event = bench.serve(json!({"statusCode": 200})).await;
        assert_eq!(event["requestContext"]["disconnectStatusCode"], code);
    }
    let (mut client, _) = bench.client().await;
    for message in in_frames(&[frame, frame, frame, frame]) {
        client.send(message).await.expect("sent");
    }
    let event = bench
        .serve(json!({"statusCode": 200, "body": "taken"}))
        .await;
    assert_eq!(event["body"].as_str().map(str::len), Some(4 * frame));
    assert_eq!(text(&hear(&mut client).await), "taken");
}

#[tokio::test]
async fn errors_and_lateness_are_told_to_the_client() {
    let bench = Bench::start(|options| options.times.websocket = Duration::from_millis(300)).await;
    let (mut client, _) = bench.client().await;
    client.send(Message::text("a")).await.expect("sent");
    // An answer without a status is none.
    bench.serve(json!({"body": "a"})).await;
    let heard: Value = serde_json::from_str(text(&hear(&mut client).await)).expect("JSON");
    assert_eq!(heard["message"], "Internal server error");
    client.send(Message::text("b")).await.expect("sent");
    let late = bench.next().await;
    let heard: Value = serde_json::from_str(text(&hear(&mut client).await)).expect("JSON");
    assert_eq!(heard["message"], "Endpoint request timed out");
    assert_eq!(
        heard["connectionId"],
        late.event["requestContext"]["connectionId"]
    );
    assert_eq!(
        heard["requestId"],
        late.event["requestContext"]["requestId"]
    );
}

#[tokio::test]
async fn idle_and_old_connections_go_away() {
    for old in [false, true] {
        let bench = Bench::start(|options| {
            let time = if old {
                &mut options.times.duration
            } else {
                &mut options.times.idle
            };
            *time = Duration::from_millis(200);
        })
        .await;
        let (mut client, _) = bench.client().await;
        assert_eq!(closed(&mut client).await, (1001, "Going away".to_owned()));
    }
}

#[tokio::test]
async fn a_client_that_closes_is_told_of_with_its_reason() {
    let bench = Bench::start(|_| {}).await;
    let frame = CloseFrame {
        code: 4001.into(),
        reason: "enough".into(),
    };
    for (frame, code, reason) in [
        (Some(frame), 4001, "enough"),
        (None, 1005, "Client-side close frame status not set"),
    ] {
        let (mut client, _) = bench.client().await;
        client.close(frame).await.expect("sent");
        let event = bench.serve(json!({"statusCode": 200})).await;
        let context = &event["requestContext"];
        assert_eq!(
            (
                &context["disconnectStatusCode"],
                &context["disconnectReason"]
            ),
            (&json!(code), &json!(reason))
        );
    }
}

#[tokio::test]
async fn the_invoke_api_answers_as_lambda() {
    let bench = Bench::start(|options| {
        options.times.retries = [Duration::from_millis(1); 2];
        options.max_queued = 1;
    })
    .await;
    let (answered, event) = tokio::join!(
        bench.invoke("RequestResponse", "[1]"),
        bench.serve(json!(2))
    );
    assert_eq!((said(&answered), event), ((200, "2"), json!([1])));
    assert_eq!(
        bench.invoke("DryRun", "1").await.status(),
        StatusCode::NO_CONTENT
    );
    for (path, body, status, name) in [
        ("nobody", "1", 404, "ResourceNotFoundException"),
        ("function", "{", 400, "InvalidRequestContentException"),
        (
            "function",
            &"1".repeat((6 << 20) + 1),
            413,
            "RequestEntityTooLargeException",
        ),
    ] {
        let path = format!("/2015-03-31/functions/{path}/invocations");
        let answer = send(bench.lambda(), Method::POST, &path, &[], body).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["x-amzn-errortype"], name);
    }
    // Three tries of one event, with one id; while it waits, the queue of one is full.
    assert_eq!(
        bench.invoke("Event", "7").await.status(),
        StatusCode::ACCEPTED
    );
    assert_eq!(
        bench.invoke("RequestResponse", "8").await.status(),
        StatusCode::TOO_MANY_REQUESTS
    );
    let mut ids = Vec::new();
    for _ in 0..3 {
        let invocation = bench.next().await;
        assert_eq!(invocation.event, json!(7));
        invocation.end("error", "{\"errorMessage\":\"m\"}").await;
        ids.push(invocation.id);
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
}

#[tokio::test]
async fn an_invocation_that_takes_too_long_is_a_function_error() {
    let bench = Bench::start(|options| {
        let Target::Functions(functions) = &mut options.target else {
            return;
        };
        functions[0].timeout = Duration::from_millis(100);
    })
    .await;
    let (answered, late) = tokio::join!(bench.invoke("RequestResponse", "1"), bench.next());
    assert_eq!(answered.headers()["x-amz-function-error"], "Unhandled");
    let error: Value = serde_json::from_slice(answered.body()).expect("JSON");
    assert_eq!(error["errorType"], "Sandbox.Timedout");
    assert_eq!(late.answer("1").await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_bootstrap_that_ends_fails_the_invocation_that_it_was_started_for() {
    let function = Function::new("ends", Source::Bootstrap("/bin/false".into()));
    let mut options = Options::new(Target::Functions(vec![function]));
    (
        options.http_port,
        options.websocket_port,
        options.lambda_port,
    ) = (0, 0, 0);
    let local = Local::start(options).await.expect("it starts");
    let lambda = local.addresses().lambda.expect("functions run here");
    let path = "/2015-03-31/functions/ends/invocations";
    let answered = send(lambda, Method::POST, path, &[], "1").await;
    let error: Value = serde_json::from_slice(answered.body()).expect("JSON");
    assert_eq!(error["errorType"], "Runtime.ExitError");
    local.stop().await;
}

#[tokio::test]
async fn options_that_do_not_hold_start_nothing() {
    let function = || Function::new("f", Source::ByHand);
    let endpoint = Target::Endpoint {
        url: "https://h:1".to_owned(),
        function: "f".to_owned(),
    };
    let missing = Function::new("f", Source::Bootstrap("/no/bootstrap".into()));
    for target in [
        Target::Functions(Vec::new()),
        Target::Functions(vec![function(), function()]),
        Target::Functions(vec![Function::new("a b", Source::ByHand)]),
        Target::Functions(vec![missing]),
        endpoint,
    ] {
        let error = Local::start(Options::new(target))
            .await
            .expect_err("refused");
        assert!(matches!(error, StartError::Options { .. }), "{error}");
    }
}
