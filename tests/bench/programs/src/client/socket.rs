//! One WebSocket.

use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, Utf8Bytes, protocol::Role},
};

use super::{ClientError, in_flight::InFlight};

/// Sends all messages of `messages` and receives their answers.
pub(super) async fn run(
    port: u16,
    subprotocol: &str,
    mut messages: InFlight,
) -> Result<InFlight, ClientError> {
    let mut socket = open(port, subprotocol).await?;
    let is_json = subprotocol == "json";
    while !messages.is_done() {
        while let Some(message) = messages.next_message() {
            socket.feed(frame(message, is_json)?).await?;
        }
        socket.flush().await?;
        // What has arrived already is read before the next messages are sent.
        let mut received = socket.next().await;
        while let Some(answer) = received {
            take(&mut messages, &answer?)?;
            received = match socket.next().now_or_never() {
                Some(answer) => answer,
                None => break,
            };
        }
    }
    Ok(messages)
}

fn frame(message: Bytes, is_json: bool) -> Result<Message, ClientError> {
    Ok(if is_json {
        Message::Text(Utf8Bytes::try_from(message)?)
    } else {
        Message::Binary(message)
    })
}

fn take(messages: &mut InFlight, answer: &Message) -> Result<(), ClientError> {
    match answer {
        Message::Text(text) => messages.receive(text.as_bytes()),
        Message::Binary(bytes) => messages.receive(bytes),
        Message::Ping(_) | Message::Pong(_) => Ok(()),
        Message::Close(_) | Message::Frame(_) => Err(format!("the server sent {answer}").into()),
    }
}

/// Opens a WebSocket. The handshake is made by hand, because the library fails when the server selects no subprotocol,
/// and Jina's server never does.
pub(super) async fn open(
    port: u16,
    subprotocol: &str,
) -> Result<WebSocketStream<TcpStream>, ClientError> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET / HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: {subprotocol}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\n") {
        response.push(stream.read_u8().await?);
    }
    if !response.starts_with(b"HTTP/1.1 101") {
        return Err(String::from_utf8_lossy(&response).into());
    }
    Ok(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
}
