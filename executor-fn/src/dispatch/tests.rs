//! Jina 3.13's rules for one request: which handler answers it, with which documents, and what the answer holds.

use flowgate_proto::{
    DEFAULT_ENDPOINT, DRY_RUN_ENDPOINT,
    docarray::{DenseNdArrayProto, DocumentProto, document_proto::Content, nd_array_proto},
    jina::status_proto::StatusCode,
};
use prost::Message as _;
use serde_json::json;

use super::*;
use crate::struct_from_json;

mod shared_documents;

fn request(endpoint: &str, ids: &[&str]) -> DataRequest {
    let mut request = DataRequest::default();
    request.header.request_id = "r1".to_owned();
    request.header.exec_endpoint = Some(endpoint.to_owned());
    request.documents = ids.iter().map(|id| document(id)).collect::<Vec<_>>().into();
    request
}

fn document(id: &str) -> DocumentProto {
    DocumentProto {
        id: id.to_owned(),
        content: Some(Content::Text(id.to_owned())),
        ..DocumentProto::default()
    }
}

fn seen_by(mut request: DataRequest, routes: &[&str]) -> DataRequest {
    request.routes = routes.iter().map(|name| route(name)).collect();
    request
}

fn route(name: &str) -> RouteProto {
    RouteProto {
        executor: name.to_owned(),
        ..RouteProto::default()
    }
}

fn with_parameters(mut request: DataRequest, parameters: serde_json::Value) -> DataRequest {
    request.parameters = struct_from_json(parameters).expect("an object").into();
    request
}

/// A service with one handler, bound to `/x`.
fn on_x<Fut>(handler: impl Fn(Request) -> Fut + Send + Sync + 'static) -> Service
where
    Fut: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    Executor::new("Multi")
        .on("/x", handler)
        .into_service(Identity::first_replica("exec0"))
}

fn ids(answer: &Answer) -> Vec<String> {
    let documents = answer.request.documents.decode().expect("documents");
    documents
        .iter()
        .map(|document| document.id.clone())
        .collect()
}

#[tokio::test]
async fn a_request_goes_to_its_endpoint_else_to_the_default() {
    let reply_with = |word: &'static str| {
        move |_: Request| async move { Ok(Reply::documents(vec![document(word)])) }
    };
    let service = Executor::new("Multi")
        .on_default(reply_with("default"))
        .on("/x", reply_with("x"))
        .into_service(Identity::first_replica("exec0"));
    assert_eq!(
        service.endpoints(),
        [DEFAULT_ENDPOINT, "/x", DRY_RUN_ENDPOINT]
    );
    for (endpoint, word) in [("/x", "x"), ("/y", "default"), ("", "default")] {
        let answer = service.process(vec![request(endpoint, &["a"])]).await;
        assert_eq!(ids(&answer), [word], "{endpoint}");
    }
    let mut nameless = request("", &[]);
    nameless.header.exec_endpoint = None;
    assert_eq!(ids(&service.process(vec![nameless]).await), ["default"]);
}

#[tokio::test]
async fn a_request_without_a_handler_comes_back_unchanged() {
    let service = on_x(|_| async { Ok(Reply::documents(vec![])) });
    let mut sent = seen_by(request("/y", &["", "b"]), &["gateway"]);
    sent.parameters = Parameters::EMPTY;
    let answer = service.process(vec![sent.clone()]).await;
    assert_eq!(
        answer,
        Answer {
            request: sent,
            is_error: false
        }
    );
}

#[tokio::test]
async fn an_answer_is_the_request_with_a_route_without_times() {
    let service = on_x(|_| async { Ok(Reply::unchanged()) });
    let sent = seen_by(request("/x", &["a"]), &["gateway"]);
    let answer = service.process(vec![sent.clone()]).await;
    assert_eq!(
        answer.request,
        seen_by(request("/x", &["a"]), &["gateway", "exec0"])
    );
    assert!(!answer.request.parameters.is_present());
}

#[tokio::test]
async fn an_answer_always_has_data() {
    let service = on_x(|_| async { Ok(Reply::unchanged()) });
    let mut sent = request("/x", &[]);
    sent.documents = Documents::default();
    for endpoint in ["/x", DRY_RUN_ENDPOINT] {
        sent.header.exec_endpoint = Some(endpoint.to_owned());
        let answer = service.process(vec![sent.clone()]).await;
        assert!(answer.request.documents.is_present(), "{endpoint}");
    }
}

#[tokio::test]
async fn a_dry_run_calls_no_handler() {
    let panics = |_: Request| async { panic!("called") };
    let service = Executor::new("Multi")
        .on_default(panics)
        .on(DRY_RUN_ENDPOINT, panics)
        .into_service(Identity::first_replica("exec0"));
    let answer = service
        .process(vec![request(DRY_RUN_ENDPOINT, &["a"])])
        .await;
    assert!(!answer.is_error);
    assert_eq!(ids(&answer), ["a"]);
    assert_eq!(answer.request.routes, [route("exec0")]);
    assert_eq!(service.endpoints(), [DEFAULT_ENDPOINT, DRY_RUN_ENDPOINT]);
}

/// As a Jina 3.13 Executor sees two requests sent to `process_data`.
#[tokio::test]
async fn parts_of_a_join_are_concatenated_last_first() {
    let service = on_x(|request| async move {
        assert_eq!(request.exec_endpoint(), "/x");
        let names = |documents: &[DocumentProto]| {
            let ids: Vec<_> = documents.iter().map(|d| d.id.as_str()).collect();
            ids.join("+")
        };
        let matrix: Vec<_> = request.docs_matrix().expect("documents");
        let matrix: Vec<_> = matrix.into_iter().map(names).collect();
        assert_eq!(matrix, ["a+b", "c"]);
        let map: Vec<_> = request.docs_map().into_iter().collect();
        let map: Vec<_> = map.into_iter().map(|(k, v)| (k, names(v))).collect();
        assert_eq!(map, [("left", "a+b".to_owned()), ("right", "c".to_owned())]);
        Ok(Reply::unchanged())
    });
    let parts = vec![
        seen_by(request("/x", &["a", "b"]), &["gateway", "left"]),
        seen_by(request("/other", &["c"]), &["gateway", "right"]),
    ];
    let answer = service.process(parts).await;
    assert!(!answer.is_error, "{answer:?}");
    assert_eq!(ids(&answer), ["c", "a", "b"]);
    assert_eq!(
        answer.request.routes,
        [route("gateway"), route("left"), route("exec0")]
    );
}

#[tokio::test]
async fn without_documents_there_is_no_matrix() {
    let service = on_x(|request| async move {
        assert_eq!(request.docs_matrix(), None);
        assert_eq!(request.docs_map().len(), 1);
        Ok(Reply::unchanged())
    });
    let parts = vec![request("/x", &[]), request("/x", &[])];
    assert!(!service.process(parts).await.is_error);
}

#[tokio::test]
async fn unchanged_documents_have_the_ids_that_the_handler_saw() {
    let service = on_x(|request| async move {
        let id = request.documents()[0].id.clone();
        Ok(Reply::results(struct_from_json(json!({"id": id}))?))
    });
    let answer = service.process(vec![request("/x", &["", "b"])]).await;
    let parameters = answer.request.parameters.decode().expect("parameters");
    let id = ids(&answer).remove(0);
    assert_eq!(id.len(), 32);
    let results = json!({"__results__": {"exec0/rep-0": {"id": id}}});
    assert_eq!(parameters, struct_from_json(results).expect("an object"));
}

#[tokio::test]
async fn documents_that_a_handler_creates_are_normalized() {
    let service = on_x(|mut request| async move {
        request.documents_mut()[0]
            .chunks
            .push(DocumentProto::default());
        Ok(request.into_documents().into())
    });
    let answer = service.process(vec![request("/x", &["a"])]).await;
    let documents = answer.request.documents.decode().expect("documents");
    let chunk = &documents[0].chunks[0];
    assert_eq!(
        (chunk.id.len(), chunk.parent_id.as_str(), chunk.granularity),
        (32, "a", 1)
    );
}

/// An array with a shape and no bytes stands for zeros: here a few bytes claim 8 MiB each.
#[tokio::test]
async fn implied_zeros_do_not_exhaust_the_memory() {
    let claims = |id: &str| DocumentProto {
        embedding: Some(Box::new(flowgate_proto::docarray::NdArrayProto {
            content: Some(nd_array_proto::Content::Dense(DenseNdArrayProto {
                shape: vec![1 << 20],
                ..DenseNdArrayProto::default()
            })),
            cls_name: "numpy".to_owned(),
            ..Default::default()
        })),
        ..document(id)
    };
    let buffer_bytes = |documents: &[DocumentProto]| -> usize {
        let sizes = documents.iter().filter_map(|document| {
            match document.embedding.as_ref()?.content.as_ref()? {
                nd_array_proto::Content::Dense(dense) => Some(dense.buffer.len()),
                nd_array_proto::Content::Sparse(_) => None,
            }
        });
        sizes.sum()
    };
    let service = on_x(move |request| async move {
        assert_eq!(buffer_bytes(request.documents()), 16 << 20);
        Ok(Reply::documents(vec![
            claims("a"),
            claims("b"),
            claims("c"),
        ]))
    });
    let mut sent = request("/x", &[]);
    sent.documents = vec![claims("a"), claims("b")].into();
    let answer = service.process(vec![sent.clone(), sent]).await;
    assert!(!answer.is_error, "{answer:?}");
    let documents = answer.request.documents.into_vec().expect("documents");
    assert_eq!(buffer_bytes(&documents), 16 << 20);
}

/// Recording `grpc/13-specific_parameters`, and what Jina does with values that are not objects.
#[tokio::test]
async fn parameters_under_the_executors_name_override_the_others() {
    let service = on_x(|request| async move { Ok(Reply::results(request.parameters().clone())) });
    let seen = async |parameters: serde_json::Value| {
        let sent = with_parameters(request("/x", &[]), parameters);
        let answer = service.process(vec![sent]).await;
        let parameters = answer.request.parameters.decode().expect("parameters");
        let Some(Kind::StructValue(results)) = &parameters.fields.get(RESULTS_KEY)?.kind else {
            return None;
        };
        let Some(Kind::StructValue(own)) = &results.fields.get("exec0/rep-0")?.kind else {
            return None;
        };
        Some(own.clone())
    };
    let expected = json!({"a": 5, "k": 1, "b": 2, "Multi": {"a": 5, "k": 1}});
    assert_eq!(
        seen(json!({"a": 1, "b": 2, "Multi": {"a": 5, "k": 1}})).await,
        struct_from_json(expected).ok()
    );
    let ignored = json!({"Multi": 0});
    assert_eq!(seen(ignored.clone()).await, struct_from_json(ignored).ok());
    assert_eq!(seen(json!({"Multi": 5})).await, None, "an error");
}

#[tokio::test]
async fn results_keep_other_parameters_and_results() {
    let service = on_x(|_| async { Ok(Reply::results(struct_from_json(json!({"n": 1}))?)) });
    let sent = with_parameters(
        request("/x", &["a"]),
        json!({"k": 1, "__results__": {"other/rep-0": {}}}),
    );
    let answer = service.process(vec![sent]).await;
    let expected = json!({"k": 1, "__results__": {"other/rep-0": {}, "exec0/rep-0": {"n": 1}}});
    assert_eq!(
        answer.request.parameters.decode().ok(),
        struct_from_json(expected).ok()
    );
    let sent = with_parameters(request("/x", &["a"]), json!({"__results__": 5}));
    assert!(service.process(vec![sent]).await.is_error);
}

/// Recording `grpc/23-executor_direct_error`.
#[tokio::test]
async fn an_error_is_written_into_the_status_of_the_unchanged_request() {
    let service = on_x(|mut request| async move {
        request.documents_mut()[0].id = "changed".to_owned();
        Err(Error::new("ValueError", "boom").arg(42))
    });
    let sent = seen_by(request("/x", &["", "b"]), &["gateway"]);
    let mut answer = service.process(vec![sent.clone()]).await;
    let status = answer.request.header.status.take().expect("a status");
    assert!(answer.is_error);
    assert_eq!(answer.request, sent);
    assert_eq!(status.code(), StatusCode::Error);
    assert_eq!(status.description, "ValueError('boom', 42)");
    let exception = status.exception.expect("an exception");
    assert_eq!(exception.name, "ValueError");
    assert_eq!(exception.args, ["boom", "42"]);
    assert_eq!(exception.executor, "Multi");
    assert!(exception.stacks.iter().all(|line| line.ends_with('\n')));
}

#[tokio::test]
async fn a_panic_fails_only_its_own_request() {
    let service = on_x(|request| async move {
        assert!(request.documents().is_empty(), "documents!");
        Ok(Reply::unchanged())
    });
    let answer = service.process(vec![request("/x", &["a"])]).await;
    let status = answer.request.header.status.expect("a status");
    assert_eq!(status.description, "Panic('documents!')");
    assert!(!service.process(vec![request("/x", &[])]).await.is_error);
}

#[tokio::test]
async fn a_panic_in_blocking_work_is_an_error_too() {
    let service = on_x(crate::blocking(|_: Request| -> Result<Reply, Error> {
        panic!("{}", "blocked")
    }));
    let answer = service.process(vec![request("/x", &["a"])]).await;
    let status = answer.request.header.status.expect("a status");
    assert_eq!(status.description, "Panic('blocked')");
}

#[tokio::test]
async fn pickled_documents_come_back_with_an_error() {
    let service = on_x(|_| async { Ok(Reply::unchanged()) });
    // Field 4 (data) with field 2 (docs_bytes) of three bytes.
    let wire = [request("/x", &[]).header.encode_to_vec(), vec![]].concat();
    let mut message = vec![0x0a, u8::try_from(wire.len()).expect("short")];
    message.extend(wire);
    message.extend([0x22, 5, 0x12, 3, b'z', b'z', b'z']);
    let sent = DataRequest::decode(&message[..]).expect("a request");
    let mut answer = service.process(vec![sent.clone()]).await;
    let status = answer.request.header.status.take().expect("a status");
    assert_eq!(
        status.exception.expect("an exception").name,
        "UnpicklingError"
    );
    assert_eq!(answer.request, sent);
}

/// The text is Jina 3.13's. The answer leaves out the malformed documents: with them the client could not
/// decode it.
#[tokio::test]
async fn documents_that_cannot_be_decoded_are_an_error() {
    let service = on_x(|_| async { Ok(Reply::unchanged()) });
    let mut header = vec![0x0a, 4, 0x1a, 2, b'/', b'x'];
    header.extend([0x22, 3, 0x0a, 5, b'a']);
    let sent = DataRequest::decode(&header[..]).expect("documents are not decoded yet");
    let answer = service.process(vec![sent]).await;
    assert!(answer.is_error && !answer.request.documents.is_present());
    let status = answer.request.header.status.expect("a status");
    assert_eq!(
        status.description,
        "DecodeError(\"Error parsing message with type 'jina.DataRequestProto'\")"
    );
}

#[tokio::test]
async fn a_malformed_second_request_of_a_join_keeps_the_first_ones_documents() {
    let service = on_x(|_| async { Ok(Reply::unchanged()) });
    let malformed = DataRequest::decode(&[0x22, 3, 0x0a, 5, b'a'][..]);
    let malformed = malformed.expect("documents are not decoded yet");
    let first = request("/x", &["a", "b"]);
    let parts = vec![first.clone(), malformed.clone()];
    let mut answer = service.process(parts).await;
    let status = answer.request.header.status.take().expect("a status");
    assert!(answer.is_error && status.description.starts_with("DecodeError("));
    assert_eq!(answer.request, first);

    let mut both = malformed;
    both.header.exec_endpoint = Some("/x".to_owned());
    both.parameters = DataRequest::decode(&[0x12, 2, 0x0a, 5][..])
        .expect("parameters are not decoded yet")
        .parameters;
    let answer = service.process(vec![both]).await.request;
    assert!(!answer.parameters.is_present() && !answer.documents.is_present());
}

#[tokio::test]
async fn batched_endpoints_reject_joins() {
    let service = Executor::new("Multi")
        .batched("/x", crate::Batching::default(), |batch| async move {
            Ok(batch.documents)
        })
        .into_service(Identity::first_replica("exec0"));
    let parts = vec![request("/x", &["a"]), request("/x", &["b"])];
    let answer = service.process(parts).await;
    let status = answer.request.header.status.expect("a status");
    assert_eq!(
        status.description,
        "AssertionError('dynamic batching does not support no_reduce')"
    );
}

#[tokio::test]
async fn the_builtin_executors_greet_and_pass_through() {
    let greeter = crate::builtin::greeter().into_service(Identity::first_replica("greet"));
    let answer = greeter.process(vec![request("/any", &["a"])]).await;
    let documents = answer.request.documents.into_vec().expect("documents");
    assert_eq!(
        documents[1].content,
        Some(Content::Text("hello from Flowgate".to_owned()))
    );
    let pass = crate::builtin::pass_through().into_service(Identity::first_replica("pass"));
    assert_eq!(
        ids(&pass.process(vec![request("/any", &["a"])]).await),
        ["a"]
    );
}
