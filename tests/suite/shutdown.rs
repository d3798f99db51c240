//! Stopping: what is under way is finished, what floats too, and a deadline bounds it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use executor_fn::{Executor, Reply};
use flowgate_tests::{
    client::post,
    flow::{ServedGateway, eventually},
};
use gateway::{config::Protocol, gateway::Registry, host::container::Ended};
use serde_json::json;
use tokio::sync::Semaphore;

/// An Executor that says when it has begun, waits to be let go, and says when it has ended.
#[derive(Clone)]
struct Gate {
    begun: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    open: Arc<Semaphore>,
}

impl Gate {
    fn closed() -> Self {
        Self {
            begun: Arc::default(),
            ended: Arc::default(),
            open: Arc::new(Semaphore::new(0)),
        }
    }

    fn registry(&self) -> Registry {
        let gate = self.clone();
        Registry::default().with("gate", move || gate.executor())
    }

    fn executor(&self) -> Executor {
        let gate = self.clone();
        Executor::new("Gate").on_default(move |_| {
            let gate = gate.clone();
            async move {
                gate.begun.store(true, Ordering::SeqCst);
                gate.open.acquire().await.expect("never closed").forget();
                gate.ended.store(true, Ordering::SeqCst);
                Ok(Reply::unchanged())
            }
        })
    }

    async fn begun(&self) {
        eventually("the executor has begun", || async {
            self.begun.load(Ordering::SeqCst)
        })
        .await;
    }
}

#[tokio::test]
async fn a_request_under_way_is_finished() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: http, port: 0}\nexecutors:\n  - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Http);
    let request =
        tokio::spawn(async move { post(&authority, &json!({"data": [{"text": "x"}]})).await });
    gate.begun().await;
    gateway.begin_stop();
    gate.open.add_permits(1);
    assert_eq!(request.await.expect("an answer").status, 200);
    assert_eq!(gateway.stop().await, Ended::Drained);
}

#[tokio::test]
async fn floating_work_is_finished_after_its_answer() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: http, port: 0}\nexecutors:\n  - {name: a, uses: 'inproc://greet'}\n  \
                - {name: f, uses: 'inproc://gate', floating: true}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let answer = post(
        &gateway.authority(Protocol::Http),
        &json!({"data": [{"text": "x"}]}),
    )
    .await;
    assert_eq!(answer.status, 200, "the answer does not wait for f");
    gate.begun().await;
    assert!(!gate.ended.load(Ordering::SeqCst));
    gateway.begin_stop();
    gate.open.add_permits(1);
    assert_eq!(gateway.stop().await, Ended::Drained);
    assert!(gate.ended.load(Ordering::SeqCst));
}

#[tokio::test]
async fn what_takes_longer_than_the_deadline_is_cut_off() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: http, port: 0, shutdown_timeout: 50}\nexecutors:\n  \
                - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Http);
    let request = tokio::spawn(async move { post(&authority, &json!({"data": []})).await });
    gate.begun().await;
    assert_eq!(gateway.stop().await, Ended::CutOff);
    request.abort();
}
