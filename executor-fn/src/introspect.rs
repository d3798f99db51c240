//! The services that every gRPC server of Jina has beside its own: reflection (v1alpha and v1), health, and the
//! answer to unknown methods. Executors and Gateways use it alike.

mod health;

use flowgate_proto::FILE_DESCRIPTOR_SET;
use tonic::{Status, body::Body, codec::CompressionEncoding, service::Routes};
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::server::Builder;

pub use self::health::HealthSwitch;

const REFLECTION_V1ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";
const REFLECTION_V1: &str = "grpc.reflection.v1.ServerReflection";

/// The largest message of these services, whose requests name a service, a symbol or a file.
const MAX_MESSAGE_BYTES: usize = 4 << 10;

/// Reflection and health of a server that advertises certain services.
#[derive(Clone, Debug)]
pub struct Introspection {
    advertised: &'static [&'static str],
    health: HealthSwitch,
}

impl Introspection {
    /// Creates them for a server that advertises these service names.
    #[must_use]
    pub fn new(advertised: &'static [&'static str]) -> Self {
        Self {
            advertised,
            health: HealthSwitch::default(),
        }
    }

    /// Adds reflection (both versions), health, and Jina's answer to unknown methods.
    ///
    /// # Panics
    /// Never: the descriptors are compiled in.
    #[must_use]
    pub fn add_to(&self, routes: Routes) -> Routes {
        let v1alpha = self.reflection(&[REFLECTION_V1ALPHA]).build_v1alpha();
        let v1 = self
            .reflection(&[REFLECTION_V1ALPHA, REFLECTION_V1])
            .build_v1();
        let health = health::Health::new(self.advertised, REFLECTION_V1ALPHA, &self.health);
        // A Jina client or Gateway with compression turned on compresses these calls too.
        let [gzip, deflate] = [CompressionEncoding::Gzip, CompressionEncoding::Deflate];
        let v1alpha = v1alpha.expect("the compiled-in descriptors are valid");
        let v1 = v1.expect("the compiled-in descriptors are valid");
        let health = HealthServer::new(health);
        let mut routes = routes
            .add_service(
                v1alpha
                    .accept_compressed(gzip)
                    .accept_compressed(deflate)
                    .max_decoding_message_size(MAX_MESSAGE_BYTES),
            )
            .add_service(
                v1.accept_compressed(gzip)
                    .accept_compressed(deflate)
                    .max_decoding_message_size(MAX_MESSAGE_BYTES),
            )
            .add_service(
                health
                    .accept_compressed(gzip)
                    .accept_compressed(deflate)
                    .max_decoding_message_size(MAX_MESSAGE_BYTES),
            );
        let router = std::mem::take(routes.axum_router_mut()).fallback(method_not_found);
        *routes.axum_router_mut() = router;
        routes
    }

    /// Returns the switch that turns the server's health to NOT_SERVING.
    #[must_use]
    pub fn health(&self) -> HealthSwitch {
        self.health.clone()
    }

    /// Lists only the advertised services and `reflection`'s own names: a Jina 3.13 Gateway fails every call to a server
    /// whose v1alpha list has a name that it does not know, such as `grpc.health.v1.Health`. A client can still ask for
    /// the description of the health service by name.
    fn reflection(&self, reflection: &[&str]) -> Builder<'static> {
        let builder = Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        self.advertised
            .iter()
            .chain(reflection)
            .fold(builder, |builder, name| builder.with_service_name(*name))
    }
}

/// Answers with grpcio's text (recording `grpc/18-unknown_method`).
async fn method_not_found() -> http::Response<Body> {
    Status::unimplemented("Method not found!").into_http()
}

#[cfg(test)]
mod tests;
