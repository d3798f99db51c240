//! Work that takes a processor for long does not hold up the connections of a worker.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

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

/// As many handlers compute as there are threads for them, and more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_compute_on_all_threads_hold_up_no_new_connection() {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let handlers = 2 * threads;
    let (started, mut has_started) = tokio::sync::mpsc::channel(handlers);
    let (finish, finished) = mpsc::channel::<()>();
    let finished = Arc::new(Mutex::new(finished));
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let registry = Registry::default().with("busy", move || {
        let (started, finished) = (started.clone(), Arc::clone(&finished));
        let ended = Arc::clone(&count);
        Executor::new("Busy").on_default(move |_| {
            let (started, finished) = (started.clone(), Arc::clone(&finished));
            let ended = Arc::clone(&ended);
            async move {
                let _ = started.send(()).await;
                let finished = finished.lock().unwrap_or_else(PoisonError::into_inner);
                // The bound ends the test if all threads of the process wait here.
                let _ = finished.recv_timeout(Duration::from_secs(30));
                ended.fetch_add(1, Ordering::SeqCst);
                Ok(Reply::unchanged())
            }
        })
    });
    let yaml = "jtype: Flow\ngateway: {protocol: http, port: 0}\n\
                executors:\n  - {name: b, uses: 'inproc://busy'}\n";
    let gateway = ServedGateway::start_with(yaml, &registry).await;
    let authority = gateway.authority(Protocol::Http);
    let busy = (0..handlers).map(|_| {
        let authority = authority.clone();
        tokio::spawn(async move { post(&authority, &json!({"data": []})).await.status })
    });
    let busy: Vec<_> = busy.collect();
    for _ in 0..threads {
        has_started.recv().await.expect("a handler runs");
    }
    for _ in 0..8 {
        let request = Request::get(format!("http://{authority}/")).body(Bytes::new());
        assert_eq!(client::http(request.expect("a request")).await.status, 200);
    }
    assert_eq!(ended.load(Ordering::SeqCst), 0, "answered meanwhile");
    for _ in 0..handlers {
        finish.send(()).expect("the handler waits");
    }
    for busy in busy {
        assert_eq!(busy.await.expect("no panic"), 200);
    }
    gateway.stop().await;
}
