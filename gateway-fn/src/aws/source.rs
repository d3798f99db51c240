//! Where AWS settings and credentials are -> the configuration of the SDK.
//!
//! The SDK's default chain knows profiles, roles to assume, web identities and instances. A function is given all that
//! it needs in its environment, and is smaller to fetch without the chain.

use aws_config::{
    Region, SdkConfig, ecs::EcsCredentialsProvider,
    environment::EnvironmentVariableCredentialsProvider, identity::IdentityCache,
    meta::credentials::CredentialsProviderChain, provider_config::ProviderConfig,
    retry::RetryConfig,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use futures_util::future::BoxFuture;

use super::{https_client, version};

/// Where AWS settings and credentials are. The SDK tries nothing again by itself: who calls knows what may be tried
/// again, and how much time is left.
#[derive(Clone, Copy, Debug)]
pub struct Source(fn() -> BoxFuture<'static, SdkConfig>);

impl Source {
    /// What Lambda gives a function: variables, and an endpoint for credentials where they do not last as long as the
    /// function.
    pub const FUNCTION: Self = Self(|| Box::pin(std::future::ready(of_function(process))));

    /// Wherever the SDK looks by default: for machines, containers and people.
    pub const EVERYTHING: Self = Self(|| Box::pin(of_everything()));

    pub(super) fn load(self) -> BoxFuture<'static, SdkConfig> {
        (self.0)()
    }
}

async fn of_everything() -> SdkConfig {
    aws_config::defaults(version())
        .http_client(https_client())
        .retry_config(RetryConfig::disabled())
        .load()
        .await
}

/// The environment.
type Env = fn(&str) -> Option<String>;

fn process(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether the environment has an emulator in the place of Lambda: they speak HTTP, and AWS's own endpoints, those of a
/// VPC among them, HTTPS.
pub(crate) fn has_emulator() -> bool {
    let names = ["AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL"];
    let url = names
        .into_iter()
        .filter_map(process)
        .find(|url| !url.is_empty());
    url.is_some_and(|url| url.starts_with("http://"))
}

fn of_function(env: Env) -> SdkConfig {
    let variable = |name| env(name).filter(|value| !value.is_empty());
    let is_true = |name| variable(name).map(|value| value.eq_ignore_ascii_case("true"));
    let given = ProviderConfig::without_region().with_http_client(https_client());
    let credentials = CredentialsProviderChain::first_try(
        "Environment",
        EnvironmentVariableCredentialsProvider::new(),
    )
    .or_else(
        "Container",
        EcsCredentialsProvider::builder().configure(&given).build(),
    );
    let mut config = SdkConfig::builder()
        .behavior_version(version())
        .http_client(https_client())
        .identity_cache(IdentityCache::lazy().build())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(RetryConfig::disabled())
        .service_config(Variables(env))
        .region(variable("AWS_REGION").map(Region::new));
    config.set_endpoint_url(variable("AWS_ENDPOINT_URL"));
    config.set_use_fips(is_true("AWS_USE_FIPS_ENDPOINT"));
    config.set_use_dual_stack(is_true("AWS_USE_DUALSTACK_ENDPOINT"));
    config.build()
}

/// Settings of one service, `AWS_ENDPOINT_URL_LAMBDA` for example (AWS SDKs and Tools, "Service-specific endpoints").
#[derive(Debug)]
struct Variables(Env);

impl LoadServiceConfig for Variables {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let Self(env) = self;
        let service = key.service_id().replace(' ', "_").to_uppercase();
        env(&format!("{}_{service}", key.env())).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        let value = match name {
            "AWS_REGION" => "eu-central-1",
            "AWS_ENDPOINT_URL" => "http://127.0.0.1:1",
            "AWS_ENDPOINT_URL_LAMBDA" => "http://127.0.0.1:2",
            "AWS_USE_FIPS_ENDPOINT" => "true",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn a_function_is_set_up_by_its_variables() {
        let config = of_function(env);
        assert_eq!(config.region().map(AsRef::as_ref), Some("eu-central-1"));
        assert_eq!(config.endpoint_url(), Some("http://127.0.0.1:1"));
        assert_eq!(config.use_fips(), Some(true));
        assert_eq!(config.use_dual_stack(), None);
        let url_of = |service| {
            let key = ServiceConfigKey::builder();
            let key = key.service_id(service).env("AWS_ENDPOINT_URL");
            let key = key.profile("endpoint_url").build().expect("a key");
            config.service_config().expect("one").load_config(key)
        };
        assert_eq!(url_of("Lambda").as_deref(), Some("http://127.0.0.1:2"));
        assert_eq!(url_of("ApiGatewayManagementApi"), None);
    }
}
