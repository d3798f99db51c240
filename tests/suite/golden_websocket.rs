//! Replays the WebSocket recordings against Flowgate's Gateway.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flowgate_config::Protocol;
use flowgate_proto::DataRequest;
use flowgate_tests::{
    client::websocket,
    golden::{Recording, mask, recordings},
};
use prost::Message as _;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::golden::GoldenFlow;

#[tokio::test]
async fn a_single_executor_answers_as_jina() {
    replay("single").await;
}

#[tokio::test]
async fn an_executor_that_is_down_closes_as_jina() {
    replay("executor_down").await;
}

#[tokio::test]
async fn an_executor_that_times_out_closes_as_jina() {
    replay("timeout").await;
}

async fn replay(flow: &str) {
    let running = GoldenFlow::start(flow).await;
    let authority = running.gateway.authority(Protocol::WebSocket);
    for recording in recordings("ws", flow) {
        let json = &recording.json;
        let frames = json["send"]
            .as_array()
            .expect("frames")
            .iter()
            .map(frame)
            .collect();
        let path = json["path"].as_str().expect("a path");
        let received = websocket(
            &authority,
            path,
            json["subprotocol_offered"].as_str(),
            frames,
        )
        .await;
        if recording.name == "04-json_missing_data_key" {
            // Jina drops the connection; Flowgate closes it with the error.
            assert_eq!(
                received.iter().map(recorded_form).collect::<Vec<_>>(),
                [closed(1008, "data: field required")]
            );
            continue;
        }
        assert_recorded(&recording, &received);
    }
    running.stop().await;
}

fn frame(sent: &Value) -> Message {
    match sent["text"].as_str() {
        Some(text) => Message::text(text),
        None => Message::binary(
            STANDARD
                .decode(sent["binary_base64"].as_str().expect("bytes"))
                .expect("base64"),
        ),
    }
}

fn assert_recorded(recording: &Recording, received: &[Message]) {
    let expected = recording.json["receive"]
        .as_array()
        .expect("what was received");
    assert_eq!(
        received.len(),
        expected.len(),
        "{}: {received:?}",
        recording.name
    );
    for (frame, recorded) in received.iter().zip(expected) {
        match recorded["binary_base64_raw"].as_str() {
            None => assert_eq!(
                recorded_form(frame),
                mask(recorded.clone()),
                "{}",
                recording.name
            ),
            Some(raw) => {
                let raw = STANDARD.decode(raw).expect("base64");
                assert_eq!(
                    timeless(&frame.clone().into_data()),
                    timeless(&raw),
                    "{}",
                    recording.name
                );
            }
        }
    }
}

/// Converts a frame to the form of the recordings.
fn recorded_form(frame: &Message) -> Value {
    match frame {
        Message::Text(text) => {
            mask(json!({"text_json": serde_json::from_str::<Value>(text).expect("JSON")}))
        }
        Message::Close(Some(close)) => mask(closed(close.code.into(), &close.reason)),
        other => panic!("unexpected {other:?}"),
    }
}

fn closed(code: u16, reason: &str) -> Value {
    json!({"close_frame": true, "code": code, "reason": reason})
}

fn timeless(bytes: &[u8]) -> DataRequest {
    let mut request = DataRequest::decode(bytes).expect("a data request");
    for route in &mut request.routes {
        route.start_time = route.start_time.map(|_| Default::default());
        route.end_time = route.end_time.map(|_| Default::default());
    }
    request
}
