//! What a handler sees of a call, and work that outlives the answer.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[tokio::test]
async fn a_handler_sees_the_metadata_and_the_deadline_of_the_call() {
    let executor = Executor::new("E").on_default(|request: crate::Request| async move {
        let context = request.context();
        let names = context.all_metadata().keys().map(|name| name.as_str());
        let names: Vec<_> = names.filter(|name| name.starts_with("grpc-")).collect();
        let json = serde_json::json!({
            "traceparent": context.metadata("traceparent"),
            "content-type": context.metadata("content-type"),
            "names": names,
            "has_deadline": context.remaining().is_some_and(|left| left.as_secs() <= 60),
            "is_function": context.lambda().is_some(),
            "executor": context.executor(),
        });
        Ok(Reply::results(crate::struct_from_json(json)?))
    });
    let server = serve(executor).await;
    let mut call = tonic::Request::new(request("/"));
    let parent = tonic::metadata::MetadataValue::from_static("00-a-b-01");
    call.metadata_mut().insert("traceparent", parent);
    call.set_timeout(Duration::from_secs(60));
    let mut client = JinaSingleDataRequestRpcClient::new(server.channel.clone());
    let answer = client.process_single_data(call).await.expect("OK");
    let results = answer.into_inner().parameters.results();
    let expected = crate::struct_from_json(serde_json::json!({"exec0/rep-0": {
        "traceparent": "00-a-b-01",
        "content-type": null,
        "names": [],
        "has_deadline": true,
        "is_function": false,
        "executor": null,
    }}));
    assert_eq!(results.expect("parameters"), expected.ok());
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_server_waits_for_background_work_before_it_ends() {
    let done = Arc::new(AtomicBool::new(false));
    let (begun, wait) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let state = (Arc::clone(&done), Arc::clone(&begun), Arc::clone(&wait));
    let executor = Executor::new("E").on_default(move |request: crate::Request| {
        let (done, begun, wait) = state.clone();
        request.context().spawn(async move {
            begun.notify_one();
            wait.notified().await;
            done.store(true, Ordering::SeqCst);
        });
        async { Ok(Reply::unchanged()) }
    });
    let RunningServer {
        channel,
        stop,
        mut server,
        ..
    } = serve(executor).await;
    let sent = request("/").encode_to_vec();
    let answer = call_raw(&channel, PROCESS_SINGLE_DATA, &sent).await;
    answer.expect("an answer while the work goes on");
    let limit = Duration::from_secs(60);
    let begun = tokio::time::timeout(limit, begun.notified()).await;
    begun.expect("the work begins");
    drop(channel);
    stop.send(()).expect("the server listens");
    let ended_early = tokio::time::timeout(Duration::from_millis(50), &mut server).await;
    assert!(ended_early.is_err(), "the work was lost");
    wait.notify_one();
    let result = tokio::time::timeout(limit, server).await;
    let result = result.expect("in time").expect("no panic");
    assert_eq!(result.expect("no error"), Shutdown::Drained);
    assert!(done.load(Ordering::SeqCst));
}
