//! Health checks and reflection of a Gateway, as Jina's own peers use them.

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

/// The services that Jina 3.13's own Gateway lists.
const JINA_SERVICES: [&str; 5] = [
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

pub(crate) fn check_of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn health_is_reported_only_for_served_services() {
    let (gateway, channel) = gateway().await;
    let mut health = HealthClient::new(channel);
    for service in JINA_SERVICES.iter().chain(&[""]) {
        let response = health.check(check_of(service)).await.expect("known");
        assert_eq!(
            response.into_inner().status(),
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
        let status = health.check(check_of(service)).await.expect_err("unknown");
        assert_eq!(
            (status.code(), status.message()),
            (Code::NotFound, ""),
            "{service}"
        );
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_health_watch_reports_at_once_and_stays_open_for_unknown_services() {
    let (gateway, channel) = gateway().await;
    let mut health = HealthClient::new(channel);
    for (service, status) in [
        ("", ServingStatus::Serving),
        ("jina.JinaRPC", ServingStatus::Serving),
        ("x", ServingStatus::ServiceUnknown),
    ] {
        let watch = health.watch(check_of(service)).await.expect("a stream");
        let mut watch = watch.into_inner();
        let first = watch.message().await.expect("a message").expect("a status");
        assert_eq!(first.status(), status, "{service}");
        // The stream is still open: its end cannot be read, and other calls succeed.
        let next = tokio::select! {
            biased;
            next = watch.message() => Some(next),
            response = health.check(check_of("")) => response.map(|_| None).expect("a response"),
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
    let responses = client
        .server_reflection_info(tokio_stream::once(request))
        .await;
    let mut responses = responses.expect("a stream").into_inner();
    let response = responses
        .message()
        .await
        .expect("a message")
        .expect("a response");
    let Some(MessageResponse::ListServicesResponse(list)) = response.message_response else {
        panic!("no list: {response:?}")
    };
    let mut names: Vec<_> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    names.sort();
    assert_eq!(names, JINA_SERVICES);
    gateway.stop().await;
}

#[tokio::test]
async fn reflection_v1_is_supported_too() {
    use v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let (gateway, channel) = gateway().await;
    let reflect = |message| {
        let mut client = ServerReflectionClient::new(channel.clone());
        async move {
            let request = ServerReflectionRequest {
                host: String::new(),
                message_request: Some(message),
            };
            let responses = client
                .server_reflection_info(tokio_stream::once(request))
                .await?;
            let response = responses.into_inner().message().await?;
            Ok::<_, Status>(response.and_then(|response| response.message_response))
        }
    };
    let listed = reflect(MessageRequest::ListServices(String::new())).await;
    let Ok(Some(MessageResponse::ListServicesResponse(list))) = listed else {
        panic!("no list: {listed:?}")
    };
    let names: Vec<_> = list
        .service
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    assert!(
        JINA_SERVICES.iter().all(|name| names.contains(name)),
        "{names:?}"
    );
    // Every service has a description, so that generic clients can call it.
    for name in JINA_SERVICES
        .iter()
        .filter(|name| name.starts_with("jina."))
    {
        let found = reflect(MessageRequest::FileContainingSymbol((*name).to_owned())).await;
        assert!(
            matches!(found, Ok(Some(MessageResponse::FileDescriptorResponse(_)))),
            "{name}: {found:?}"
        );
    }
    gateway.stop().await;
}
