//! Invocations without a front door: by another Gateway, and with plain JSON.

use super::*;

#[tokio::test]
async fn the_function_is_an_executor_of_other_gateways() {
    let function = function("");
    let list = DataRequestListProto {
        requests: vec![hello()],
    };
    let sent = invoke(&list.encode_to_vec());
    let response = respond(&function, &sent).await.to_string();
    let read = InvocationResponse::from_json(&response).expect("a response");
    let message: DataRequest = read.decode_message(1 << 20).expect("a message");
    assert_eq!(message.documents.decode().expect("documents").len(), 2);
    let call = async |call| {
        let sent = flowgate_proto::invoke::Invocation::new(call);
        let sent: Value = serde_json::from_slice(&sent.to_json().expect("JSON")).expect("JSON");
        respond(&function, &sent).await.to_string()
    };
    let endpoints = call(Call::Endpoints).await;
    let endpoints = InvocationResponse::from_json(&endpoints).expect("a response");
    let endpoints: EndpointsProto = endpoints.decode_message(1 << 20).expect("a message");
    assert_eq!(endpoints.endpoints, ["/default"]);
    let status = call(Call::Status).await;
    let status = InvocationResponse::from_json(&status).expect("a response");
    let status: JinaInfoProto = status.decode_message(1 << 20).expect("a message");
    assert_eq!(status.envs["AWS_REGION"], "eu-west-1");
}

#[tokio::test]
async fn an_invocation_with_plain_json_is_a_post() {
    let function = function("no_debug_endpoints: true");
    let plain_json: Value = serde_json::from_str(HELLO).expect("JSON");
    assert_eq!(
        respond(&function, &plain_json).await["data"][0]["text"],
        "hello"
    );
    for (sent, kind) in [
        (
            json!({"data": 5, "execEndpoint": "/"}),
            "Flowgate.BadPayload",
        ),
        (json!({"flowgate": 2}), "Flowgate.BadPayload"),
        (json!({"Records": []}), "Flowgate.UnknownEvent"),
        (
            json!({"flowgate": 1, "call": "process"}),
            "Flowgate.BadPayload",
        ),
        (json!({}), "Flowgate.UnknownEvent"),
        (json!({"foo": 1}), "Flowgate.UnknownEvent"),
    ] {
        let Err(refused) = try_respond(&function, &sent).await else {
            panic!("{sent}");
        };
        assert_eq!(refused.error_type, kind, "{sent}");
    }
}

/// A Gateway that sends its request uncompressed must receive a large response too.
#[tokio::test]
async fn a_large_response_to_a_gateway_is_compressed() {
    let function = function("");
    let mut request = hello();
    let document = DocumentProto {
        id: "a".repeat(6 << 20),
        ..Default::default()
    };
    request.documents = vec![document].into();
    let list = DataRequestListProto {
        requests: vec![request],
    };
    let plain =
        flowgate_proto::invoke::Invocation::process(&list.encode_to_vec(), Compression::None);
    let sent = plain.expect("plain").to_json().expect("JSON");
    let sent: Value = serde_json::from_slice(&sent).expect("JSON");
    let response = respond(&function, &sent).await;
    assert_eq!(response["encoding"], "zstd");
}

#[tokio::test]
async fn a_payload_that_is_too_large_is_refused_with_the_limit() {
    let function = function("limits: {max_message_bytes: 7}");
    let Err(refused) = try_respond(&function, &json!({"data": []})).await else {
        panic!("a response");
    };
    assert_eq!(refused.error_type, "Flowgate.RequestTooLarge");
    assert!(
        refused.error_message.contains("7 bytes"),
        "{}",
        refused.error_message
    );
}

/// The Flow's only Executor cannot be reached, so an answer shows that it did not run.
#[tokio::test]
async fn a_warmer_is_answered_without_the_flow() {
    let function = flow(
        "jtype: Flow\ngateway: {retries: 0}\nexecutors: [{name: gone, external: true, host: 127.0.0.1, port: 9}]\n",
    );
    for sent in [
        json!({"source": "serverless-plugin-warmup"}),
        json!({"warmer": true, "concurrency": 1}),
        json!({"version": "0", "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}),
    ] {
        assert_eq!(
            respond(&function, &sent).await,
            json!({"warm": true}),
            "{sent}"
        );
    }
}

/// Each runs no Flow, and its error says what came.
#[tokio::test]
async fn an_event_of_another_service_is_an_error_that_names_it() {
    let function = function("");
    for (sent, service) in [
        (
            json!({"Records": [{"eventSource": "aws:sqs", "body": HELLO}]}),
            "Amazon SQS",
        ),
        (
            json!({"records": [], "deliveryStreamArn": "arn"}),
            "Amazon Data Firehose",
        ),
        (
            json!({"type": "TOKEN", "authorizationToken": "a", "methodArn": "arn"}),
            "an API Gateway authorizer",
        ),
        (
            json!({"detail-type": "Object Created", "source": "aws.s3", "detail": {}}),
            "Amazon EventBridge",
        ),
    ] {
        let Err(refused) = try_respond(&function, &sent).await else {
            panic!("{sent}");
        };
        assert_eq!(refused.error_type, "Flowgate.UnknownEvent");
        let text = refused.error_message;
        assert!(
            text.contains(service) && text.contains("POST /post"),
            "{text}"
        );
    }
}
