//! The HTTP API: requests to events, and answers or refusals back.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;

use super::{Bench, after, said, send};

#[tokio::test]
async fn an_http_request_reaches_the_function_and_its_answer_the_client() {
    let bench = Bench::start(|_| {}).await;
    let answer = json!({"statusCode": 202, "body": "done", "cookies": ["a=1"]});
    let (answered, event) = tokio::join!(bench.get("/x?y=1"), bench.serve(answer));
    assert_eq!(said(&answered), (202, "done"));
    assert_eq!(answered.headers()["set-cookie"], "a=1");
    assert_eq!(
        (&event["rawPath"], &event["rawQueryString"]),
        (&json!("/x"), &json!("y=1"))
    );
    bench.local.stop().await;
}

#[tokio::test]
async fn a_stage_with_a_name_is_the_beginning_of_every_path() {
    let bench = Bench::start(|options| options.stage = "prod".to_owned()).await;
    assert_eq!(
        said(&bench.get("/x").await),
        (404, "{\"message\":\"Not Found\"}")
    );
    let (answered, event) = tokio::join!(bench.get("/prod/x"), bench.serve(json!({"a": 1})));
    assert_eq!(said(&answered), (200, "{\"a\":1}"));
    assert_eq!(event["requestContext"]["stage"], "prod");
    assert_eq!(event["rawPath"], "/prod/x");
}

#[tokio::test]
async fn a_function_that_fails_is_500_and_one_that_is_late_503() {
    let bench = Bench::start(Bench::never_late).await;
    let fail = async {
        let error = "{\"errorType\":\"E\",\"errorMessage\":\"m\"}";
        assert_eq!(
            bench.next().await.end("error", error).await,
            StatusCode::ACCEPTED
        );
    };
    let (answered, ()) = tokio::join!(bench.get("/"), fail);
    assert_eq!(
        said(&answered),
        (500, "{\"message\":\"Internal Server Error\"}")
    );
    let late = async {
        let late = bench.next().await;
        after(Duration::from_secs(31)).await;
        late
    };
    let (answered, late) = tokio::join!(bench.get("/"), late);
    assert_eq!(
        said(&answered),
        (503, "{\"message\":\"Service Unavailable\"}")
    );
    drop(late);
}

#[tokio::test]
async fn requests_over_the_limits_are_refused() {
    let bench = Bench::start(|_| {}).await;
    let http = bench.local.addresses().http;
    let long = "x".repeat(10_240);
    let answer = send(http, Method::GET, "/", &[("a", &long)], "").await;
    assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    // Under 10 MB, and over 6 MB in base64.
    let body = "x".repeat(5 << 20);
    let answer = send(http, Method::POST, "/", &[], &body).await;
    assert_eq!(
        said(&answer),
        (413, "{\"message\":\"Request Entity Too Large\"}")
    );
}
