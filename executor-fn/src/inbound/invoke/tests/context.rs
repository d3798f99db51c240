//! What a handler sees of an invocation, and the name under which it answers.

use flowgate_proto::{Kind, Struct};

use super::*;
use crate::CallContext;

/// An Executor that returns what its handler sees of its context.
fn context_reporting() -> Executor {
    let report = |context: &CallContext| {
        let lambda = context.lambda();
        let json = serde_json::json!({
            "executor": context.executor(),
            "traceparent": context.metadata("traceparent"),
            "x-team": context.metadata("x-team"),
            "x-amzn-trace-id": context.metadata("x-amzn-trace-id"),
            "has_deadline": context.deadline().is_some(),
            "request_id": lambda.map(|lambda| &lambda.request_id),
            "tenant": lambda.and_then(|lambda| lambda.tenant_id.as_ref()),
        });
        crate::struct_from_json(json).expect("an object")
    };
    Executor::new("Class")
        .on_default(
            move |request: Request| async move { Ok(Reply::results(report(request.context()))) },
        )
        .batched(
            "/batched",
            Batching {
                preferred_batch_size: 1,
                ..Batching::default()
            },
            move |batch: crate::Batch| async move {
                let tags = report(&batch.contexts[0]);
                let mut documents = batch.documents;
                documents[0].tags = Some(tags);
                Ok(documents)
            },
        )
}

fn lambda_context() -> LambdaContext {
    LambdaContext {
        request_id: "r-1".to_owned(),
        deadline: Some(SystemTime::now() + Duration::from_secs(60)),
        tenant_id: Some("blue".to_owned()),
        xray_trace_id: Some("Root=1-5759e988-bd862e3fe1be46a994272793".to_owned()),
        ..LambdaContext::default()
    }
}

/// The text, or null, that [`context_reporting`] reports under each key.
fn reported(fields: &Struct, key: &str) -> String {
    match fields.fields[key].kind.as_ref().expect("a value") {
        Kind::StringValue(text) => text.clone(),
        Kind::BoolValue(flag) => flag.to_string(),
        Kind::NullValue(_) => "null".to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_handler_sees_the_invocation_and_what_the_caller_passes_on() {
    let service = context_reporting().into_process_service(None);
    let server = InvokeServer::new(service, server(builtin::greeter()).limits);
    for endpoint in ["/", "/batched"] {
        let mut invocation = process(vec![request(endpoint)], Compression::None);
        invocation.executor = Some("node".to_owned());
        let pair = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
        invocation.trace = pair("traceparent", "00-a-b-01");
        invocation.metadata = pair("x-team", "search");
        let text = server.answer(bytes(&invocation), Some(lambda_context()));
        let text = text.await.expect("an answer");
        let answer: DataRequest = InvocationResponse::from_json(&text)
            .and_then(|answer| answer.decode_message(MEBIBYTE))
            .expect("a message");
        let seen = match endpoint {
            "/" => {
                let results = answer.parameters.results().expect("results");
                let results = results.expect("results").fields;
                assert_eq!(results.keys().collect::<Vec<_>>(), ["node/rep-0"]);
                match &results["node/rep-0"].kind {
                    Some(Kind::StructValue(seen)) => seen.clone(),
                    other => panic!("{other:?}"),
                }
            }
            _ => {
                let documents = answer.documents.decode().expect("documents");
                documents[0].tags.clone().expect("tags")
            }
        };
        for (key, expected) in [
            ("executor", "node"),
            ("traceparent", "00-a-b-01"),
            ("x-team", "search"),
            (
                "x-amzn-trace-id",
                "Root=1-5759e988-bd862e3fe1be46a994272793",
            ),
            ("has_deadline", "true"),
            ("request_id", "r-1"),
            ("tenant", "blue"),
        ] {
            assert_eq!(reported(&seen, key), expected, "{endpoint}: {key}");
        }
        assert_eq!(answer.routes[0].executor, "node");
    }
}

#[tokio::test]
async fn a_chosen_name_comes_before_the_name_in_the_flow_and_both_before_the_class() {
    let chosen = Some(Identity::first_replica("chosen"));
    for (identity, node, expected) in [
        (chosen, Some("node"), "chosen"),
        (None, Some("node"), "node"),
        (None, Some(""), "Class"),
        (None, None, "Class"),
    ] {
        let service = context_reporting().into_process_service(identity);
        let server = InvokeServer::new(service, server(builtin::greeter()).limits);
        let mut invocation = process(vec![request("/")], Compression::None);
        invocation.executor = node.map(str::to_owned);
        let (answer, _) = call(&server, &invocation).await.expect("an answer");
        assert_eq!(answer.routes[0].executor, expected);
        let results = answer.parameters.results().expect("results");
        let keys: Vec<_> = results.expect("results").fields.into_keys().collect();
        assert_eq!(keys, [format!("{expected}/rep-0")]);
    }
}
