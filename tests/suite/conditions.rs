//! `when`: which documents each branch gets, what the client gets back, and how a condition that cannot be evaluated is
//! reported.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use executor_fn::{Executor, Reply, Request, struct_from_json};
use flowgate_config::Protocol;
use flowgate_proto::{DataRequest, docarray::DocumentProto, jina::HeaderProto};
use flowgate_tests::{
    client::{RawGrpc, post},
    executors::{tag, text, text_of},
    flow::ServedGateway,
};
use gateway::gateway::Registry;
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::golden::GoldenFlow;

const SINGLE: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";

/// Creates documents `d0`, `d1`, ... with these values as their tag `x`; null leaves the tag out.
fn documents(tags: &[Value]) -> Vec<DocumentProto> {
    let document = |(number, x): (usize, &Value)| {
        let mut document = text(&format!("d{number}"), "t");
        if !x.is_null() {
            document.tags = Some(struct_from_json(json!({"x": x})).expect("an object"));
        }
        document
    };
    tags.iter().enumerate().map(document).collect()
}

/// Ids and texts of the response over gRPC, in its order.
async fn send_over_grpc(
    gateway: &ServedGateway,
    endpoint: &str,
    tags: &[Value],
) -> Result<Vec<(String, String)>, Status> {
    let header = HeaderProto {
        exec_endpoint: Some(endpoint.to_owned()),
        ..Default::default()
    };
    let request: Bytes = DataRequest {
        header,
        documents: documents(tags).into(),
        ..Default::default()
    }
    .encode_to_vec()
    .into();
    let mut client = RawGrpc::new(&gateway.authority(Protocol::Grpc));
    let response = client.unary(SINGLE, tonic::Request::new(request)).await?;
    let response = DataRequest::decode(response.into_inner()).expect("a request");
    let documents = response.documents.into_vec().expect("documents");
    Ok(documents
        .iter()
        .map(|document| (document.id.clone(), text_of(document).to_owned()))
        .collect())
}

/// Sends the documents over HTTP and returns ids and texts, or the status and the body if it is not 200.
async fn send_over_http(
    gateway: &ServedGateway,
    endpoint: &str,
    tags: &[Value],
) -> Result<Vec<(String, String)>, (u16, Value)> {
    let data: Vec<Value> = tags
        .iter()
        .enumerate()
        .map(|(number, x)| match x {
            Value::Null => json!({"id": format!("d{number}"), "text": "t"}),
            x => json!({"id": format!("d{number}"), "text": "t", "tags": {"x": x}}),
        })
        .collect();
    let body = json!({"data": data, "execEndpoint": endpoint});
    let response = post(&gateway.authority(Protocol::Http), &body).await;
    if response.status != 200 {
        return Err((response.status, response.json()));
    }
    let member = |document: &Value, key: &str| document[key].as_str().expect("text").to_owned();
    Ok(response.json()["data"]
        .as_array()
        .expect("documents")
        .iter()
        .map(|document| (member(document, "id"), member(document, "text")))
        .collect())
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(id, text)| ((*id).to_owned(), (*text).to_owned()))
        .collect()
}

#[tokio::test]
async fn each_branch_gets_its_documents_and_the_client_the_original_order() {
    let running = GoldenFlow::start("conditions").await;
    let tags = [json!(2), json!(1), json!("1"), json!(1.0), Value::Null];
    let expected = pairs(&[
        ("d0", "t+a+c+j"),
        ("d1", "t+a+b+j"),
        ("d2", "t+a+c+j"),
        ("d3", "t+a+b+j"),
        ("d4", "t+a+c+j"),
    ]);
    let gateway = &running.gateway;
    assert_eq!(
        send_over_http(gateway, "/", &tags).await,
        Ok(expected.clone())
    );
    let response = send_over_grpc(gateway, "/", &tags).await;
    assert_eq!(response.expect("a response"), expected);
    running.stop().await;
}

#[tokio::test]
async fn documents_added_by_a_branch_come_last() {
    let running = GoldenFlow::start("conditions").await;
    let tags = [json!(2), json!(1)];
    let expected = pairs(&[
        ("d0", "t+a+c+j"),
        ("d1", "t+a+b+j"),
        ("new-b", "from b+j"),
        ("new-c", "from c+j"),
    ]);
    let gateway = &running.gateway;
    assert_eq!(
        send_over_http(gateway, "/order", &tags).await,
        Ok(expected.clone())
    );
    let response = send_over_grpc(gateway, "/order", &tags).await;
    assert_eq!(response.expect("a response"), expected);
    running.stop().await;
}

/// Creates in-process Executors that add their name to every text and count their documents.
fn counting_executors(names: &[&'static str]) -> (Registry, Vec<Arc<AtomicUsize>>) {
    let mut registry = Registry::default();
    let mut counts = Vec::new();
    for name in names.iter().copied() {
        let count = Arc::new(AtomicUsize::new(0));
        counts.push(Arc::clone(&count));
        registry = registry.with(name, move || marking_executor(name, &count));
    }
    (registry, counts)
}

fn marking_executor(name: &'static str, count: &Arc<AtomicUsize>) -> Executor {
    let count = Arc::clone(count);
    Executor::new("Marking").on_default(move |request: Request| {
        count.fetch_add(request.documents().len(), Ordering::SeqCst);
        async move {
            let mut documents = request.into_documents();
            for document in &mut documents {
                *document = text(&document.id, &format!("{}+{name}", text_of(document)));
            }
            Ok(Reply::documents(documents))
        }
    })
}

const HEAD: &str = "jtype: Flow\ngateway: {protocol: [grpc, http], port: [0, 0]}\nexecutors:\n";

#[tokio::test]
async fn a_document_that_matches_no_branch_is_dropped() {
    let (registry, counts) = counting_executors(&["b", "c", "j"]);
    let yaml = format!(
        "{HEAD}  - {{name: b, uses: 'inproc://b', needs: gateway, when: {{tags__x: {{$eq: 1}}}}}}\n  \
         - {{name: c, uses: 'inproc://c', needs: gateway, when: {{tags__x: {{$eq: 2}}}}}}\n  \
         - {{name: j, uses: 'inproc://j', needs: [b, c]}}\n"
    );
    let gateway = ServedGateway::start_with(&yaml, &registry).await;
    let tags = [json!(3), json!(2), Value::Null, json!(1)];
    let expected = pairs(&[("d1", "t+c+j"), ("d3", "t+b+j")]);
    assert_eq!(
        send_over_http(&gateway, "/", &tags).await,
        Ok(expected.clone())
    );
    let response = send_over_grpc(&gateway, "/", &tags).await;
    assert_eq!(response.expect("a response"), expected);
    // When nothing matches, the Executors are still called, with no documents.
    assert_eq!(
        send_over_http(&gateway, "/", &[json!(9)]).await,
        Ok(Vec::new())
    );
    let totals: Vec<_> = counts
        .iter()
        .map(|count| count.load(Ordering::SeqCst))
        .collect();
    assert_eq!(totals, [2, 2, 4]);
    gateway.stop().await;
}

#[tokio::test]
async fn a_document_that_cannot_be_compared_is_the_clients_error() {
    let (registry, counts) = counting_executors(&["b"]);
    let yaml =
        format!("{HEAD}  - {{name: b, uses: 'inproc://b', when: {{tags__x: {{$gt: 1}}}}}}\n");
    let gateway = ServedGateway::start_with(&yaml, &registry).await;
    let tags = [json!(2), json!("two")];
    let (status, body) = send_over_http(&gateway, "/", &tags)
        .await
        .expect_err("rejected");
    assert_eq!(status, 422, "{body}");
    let error = &body["detail"][0];
    assert!(error["msg"].to_string().contains("tags__x"), "{body}");
    // The error is in the document, not in the target.
    assert!(!error["loc"].to_string().contains("target"), "{body}");
    let status = send_over_grpc(&gateway, "/", &tags)
        .await
        .expect_err("rejected");
    assert_eq!(status.code(), Code::Unknown, "{status}");
    for part in ["executor `b`", "tags__x", "a string", "a number"] {
        assert!(status.message().contains(part), "{status}");
    }
    assert_eq!(
        counts[0].load(Ordering::SeqCst),
        0,
        "no Executor was called"
    );
    // The next request is not affected.
    let response = send_over_http(&gateway, "/", &[json!(2)]).await;
    assert_eq!(response, Ok(pairs(&[("d0", "t+b")])));
    gateway.stop().await;
}

#[tokio::test]
async fn a_failing_condition_of_a_floating_executor_does_not_fail_the_request() {
    // Directly after the Gateway, and after an Executor.
    for needs in ["gateway", "a"] {
        let (registry, counts) = counting_executors(&["a", "f"]);
        let yaml = format!(
            "{HEAD}  - {{name: a, uses: 'inproc://a'}}\n  \
             - {{name: f, uses: 'inproc://f', needs: {needs}, floating: true, when: {{tags__x: {{$gt: 1}}}}}}\n  \
             - {{name: e, uses: 'inproc://e', needs: a}}\n"
        );
        let registry = registry.with("e", || tag("e"));
        let gateway = ServedGateway::start_with(&yaml, &registry).await;
        let tags = [json!(2), json!("two")];
        let expected = pairs(&[("d0", "t+a+e"), ("d1", "t+a+e")]);
        assert_eq!(
            send_over_http(&gateway, "/", &tags).await,
            Ok(expected.clone()),
            "needs {needs}"
        );
        let response = send_over_grpc(&gateway, "/", &tags).await;
        assert_eq!(response.expect("a response"), expected, "needs {needs}");
        gateway.stop().await;
        assert_eq!(counts[1].load(Ordering::SeqCst), 0, "needs {needs}");
    }
}
