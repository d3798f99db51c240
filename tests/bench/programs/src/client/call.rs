//! One connection with one `Call` stream.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::Request;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    body::{Body, Frame, Incoming},
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::mpsc};

use super::{ClientError, in_flight::InFlight};

const METHOD: &str = "/jina.JinaRPC/Call";

/// A gRPC message starts with a flag for compression and its length in 4 bytes.
const HEAD_BYTES: usize = 5;

/// Large enough that flow control does not interrupt the answers.
const WINDOW_BYTES: u32 = 64 << 20;

/// Sends all messages of `messages` and receives their answers.
pub(super) async fn run(port: u16, mut messages: InFlight) -> Result<InFlight, ClientError> {
    let (requests, mut queue) = mpsc::channel::<Bytes>(messages.max_in_flight());
    let frames = stream::poll_fn(move |context| queue.poll_recv(context));
    let frames = futures_util::StreamExt::map(frames, |message| {
        Ok::<_, std::convert::Infallible>(Frame::data(message))
    });
    let mut sender = connect(port).await?;
    send_next(&mut messages, &requests)?;
    let response = sender.send_request(request(METHOD, StreamBody::new(frames))?);
    let mut body: Incoming = response.await?.into_body();
    let mut received = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame?.into_data() else { break };
        received.extend_from_slice(&chunk);
        while let Some(answer) = next_message(&mut received) {
            messages.receive(&answer)?;
        }
        send_next(&mut messages, &requests)?;
        if messages.is_done() {
            return Ok(messages);
        }
    }
    Err("the stream ended before all answers had arrived".into())
}

fn send_next(messages: &mut InFlight, requests: &mpsc::Sender<Bytes>) -> Result<(), ClientError> {
    while let Some(message) = messages.next_message() {
        // There is a place for each message in flight.
        requests.try_send(framed(&message)?)?;
    }
    Ok(())
}

/// Opens an HTTP/2 connection, which a task drives.
pub(super) async fn connect<B>(port: u16) -> Result<SendRequest<B>, ClientError>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<ClientError>,
{
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Returns a gRPC request.
pub(super) fn request<B>(path: &str, body: B) -> http::Result<Request<B>> {
    Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
}

/// Puts the head before a message.
pub(super) fn framed(message: &[u8]) -> Result<Bytes, ClientError> {
    let mut frame = BytesMut::with_capacity(HEAD_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(message.len().try_into()?);
    frame.put_slice(message);
    Ok(frame.freeze())
}

/// Takes the first message out of what was received, once it is complete.
fn next_message(received: &mut BytesMut) -> Option<Bytes> {
    let length = received.get(1..HEAD_BYTES)?.get_u32() as usize;
    if received.len() < HEAD_BYTES + length {
        return None;
    }
    received.advance(HEAD_BYTES);
    Some(received.split_to(length).freeze())
}
