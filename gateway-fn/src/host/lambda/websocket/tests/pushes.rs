//! Messages by `@connections`, and requests that the function sends itself asynchronously.

use super::*;

fn by_connections() -> WebSocketConfig {
    WebSocketConfig {
        route_response: false,
        ..Default::default()
    }
}

fn pushing() -> WebSocketConfig {
    WebSocketConfig {
        push: true,
        ..Default::default()
    }
}

const POST: &str = "POST /@connections/J_qOZd8dIAMCJhw%3D";
const GET: &str = "GET /@connections/J_qOZd8dIAMCJhw%3D";

/// How `@connections` answers when it throttles.
const THROTTLED: (u16, &str) = (429, r#"{"__type": "LimitExceededException"}"#);

/// How an emulator answers for a client that has disconnected, without the exception's name.
const GONE: (u16, &str) = (410, "");

#[tokio::test]
async fn without_route_responses_a_response_goes_by_connections() {
    let aws = Aws::start().await;
    let events = events("pass_through", &aws, &by_connections());
    let response = events
        .respond(event("message", |_| {}), &lambda(LONG))
        .await;
    assert_eq!(response, json!({"statusCode": 200}));
    let [(request, body)] = &aws.calls()[..] else {
        panic!("{:?}", aws.requests())
    };
    assert_eq!(request, POST);
    let sent: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(sent["data"][0]["text"], "hello");
}

#[tokio::test]
async fn an_emulators_deadline_is_ignored() {
    let aws = Aws::start().await;
    let events = events("pass_through", &aws, &by_connections());
    let mut lambda = lambda(LONG);
    lambda.deadline = 600_000;
    events.respond(event("message", |_| {}), &lambda).await;
    assert_eq!(aws.requests(), [POST]);
}

#[tokio::test]
async fn a_large_response_is_sent_in_parts_and_a_larger_one_is_an_error() {
    let aws = Aws::start().await;
    let many = events("many", &aws, &WebSocketConfig::default());
    let response = many.respond(event("message", |_| {}), &lambda(LONG)).await;
    assert_eq!(response, json!({"statusCode": 200}));
    let mut documents = Vec::new();
    for (index, (request, body)) in aws.calls().iter().enumerate() {
        assert_eq!(request, POST);
        assert!(body.len() <= limits::MAX_WEBSOCKET_MESSAGE_BYTES);
        let sent: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(sent["part"], json!({"index": index, "of": 4}));
        documents.extend(sent["data"].as_array().expect("a list").clone());
    }
    let ids: Vec<_> = documents.iter().map(|document| &document["id"]).collect();
    assert_eq!(ids, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);

    let huge = events("huge", &aws, &WebSocketConfig::default());
    let response = huge.respond(event("message", |_| {}), &lambda(LONG)).await;
    assert_eq!(body(&response)["error"]["status"], 413);
}

#[tokio::test]
async fn throttled_calls_are_retried() {
    let aws = Aws::answering(&[THROTTLED, (500, ""), THROTTLED]).await;
    let events = events("pass_through", &aws, &by_connections());
    events
        .respond(event("message", |_| {}), &lambda(LONG))
        .await;
    assert_eq!(aws.requests(), [POST; 4]);
}

#[tokio::test]
async fn no_parts_are_sent_after_a_client_has_disconnected() {
    let aws = Aws::answering(&[(200, ""), GONE]).await;
    let many = events("many", &aws, &WebSocketConfig::default());
    let response = many.respond(event("message", |_| {}), &lambda(LONG)).await;
    assert_eq!(response, json!({"statusCode": 200}));
    assert_eq!(aws.requests(), [POST; 2], "of four parts");
}

#[tokio::test]
async fn a_client_gets_an_error_when_parts_cannot_be_sent() {
    let aws = Aws::answering(&[(200, ""), (403, "")]).await;
    let many = events("many", &aws, &WebSocketConfig::default());
    let response = many.respond(event("message", |_| {}), &lambda(LONG)).await;
    assert_eq!(aws.requests(), [POST; 2], "of four parts");
    let error = &body(&response)["error"];
    assert_eq!(
        (&error["request_id"], &error["status"]),
        (&"mine".into(), &502.into())
    );
    assert_eq!(
        error["detail"],
        "the response could not be sent: @connections refused the call with status 403"
    );
}

#[tokio::test]
async fn an_error_names_the_variable_that_connections_lack() {
    use super::aws::Lacking;
    for (lacking, variable) in [
        (Lacking::Region, "AWS_REGION"),
        (Lacking::Credentials, "AWS_ACCESS_KEY_ID"),
    ] {
        let aws = Aws::start().await;
        let mut many = events("many", &aws, &WebSocketConfig::default());
        many.connections = aws.connections_lacking(Some(lacking));
        let response = many.respond(event("message", |_| {}), &lambda(LONG)).await;
        let error = &body(&response)["error"];
        assert_eq!(
            (&error["status"], &error["code"]),
            (&502.into(), &1011.into())
        );
        let detail = error["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(variable), "{detail}");
        assert_eq!(aws.requests(), [""; 0]);
    }
}

/// Sends a message, and returns the asynchronous event with which the function invokes itself.
async fn async_event(executor: &str) -> Value {
    let aws = Aws::answering(&[(202, "")]).await;
    let events = events(executor, &aws, &pushing());
    let response = events
        .respond(event("message", |_| {}), &lambda(LONG))
        .await;
    assert_eq!(response, json!({"statusCode": 200}));
    let [(request, body)] = &aws.calls()[..] else {
        panic!("{:?}", aws.requests())
    };
    let function = "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Agateway";
    assert_eq!(
        *request,
        format!("POST /2015-03-31/functions/{function}/invocations")
    );
    serde_json::from_str(body).expect("JSON")
}

/// Returns the messages that were sent, and checks that the only other calls are GET.
fn sent_messages(aws: &Aws) -> Vec<Value> {
    let calls = aws.calls();
    let posts = calls.iter().filter(|(request, _)| request != GET);
    let messages = posts.map(|(request, body)| {
        assert_eq!(request, POST);
        serde_json::from_str(body).expect("JSON")
    });
    messages.collect()
}

#[tokio::test]
async fn an_asynchronous_request_is_answered_once() {
    let event = async_event("pass_through").await;
    assert_eq!(event[push::KEY]["version"], 1);
    let connection = json!({"id": CONNECTION, "apiId": "a1b2c3d4e5", "stage": "prod"});
    assert_eq!(event[push::KEY]["connection"], connection, "and no host");
    let aws = Aws::start().await;
    let events = events("pass_through", &aws, &pushing());
    for _ in 0..3 {
        events.respond_to_push(event.clone(), &lambda(LONG)).await;
    }
    let [response] = &sent_messages(&aws)[..] else {
        panic!("{:?}", aws.requests())
    };
    assert_eq!(response["header"]["request_id"], "mine");
    assert_eq!(response["data"][0]["text"], "hello");
}

#[tokio::test]
async fn an_asynchronous_request_ends_with_an_error_before_lambda_stops_the_invocation() {
    let event = async_event("never").await;
    let aws = Aws::start().await;
    let events = events("never", &aws, &pushing());
    let short = lambda(Duration::from_millis(1000));
    events.respond_to_push(event, &short).await;
    let [error] = &sent_messages(&aws)[..] else {
        panic!("{:?}", aws.requests())
    };
    assert_eq!(error["error"]["status"], 504);
    assert_eq!(error["error"]["request_id"], "mine");
}

#[tokio::test]
async fn an_asynchronous_request_ends_when_its_client_has_disconnected() {
    let event = async_event("never").await;
    let aws = Aws::answering(&[GONE]).await;
    let events = events("never", &aws, &pushing());
    events.respond_to_push(event, &lambda(LONG)).await;
    assert_eq!(aws.requests(), [GET]);
}

#[tokio::test]
async fn a_disconnect_cancels_an_asynchronous_request() {
    let asynchronous = async_event("never").await;
    let aws = Aws::start().await;
    let events = events("never", &aws, &pushing());
    let lambda = lambda(LONG);
    let pushed = events.respond_to_push(asynchronous, &lambda);
    let disconnect = async {
        aws.wait_for_call().await;
        events.respond(event("disconnect", |_| {}), &lambda).await
    };
    tokio::join!(pushed, disconnect);
    assert_eq!(sent_messages(&aws), [Value::Null; 0]);
}

#[tokio::test]
async fn a_failed_asynchronous_invocation_is_an_error_message() {
    let aws = Aws::answering(&[(403, "")]).await;
    let events = events("pass_through", &aws, &pushing());
    let response = events
        .respond(event("message", |_| {}), &lambda(LONG))
        .await;
    let response = body(&response);
    assert_eq!(response["error"]["request_id"], "mine");
    assert_eq!(response["error"]["status"], 502);
    assert_eq!(
        response["error"]["detail"],
        "the function could not be invoked asynchronously: the Gateway is not allowed to invoke the function \
         (lambda:InvokeFunction)"
    );
}

#[tokio::test(start_paused = true)]
async fn failed_checks_of_the_connection_are_repeated() {
    let event = async_event("never").await;
    let aws = Aws::answering(&[(500, ""); 7]).await;
    let events = events("never", &aws, &pushing());
    let lambda = lambda(LONG);
    let mut pushed = Box::pin(events.respond_to_push(event, &lambda));
    let checked_again = async {
        while aws.requests().len() < 8 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        _ = &mut pushed => panic!("it goes on"),
        () = checked_again => {}
    }
}

#[tokio::test]
async fn pings_and_invalid_messages_are_answered_at_once() {
    let aws = Aws::start().await;
    let events = events("pass_through", &aws, &pushing());
    let pong = events.respond(message("ping"), &lambda(LONG)).await;
    assert_eq!(pong["body"], "pong");
    let invalid = events.respond(message("{\"a\":1}"), &lambda(LONG)).await;
    assert_eq!(body(&invalid)["error"]["code"], 1008);
    assert_eq!(aws.requests(), [""; 0]);
}

#[tokio::test]
async fn an_invalid_asynchronous_event_does_not_fail_the_invocation() {
    let aws = Aws::start().await;
    let events = events("pass_through", &aws, &pushing());
    let mut newer = async_event("pass_through").await;
    newer[push::KEY]["version"] = 2.into();
    for event in [newer, json!({push::KEY: {}}), json!({push::KEY: 1})] {
        events.respond_to_push(event, &lambda(LONG)).await;
    }
    assert_eq!(aws.requests(), [""; 0]);
}
