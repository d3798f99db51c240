//! Replicas: they take turns, and no request is lost while one of them is running.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use executor_fn::{Executor, Reply};
use flowgate_config::Protocol;
use flowgate_tests::{
    client::post,
    flow::{ClosedPort, KillableExecutor, ServedExecutor, ServedGateway},
    gate::Gate,
    raw_executor::RawExecutor,
};
use futures_util::future::join_all;
use serde_json::json;
use tokio::net::TcpListener;

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
    // Endpoint discovery also takes a turn, as in Jina.
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
async fn no_request_is_lost_when_a_replica_stops() {
    let calls = Arc::new(AtomicUsize::new(0));
    let running = ServedExecutor::start(counting(&calls), "e").await;
    let stopping = ServedExecutor::start(counting(&calls), "e").await;
    let gateway = ServedGateway::start(&yaml(&[running.port(), stopping.port()])).await;
    let authority = gateway.authority(Protocol::Http);
    let mut stopping = Some(stopping);
    for round in 0..10 {
        let body = json!({"data": [{"text": "x"}]});
        let requests = (0..20).map(|_| post(&authority, &body));
        if round == 3 {
            let stop = stopping.take().expect("stopped once").stop();
            let (responses, ()) = tokio::join!(join_all(requests), stop);
            assert!(responses.iter().all(|response| response.status == 200));
            continue;
        }
        assert!(
            join_all(requests)
                .await
                .iter()
                .all(|response| response.status == 200),
            "round {round}"
        );
    }
    gateway.stop().await;
    running.stop().await;
}

#[tokio::test]
async fn no_request_is_lost_as_in_jina_when_a_replica_is_killed_in_the_middle_of_them() {
    let (one, other) = (Gate::closed(), Gate::closed());
    let running = ServedExecutor::start(one.executor(), "e").await;
    let killed = KillableExecutor::start(other.executor(), "e");
    let ports = [running.port(), killed.port];
    let yaml = yaml(&ports).replace("port: 0", "port: 0, retry_policy: jina");
    let gateway = ServedGateway::start(&yaml).await;
    let authority = gateway.authority(Protocol::Http);
    let requests: Vec<_> = (0..20)
        .map(|number| {
            let authority = authority.clone();
            let body = json!({"data": [{"text": number.to_string()}]});
            tokio::spawn(async move { post(&authority, &body).await })
        })
        .collect();
    // The replicas take turns, and endpoint discovery takes one of them.
    one.wait_for_requests(8).await;
    other.wait_for_requests(8).await;
    killed.kill();
    // The requests of the killed replica are retried here.
    one.wait_for_requests(12).await;
    one.release(20);
    for (number, request) in requests.into_iter().enumerate() {
        let response = request.await.expect("a response");
        assert_eq!(response.status, 200, "{:?}", response.body);
        assert_eq!(response.json()["data"][0]["text"], number.to_string());
    }
    assert_eq!((one.completed(), other.completed()), (20, 0));
    gateway.stop().await;
    running.stop().await;
}

/// Sends four requests, kills the Executor when one has reached it, and returns how many are answered 503.
async fn lost_of_four(authority: &str, reached: &Gate, killed: KillableExecutor) -> usize {
    let requests = (0..4).map(|_| {
        let authority = authority.to_owned();
        tokio::spawn(async move { post(&authority, &json!({"data": []})).await })
    });
    let requests: Vec<_> = requests.collect();
    reached.wait_for_requests(1).await;
    killed.kill();
    let responses = join_all(requests).await;
    let statuses = responses
        .into_iter()
        .map(|response| response.expect("no panic").status);
    statuses.filter(|status| *status == 503).count()
}

#[tokio::test]
async fn a_request_that_a_killed_replica_may_have_run_is_not_repeated() {
    let (one, other) = (Gate::closed(), Gate::closed());
    one.release(4);
    let running = ServedExecutor::start(one.executor(), "e").await;
    let killed = KillableExecutor::start(other.executor(), "e");
    let gateway = ServedGateway::start(&yaml(&[killed.port, running.port()])).await;
    let authority = gateway.authority(Protocol::Http);
    let lost = lost_of_four(&authority, &other, killed).await;
    assert!(lost >= 1, "the killed replica's requests are reported");
    assert_eq!(one.completed() + lost, 4, "and not repeated");
    gateway.stop().await;
    running.stop().await;
}

/// Serves a Gateway whose only Executor is this one, a Gateway too.
async fn in_front_of(gateway: &ServedGateway) -> ServedGateway {
    ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: http, port: 0}}\n\
         executors:\n  - {{name: inner, host: 'grpc://{}'}}\n",
        gateway.authority(Protocol::Grpc)
    ))
    .await
}

#[tokio::test]
async fn a_request_that_a_killed_executor_may_have_run_is_not_repeated_by_a_gateway_in_front() {
    let (one, other) = (Gate::closed(), Gate::closed());
    one.release(4);
    let running = ServedExecutor::start(one.executor(), "e").await;
    let killed = KillableExecutor::start(other.executor(), "e");
    let yaml = yaml(&[killed.port, running.port()]).replace("http", "grpc");
    let inner = ServedGateway::start(&yaml).await;
    let outer = in_front_of(&inner).await;
    let authority = outer.authority(Protocol::Http);
    let lost = lost_of_four(&authority, &other, killed).await;
    assert!(lost >= 1, "the killed Executor's requests are reported");
    assert_eq!(one.completed() + lost, 4, "and not repeated");
    outer.stop().await;
    inner.stop().await;
    running.stop().await;
}

#[tokio::test]
async fn work_before_an_unreachable_executor_is_not_repeated_by_a_gateway_in_front() {
    let calls = Arc::new(AtomicUsize::new(0));
    let first = ServedExecutor::start(counting(&calls), "first").await;
    let down = ClosedPort::reserve();
    let flow = |first: &str| {
        format!(
            "jtype: Flow\ngateway: {{protocol: grpc, port: 0}}\n\
             executors:\n{first}  - {{name: down, external: true, host: localhost, port: {}}}\n",
            down.port()
        )
    };
    let port = first.port();
    let before = format!("  - {{name: first, external: true, host: localhost, port: {port}}}\n");
    let inner = ServedGateway::start(&flow(&before)).await;
    let outer = in_front_of(&inner).await;
    let response = post(&outer.authority(Protocol::Http), &json!({"data": []})).await;
    assert_eq!(response.status, 503);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    outer.stop().await;
    inner.stop().await;
    first.stop().await;
}

/// As a process that hangs: the kernel accepts connections for it, and nothing answers on them.
#[tokio::test]
async fn a_replica_that_hangs_before_it_takes_a_connection_costs_no_request() {
    let hung = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let hung_port = hung.local_addr().expect("an address").port();
    let calls = Arc::new(AtomicUsize::new(0));
    let running = ServedExecutor::start(counting(&calls), "e").await;
    let yaml = yaml(&[hung_port, running.port()]);
    // Shorter than a connection may take, so that the timeout ends the attempt.
    let yaml = yaml.replace("port: 0", "port: 0, timeout_send: 3000");
    let gateway = ServedGateway::start(&yaml).await;
    let (authority, body) = (gateway.authority(Protocol::Http), json!({"data": []}));
    let requests = (0..8).map(|_| post(&authority, &body));
    for response in join_all(requests).await {
        assert_eq!(response.status, 200, "{:?}", response.body);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 8, "each has run once");
    gateway.stop().await;
    running.stop().await;
}

/// As at `max_connection_age` or in a rolling restart: it takes calls on the next connection.
#[tokio::test]
async fn a_replica_that_ends_a_connection_stays_in_use() {
    const NO_ERROR: u32 = 0;
    let calls = Arc::new(AtomicUsize::new(0));
    let running = ServedExecutor::start(counting(&calls), "e").await;
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let ending = RawExecutor::start(move |call| {
        count.fetch_add(1, Ordering::Relaxed);
        call.go_away(NO_ERROR)
    });
    let ending = ending.await;
    let gateway = ServedGateway::start(&yaml(&[ending.port(), running.port()])).await;
    let authority = gateway.authority(Protocol::Http);
    for _ in 0..10 {
        let response = post(&authority, &json!({"data": []})).await;
        assert_eq!(response.status, 200, "{:?}", response.body);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 10);
    let refused = refused.load(Ordering::Relaxed);
    assert!(refused >= 5, "it still has its turn: {refused}");
    gateway.stop().await;
    running.stop().await;
}

#[tokio::test]
async fn a_replica_that_recovers_is_used_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let closed = ClosedPort::reserve();
    let port = closed.port();
    let gateway = ServedGateway::start(&yaml(&[port])).await;
    let authority = gateway.authority(Protocol::Http);
    let response = post(&authority, &json!({"data": []})).await;
    assert_eq!(response.status, 503);
    let description = response.json()["header"]["status"]["description"].clone();
    assert_eq!(
        description,
        format!(
            "failed to connect to all addresses |Gateway: Communication error with deployment e at address(es) \
             {{'localhost:{port}'}}. Head or worker(s) may be down."
        )
    );
    let recovered = ServedExecutor::start_on(closed.listen(), counting(&calls), "e");
    assert_eq!(post(&authority, &json!({"data": []})).await.status, 200);
    gateway.stop().await;
    recovered.stop().await;
}
