//! The HTTP API: events for requests, and responses or errors for clients.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;

use super::{Harness, advance, send, status_and_body};

#[tokio::test]
async fn an_http_request_reaches_the_function_and_its_response_the_client() {
    let harness = Harness::start(|_| {}).await;
    let response = json!({"statusCode": 202, "body": "done", "cookies": ["a=1"]});
    let (response, event) = tokio::join!(harness.get("/x?y=1"), harness.respond(response));
    assert_eq!(status_and_body(&response), (202, "done"));
    assert_eq!(response.headers()["set-cookie"], "a=1");
    assert_eq!(
        (&event["rawPath"], &event["rawQueryString"]),
        (&json!("/x"), &json!("y=1"))
    );
    harness.emulator.stop().await;
}

#[tokio::test]
async fn every_path_begins_with_a_named_stage() {
    let harness = Harness::start(|options| options.stage = "prod".to_owned()).await;
    assert_eq!(
        status_and_body(&harness.get("/x").await),
        (404, "{\"message\":\"Not Found\"}")
    );
    let (response, event) = tokio::join!(harness.get("/prod/x"), harness.respond(json!({"a": 1})));
    assert_eq!(status_and_body(&response), (200, "{\"a\":1}"));
    assert_eq!(event["requestContext"]["stage"], "prod");
    assert_eq!(event["rawPath"], "/prod/x");
}

#[tokio::test]
async fn a_failed_function_is_500_and_a_timeout_503() {
    let harness = Harness::start(Harness::long_timeout).await;
    let fail = async {
        let error = "{\"errorType\":\"E\",\"errorMessage\":\"m\"}";
        assert_eq!(
            harness.next().await.complete("error", error).await,
            StatusCode::ACCEPTED
        );
    };
    let (response, ()) = tokio::join!(harness.get("/"), fail);
    assert_eq!(
        status_and_body(&response),
        (500, "{\"message\":\"Internal Server Error\"}")
    );
    let time_out = async {
        let invocation = harness.next().await;
        advance(Duration::from_secs(31)).await;
        invocation
    };
    let (response, invocation) = tokio::join!(harness.get("/"), time_out);
    assert_eq!(
        status_and_body(&response),
        (503, "{\"message\":\"Service Unavailable\"}")
    );
    drop(invocation);
}

#[tokio::test]
async fn requests_over_the_limits_are_rejected() {
    let harness = Harness::start(|_| {}).await;
    let http = harness.emulator.addresses().http;
    let long = "x".repeat(10_240);
    let response = send(http, Method::GET, "/", &[("a", &long)], "").await;
    assert_eq!(
        response.status(),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    // The body is under 10 MB, and the event with its base64 over 6 MB.
    let body = "x".repeat(5 << 20);
    let response = send(http, Method::POST, "/", &[], &body).await;
    assert_eq!(
        status_and_body(&response),
        (413, "{\"message\":\"Request Entity Too Large\"}")
    );
}
