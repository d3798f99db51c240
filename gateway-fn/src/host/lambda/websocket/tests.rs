//! AWS's sample events through the WebSocket side, with a local server in place of `@connections`.

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
use super::{super::event::EventSource, *};
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

/// A Gateway whose only Executor is `pass_through`, `many` (ten documents of 40 kB), `huge` (one of 200 kB) or `never`
/// (never answers).
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
    (services.expect("a Gateway"), clients)
}

fn events(executor: &str, aws: &Aws, config: &WebSocketConfig) -> WebSocketEvents {
    let mut whole = GatewayConfig::default();
    whole.function.websocket = WebSocketConfig {
        connections_url: Some(aws.url.clone()),
        ..config.clone()
    };
    let (services, clients) = services(executor, aws);
    let mut events = WebSocketEvents::new(&services, &clients, &whole, &|_| None);
    events.connections = aws.connections();
    events
}

/// An invocation that Lambda stops after `remaining`.
fn lambda(remaining: Duration) -> lambda_http::Context {
    let mut context = lambda_http::Context::default();
    let deadline = SystemTime::now() + remaining;
    let unix_time = deadline.duration_since(UNIX_EPOCH).expect("after 1970");
    context.deadline = u64::try_from(unix_time.as_millis()).expect("soon");
    context.invoked_function_arn =
        "arn:aws:lambda:us-east-1:123456789012:function:gateway:live".to_owned();
    context
}

impl WebSocketEvents {
    /// Answers an event of API Gateway.
    async fn respond(&self, event: Value, lambda: &lambda_http::Context) -> Value {
        let (deadline, context) = self.scope(EventSource::WebSocketApi, lambda);
        self.handle(event, lambda, deadline, &context).await
    }

    /// Answers an asynchronous event.
    async fn respond_to_push(&self, event: Value, lambda: &lambda_http::Context) {
        let (deadline, context) = self.scope(EventSource::WebSocketPush, lambda);
        self.handle_push(event, deadline, &context).await;
    }

    fn scope(&self, source: EventSource, lambda: &lambda_http::Context) -> (Deadline, Context) {
        let deadline = Deadline::new(source, &self.settings, lambda, None);
        let deadline = deadline.reserve_for_parts(&self.settings);
        let context = Context {
            deadline: Some(deadline.flow),
            ..Context::default()
        };
        (deadline, context)
    }
}

const LONG: Duration = Duration::from_secs(60);

/// The body of a successful response, as JSON.
fn body(response: &Value) -> Value {
    assert_eq!(response["statusCode"], 200);
    serde_json::from_str(response["body"].as_str().expect("a body")).expect("JSON")
}
