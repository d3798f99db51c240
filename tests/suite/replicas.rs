//! Replicas: shared out in turn, and no request lost while one of them lives.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use executor_fn::{Executor, Reply};
use flowgate_config::Protocol;
use flowgate_tests::{
    client::post,
    flow::{ClosedPort, MortalExecutor, ServedExecutor, ServedGateway},
    gate::Gate,
};
use futures_util::future::join_all;
use serde_json::json;

fn counting(calls: &Arc<AtomicUsize>) -> Executor {
    let calls = Arc::clone(calls);
    Executor::new("Counting").on_default(move |_| {
        calls.fetch_add(1, Ordering::Relaxed);
        async { Ok(Reply::unchanged()) }
    })
}

fn yaml(ports: &[u16]) -> String {
    format!(
        "jtype: Flow\ngateway: {{protocol: http, port: 0}}\n\
         executors:\n  - {{name: e, external: true, host: localhost, port: {ports:?}}}\n"
    )
}

#[tokio::test]
async fn replicas_take_turns() {
    let calls = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    let first = ServedExecutor::start(counting(&calls[0]), "e").await;
    let second = ServedExecutor::start(counting(&calls[1]), "e").await;
    let gateway = ServedGateway::start(&yaml(&[first.port(), second.port()])).await;
    for _ in 0..10 {
        assert_eq!(
            post(&gateway.authority(Protocol::Http), &json!({"data": []}))
                .await
                .status,
            200
        );
    }
    // Endpoint discovery takes a turn too, as in Jina.
    for calls in &calls {
        assert!(
            (4..=6).contains(&calls.load(Ordering::Relaxed)),
            "{calls:?}"
        );
    }
    gateway.stop().await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn no_request_is_lost_when_a_replica_goes() {
    let calls = Arc::new(AtomicUsize::new(0));
    let stays = ServedExecutor::start(counting(&calls), "e").await;
    let goes = ServedExecutor::start(counting(&calls), "e").await;
    let gateway = ServedGateway::start(&yaml(&[stays.port(), goes.port()])).await;
    let authority = gateway.authority(Protocol::Http);
    let mut goes = Some(goes);
    for round in 0..10 {
        let body = json!({"data": [{"text": "x"}]});
        let requests = (0..20).map(|_| post(&authority, &body));
        if round == 3 {
            let stop = goes.take().expect("stopped once").stop();
            let (answers, ()) = tokio::join!(join_all(requests), stop);
            assert!(answers.iter().all(|answer| answer.status == 200));
            continue;
        }
        assert!(
            join_all(requests)
                .await
                .iter()
                .all(|answer| answer.status == 200),
            "round {round}"
        );
    }
    gateway.stop().await;
    stays.stop().await;
}

#[tokio::test]
async fn no_request_is_lost_when_a_replica_is_killed_in_the_middle_of_them() {
    let (one, other) = (Gate::closed(), Gate::closed());
    let stays = ServedExecutor::start(one.executor(), "e").await;
    let dies = MortalExecutor::start(other.executor(), "e");
    let gateway = ServedGateway::start(&yaml(&[stays.port(), dies.port])).await;
    let authority = gateway.authority(Protocol::Http);
    let requests: Vec<_> = (0..20)
        .map(|number| {
            let authority = authority.clone();
            let body = json!({"data": [{"text": number.to_string()}]});
            tokio::spawn(async move { post(&authority, &body).await })
        })
        .collect();
    // The replicas take turns, but for the turn that endpoint discovery takes.
    one.begun(8).await;
    other.begun(8).await;
    dies.kill();
    // Those that were held there come here too.
    one.begun(12).await;
    one.open(20);
    for (number, request) in requests.into_iter().enumerate() {
        let answer = request.await.expect("an answer");
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        assert_eq!(answer.json()["data"][0]["text"], number.to_string());
    }
    assert_eq!((one.answered(), other.answered()), (20, 0));
    gateway.stop().await;
    stays.stop().await;
}

#[tokio::test]
async fn a_replica_that_comes_back_is_used_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let closed = ClosedPort::hold();
    let port = closed.number();
    let gateway = ServedGateway::start(&yaml(&[port])).await;
    let authority = gateway.authority(Protocol::Http);
    let answer = post(&authority, &json!({"data": []})).await;
    assert_eq!(answer.status, 503);
    let description = answer.json()["header"]["status"]["description"].clone();
    assert_eq!(
        description,
        format!(
            "failed to connect to all addresses |Gateway: Communication error with deployment e at address(es) \
             {{'localhost:{port}'}}. Head or worker(s) may be down."
        )
    );
    let back = ServedExecutor::start_on(closed.open(), counting(&calls), "e");
    assert_eq!(post(&authority, &json!({"data": []})).await.status, 200);
    gateway.stop().await;
    back.stop().await;
}
