//! A WebSocket client that sends frames as a test spells them, valid or not, over a TCP connection.

use http::header;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The key of every handshake, the example of RFC 6455.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The request for a WebSocket at `/`.
pub const OPEN: &str = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The first byte of a frame: whether it is the last of its message, and its opcode.
pub const TEXT: u8 = 0x81;
/// A binary message of one frame.
pub const BINARY: u8 = 0x82;
/// A close frame.
pub const CLOSE: u8 = 0x88;
/// A ping.
pub const PING: u8 = 0x89;
/// A pong.
pub const PONG: u8 = 0x8a;
/// The first frame of a text of several.
pub const TEXT_BEGIN: u8 = 0x01;
/// A frame in the middle of a message.
pub const MIDDLE: u8 = 0x00;
/// The last frame of a message of several.
pub const LAST: u8 = 0x80;

/// A frame from the server: its first byte and its payload.
pub type Frame = (u8, Vec<u8>);

/// A connection after the handshake.
#[derive(Debug)]
pub struct FrameSocket(TcpStream);

impl FrameSocket {
    /// Opens a WebSocket at `/`.
    ///
    /// # Panics
    /// When the handshake fails.
    pub async fn open(authority: &str, subprotocol: &str) -> Self {
        let headers = format!(
            "connection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n{}: 13\r\n{}: {KEY}\r\n{}: {subprotocol}\r\n",
            header::SEC_WEBSOCKET_VERSION,
            header::SEC_WEBSOCKET_KEY,
            header::SEC_WEBSOCKET_PROTOCOL,
        );
        let (stream, head) = handshake(authority, "GET / HTTP/1.1", &headers).await;
        assert_accepted(&head);
        Self(stream)
    }

    /// Takes over a connection on which [`OPEN`] has been sent.
    ///
    /// # Panics
    /// When the handshake fails.
    pub async fn opened(mut stream: TcpStream) -> Self {
        assert_accepted(&read_head(&mut stream).await);
        Self(stream)
    }

    /// Sends bytes, of which `step` at once.
    pub async fn send_in_steps(&mut self, bytes: &[u8], step: usize) {
        for piece in bytes.chunks(step) {
            // The server may have closed the connection; what it sent before shows why.
            if self.0.write_all(piece).await.is_err() {
                return;
            }
        }
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.send_in_steps(bytes, bytes.len().max(1)).await;
    }

    /// Receives the next frame; `None` at the end of the connection.
    ///
    /// # Panics
    /// When the server resets the connection or sends part of a frame.
    pub async fn receive(&mut self) -> Option<Frame> {
        let first = match self.0.read_u8().await {
            Ok(first) => first,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return None,
            Err(error) => panic!("the connection was not closed cleanly: {error}"),
        };
        let length = match self.0.read_u8().await.expect("a whole head") {
            126 => u64::from(self.0.read_u16().await.expect("a whole head")),
            127 => self.0.read_u64().await.expect("a whole head"),
            length => u64::from(length),
        };
        let mut payload = vec![0; usize::try_from(length).expect("a length that fits")];
        self.0
            .read_exact(&mut payload)
            .await
            .expect("a whole frame");
        Some((first, payload))
    }

    /// Receives frames up to the end of the connection.
    pub async fn receive_all(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.receive().await {
            frames.push(frame);
        }
        frames
    }
}

/// Sends the head of a request, and returns the connection and the head of the response.
///
/// # Panics
/// When there is no response.
pub async fn handshake(authority: &str, request_line: &str, headers: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(authority).await.expect("a connection");
    let head = format!("{request_line}\r\nhost: {authority}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let response = read_head(&mut stream).await;
    (stream, response)
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\n") {
        response.push(stream.read_u8().await.expect("the whole head"));
    }
    String::from_utf8(response).expect("ASCII")
}

fn assert_accepted(head: &str) {
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(
        head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        "{head}"
    );
}

/// Encodes a frame as a client must: with a mask.
#[must_use]
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    let masked = payload.iter().zip(mask.into_iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

/// Encodes a close frame.
#[must_use]
pub fn close_frame(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(CLOSE, &close_payload(code, reason))
}

/// Encodes the payload of a close frame.
#[must_use]
pub fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}
