//! Requests too large for a payload: they are compressed, then split by documents, or rejected.

use executor_fn::{Error, Executor, Reply, Request};
use flowgate_config::Protocol;
use flowgate_proto::{
    Compression, DataRequest, MAY_HAVE_RUN_TRAILER, docarray::document_proto::Content,
};
use flowgate_tests::{
    client::post,
    executors::tag,
    lambda_api::{LambdaApi, ScriptedResponse},
};
use serde_json::json;
use tonic::Code;

use super::{blobs, send, single_function};

fn ids(request: &DataRequest) -> Vec<String> {
    let documents = request.documents.decode().expect("documents");
    documents
        .iter()
        .map(|document| document.id.clone())
        .collect()
}

#[tokio::test]
async fn a_request_too_large_for_a_payload_is_compressed() {
    let api = LambdaApi::start().await;
    api.serve(
        "e",
        Executor::new("E").on_default(async |_: Request| Ok(Reply::unchanged())),
    );
    let gateway = single_function(&api, "").await;
    let mut request = blobs(1, 8);
    request.documents.edit(|documents| {
        documents[0].content = Some(Content::Blob(vec![7; 5 << 20].into()));
    });
    assert_eq!(
        ids(&send(&gateway, &request).await.expect("a response")),
        ["d0"]
    );
    let sent = api.process_invocations();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].invocation().encoding(), Compression::Zstd);
    assert!(sent[0].payload.len() < 10_000);
    gateway.stop().await;
    api.stop().await;
}

#[tokio::test]
async fn a_request_too_large_when_compressed_is_split_and_its_responses_joined() {
    let api = LambdaApi::start().await;
    let counts = Executor::new("E").on_default(async |request: Request| {
        let count = request.documents().len();
        let results = executor_fn::struct_from_json(json!({"count": count}))?;
        Ok(Reply::results(results))
    });
    api.serve("e", counts);
    let gateway = single_function(&api, "").await;
    let request = blobs(5, 2 << 20);
    let response = send(&gateway, &request).await.expect("a response");
    assert_eq!(ids(&response), ["d0", "d1", "d2", "d3", "d4"]);
    assert_eq!(response.documents, request.documents);
    assert_eq!(response.header.request_id, "r1");
    let results = response.parameters.decode().expect("parameters");
    assert_eq!(
        format!("{:?}", results.fields["__results__"])
            .matches("\"count\"")
            .count(),
        3
    );
    let sent = api.process_invocations();
    let sizes: Vec<_> = sent.iter().map(|sent| sent.payload.len()).collect();
    assert_eq!(sizes.len(), 3, "2 + 1 + 2 documents: {sizes:?}");
    gateway.stop().await;
    api.stop().await;
}

#[tokio::test]
async fn an_error_of_one_part_is_the_error_of_the_request() {
    let api = LambdaApi::start().await;
    let picky = Executor::new("E").on_default(async |request: Request| {
        match request
            .documents()
            .iter()
            .any(|document| document.id == "d3")
        {
            true => Err(Error::value_error("not d3")),
            false => Ok(Reply::unchanged()),
        }
    });
    api.serve("e", picky);
    let gateway = single_function(&api, "").await;
    let response = send(&gateway, &blobs(4, 2 << 20))
        .await
        .expect("a response");
    let status = response.header.status.clone().expect("a status");
    assert!(status.description.contains("not d3"), "{status:?}");
    assert_eq!(ids(&response), ["d0", "d1", "d2", "d3"]);
    gateway.stop().await;
    api.stop().await;
}

/// A Gateway in front would otherwise repeat the parts that have run.
#[tokio::test]
async fn a_split_request_whose_part_failed_may_have_run() {
    let api = LambdaApi::start().await;
    api.serve("e", tag("e"));
    let gateway = single_function(&api, ", retries: 0").await;
    api.script("e", ScriptedResponse::api_error(503, "ServiceException"));
    let status = send(&gateway, &blobs(4, 2 << 20)).await;
    let status = status.expect_err("a failed part");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.metadata().contains_key(MAY_HAVE_RUN_TRAILER));
    gateway.stop().await;
    api.stop().await;
}

#[tokio::test]
async fn a_request_that_cannot_be_split_is_rejected_before_any_invocation() {
    let api = LambdaApi::start().await;
    api.serve("e", tag("e"));
    let gateway = single_function(&api, "").await;
    let status = send(&gateway, &blobs(1, 6 << 20))
        .await
        .expect_err("too large");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    for part in ["deployment e", "8388", "6291", "a single document"] {
        assert!(status.message().contains(part), "{part}: {status}");
    }
    assert_eq!(api.process_invocations().len(), 0);
    let body = json!({"data": [{"text": "x"}]});
    assert_eq!(
        post(&gateway.authority(Protocol::Http), &body).await.status,
        200
    );
    gateway.stop().await;
    api.stop().await;
}
