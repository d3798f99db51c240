//! Health and reflection, called by clients over a real connection.

use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tonic::{
    Code,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};

use super::*;

const NAMES: &[&str] = &["jina.JinaInfoRPC", "jina.JinaRPC"];

async fn start_server() -> (Channel, HealthSwitch) {
    let introspection = Introspection::new(NAMES);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let routes = introspection.add_to(Routes::default());
    let server = Server::builder().add_routes(routes);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let channel = Channel::from_shared(format!("http://{address}")).expect("a URI");
    (channel.connect_lazy(), introspection.health())
}

#[tokio::test]
async fn v1alpha_lists_only_services_that_a_jina_gateway_knows() {
    use v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let (channel, _) = start_server().await;
    let request = |message| {
        tokio_stream::once(ServerReflectionRequest {
            host: String::new(),
            message_request: Some(message),
        })
    };
    let mut client = ServerReflectionClient::new(channel);
    let answers = client
        .server_reflection_info(request(MessageRequest::ListServices(String::new())))
        .await
        .expect("OK");
    let answer = answers.into_inner().next().await.expect("one").expect("OK");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let names: Vec<_> = list.service.into_iter().map(|s| s.name).collect();
    let expected = [NAMES, &["grpc.reflection.v1alpha.ServerReflection"]].concat();
    assert_eq!(names, expected);

    for symbol in ["jina.JinaInfoRPC", "grpc.health.v1.Health"] {
        let symbol = MessageRequest::FileContainingSymbol(symbol.to_owned());
        let answers = client.server_reflection_info(request(symbol)).await;
        let answer = answers.expect("OK").into_inner().next().await;
        assert!(matches!(
            answer.expect("one").expect("OK").message_response,
            Some(MessageResponse::FileDescriptorResponse(_))
        ));
    }
}

#[tokio::test]
async fn v1_lists_itself_too() {
    use v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let (channel, _) = start_server().await;
    let request = tokio_stream::once(ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    });
    let answers = ServerReflectionClient::new(channel)
        .server_reflection_info(request)
        .await
        .expect("OK");
    let answer = answers.into_inner().next().await.expect("one").expect("OK");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let last = list.service.last().map(|service| service.name.as_str());
    assert_eq!(last, Some("grpc.reflection.v1.ServerReflection"));
}

fn health_request(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

/// grpcio's health servicer under Jina 3.13.
#[tokio::test]
async fn health_is_serving_for_known_names_until_it_is_turned_off() {
    let (channel, switch) = start_server().await;
    let mut client = HealthClient::new(channel);
    let known = [
        "",
        "jina.JinaRPC",
        "grpc.reflection.v1alpha.ServerReflection",
    ];
    for name in known {
        let answer = client
            .check(health_request(name))
            .await
            .expect("OK")
            .into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{name}");
    }
    for name in ["grpc.health.v1.Health", "jina.Unknown"] {
        let status = client
            .check(health_request(name))
            .await
            .expect_err("unknown");
        assert_eq!((status.code(), status.message()), (Code::NotFound, ""));
    }

    let mut watched = client
        .watch(health_request(""))
        .await
        .expect("OK")
        .into_inner();
    let mut unknown = client
        .watch(health_request("x"))
        .await
        .expect("OK")
        .into_inner();
    let status = async |stream: &mut tonic::Streaming<_>| -> Option<ServingStatus> {
        let message: tonic_health::pb::HealthCheckResponse = stream.message().await.expect("OK")?;
        Some(message.status())
    };
    assert_eq!(status(&mut watched).await, Some(ServingStatus::Serving));
    assert_eq!(
        status(&mut unknown).await,
        Some(ServingStatus::ServiceUnknown)
    );
    switch.set_not_serving();
    assert_eq!(status(&mut watched).await, Some(ServingStatus::NotServing));
    assert_eq!(status(&mut watched).await, None, "the end");
    assert_eq!(status(&mut unknown).await, None, "the end");
    let answer = client
        .check(health_request(""))
        .await
        .expect("OK")
        .into_inner();
    assert_eq!(answer.status(), ServingStatus::NotServing);
}

#[tokio::test]
async fn compressed_requests_are_accepted() {
    use v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest,
    };
    let (channel, _) = start_server().await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate] {
        let mut health = HealthClient::new(channel.clone()).send_compressed(encoding);
        health
            .check(health_request("jina.JinaRPC"))
            .await
            .expect("OK");
        let mut reflection = ServerReflectionClient::new(channel.clone()).send_compressed(encoding);
        let list = tokio_stream::once(ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        });
        let answers = reflection.server_reflection_info(list).await.expect("OK");
        answers.into_inner().next().await.expect("one").expect("OK");
    }
}

#[tokio::test]
async fn an_unknown_method_is_not_found() {
    let (channel, _) = start_server().await;
    let mut client = flowgate_proto::jina::jina_info_rpc_client::JinaInfoRpcClient::new(channel);
    let status = client
        .status(())
        .await
        .expect_err("the server has no such service");
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unimplemented, "Method not found!")
    );
}
