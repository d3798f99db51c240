//! What a Gateway says about itself: health, and reflection as Jina's own peers read it.

use flowgate_config::Protocol;
use flowgate_tests::flow::ServedGateway;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};

/// What Jina 3.13's own Gateway lists.
const JINAS: [&str; 5] = [
    "grpc.reflection.v1alpha.ServerReflection",
    "jina.JinaGatewayDryRunRPC",
    "jina.JinaInfoRPC",
    "jina.JinaRPC",
    "jina.JinaSingleDataRequestRPC",
];

async fn gateway() -> (ServedGateway, Channel) {
    let yaml = "jtype: Flow\ngateway: {protocol: grpc, port: 0}\nexecutors: []\n";
    let gateway = ServedGateway::start(yaml).await;
    let channel = channel(&gateway);
    (gateway, channel)
}

pub(crate) fn channel(gateway: &ServedGateway) -> Channel {
    let address = format!("http://{}", gateway.authority(Protocol::Grpc));
    Endpoint::from_shared(address)
        .expect("an address")
        .connect_lazy()
}

pub(crate) fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn health_knows_what_is_served_and_nothing_else() {
    let (gateway, channel) = gateway().await;
    let mut health = HealthClient::new(channel);
    for service in JINAS.iter().chain(&[""]) {
        let answer = health.check(of(service)).await.expect("known");
        assert_eq!(
            answer.into_inner().status(),
            ServingStatus::Serving,
            "{service}"
        );
    }
    for service in [
        "grpc.health.v1.Health",
        "jina.JinaDataRequestRPC",
        "jina.jinarpc",
        "x",
    ] {
        let status = health.check(of(service)).await.expect_err("unknown");
        assert_eq!(
            (status.code(), status.message()),
            (Code::NotFound, ""),
            "{service}"
        );
    }
    gateway.stop().await;
}

#[tokio::test]
async fn watching_tells_at_once_and_unknown_names_stay_open() {
    let (gateway, channel) = gateway().await;
    let mut health = HealthClient::new(channel);
    for (service, status) in [
        ("", ServingStatus::Serving),
        ("jina.JinaRPC", ServingStatus::Serving),
        ("x", ServingStatus::ServiceUnknown),
    ] {
        let watch = health.watch(of(service)).await.expect("a stream");
        let mut watch = watch.into_inner();
        let first = watch.message().await.expect("a message").expect("a status");
        assert_eq!(first.status(), status, "{service}");
        // It is still open: there is no end to be read, and other calls go through.
        let next = tokio::select! {
            biased;
            next = watch.message() => Some(next),
            answer = health.check(of("")) => answer.map(|_| None).expect("an answer"),
        };
        assert!(next.is_none(), "{service}: {next:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn reflection_v1alpha_lists_exactly_what_jina_lists() {
    use v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let (gateway, channel) = gateway().await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel);
    let answers = client
        .server_reflection_info(tokio_stream::once(request))
        .await;
    let mut answers = answers.expect("a stream").into_inner();
    let answer = answers
        .message()
        .await
        .expect("a message")
        .expect("an answer");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("no list: {answer:?}")
    };
    let mut names: Vec<_> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    names.sort();
    assert_eq!(names, JINAS);
    gateway.stop().await;
}

#[tokio::test]
async fn reflection_v1_is_there_too() {
    use v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let (gateway, channel) = gateway().await;
    let ask = |message| {
        let mut client = ServerReflectionClient::new(channel.clone());
        async move {
            let request = ServerReflectionRequest {
                host: String::new(),
                message_request: Some(message),
            };
            let answers = client
                .server_reflection_info(tokio_stream::once(request))
                .await?;
            let answer = answers.into_inner().message().await?;
            Ok::<_, Status>(answer.and_then(|answer| answer.message_response))
        }
    };
    let listed = ask(MessageRequest::ListServices(String::new())).await;
    let Ok(Some(MessageResponse::ListServicesResponse(list))) = listed else {
        panic!("no list: {listed:?}")
    };
    let names: Vec<_> = list
        .service
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    assert!(JINAS.iter().all(|name| names.contains(name)), "{names:?}");
    // Every service can be described, so that generic clients can call it.
    for name in JINAS.iter().filter(|name| name.starts_with("jina.")) {
        let found = ask(MessageRequest::FileContainingSymbol((*name).to_owned())).await;
        assert!(
            matches!(found, Ok(Some(MessageResponse::FileDescriptorResponse(_)))),
            "{name}: {found:?}"
        );
    }
    gateway.stop().await;
}
