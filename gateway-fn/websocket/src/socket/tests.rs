//! Tests of a socket over a pipe.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;

const LIMIT: usize = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(5);

fn socket(buffer: usize) -> (DuplexStream, Socket<DuplexStream>) {
    let (client, server) = tokio::io::duplex(buffer);
    (client, Socket::new(server, LIMIT))
}

/// A client's frame whose mask is zero.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

fn close(code: u16) -> Option<Close> {
    Some(Close {
        code,
        reason: "r".to_owned(),
    })
}

#[tokio::test]
async fn a_ping_is_answered_while_the_next_message_is_awaited() {
    let (mut client, mut socket) = socket(1024);
    let frames = [frame(0x89, b"a"), frame(0x81, b"hello")].concat();
    client.write_all(&frames).await.expect("room");
    assert_eq!(socket.receive(Some(LIMIT)).await, Ok(Received::Alive));
    let message = socket.receive(Some(LIMIT)).await;
    assert_eq!(
        message,
        Ok(Received::Message(Message::Text("hello".into())))
    );
    let mut pong = [0; 3];
    client.read_exact(&mut pong).await.expect("a pong");
    assert_eq!(pong, [0x8a, 1, b'a']);
}

#[tokio::test]
async fn nothing_is_read_while_too_much_is_unsent() {
    let (mut client, mut socket) = socket(16);
    client.write_all(&frame(0x81, b"next")).await.expect("room");
    socket.push(Message::Binary(vec![7; 100].into()));
    {
        let mut received = std::pin::pin!(socket.receive(Some(0)));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(received.as_mut().poll(&mut cx).is_pending());
    }
    assert_eq!((socket.sent_bytes(), socket.unsent_bytes()), (16, 86));
    let mut answer = [0; 102];
    let (read, received) = tokio::join!(client.read_exact(&mut answer), socket.receive(Some(0)));
    read.expect("the answer");
    assert_eq!(
        received,
        Ok(Received::Message(Message::Text("next".into())))
    );
    assert_eq!(answer[..3], [0x82, 100, 7]);
}

#[tokio::test]
async fn what_the_client_has_begun_to_receive_is_not_discarded() {
    let (mut client, mut socket) = socket(16);
    for byte in [1, 2, 3] {
        socket.push(Message::Binary(vec![byte; 30].into()));
    }
    {
        let mut received = std::pin::pin!(socket.receive(Some(LIMIT)));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(received.as_mut().poll(&mut cx).is_pending());
    }
    socket.discard_unsent();
    assert_eq!((socket.unsent_frames(), socket.unsent_bytes()), (1, 16));
    let mut sent = Vec::new();
    let client = async {
        client.read_to_end(&mut sent).await.expect("an end");
        drop(client);
    };
    let last = Received::Invalid(ReceiveError::InvalidText);
    tokio::join!(client, socket.close(close(1008), Some(&last), TIMEOUT));
    assert_eq!(sent.len(), 32 + 5);
    assert_eq!(sent[32..], [0x88, 3, 3, 0xf0, b'r']);
}

#[tokio::test]
async fn a_close_waits_for_the_close_frame_of_the_client_and_drops_what_comes_before() {
    let (mut client, socket) = socket(1024);
    let closing = tokio::spawn(socket.close(close(1000), None, TIMEOUT));
    let mut frame_of_server = [0; 5];
    client
        .read_exact(&mut frame_of_server)
        .await
        .expect("a frame");
    let frames = [frame(0x82, b"late"), frame(0x88, &[3, 0xe8])].concat();
    client.write_all(&frames).await.expect("room");
    assert_eq!(client.read(&mut [0; 1]).await.expect("an end"), 0);
    drop(client);
    assert!(closing.await.expect("no panic"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_closes_is_waited_for_until_the_timeout() {
    let (_client, socket) = socket(1024);
    assert!(!socket.close(close(1000), None, TIMEOUT).await);
}

#[tokio::test]
async fn after_an_invalid_frame_the_rest_is_read_so_that_the_close_frame_arrives() {
    let (mut client, socket) = socket(64);
    let last = Received::Invalid(ReceiveError::TooLarge { limit: 9 });
    let closing =
        tokio::spawn(async move { socket.close(close(1009), Some(&last), TIMEOUT).await });
    // Far more than the connection holds, before anything is read.
    client
        .write_all(&[0xff; 10_000])
        .await
        .expect("the server reads");
    let mut sent = Vec::new();
    client.read_to_end(&mut sent).await.expect("an end");
    assert_eq!(sent, [0x88, 3, 3, 0xf1, b'r']);
    drop(client);
    assert!(closing.await.expect("no panic"));
}

#[tokio::test]
async fn a_client_that_disconnects_is_noticed() {
    let (client, mut socket) = socket(64);
    drop(client);
    assert_eq!(socket.receive(Some(LIMIT)).await, Err(Disconnected));
}

#[test]
fn an_idle_socket_is_small() {
    let bytes = size_of::<Socket<DuplexStream>>() - size_of::<DuplexStream>();
    assert!(bytes <= 320, "{bytes}");
}
