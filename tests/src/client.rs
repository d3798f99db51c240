//! Clients that return responses without interpreting them: bytes over gRPC, status and body over HTTP,
//! frames over WebSocket.

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
    /// Creates a client, which connects on its first call.
    ///
    /// # Panics
    /// When the authority is not `host:port`.
    #[must_use]
    pub fn new(authority: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{authority}")).expect("an address");
        let client = tonic::client::Grpc::new(endpoint.connect_lazy());
        Self(client.max_decoding_message_size(usize::MAX))
    }

    /// Sends one request and returns its response.
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

    /// Sends a stream of requests and returns the stream of responses.
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

/// An HTTP response that has been read to its end.
#[derive(Debug)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// All headers of the response.
    pub headers: HeaderMap,
    /// The whole body, as received.
    pub body: Bytes,
}

impl HttpResponse {
    /// Parses the body as JSON.
    ///
    /// # Panics
    /// When the body is not JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// Returns the `content-type`.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
    }
}

/// Sends one HTTP request on a new connection.
///
/// # Panics
/// When there is no response.
pub async fn http(request: Request<Bytes>) -> HttpResponse {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client
        .request(request.map(Full::new))
        .await
        .expect("a response");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    HttpResponse {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
    }
}

/// Posts JSON to `/post`.
///
/// # Panics
/// When there is no response.
pub async fn post(authority: &str, body: &serde_json::Value) -> HttpResponse {
    let request = Request::post(format!("http://{authority}/post"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into())
        .expect("a request");
    http(request).await
}

/// Sends frames over a new WebSocket, and returns the server's frames up to and including its close frame.
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
        // If the server has already closed the connection, reading below shows it.
        let _ = socket.send(frame).await;
    }
    let mut received = Vec::new();
    while let Some(Ok(frame)) = socket.next().await {
        let is_last = frame.is_close();
        received.push(frame);
        if is_last {
            break;
        }
    }
    received
}

/// The client's side of a WebSocket.
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

/// Performs the handshake by hand, because the library fails when the server selects no subprotocol, and
/// Jina's server never does.
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
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\n") {
        response.push(stream.read_u8().await.expect("the whole handshake"));
    }
    let text = String::from_utf8(response).expect("ASCII");
    assert!(text.starts_with("HTTP/1.1 101"), "{text}");
    assert!(
        !text.to_ascii_lowercase().contains("sec-websocket-protocol"),
        "no subprotocol should be selected: {text}"
    );
    Socket::from_raw_socket(stream, Role::Client, None).await
}
