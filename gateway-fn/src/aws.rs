//! The environment's AWS settings -> one configuration and one HTTPS client for every AWS client of the process.

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use tokio::sync::OnceCell;

static CONFIG: OnceCell<SdkConfig> = OnceCell::const_new();

/// Loads the configuration when it is first asked for: a Flow that needs no AWS pays nothing for it.
///
/// The SDK tries nothing again by itself: who calls knows what may be tried again, and how much time is left.
pub(crate) async fn sdk_config() -> &'static SdkConfig {
    CONFIG
        .get_or_init(|| async {
            let https = Builder::new()
                .tls_provider(Provider::Rustls(CryptoMode::Ring))
                .build_https();
            aws_config::defaults(BehaviorVersion::v2026_01_12())
                .http_client(https)
                .retry_config(RetryConfig::disabled())
                .load()
                .await
        })
        .await
}
