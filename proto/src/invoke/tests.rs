//! Payloads there and back, and every way in which one is broken.

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
fn requests_come_out_as_they_went_in_however_they_are_compressed() {
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::Deflate,
        Compression::Zstd,
    ] {
        let mut sent = Invocation::process(&list(), compression).expect("an invocation");
        sent.deadline = Some(7);
        let text = String::from_utf8(sent.write().expect("JSON")).expect("UTF-8");
        let Payload::Invocation(read) = Payload::read(&text).expect("a payload") else {
            panic!("{text} was taken for plain JSON");
        };
        assert_eq!(read, sent);
        let requests = read.requests(1 << 20).expect("requests");
        assert_eq!(requests, [request(), request()], "{compression:?}");
    }
}

#[test]
fn an_answer_comes_out_as_it_went_in() {
    let message = request().encode_to_vec();
    let sent = Answer::of(&message, Compression::Zstd, true).expect("an answer");
    let text = sent.write().expect("JSON");
    let read = Answer::read(&text).expect("an answer");
    assert!(read.is_error);
    assert_eq!(
        read.message::<DataRequest>(1 << 20).expect("a message"),
        request()
    );
}

#[test]
fn json_without_the_key_is_a_persons() {
    let text = r#"{"data":[{"text":"hello"}],"execEndpoint":"/"}"#;
    assert_eq!(Payload::read(text).expect("a payload"), Payload::Json(text));
}

#[test]
fn what_is_broken_is_named() {
    for (text, part) in [
        ("[1]", "shape"),
        ("nonsense", "shape"),
        (r#"{"flowgate":2,"call":"process"}"#, "version 2"),
        (r#"{"flowgate":1,"call":"destroy"}"#, "shape"),
        (
            r#"{"flowgate":1,"call":"process","encoding":"lzma"}"#,
            "shape",
        ),
    ] {
        let error = Payload::read(text).expect_err(text);
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
    assert!(matches!(Answer::read("{}"), Err(PayloadError::NoAnswer)));
}

#[test]
fn bodies_that_are_not_what_they_say_are_refused() {
    let fault = |encoding: &str, body: &str| {
        let text =
            format!(r#"{{"flowgate":1,"call":"process","encoding":"{encoding}","body":"{body}"}}"#);
        match Payload::read(&text) {
            Ok(Payload::Invocation(read)) => read.requests(1 << 20).expect_err(&text).to_string(),
            other => panic!("{text}: {other:?}"),
        }
    };
    assert!(fault("none", "?").contains("base64"));
    assert!(fault("none", "AAAA").contains("protobuf"));
    for encoding in ["gzip", "deflate", "zstd"] {
        assert!(fault(encoding, "AAAA").contains(encoding));
    }
}

#[test]
fn a_body_that_swells_beyond_the_limit_is_refused() {
    for compression in [Compression::Gzip, Compression::Deflate, Compression::Zstd] {
        let small = compress(&vec![0; 1 << 20], compression).expect("compressed");
        assert!(small.len() < 5000);
        let refused = decompress(small.clone(), compression, (1 << 20) - 1);
        assert!(
            matches!(refused, Err(PayloadError::TooLarge { .. })),
            "{compression:?}"
        );
        assert!(decompress(small, compression, 1 << 20).is_ok());
    }
}

#[test]
fn compressed_bytes_are_read_to_their_end() {
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
        assert!(matches!(read, Err(PayloadError::Compressed { .. })));
    }
}

#[test]
fn an_answer_is_compressed_further_before_it_is_too_large() {
    let zeros = vec![0; 1000];
    let fitting = |message: &[u8]| Answer::fitting(message, Compression::None, false, 200);
    let text = fitting(&zeros).expect("it fits when it is compressed");
    assert!(text.contains("zstd") && text.len() <= 200, "{text}");
    let noise: Vec<u8> = (0..1000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let error = fitting(&noise).expect_err("it does not");
    assert!(matches!(
        error,
        AnswerError::TooLarge {
            bytes: 1000,
            limit: 200,
            ..
        }
    ));
}
