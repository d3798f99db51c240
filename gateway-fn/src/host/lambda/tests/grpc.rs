//! Calls of gRPC-Web and Connect through the front doors.

use super::*;

/// A message in the framing of gRPC.
fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&[0][..], &length, message].concat()
}

#[tokio::test]
async fn grpc_web_passes_in_binary_and_in_text() {
    let function = function("cors: true");
    let sent = frame(&hello().encode_to_vec());
    for (kind, body_sent, is_base64) in [
        ("application/grpc-web+proto", STANDARD.encode(&sent), true),
        ("application/grpc-web-text", STANDARD.encode(&sent), false),
    ] {
        let mut event = event(HTTP_API, "POST", SINGLE, &body_sent);
        event["isBase64Encoded"] = is_base64.into();
        set_header(&mut event, "content-type", kind);
        set_header(&mut event, "accept", kind);
        set_header(&mut event, "origin", "https://a.example");
        let response = respond(&function, &event).await;
        assert_eq!(response["statusCode"], 200, "{response}");
        let exposed = &response["headers"]["access-control-expose-headers"];
        assert!(
            exposed
                .as_str()
                .is_some_and(|text| text.contains("grpc-status"))
        );
        let mut read = body(&response);
        if kind.contains("text") {
            read = decode_pieces(&read);
        }
        let length = usize::try_from(u32::from_be_bytes([read[1], read[2], read[3], read[4]]));
        let (message, trailers) = read[5..].split_at(length.expect("short"));
        let message = DataRequest::decode(message).expect("a message");
        assert_eq!(message.documents.decode().expect("documents").len(), 2);
        assert!(String::from_utf8_lossy(trailers).contains("grpc-status:0"));
    }
}

/// Decodes base64 that was encoded piece by piece, with padding in the middle.
fn decode_pieces(text: &[u8]) -> Vec<u8> {
    let quads = text.chunks(4);
    quads
        .flat_map(|quad| STANDARD.decode(quad).expect("base64"))
        .collect()
}

#[tokio::test]
async fn connect_passes_with_its_own_errors() {
    let function = function("");
    let sent = STANDARD.encode(hello().encode_to_vec());
    let call = async |path: &str, sent: &str| {
        let mut event = event(HTTP_API, "POST", path, sent);
        event["isBase64Encoded"] = true.into();
        set_header(&mut event, "content-type", "application/proto");
        set_header(&mut event, "connect-protocol-version", "1");
        respond(&function, &event).await
    };
    let response = call(SINGLE, &sent).await;
    assert_eq!(response["statusCode"], 200, "{response}");
    assert_eq!(response["headers"]["content-type"], "application/proto");
    let message = DataRequest::decode(&*body(&response)).expect("a message");
    assert_eq!(message.documents.decode().expect("documents").len(), 2);
    for path in ["/jina.Nobody/nothing", "/jina.JinaRPC/Call"] {
        let unknown = call(path, &sent).await;
        assert_eq!(unknown["statusCode"], 501, "{path}");
        assert_eq!(json_body(&unknown)["code"], "unimplemented");
    }
}

#[tokio::test]
async fn auth_of_grpc_or_http_applies_to_grpc_web_and_connect() {
    for (protocols, is_enabled) in [
        ("grpc", true),
        ("http", true),
        ("websocket", false),
        ("grpc, http, websocket", true),
    ] {
        let key = "a-key-of-some-length";
        let function = function(&format!(
            "auth: {{api_keys: [{{name: a, key: {key}}}], protocols: [{protocols}]}}"
        ));
        for (kind, sent) in [
            ("application/proto", hello().encode_to_vec()),
            (
                "application/grpc-web+proto",
                frame(&hello().encode_to_vec()),
            ),
        ] {
            for (presented, is_refused) in [("wrong", is_enabled), (key, false)] {
                let mut event = event(HTTP_API, "POST", SINGLE, &STANDARD.encode(&sent));
                event["isBase64Encoded"] = true.into();
                set_header(&mut event, "content-type", kind);
                set_header(&mut event, "x-api-key", presented);
                let response = respond(&function, &event).await;
                let refused =
                    response["statusCode"] == 401 || response["headers"]["grpc-status"] == "16";
                assert_eq!(refused, is_refused, "{protocols}, {kind}: {response}");
            }
        }
    }
}

/// Each message of the stream is small, and all of them together are too large.
#[tokio::test]
async fn all_responses_of_a_stream_together_are_bounded() {
    let mut one = hello();
    one.documents = vec![DocumentProto {
        content: Some(Content::Text("x".repeat(1000))),
        ..Default::default()
    }]
    .into();
    let one = compress(&one.encode_to_vec(), Compression::Gzip).expect("gzip");
    let mut many = frame(&one);
    many[0] = 1;
    let many = many.repeat(8000);
    let mut event = event(
        HTTP_API,
        "POST",
        "/jina.JinaRPC/Call",
        &STANDARD.encode(many),
    );
    event["isBase64Encoded"] = true.into();
    set_header(&mut event, "content-type", "application/grpc-web+proto");
    set_header(&mut event, "grpc-encoding", "gzip");
    let refused = respond(&function(""), &event).await;
    assert_eq!(refused["headers"]["grpc-status"], "8", "{refused}");
    let detail = refused["headers"]["grpc-message"].as_str().expect("why");
    assert!(detail.contains("more%20than%206291456"), "{detail}");
}

/// A stream is over with its first error, also if every byte behind it is another one.
#[tokio::test]
async fn a_stream_that_cannot_be_read_has_one_status() {
    let sent = STANDARD.encode([0x1f; 100_000]);
    let mut event = event(HTTP_API, "POST", "/jina.JinaRPC/Call", &sent);
    event["isBase64Encoded"] = true.into();
    set_header(&mut event, "content-type", "application/grpc-web+proto");
    let response = respond(&function(""), &event).await;
    let read = String::from_utf8_lossy(&body(&response)).into_owned();
    // The length in its first frame is half a gigabyte.
    assert_eq!(read.matches("grpc-status:8").count(), 1, "{read}");
}

#[tokio::test]
async fn a_connect_clients_timeout_applies() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("bound").port();
    let function = flow(&format!(
        "jtype: Flow\nexecutors: [{{name: slow, external: true, host: 127.0.0.1, port: {port}}}]\n"
    ));
    let sent = STANDARD.encode(hello().encode_to_vec());
    let mut event = event(HTTP_API, "POST", SINGLE, &sent);
    event["isBase64Encoded"] = true.into();
    set_header(&mut event, "content-type", "application/proto");
    set_header(&mut event, "connect-timeout-ms", "100");
    let late = respond(&function, &event).await;
    assert_eq!(late["statusCode"], 504, "{late}");
    assert_eq!(json_body(&late)["code"], "deadline_exceeded");
    set_header(&mut event, "connect-timeout-ms", "soon");
    let refused = respond(&function, &event).await;
    assert_eq!(refused["statusCode"], 400, "{refused}");
}
