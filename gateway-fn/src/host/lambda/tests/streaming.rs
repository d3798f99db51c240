//! Streamed responses.

use futures_util::StreamExt as _;

use super::*;

#[tokio::test]
async fn only_front_doors_that_can_stream_get_a_stream() {
    let function = function("function: {response_streaming: true}");
    for (sample, streams) in [
        (FUNCTION_URL, true),
        (REST_API, true),
        (HTTP_API, false),
        (LOAD_BALANCER, false),
    ] {
        match try_respond(&function, &event(sample, "POST", "/post", HELLO)).await {
            Ok(FunctionResponse::StreamingResponse(response)) if streams => {
                assert_eq!(response.metadata_prelude.status_code, 200);
                let chunks: Vec<_> = response.stream.collect().await;
                let body: Vec<_> = chunks
                    .into_iter()
                    .flat_map(|it| it.expect("bytes"))
                    .collect();
                let body: Value = serde_json::from_slice(&body).expect("JSON");
                assert_eq!(body["data"][0]["text"], "hello");
            }
            Ok(FunctionResponse::BufferedResponse(_)) if !streams => {}
            _ => panic!("{sample}"),
        }
    }
}

#[tokio::test]
async fn a_streamed_response_is_compressed_too() {
    let settings = "function: {response_streaming: true, compress_answers_from: 1}";
    let mut event = event(FUNCTION_URL, "POST", "/post", HELLO);
    set_header(&mut event, "accept-encoding", "gzip");
    let response = try_respond(&function(settings), &event).await;
    let Ok(FunctionResponse::StreamingResponse(response)) = response else {
        panic!("no stream");
    };
    let headers = response.metadata_prelude.headers;
    assert_eq!(headers["content-encoding"], "gzip");
    assert!(!headers.contains_key("content-length"));
    let chunks: Vec<_> = response.stream.collect().await;
    let chunks = chunks.into_iter().flat_map(|chunk| chunk.expect("bytes"));
    let body = decompress(chunks.collect(), Compression::Gzip, 1 << 20).expect("gzip");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["data"][0]["text"], "hello");
}
