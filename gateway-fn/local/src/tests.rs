//! A `flowgate local` whose function is the test itself, which takes invocations by the Runtime API.

mod functions;

mod http_api;

mod websocket_api;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::*;

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

    /// The function itself may take as long as it likes.
    fn never_late(options: &mut Options) {
        if let Target::Functions(functions) = &mut options.target {
            functions[0].timeout = Duration::from_secs(900);
        }
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

fn said(answer: &Response<Bytes>) -> (u16, &str) {
    (
        answer.status().as_u16(),
        std::str::from_utf8(answer.body()).expect("text"),
    )
}

/// Lets all timers believe that so much time is over.
async fn after(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}
