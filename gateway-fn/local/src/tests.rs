//! An emulator whose only function is the test itself, which fetches invocations through the Runtime API.

mod functions;

mod http_api;

mod processes;

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

/// An emulator with one function, whose runtime is the test.
struct Harness {
    emulator: Emulator,
}

/// An invocation that the test has fetched.
struct FetchedInvocation {
    runtime_api: SocketAddr,
    request_id: String,
    event: Value,
}

impl Harness {
    async fn start(change: impl FnOnce(&mut Options)) -> Self {
        let function = FunctionOptions::new("function", RuntimeSource::External);
        let mut options = options_on_free_ports(function);
        change(&mut options);
        let emulator = Emulator::start(options).await.expect("started");
        Self { emulator }
    }

    /// Gives the function a longer timeout than the APIs have.
    fn long_timeout(options: &mut Options) {
        let Target::Functions(functions) = &mut options.target else {
            panic!("the target is not functions");
        };
        functions[0].timeout = Duration::from_secs(900);
    }

    fn lambda(&self) -> SocketAddr {
        self.emulator
            .addresses()
            .lambda
            .expect("the emulator runs functions")
    }

    /// Fetches the next invocation, as a runtime does.
    async fn next(&self) -> FetchedInvocation {
        let runtime_api = self.lambda();
        let path = "/2018-06-01/runtime/invocation/next";
        let response = send(runtime_api, Method::GET, path, &[], "").await;
        let request_id = response.headers()["lambda-runtime-aws-request-id"]
            .to_str()
            .expect("text");
        FetchedInvocation {
            runtime_api,
            request_id: request_id.to_owned(),
            event: serde_json::from_slice(response.body()).expect("an event"),
        }
    }

    /// Responds to the next invocation, and returns its event.
    async fn respond(&self, response: Value) -> Value {
        let invocation = self.next().await;
        invocation.respond(&response.to_string()).await;
        invocation.event
    }

    async fn get(&self, path: &str) -> Response<Bytes> {
        let http = self.emulator.addresses().http;
        send(http, Method::GET, path, &[], "").await
    }

    async fn invoke(&self, invocation_type: &str, payload: &str) -> Response<Bytes> {
        let path = "/2015-03-31/functions/function/invocations";
        let headers = [("x-amz-invocation-type", invocation_type)];
        send(self.lambda(), Method::POST, path, &headers, payload).await
    }
}

impl FetchedInvocation {
    async fn respond(&self, body: &str) -> StatusCode {
        self.complete("response", body).await
    }

    /// Completes the invocation with a `response` or an `error`.
    async fn complete(&self, outcome: &str, body: &str) -> StatusCode {
        let id = &self.request_id;
        let path = format!("/2018-06-01/runtime/invocation/{id}/{outcome}");
        let response = send(self.runtime_api, Method::POST, &path, &[], body).await;
        response.status()
    }
}

fn options_on_free_ports(function: FunctionOptions) -> Options {
    let mut options = Options::new(Target::Functions(vec![function]));
    options.http_port = 0;
    options.websocket_port = 0;
    options.lambda_port = 0;
    options
}

async fn send(
    address: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response<Bytes> {
    let stream = TcpStream::connect(address).await.expect("listening");
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "local");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Full::new(Bytes::from(body.to_owned()));
    let request = request.body(body).expect("a valid request");
    let response = client.send_request(request).await.expect("a response");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a complete body");
    Response::from_parts(parts, body.to_bytes())
}

fn status_and_body(response: &Response<Bytes>) -> (u16, &str) {
    let body = std::str::from_utf8(response.body()).expect("text");
    (response.status().as_u16(), body)
}

/// Advances tokio's clock by `time`, so that timers due by then fire.
async fn advance(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}
