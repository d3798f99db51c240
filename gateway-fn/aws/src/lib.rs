//! What the Gateway's AWS clients share: settings and credentials, the HTTPS client, and retries.

mod http_client;

pub mod retry;

mod source;

use std::{
    error::Error,
    sync::{LazyLock, OnceLock},
};

use aws_config::BehaviorVersion;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use flowgate_proto::causes;
use flowgate_tls::TlsRoots;
use tokio::sync::OnceCell;

pub use aws_config::SdkConfig;
pub use source::{Source, has_emulator};

static SOURCE: OnceLock<Source> = OnceLock::new();

static CONFIG: OnceCell<SdkConfig> = OnceCell::const_new();

static ROOTS: OnceLock<TlsRoots> = OnceLock::new();

static HTTPS: LazyLock<SharedHttpClient> =
    LazyLock::new(|| http_client::https_client(ROOTS.get().unwrap_or(&TlsRoots::Bundled)));

/// Sets the certificate authorities that the HTTPS client trusts, [`TlsRoots::Bundled`] by default. Must be called before
/// the first use; only the first call has an effect.
pub fn set_roots(roots: TlsRoots) {
    let _ = ROOTS.set(roots);
}

/// Sets the source of the configuration, which is [`Source::FUNCTION`] by default. Must be called before the first use;
/// only the first call has an effect.
pub fn set_source(source: Source) {
    let _ = SOURCE.set(source);
}

/// Returns the configuration, which is loaded at the first call: a Flow that needs no AWS client does not wait for it.
pub async fn sdk_config() -> &'static SdkConfig {
    CONFIG
        .get_or_init(|| SOURCE.get().unwrap_or(&Source::FUNCTION).load())
        .await
}

/// The HTTPS client of all AWS clients.
#[must_use]
pub fn https_client() -> SharedHttpClient {
    HTTPS.clone()
}

/// Whether a call failed because no credentials were found.
#[must_use]
pub fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<CredentialsError>())
}

/// The release of the SDK whose defaults apply.
#[must_use]
pub fn behavior_version() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}
