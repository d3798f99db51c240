//! Events as AWS documents them, answers by route response and by the real SDK against `@connections` on a port here.

mod aws;

mod messages;

mod pushes;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use executor_fn::{Executor, Request};
use flowgate_config::{
    InvokeConfig, Signing, WebSocketConfig,
    builder::{Deployment, Flow},
};
use flowgate_proto::docarray::{DocumentProto, document_proto::Content};

use self::aws::Aws;
use super::{
    super::{deadline::Deadline, event::Sender},
    *,
};
use crate::{gateway::Registry, status::ProcessInfo};

/// A sample event, changed.
fn event(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let text = match name {
        "connect" => include_str!("../../../../../tests/events/websocket_connect.json"),
        "disconnect" => include_str!("../../../../../tests/events/websocket_disconnect.json"),
        _ => include_str!("../../../../../tests/events/websocket_message.json"),
    };
    let mut event = serde_json::from_str(text).expect("JSON");
    change(&mut event);
    event
}

fn message(body: &str) -> Value {
    event("message", |event| event["body"] = body.into())
}

const CONNECTION: &str = "J_qOZd8dIAMCJhw=";

/// A Gateway over one of these: `pass_through`; `many` answers with ten documents of 40 kB, `huge` with one of 200 kB;
/// `never` does not answer.
fn services(executor: &str, aws: &Aws) -> (Services, Clients) {
    let flow = Flow::new().add(Deployment::new("it").at(&format!("inproc://{executor}")));
    let documents = |number: usize, bytes: usize| {
        move || {
            Executor::new("Large").on_default(move |_: Request| async move {
                let document = |id: usize| DocumentProto {
                    id: id.to_string(),
                    content: Some(Content::Text("x".repeat(bytes))),
                    ..Default::default()
                };
                Ok((0..number).map(document).collect::<Vec<_>>().into())
            })
        }
    };
    let registry = Registry::default()
        .with("many", documents(10, 40_000))
        .with("huge", documents(1, 200_000))
        .with("never", || {
            Executor::new("Never").on_default(|_: Request| std::future::pending())
        });
    let mut config = flow.build().expect("a Flow").config;
    config.gateway.invoke = InvokeConfig {
        endpoint_url: Some(aws.url.clone()),
        signing: Signing::Unsigned,
        ..InvokeConfig::default()
    };
    let clients = Clients::new(&config.gateway.invoke);
    let services = Services::new(&config, &registry, &clients, ProcessInfo::default());
    (services.expect("it can be served"), clients)
}

fn events(executor: &str, aws: &Aws, config: &WebSocketConfig) -> WebSocketEvents {
    let mut whole = GatewayConfig::default();
    whole.function.websocket = WebSocketConfig {
        connections_url: Some(aws.url.clone()),
        ..config.clone()
    };
    let (services, clients) = services(executor, aws);
    let mut events = WebSocketEvents::new(&services, &clients, &whole, &|_| None);
    events.sdk = aws.sdk();
    events
}

/// An invocation that has this long.
pub(super) fn lambda(left: Duration) -> lambda_runtime::Context {
    let mut context = lambda_runtime::Context::default();
    let deadline = SystemTime::now() + left;
    let since_1970 = deadline.duration_since(UNIX_EPOCH).expect("after 1970");
    context.deadline = u64::try_from(since_1970.as_millis()).expect("soon");
    context.invoked_function_arn =
        "arn:aws:lambda:us-east-1:123456789012:function:gateway:live".to_owned();
    context
}

impl WebSocketEvents {
    /// An event without a trace.
    async fn take(&self, event: Value, lambda: &lambda_runtime::Context) -> Value {
        let context = self.context(Sender::WebSocketApi, lambda);
        self.handle(event, lambda, &context).await
    }

    /// An asynchronous event without a trace.
    async fn take_on(&self, event: Value, lambda: &lambda_runtime::Context) -> Value {
        let context = self.context(Sender::Push, lambda);
        self.pushed(event, lambda, &context).await
    }

    fn context(&self, sender: Sender, lambda: &lambda_runtime::Context) -> Context {
        let deadline = Deadline::of(sender, &self.settings, lambda, None);
        Context {
            deadline: Some(deadline.answer),
            ..Context::default()
        }
    }
}

const LONG: Duration = Duration::from_secs(60);

/// The body of an answer, as JSON.
fn body(answer: &Value) -> Value {
    assert_eq!(answer["statusCode"], 200);
    serde_json::from_str(answer["body"].as_str().expect("a body")).expect("JSON")
}
