//! The frames of WebSockets as the groups 1 to 7 of the Autobahn test suite order them: framing, pings, reserved bits,
//! opcodes, fragments, UTF-8 and closing. Where Autobahn wants an echo, a Flow that changes nothing answers.

use flowgate_config::Protocol;
use flowgate_proto::DataRequest;
use flowgate_tests::{
    executors::text,
    flow::ServedGateway,
    frames::{
        BINARY, CLOSE, Frame, FrameSocket, LAST, MIDDLE, PING, PONG, TEXT, TEXT_BEGIN, close_frame,
        close_payload, frame,
    },
};
use prost::Message as _;

const FLOW: &str = "jtype: Flow\ngateway: {protocol: websocket, port: 0}\n\
                    executors:\n  - {name: e, uses: 'inproc://pass_through'}\n";

/// A Gateway, and what opens WebSockets to it.
struct Server {
    gateway: ServedGateway,
    authority: String,
}

impl Server {
    async fn start() -> Self {
        let gateway = ServedGateway::start(FLOW).await;
        let authority = gateway.authority(Protocol::WebSocket);
        Self { gateway, authority }
    }

    async fn open(&self) -> FrameSocket {
        FrameSocket::open(&self.authority, "json").await
    }

    /// Sends bytes and returns the frames up to the end of the connection. Sent at once and byte by byte, they must lead to
    /// the same frames.
    async fn exchange(&self, bytes: &[u8]) -> Vec<Frame> {
        let mut socket = self.open().await;
        socket.send(bytes).await;
        let frames = socket.receive_all().await;
        if bytes.len() < 1000 {
            let mut socket = self.open().await;
            socket.send_in_steps(bytes, 1).await;
            assert_eq!(socket.receive_all().await, frames);
        }
        frames
    }

    /// Asserts that these bytes are answered by these frames, and then by a close frame with this code.
    async fn assert_fails(&self, bytes: &[u8], answers: &[Frame], code: u16) {
        let frames = self.exchange(bytes).await;
        let (last, before) = frames.split_last().expect("a close frame");
        assert_eq!(before, answers, "{bytes:02x?}");
        assert_eq!(
            (last.0, &last.1[..2]),
            (CLOSE, &code.to_be_bytes()[..]),
            "{bytes:02x?}: {last:?}"
        );
        assert!(
            last.1.len() > 2,
            "the close frame has no reason: {bytes:02x?}"
        );
    }

    /// Asserts that these bytes, and a close frame behind them, are answered by these frames and the same close frame.
    async fn assert_answers(&self, bytes: &[u8], answers: &[Frame]) {
        let frames = self
            .exchange(&[bytes, &close_frame(1000, b"bye")].concat())
            .await;
        let closed = (CLOSE, close_payload(1000, b"bye"));
        assert_eq!(frames, [answers, &[closed]].concat(), "{bytes:02x?}");
    }
}

/// A request whose one document has this text.
fn request(text: &str) -> String {
    serde_json::json!({"data": [{"text": text}]}).to_string()
}

/// Asserts that the next frame is the answer to a request with this text.
async fn assert_text(socket: &mut FrameSocket, text: &str) {
    let (first, payload) = socket.receive().await.expect("an answer");
    assert_eq!(first, TEXT, "{}", String::from_utf8_lossy(&payload));
    let answer: serde_json::Value = serde_json::from_slice(&payload).expect("JSON");
    assert!(answer["data"][0]["text"] == text, "{answer}");
}

#[tokio::test]
async fn messages_of_every_length_arrive_in_pieces_of_any_size() {
    let server = Server::start().await;
    for length in [1, 125, 126, 127, 128, 65_535, 65_536, 300_000] {
        let text = "*".repeat(length);
        let bytes = frame(TEXT, request(&text).as_bytes());
        for step in [997, 64 << 10, usize::MAX] {
            let mut socket = server.open().await;
            socket.send_in_steps(&bytes, step).await;
            assert_text(&mut socket, &text).await;
        }
    }
    server.gateway.stop().await;
}

#[tokio::test]
async fn binary_messages_of_every_length_are_answered() {
    let server = Server::start().await;
    let mut socket = FrameSocket::open(&server.authority, "bytes").await;
    for length in [1, 125, 126, 127, 128, 65_535, 65_536, 300_000] {
        let request = DataRequest {
            documents: vec![text("d", &"\u{7f}".repeat(length))].into(),
            ..DataRequest::default()
        };
        socket
            .send_in_steps(&frame(BINARY, &request.encode_to_vec()), 64 << 10)
            .await;
        let (first, payload) = socket.receive().await.expect("an answer");
        assert_eq!(first, BINARY);
        let answer = DataRequest::decode(&payload[..]).expect("an answer");
        assert_eq!(
            answer.documents.decode().expect("documents")[0].content,
            request.documents.decode().expect("documents")[0].content
        );
    }
    server.gateway.stop().await;
}

#[tokio::test]
async fn pings_are_answered_and_pongs_are_not() {
    let server = Server::start().await;
    for payload in [
        &b""[..],
        b"Hello, world!",
        &[0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff],
        &[0xfe; 125],
    ] {
        let pong = (PONG, payload.to_vec());
        server.assert_answers(&frame(PING, payload), &[pong]).await;
        server.assert_answers(&frame(PONG, payload), &[]).await;
    }
    server
        .assert_fails(&frame(PING, &[0xfe; 126]), &[], 1002)
        .await;
    let pongs: Vec<Frame> = (0..10).map(|number| (PONG, vec![number])).collect();
    let pings: Vec<u8> = (0..10).flat_map(|number| frame(PING, &[number])).collect();
    server
        .assert_answers(&[frame(PONG, b"unasked"), pings].concat(), &pongs)
        .await;
    server.gateway.stop().await;
}

#[tokio::test]
async fn reserved_bits_and_opcodes_are_protocol_errors() {
    let server = Server::start().await;
    let pong = [(PONG, b"before".to_vec())];
    let ping = frame(PING, b"before");
    for bits in [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70] {
        for first in [TEXT, BINARY, PING, CLOSE] {
            let bytes = [&ping[..], &frame(first | bits, b"[]"), &ping].concat();
            server.assert_fails(&bytes, &pong, 1002).await;
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for payload in [&b""[..], b"reserved"] {
            let bytes = [&ping[..], &frame(0x80 | opcode, payload), &ping].concat();
            server.assert_fails(&bytes, &pong, 1002).await;
        }
    }
    // A client must mask what it sends.
    server.assert_fails(&[TEXT, 2, b'[', b']'], &[], 1002).await;
    server.gateway.stop().await;
}

#[tokio::test]
async fn fragments_are_put_together_and_pings_come_between_them() {
    let server = Server::start().await;
    let request = request("fragment1fragment2");
    let (begin, end) = request.as_bytes().split_at(20);
    let (begin_text, end_text) = (frame(TEXT_BEGIN, begin), frame(LAST, end));
    let empty = frame(MIDDLE, b"");
    let ping = frame(PING, b"between");
    let fragments = [
        ([&begin_text[..], &end_text].concat(), 0),
        ([&begin_text[..], &ping, &end_text].concat(), 1),
        (
            [
                &frame(TEXT_BEGIN, b"")[..],
                &ping,
                &empty,
                &frame(MIDDLE, begin),
                &ping,
                &end_text,
            ]
            .concat(),
            2,
        ),
        (
            [&begin_text[..], &frame(MIDDLE, end), &frame(LAST, b"")].concat(),
            0,
        ),
    ];
    for (bytes, pongs) in fragments {
        for step in [1, usize::MAX] {
            let mut socket = server.open().await;
            socket.send_in_steps(&bytes, step).await;
            for _ in 0..pongs {
                assert_eq!(socket.receive().await, Some((PONG, b"between".to_vec())));
            }
            assert_text(&mut socket, "fragment1fragment2").await;
        }
    }
    server.gateway.stop().await;
}

#[tokio::test]
async fn fragments_without_a_message_are_protocol_errors() {
    let server = Server::start().await;
    let begin = frame(TEXT_BEGIN, b"[1,");
    let whole = [&begin[..], &frame(LAST, b"2]")].concat();
    let cases = [
        // A control frame is never fragmented.
        frame(PING & 0x7f, b"part"),
        frame(PONG & 0x7f, b"part"),
        frame(CLOSE & 0x7f, b""),
        // Nothing is to be continued.
        frame(LAST, b"rest"),
        frame(MIDDLE, b"rest"),
        [&whole[..], &frame(MIDDLE, b"rest"), &frame(LAST, b"rest")].concat(),
        [&frame(LAST, b"rest")[..], &whole].concat(),
        // A message begins inside of another.
        [&begin[..], &frame(TEXT, b"2]")].concat(),
        [&begin[..], &begin].concat(),
        [&begin[..], &frame(BINARY, b"2]")].concat(),
    ];
    for bytes in cases {
        server.assert_fails(&bytes, &[], 1002).await;
    }
    server.gateway.stop().await;
}

#[tokio::test]
async fn text_is_utf8_however_it_is_split() {
    let server = Server::start().await;
    let texts = [
        "Hello-µ@ßöäüàá-UTF-8!!",
        "κόσμε",
        "\u{0}\u{80}\u{800}\u{10000}",
        "\u{7f}\u{7ff}\u{ffff}\u{10ffff}",
        "\u{d7ff}\u{e000}\u{fffd}\u{fffe}\u{fdd0}",
    ];
    for text in texts {
        // Not escaped, except for the zero.
        let request = request(text);
        let bytes: Vec<u8> = request
            .bytes()
            .map(|byte| frame(MIDDLE, &[byte]))
            .collect::<Vec<_>>()
            .concat();
        let mut fragments = frame(TEXT_BEGIN, b"");
        fragments.extend(bytes);
        fragments.extend(frame(LAST, b""));
        let mut socket = server.open().await;
        socket.send(&fragments).await;
        assert_text(&mut socket, text).await;
        socket
            .send_in_steps(&frame(TEXT, request.as_bytes()), 1)
            .await;
        assert_text(&mut socket, text).await;
    }
    server.gateway.stop().await;
}

#[tokio::test]
async fn text_that_is_not_utf8_is_refused_before_its_end() {
    let server = Server::start().await;
    let invalid: [&[u8]; 22] = [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\x80",
        b"\xbf\x80\xbf",
        b"\xc0 ",
        b"\xc1\xbf",
        b"\xe0\x80\xaf",
        b"\xe0\x9f\xbf",
        b"\xf0\x80\x80\xaf",
        b"\xf0\x8f\xbf\xbf",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xed\xaf\xbf",
        b"\xed\xb0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xfe",
        b"\xff",
        b"\xe2\x28\xa1",
    ];
    for bytes in invalid {
        server.assert_fails(&frame(TEXT, bytes), &[], 1007).await;
        let begun = frame(TEXT_BEGIN, bytes);
        server.assert_fails(&begun, &[], 1007).await;
        // The rest of a frame of 1000 bytes need not arrive.
        let whole = frame(TEXT, &[bytes, &[b' '; 1000]].concat());
        server
            .assert_fails(&whole[..8 + bytes.len()], &[], 1007)
            .await;
    }
    // A letter that ends with the message is cut off.
    for cut in [&b"\xce"[..], b"\xe1\xbd", b"\xf0\x9f\x98"] {
        server.assert_fails(&frame(TEXT, cut), &[], 1007).await;
        let fragments = [frame(TEXT_BEGIN, cut), frame(LAST, b"")].concat();
        server.assert_fails(&fragments, &[], 1007).await;
    }
    server.gateway.stop().await;
}

#[tokio::test]
async fn a_close_frame_is_echoed_and_nothing_is_answered_after_it() {
    let server = Server::start().await;
    let mut socket = server.open().await;
    socket.send(&frame(TEXT, request("x").as_bytes())).await;
    assert_text(&mut socket, "x").await;
    socket.send(&close_frame(1000, b"")).await;
    assert_eq!(
        socket.receive_all().await,
        [(CLOSE, close_payload(1000, b""))]
    );
    let after: [&[u8]; 4] = [
        &close_frame(1000, b"again"),
        &frame(PING, b"after"),
        &frame(TEXT, request("x").as_bytes()),
        &frame(LAST, b"rest"),
    ];
    for after in after {
        let begin = frame(TEXT_BEGIN, b"[");
        for before in [&b""[..], &begin] {
            let bytes = [before, &close_frame(1001, b"first"), after].concat();
            let frames = server.exchange(&bytes).await;
            assert_eq!(frames, [(CLOSE, close_payload(1001, b"first"))]);
        }
    }
    server.gateway.stop().await;
}

#[tokio::test]
async fn close_codes_and_reasons_are_checked() {
    let server = Server::start().await;
    let empty = server.exchange(&frame(CLOSE, b"")).await;
    assert_eq!(empty, [(CLOSE, Vec::new())]);
    let longest = [b'*'; 123];
    let codes = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ];
    for code in codes {
        for reason in [&b""[..], "Grüße".as_bytes(), &longest] {
            let frames = server.exchange(&close_frame(code, reason)).await;
            assert_eq!(frames, [(CLOSE, close_payload(code, reason))]);
        }
    }
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        server
            .assert_fails(&close_frame(code, b""), &[], 1002)
            .await;
        server
            .assert_fails(&close_frame(code, b"reason"), &[], 1002)
            .await;
    }
    server.assert_fails(&frame(CLOSE, b"x"), &[], 1002).await;
    server
        .assert_fails(&close_frame(1000, &[b'*'; 124]), &[], 1002)
        .await;
    server
        .assert_fails(&close_frame(1000, b"\xed\xa0\x80"), &[], 1007)
        .await;
    server.gateway.stop().await;
}
