//! Loads the SDK configuration: settings and credentials.
//!
//! The SDK's default chain knows profiles, roles, web identities and instance metadata. A function has all that it needs
//! in its environment, and is smaller, and so faster to fetch, without the chain.

use aws_config::{
    Region, SdkConfig, ecs::EcsCredentialsProvider,
    environment::EnvironmentVariableCredentialsProvider, identity::IdentityCache,
    meta::credentials::CredentialsProviderChain, provider_config::ProviderConfig,
    retry::RetryConfig,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use futures_util::future::BoxFuture;

use super::{behavior_version, https_client};

/// Where settings and credentials come from. The SDK's own retries are off in every case, because the caller knows what
/// may be retried and how much time remains.
#[derive(Clone, Copy, Debug)]
pub struct Source(fn() -> BoxFuture<'static, SdkConfig>);

impl Source {
    /// The environment of a Lambda function: variables, and a credentials endpoint where the function may outlive its
    /// credentials.
    pub const FUNCTION: Self = Self(|| Box::pin(std::future::ready(from_environment(process_env))));

    /// The SDK's default chain, for machines, containers and people.
    pub const DEFAULT_CHAIN: Self = Self(|| Box::pin(from_default_chain()));

    pub(super) fn load(self) -> BoxFuture<'static, SdkConfig> {
        (self.0)()
    }
}

async fn from_default_chain() -> SdkConfig {
    aws_config::defaults(behavior_version())
        .http_client(https_client())
        .retry_config(RetryConfig::disabled())
        .load()
        .await
}

type Env = fn(&str) -> Option<String>;

fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether the environment names an emulator as Lambda's endpoint. Emulators speak HTTP; AWS's own endpoints speak HTTPS,
/// even inside a VPC.
#[must_use]
pub fn has_emulator() -> bool {
    lambda_endpoint(process_env).is_some_and(|url| url.starts_with("http://"))
}

/// Lambda's endpoint (AWS SDKs and Tools, "Service-specific endpoints").
fn lambda_endpoint(env: Env) -> Option<String> {
    ["AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL"]
        .into_iter()
        .filter_map(env)
        .find(|url| !url.is_empty())
}

fn from_environment(env: Env) -> SdkConfig {
    let variable = |name| env(name).filter(|value| !value.is_empty());
    let is_true = |name| variable(name).map(|value| value.eq_ignore_ascii_case("true"));
    let provider_config = ProviderConfig::without_region().with_http_client(https_client());
    let credentials = CredentialsProviderChain::first_try(
        "Environment",
        EnvironmentVariableCredentialsProvider::new(),
    )
    .or_else(
        "Container",
        EcsCredentialsProvider::builder()
            .configure(&provider_config)
            .build(),
    );
    let mut config = SdkConfig::builder()
        .behavior_version(behavior_version())
        .http_client(https_client())
        .identity_cache(IdentityCache::lazy().build())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(RetryConfig::disabled())
        .region(variable("AWS_REGION").map(Region::new));
    // The only other client, for `@connections`, has an endpoint for each API.
    config.set_endpoint_url(lambda_endpoint(env));
    config.set_use_fips(is_true("AWS_USE_FIPS_ENDPOINT"));
    config.set_use_dual_stack(is_true("AWS_USE_DUALSTACK_ENDPOINT"));
    config.build()
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
    fn a_function_is_configured_by_its_variables() {
        let config = from_environment(env);
        assert_eq!(config.region().map(AsRef::as_ref), Some("eu-central-1"));
        assert_eq!(config.endpoint_url(), Some("http://127.0.0.1:2"));
        assert_eq!(config.use_fips(), Some(true));
        assert_eq!(config.use_dual_stack(), None);
    }

    #[test]
    fn the_endpoint_of_all_services_applies_to_lambda() {
        let all = |name: &str| (name == "AWS_ENDPOINT_URL").then(|| "http://all".to_owned());
        assert_eq!(lambda_endpoint(all).as_deref(), Some("http://all"));
        assert_eq!(lambda_endpoint(|_| Some(String::new())), None);
    }
}
