//! Work that takes a processor for long does not hold up the connections of a worker.

use std::sync::{Arc, Mutex, PoisonError, mpsc};

use bytes::Bytes;
use executor_fn::{Executor, Reply};
use flowgate_config::Protocol;
use flowgate_tests::{
    client::{self, post},
    flow::ServedGateway,
};
use gateway::gateway::Registry;
use http::Request;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_computes_holds_up_no_other_request() {
    let (started, mut has_started) = tokio::sync::mpsc::channel(1);
    let (finish, finished) = mpsc::channel::<()>();
    let finished = Arc::new(Mutex::new(finished));
    let registry = Registry::default().with("busy", move || {
        let (started, finished) = (started.clone(), Arc::clone(&finished));
        Executor::new("Busy").on_default(move |_| {
            let (started, finished) = (started.clone(), Arc::clone(&finished));
            async move {
                let _ = started.send(()).await;
                // Takes its thread, as a computation does.
                let finished = finished.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = finished.recv();
                Ok(Reply::unchanged())
            }
        })
    });
    let yaml = "jtype: Flow\ngateway: {protocol: http, port: 0}\n\
                executors:\n  - {name: b, uses: 'inproc://busy'}\n";
    let gateway = ServedGateway::start_with(yaml, &registry).await;
    let authority = gateway.authority(Protocol::Http);
    let busy = tokio::spawn({
        let authority = authority.clone();
        async move { post(&authority, &json!({"data": []})).await.status }
    });
    has_started.recv().await.expect("the handler runs");
    // More connections than workers: some are on the thread of the busy request's connection.
    for _ in 0..8 {
        let request = Request::get(format!("http://{authority}/")).body(Bytes::new());
        assert_eq!(client::http(request.expect("a request")).await.status, 200);
    }
    finish.send(()).expect("the handler waits");
    assert_eq!(busy.await.expect("no panic"), 200);
    gateway.stop().await;
}
