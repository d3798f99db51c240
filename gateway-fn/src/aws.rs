//! AWS settings and credentials -> one configuration and one HTTPS client for every AWS client of the process.

pub(crate) mod retry;

mod source;

use std::{
    error::Error,
    sync::{LazyLock, OnceLock},
    time::Duration,
};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_lambda::config::SharedHttpClient;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use flowgate_proto::causes;
use tokio::sync::OnceCell;

pub use source::Source;
pub(crate) use source::has_emulator;

static SOURCE: OnceLock<Source> = OnceLock::new();

static CONFIG: OnceCell<SdkConfig> = OnceCell::const_new();

/// How long a connection is kept that nothing goes over. A frozen function does not see its connections being closed,
/// and what is sent over a dead one is lost: nobody can tell then whether the invocation ran, so it is not sent again.
/// Connections of before the freeze are therefore not used; the clock that measures this goes on meanwhile. Five
/// seconds are enough for the calls of one request, and for requests that follow each other.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

static HTTPS: LazyLock<SharedHttpClient> = LazyLock::new(|| {
    Builder::new()
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https()
});

/// Says where the configuration comes from, before it is first asked for; [`Source::FUNCTION`] if nobody says.
pub fn take_from(source: Source) {
    // The first counts.
    let _ = SOURCE.set(source);
}

/// Loads the configuration when it is first asked for: a Flow that needs no AWS pays nothing for it.
pub(crate) async fn sdk_config() -> &'static SdkConfig {
    CONFIG
        .get_or_init(|| SOURCE.get().unwrap_or(&Source::FUNCTION).load())
        .await
}

/// The one HTTPS client.
pub(crate) fn https_client() -> SharedHttpClient {
    HTTPS.clone()
}

/// Whether there was nothing to sign a request with.
pub(crate) fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<CredentialsError>())
}

/// Whose defaults the SDK takes.
pub(crate) fn version() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}
