//! Answers by `@connections`, and the function's own asynchronous event.

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

/// What `@connections` says of throttling.
const THROTTLED: (u16, &str) = (429, r#"{"__type": "LimitExceededException"}"#);

/// As an emulator says it, without the exception's name.
const GONE: (u16, &str) = (410, "");

#[tokio::test]
async fn without_a_route_response_an_answer_goes_by_connections() {
    let aws = Aws::start().await;
    let events = events("pass_through", &aws, &by_connections());
    let answer = events.take(event("message", |_| {}), &lambda(LONG)).await;
    assert_eq!(answer, json!({"statusCode": 200}));
    let [(asked, sent)] = &aws.calls()[..] else {
        panic!("{:?}", aws.asked())
    };
    assert_eq!(asked, POST);
    let sent: Value = serde_json::from_str(sent).expect("JSON");
    assert_eq!(sent["data"][0]["text"], "hello");
}

#[tokio::test]
async fn an_emulator_that_knows_no_deadline_sets_none() {
    let aws = Aws::start().await;
    let events = events("pass_through", &aws, &by_connections());
    let mut lambda = lambda(LONG);
    lambda.deadline = 600_000;
    events.take(event("message", |_| {}), &lambda).await;
    assert_eq!(aws.asked(), [POST]);
}

#[tokio::test]
async fn a_large_answer_comes_in_parts_and_one_too_large_as_an_error() {
    let aws = Aws::start().await;
    let many = events("many", &aws, &WebSocketConfig::default());
    let answer = many.take(event("message", |_| {}), &lambda(LONG)).await;
    assert_eq!(answer, json!({"statusCode": 200}));
    let mut documents = Vec::new();
    for (index, (asked, sent)) in aws.calls().iter().enumerate() {
        assert_eq!(asked, POST);
        assert!(sent.len() <= limits::WEBSOCKET_MESSAGE_BYTES);
        let sent: Value = serde_json::from_str(sent).expect("JSON");
        assert_eq!(sent["part"], json!({"index": index, "of": 4}));
        documents.extend(sent["data"].as_array().expect("a list").clone());
    }
    let ids: Vec<_> = documents.iter().map(|document| &document["id"]).collect();
    assert_eq!(ids, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);

    let huge = events("huge", &aws, &WebSocketConfig::default());
    let answer = huge.take(event("message", |_| {}), &lambda(LONG)).await;
    assert_eq!(body(&answer)["error"]["status"], 413);
}

#[tokio::test]
async fn throttling_is_waited_out() {
    let aws = Aws::saying(&[THROTTLED, (500, ""), THROTTLED]).await;
    let events = events("pass_through", &aws, &by_connections());
    events.take(event("message", |_| {}), &lambda(LONG)).await;
    assert_eq!(aws.asked(), [POST; 4]);
}

#[tokio::test]
async fn a_client_that_is_gone_gets_no_further_parts() {
    let aws = Aws::saying(&[(200, ""), GONE]).await;
    let many = events("many", &aws, &WebSocketConfig::default());
    let answer = many.take(event("message", |_| {}), &lambda(LONG)).await;
    assert_eq!(answer, json!({"statusCode": 200}));
    assert_eq!(aws.asked(), [POST; 2], "of four parts");
}

#[tokio::test]
async fn a_client_is_told_of_parts_that_cannot_be_sent() {
    let aws = Aws::saying(&[(200, ""), (403, "")]).await;
    let many = events("many", &aws, &WebSocketConfig::default());
    let answer = many.take(event("message", |_| {}), &lambda(LONG)).await;
    assert_eq!(aws.asked(), [POST; 2], "of four parts");
    let error = &body(&answer)["error"];
    assert_eq!(
        (&error["request_id"], &error["status"]),
        (&"mine".into(), &503.into())
    );
    assert_eq!(
        error["detail"],
        "the answer could not be sent: AWS refused the call with status 403"
    );
}

/// Hands a request over, and gives the event that the function was invoked with.
async fn handed_over(executor: &str) -> Value {
    let aws = Aws::saying(&[(202, "")]).await;
    let events = events(executor, &aws, &pushing());
    let answer = events.take(event("message", |_| {}), &lambda(LONG)).await;
    assert_eq!(answer, json!({"statusCode": 200}));
    let [(asked, sent)] = &aws.calls()[..] else {
        panic!("{:?}", aws.asked())
    };
    let function = "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Agateway";
    assert_eq!(
        *asked,
        format!("POST /2015-03-31/functions/{function}/invocations")
    );
    serde_json::from_str(sent).expect("JSON")
}

/// What was posted, and that nothing else was asked but whether the client is there.
fn posted(aws: &Aws) -> Vec<Value> {
    let calls = aws.calls();
    let posts = calls.iter().filter(|(asked, _)| asked != GET);
    let read = posts.map(|(asked, sent)| {
        assert_eq!(asked, POST);
        serde_json::from_str(sent).expect("JSON")
    });
    read.collect()
}

#[tokio::test]
async fn a_request_that_is_handed_over_is_answered_once() {
    let event = handed_over("pass_through").await;
    assert_eq!(event[push::KEY]["version"], 1);
    let connection = json!({"id": CONNECTION, "apiId": "a1b2c3d4e5", "stage": "prod"});
    assert_eq!(event[push::KEY]["connection"], connection, "and no host");
    let aws = Aws::start().await;
    let events = events("pass_through", &aws, &pushing());
    for _ in 0..3 {
        let answer = events.take_on(event.clone(), &lambda(LONG)).await;
        assert_eq!(answer, Value::Null);
    }
    let [answer] = &posted(&aws)[..] else {
        panic!("{:?}", aws.asked())
    };
    assert_eq!(answer["header"]["request_id"], "mine");
    assert_eq!(answer["data"][0]["text"], "hello");
}

#[tokio::test]
async fn a_pushed_answer_that_comes_too_late_is_told_before_lambda_ends_the_run() {
    let event = handed_over("never").await;
    let aws = Aws::start().await;
    let events = events("never", &aws, &pushing());
    let short = lambda(Duration::from_millis(1000));
    assert_eq!(events.take_on(event, &short).await, Value::Null);
    let [told] = &posted(&aws)[..] else {
        panic!("{:?}", aws.asked())
    };
    assert_eq!(told["error"]["status"], 504);
    assert_eq!(told["error"]["request_id"], "mine");
}

#[tokio::test]
async fn work_for_a_client_that_is_gone_stops() {
    let event = handed_over("never").await;
    let aws = Aws::saying(&[GONE]).await;
    let events = events("never", &aws, &pushing());
    let pushed = events.take_on(event, &lambda(LONG)).await;
    assert_eq!(pushed, Value::Null, "long before its time is over");
    assert_eq!(aws.asked(), [GET]);
}

#[tokio::test]
async fn a_client_that_leaves_stops_its_pushed_work() {
    let asynchronous = handed_over("never").await;
    let aws = Aws::start().await;
    let events = events("never", &aws, &pushing());
    let lambda = lambda(LONG);
    let pushed = events.take_on(asynchronous, &lambda);
    let leave = async {
        aws.a_call().await;
        events.take(event("disconnect", |_| {}), &lambda).await
    };
    let (pushed, _) = tokio::join!(pushed, leave);
    assert_eq!(pushed, Value::Null);
    assert_eq!(posted(&aws), [Value::Null; 0]);
}

#[tokio::test]
async fn a_request_that_cannot_be_handed_over_is_an_error_message() {
    let aws = Aws::saying(&[(403, "")]).await;
    let events = events("pass_through", &aws, &pushing());
    let answer = events.take(event("message", |_| {}), &lambda(LONG)).await;
    let answer = body(&answer);
    assert_eq!(answer["error"]["request_id"], "mine");
    assert_eq!(answer["error"]["status"], 503);
    assert_eq!(
        answer["error"]["detail"],
        "the function could not be invoked asynchronously: the Gateway is not allowed to invoke the function \
         (lambda:InvokeFunction)"
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_refused_for_now_goes_on() {
    let event = handed_over("never").await;
    let aws = Aws::saying(&[(500, ""); 7]).await;
    let events = events("never", &aws, &pushing());
    let lambda = lambda(LONG);
    let mut pushed = Box::pin(events.take_on(event, &lambda));
    let asked_again = async {
        while aws.asked().len() < 8 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        _ = &mut pushed => panic!("it goes on"),
        () = asked_again => {}
    }
}

#[tokio::test]
async fn what_is_no_request_is_answered_at_once() {
    let aws = Aws::start().await;
    let events = events("pass_through", &aws, &pushing());
    let pong = events.take(message("ping"), &lambda(LONG)).await;
    assert_eq!(pong["body"], "pong");
    let wrong = events.take(message("{\"a\":1}"), &lambda(LONG)).await;
    assert_eq!(body(&wrong)["error"]["code"], 1008);
    assert_eq!(aws.asked(), [""; 0]);
}

#[tokio::test]
async fn an_event_that_cannot_be_taken_on_does_not_fail_the_function() {
    let aws = Aws::start().await;
    let events = events("pass_through", &aws, &pushing());
    let mut newer = handed_over("pass_through").await;
    newer[push::KEY]["version"] = 2.into();
    for event in [newer, json!({push::KEY: {}}), json!({push::KEY: 1})] {
        assert_eq!(events.take_on(event, &lambda(LONG)).await, Value::Null);
    }
    assert_eq!(aws.asked(), [""; 0]);
}
