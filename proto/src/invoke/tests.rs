//! Round trips of payloads, and malformed ones.

use prost::Message as _;

use super::*;

fn request() -> DataRequest {
    let mut request = DataRequest::default();
    request.header.exec_endpoint = Some("/encode".to_owned());
    request
}

fn list() -> Vec<u8> {
    let requests = vec![request(), request()];
    DataRequestListProto { requests }.encode_to_vec()
}

#[test]
fn requests_survive_a_round_trip_with_any_compression() {
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::Deflate,
        Compression::Zstd,
    ] {
        let mut sent = Invocation::process(&list(), compression).expect("an invocation");
        sent.deadline = Some(7);
        let text = String::from_utf8(sent.to_json().expect("JSON")).expect("UTF-8");
        let Payload::Invocation(read) = Payload::parse(&text).expect("a payload") else {
            panic!("{text} was parsed as plain JSON");
        };
        assert_eq!(read, sent);
        let requests = read.decode_requests(1 << 20).expect("requests");
        assert_eq!(requests, [request(), request()], "{compression:?}");
    }
}

#[test]
fn a_response_survives_a_round_trip() {
    let message = request().encode_to_vec();
    let sent = InvocationResponse::new(&message, Compression::Zstd, true).expect("a response");
    let text = sent.to_json().expect("JSON");
    let read = InvocationResponse::from_json(&text).expect("a response");
    assert!(read.is_error);
    assert_eq!(
        read.decode_message::<DataRequest>(1 << 20)
            .expect("a message"),
        request()
    );
}

#[test]
fn json_without_the_version_key_is_plain_json() {
    let text = r#"{"data":[{"text":"hello"}],"execEndpoint":"/"}"#;
    assert_eq!(
        Payload::parse(text).expect("a payload"),
        Payload::Json(text)
    );
}

#[test]
fn malformed_payloads_are_rejected_with_the_reason() {
    for (text, part) in [
        ("[1]", "not a valid invocation"),
        ("nonsense", "not a valid invocation"),
        (r#"{"flowgate":2,"call":"process"}"#, "version 2"),
        (
            r#"{"flowgate":1,"call":"destroy"}"#,
            "not a valid invocation",
        ),
        (
            r#"{"flowgate":1,"call":"process","encoding":"lzma"}"#,
            "not a valid invocation",
        ),
    ] {
        let error = Payload::parse(text).expect_err(text);
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
    assert!(matches!(
        InvocationResponse::from_json("{}"),
        Err(PayloadError::MissingVersion)
    ));
}

#[test]
fn malformed_bodies_are_rejected_with_the_reason() {
    let error = |encoding: &str, body: &str| {
        let text =
            format!(r#"{{"flowgate":1,"call":"process","encoding":"{encoding}","body":"{body}"}}"#);
        match Payload::parse(&text) {
            Ok(Payload::Invocation(read)) => {
                read.decode_requests(1 << 20).expect_err(&text).to_string()
            }
            other => panic!("{text}: {other:?}"),
        }
    };
    assert!(error("none", "?").contains("base64"));
    assert!(error("none", "AAAA").contains("protobuf"));
    for encoding in ["gzip", "deflate", "zstd"] {
        assert!(error(encoding, "AAAA").contains(encoding));
    }
}

#[test]
fn fields_that_are_null_are_missing() {
    let body = Invocation::process(&list(), Compression::None).expect("an invocation");
    let body = serde_json::to_value(&body).expect("JSON")["body"].take();
    let text = format!(
        r#"{{"flowgate":1,"call":"process","encoding":null,"body":{body},"deadline":null,"executor":null,
            "metadata":null,"trace":{{"traceparent":null,"tracestate":"a=1"}}}}"#
    );
    let Payload::Invocation(read) = Payload::parse(&text).expect("a payload") else {
        panic!("{text} was parsed as plain JSON");
    };
    assert_eq!(read.encoding(), Compression::None);
    assert_eq!((read.deadline, &read.executor), (None, &None));
    assert_eq!(
        read.trace,
        [("tracestate".to_owned(), "a=1".to_owned())].into()
    );
    assert_eq!(read.decode_requests(1 << 20).expect("requests").len(), 2);
    let trace = r#"{"flowgate":1,"call":"status","trace":null}"#;
    assert!(matches!(Payload::parse(trace), Ok(Payload::Invocation(_))));
    let answer = InvocationResponse::from_json(r#"{"flowgate":1,"isError":null,"encoding":null}"#);
    assert!(!answer.expect("a response").is_error);
    let error: FunctionError =
        serde_json::from_str(r#"{"errorType":null,"errorMessage":"no"}"#).expect("an error object");
    assert_eq!((&*error.error_type, &*error.error_message), ("", "no"));
}

#[test]
fn a_missing_body_is_an_error() {
    for body in ["", r#","body":null"#, r#","body":"""#] {
        let text = format!(r#"{{"flowgate":1,"call":"process"{body}}}"#);
        let Ok(Payload::Invocation(read)) = Payload::parse(&text) else {
            panic!("{text} is no invocation");
        };
        let error = read.decode_requests(1 << 20);
        assert!(matches!(error, Err(PayloadError::MissingBody)), "{text}");
        let text = format!(r#"{{"flowgate":1{body}}}"#);
        let answer = InvocationResponse::from_json(&text).expect("a response");
        let error = answer.decode_message::<DataRequest>(1 << 20);
        assert!(matches!(error, Err(PayloadError::MissingBody)), "{text}");
    }
    let empty = Invocation::process(&[], Compression::Zstd).expect("an invocation");
    assert!(matches!(
        empty.decode_requests(1 << 20),
        Err(PayloadError::NoRequests)
    ));
}

#[test]
fn values_of_metadata_are_not_in_logs() {
    let mut invocation = Invocation::new(Call::Status);
    let token = ("authorization".to_owned(), "swordfish".to_owned());
    invocation.metadata = [token].into();
    let text = format!("{invocation:?}");
    assert!(
        text.contains("authorization") && !text.contains("swordfish"),
        "{text}"
    );
}

#[test]
fn a_body_that_decompresses_beyond_the_limit_is_rejected() {
    for compression in [Compression::Gzip, Compression::Deflate, Compression::Zstd] {
        let small = compress(&vec![0; 1 << 20], compression).expect("compressed");
        assert!(small.len() < 5000);
        let result = decompress(small.clone(), compression, (1 << 20) - 1);
        assert!(
            matches!(result, Err(PayloadError::TooLarge { .. })),
            "{compression:?}"
        );
        assert!(decompress(small, compression, 1 << 20).is_ok());
    }
}

/// A zstd frame with one empty block, which asks for a window of 2^`log` bytes (RFC 8878, section 3.1.1).
fn frame_with_window(log: u8) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3];
    frame.extend([1, 0, 0]);
    frame
}

#[test]
fn a_zstd_frame_cannot_ask_for_a_large_window() {
    let read = |log| decompress(frame_with_window(log), Compression::Zstd, 100);
    assert!(matches!(read(23), Ok(empty) if empty.is_empty()));
    assert!(matches!(
        read(27),
        Err(PayloadError::InvalidCompression { .. })
    ));
}

#[test]
fn concatenated_streams_are_decompressed_and_other_trailing_bytes_rejected() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let mut sent = compress(b"ab", compression).expect("compressed");
        sent.extend(compress(b"cd", compression).expect("compressed"));
        let read = decompress(sent, compression, 4).expect("two of them");
        assert_eq!(read, b"abcd");
    }
    for compression in [Compression::Gzip, Compression::Deflate, Compression::Zstd] {
        let mut sent = compress(b"ab", compression).expect("compressed");
        sent.extend(b"left over");
        let read = decompress(sent, compression, 100);
        assert!(matches!(read, Err(PayloadError::InvalidCompression { .. })));
    }
}

#[test]
fn a_response_that_is_too_large_is_compressed_by_zstd() {
    let zeros = vec![0; 1000];
    let encode = |message: &[u8]| {
        InvocationResponse::encode_within_limit(
            message,
            Compression::None,
            &ResponseInfo::default(),
            200,
        )
    };
    let json = encode(&zeros).expect("it fits when it is compressed");
    let text = json.get();
    assert!(text.contains("zstd") && text.len() <= 200, "{text}");
    let noise: Vec<u8> = (0..1000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let error = encode(&noise).expect_err("it does not");
    assert!(matches!(
        error,
        ResponseError::TooLarge {
            bytes: 1000,
            limit: 200,
            ..
        }
    ));
}
