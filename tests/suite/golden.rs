//! Runs the Flows of the recordings, with Flowgate's Gateway and Executors.

use executor_fn::Executor;
use flowgate_tests::{
    executors::{multi, only_foo, order, tag},
    flow::{ClosedPort, ServedExecutor, ServedGateway},
};

/// A running Flow of the recordings.
pub(crate) struct GoldenFlow {
    pub(crate) gateway: ServedGateway,
    pub(crate) executors: Vec<ServedExecutor>,
    /// The port of the Executor that is down.
    closed: ClosedPort,
}

impl GoldenFlow {
    pub(crate) async fn start(name: &str) -> Self {
        let mut executors = Vec::new();
        let closed = ClosedPort::reserve();
        let mut yaml = String::from(HEAD);
        yaml.push_str(gateway_keys(name));
        yaml.push_str(if deployments(name).is_empty() {
            "executors: []\n"
        } else {
            "executors:\n"
        });
        for (deployment, executor, keys) in deployments(name) {
            let port = match executor {
                Some(executor) => {
                    let served = ServedExecutor::start(executor, deployment).await;
                    executors.push(served);
                    format!(
                        "host: 0.0.0.0, port: {}",
                        executors[executors.len() - 1].port()
                    )
                }
                None => format!("host: localhost, port: {}", closed.port()),
            };
            yaml.push_str(&format!(
                "  - {{name: {deployment}, external: true, {port}{keys}}}\n"
            ));
        }
        Self {
            gateway: ServedGateway::start(&yaml).await,
            executors,
            closed,
        }
    }

    pub(crate) async fn stop(self) {
        self.gateway.stop().await;
        drop(self.closed);
        for executor in self.executors {
            executor.stop().await;
        }
    }
}

const HEAD: &str =
    "jtype: Flow\ngateway:\n  protocol: [grpc, http, websocket]\n  port: [0, 0, 0]\n";

fn gateway_keys(flow: &str) -> &'static str {
    match flow {
        "executor_down" => "  retries: 0\n",
        "timeout" => "  retries: 0\n  timeout_send: 300\n",
        _ => "",
    }
}

type Deployment = (&'static str, Option<Executor>, &'static str);

fn deployments(flow: &str) -> Vec<Deployment> {
    match flow {
        "single" | "timeout" => vec![("exec0", Some(multi()), "")],
        "executor_down" => vec![("ex", None, "")],
        "no_executors" => vec![],
        "join" => diamond(", needs: [b, c]"),
        // Jina 3.13 rejects no_reduce for external Executors, so the recording has the same graph with Executors started by Jina.
        "join_no_reduce" => diamond(", needs: [b, c], no_reduce: true"),
        "chain_floating" => vec![
            ("a", Some(order("a")), ""),
            ("f", Some(order("f")), ", floating: true"),
            ("b", Some(only_foo("b")), ""),
        ],
        "conditions" => vec![
            ("a", Some(order("a")), ""),
            (
                "b",
                Some(order("b")),
                ", needs: a, when: {tags__x: {$eq: 1}}",
            ),
            (
                "c",
                Some(order("c")),
                ", needs: a, when: {tags__x: {$neq: 1}}",
            ),
            ("j", Some(tag("j")), ", needs: [b, c]"),
        ],
        other => panic!("no Flow {other} was recorded"),
    }
}

fn diamond(join: &'static str) -> Vec<Deployment> {
    vec![
        ("a", Some(order("a")), ""),
        ("b", Some(order("b")), ", needs: a"),
        ("c", Some(order("c")), ", needs: a"),
        ("j", Some(order("j")), join),
    ]
}
