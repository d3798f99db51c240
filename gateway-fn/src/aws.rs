//! The SDK configuration and the HTTPS client that all AWS clients of the process share.

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

/// How long an idle connection is kept. A frozen function does not notice that a connection is closed, and a request over
/// a dead connection is lost: the caller cannot know whether the function has run, so the request cannot be retried. The
/// clock goes on during the freeze, so that connections from before it are not reused. Five seconds are enough for the
/// calls of one request, and for requests in quick succession.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

static HTTPS: LazyLock<SharedHttpClient> = LazyLock::new(|| {
    Builder::new()
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https()
});

/// Sets the source of the configuration, which is [`Source::FUNCTION`] by default. Must be called before the first use;
/// only the first call has an effect.
pub fn set_source(source: Source) {
    let _ = SOURCE.set(source);
}

/// Returns the configuration, which is loaded at the first call: a Flow that needs no AWS client does not wait for it.
pub(crate) async fn sdk_config() -> &'static SdkConfig {
    CONFIG
        .get_or_init(|| SOURCE.get().unwrap_or(&Source::FUNCTION).load())
        .await
}

/// The HTTPS client of all AWS clients.
pub(crate) fn https_client() -> SharedHttpClient {
    HTTPS.clone()
}

/// Whether a call failed because no credentials were found.
pub(crate) fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<CredentialsError>())
}

/// The release of the SDK whose defaults apply.
pub(crate) fn behavior_version() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}
