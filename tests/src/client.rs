//! Clients that show what is on the wire: bytes over gRPC, status and body over HTTP, frames over WebSocket.

use std::marker::PhantomData;

use bytes::{Buf as _, BufMut as _, Bytes};
use futures_util::{SinkExt as _, Stream, StreamExt as _};
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _, protocol::Role};
use tonic::{
    Response, Status, Streaming,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};

/// A gRPC client that neither encodes nor decodes.
#[derive(Clone, Debug)]
pub struct RawGrpc(tonic::client::Grpc<Channel>);

impl RawGrpc {
    /// Connects when first used.
    ///
    /// # Panics
    /// When the authority is no `host:port`.
    #[must_use]
    pub fn new(authority: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{authority}")).expect("an address");
        let client = tonic::client::Grpc::new(endpoint.connect_lazy());
        Self(client.max_decoding_message_size(usize::MAX))
    }

    /// One request, one answer.
    ///
    /// # Errors
    /// The peer's status.
    pub async fn unary(
        &mut self,
        method: &str,
        request: tonic::Request<Bytes>,
    ) -> Result<Response<Bytes>, Status> {
        self.ready().await?;
        self.0.unary(request, path(method), Raw::default()).await
    }

    /// Requests and answers as streams.
    ///
    /// # Errors
    /// The peer's status.
    pub async fn streaming(
        &mut self,
        method: &str,
        metadata: tonic::metadata::MetadataMap,
        requests: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Response<Streaming<Bytes>>, Status> {
        self.ready().await?;
        let mut request = tonic::Request::new(requests);
        *request.metadata_mut() = metadata;
        self.0
            .streaming(request, path(method), Raw::default())
            .await
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.0
            .ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))
    }
}

fn path(method: &str) -> http::uri::PathAndQuery {
    method.parse().expect("a method's path")
}

#[derive(Debug, Default)]
struct Raw(PhantomData<()>);

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buf.copy_to_bytes(buf.remaining())))
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl HttpAnswer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The `content-type`.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
    }
}

/// Sends one HTTP request on a connection of its own.
///
/// # Panics
/// When no answer comes.
pub async fn http(request: Request<Bytes>) -> HttpAnswer {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client
        .request(request.map(Full::new))
        .await
        .expect("an answer");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    HttpAnswer {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
    }
}

/// Posts JSON to `/post`.
///
/// # Panics
/// When no answer comes.
pub async fn post(authority: &str, body: &serde_json::Value) -> HttpAnswer {
    let request = Request::post(format!("http://{authority}/post"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into())
        .expect("a request");
    http(request).await
}

/// What a WebSocket server said: its frames in order, the last one its close frame if it sent one.
///
/// # Panics
/// When the handshake fails.
pub async fn websocket(
    authority: &str,
    path: &str,
    subprotocol: Option<&str>,
    frames: Vec<Message>,
) -> Vec<Message> {
    let mut socket = open_websocket(authority, path, subprotocol).await;
    for frame in frames {
        // A server that has already closed is seen below.
        let _ = socket.send(frame).await;
    }
    let mut received = Vec::new();
    while let Some(Ok(frame)) = socket.next().await {
        let last = frame.is_close();
        received.push(frame);
        if last {
            break;
        }
    }
    received
}

/// A WebSocket of a client.
pub type Socket = tokio_tungstenite::WebSocketStream<TcpStream>;

/// Opens a WebSocket.
///
/// # Panics
/// When the handshake fails.
pub async fn open_websocket(authority: &str, path: &str, subprotocol: Option<&str>) -> Socket {
    let mut request = format!("ws://{authority}{path}")
        .into_client_request()
        .expect("an address");
    if let Some(offered) = subprotocol {
        request.headers_mut().insert(
            header::SEC_WEBSOCKET_PROTOCOL,
            offered.parse().expect("a header"),
        );
    }
    handshake(authority, &request).await
}

/// The handshake by hand: the server never selects a subprotocol, which the library takes for a failure.
async fn handshake(authority: &str, request: &Request<()>) -> Socket {
    let mut stream = TcpStream::connect(authority).await.expect("a connection");
    let mut head = format!("GET {} HTTP/1.1\r\n", request.uri().path());
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().expect("ASCII")));
    }
    head.push_str("\r\n");
    stream
        .write_all(head.as_bytes())
        .await
        .expect("a request sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("the whole handshake"));
    }
    let text = String::from_utf8(answer).expect("ASCII");
    assert!(text.starts_with("HTTP/1.1 101"), "{text}");
    assert!(
        !text.to_ascii_lowercase().contains("sec-websocket-protocol"),
        "no subprotocol is selected: {text}"
    );
    Socket::from_raw_socket(stream, Role::Client, None).await
}
