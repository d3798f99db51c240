//! Calls Lambda's Invoke API, with an SDK client that is built when it is first needed.

use std::time::Instant;

use aws_sdk_lambda::{
    Client,
    config::{Builder, Config, Region, StalledStreamProtectionConfig, http::HttpResponse},
    error::SdkError,
    operation::invoke::{InvokeError, InvokeOutput},
    primitives::Blob,
    types::InvocationType,
};
use flowgate_config::{InvokeConfig, Signing};
use tokio::sync::OnceCell;

use super::function::Function;
use crate::{aws, context::Trace};

/// The client of all `lambda://` Executors of a Flow.
#[derive(Debug)]
pub struct LambdaClient {
    endpoint_url: Option<String>,
    region: Option<String>,
    signing: Signing,
    client: OnceCell<Client>,
}

type InvokeResult = Result<InvokeOutput, SdkError<InvokeError, HttpResponse>>;

impl LambdaClient {
    /// Takes the settings. The SDK client is built when it is first needed.
    #[must_use]
    pub fn new(config: &InvokeConfig) -> Self {
        Self {
            endpoint_url: config.endpoint_url.clone(),
            region: config.region.clone(),
            signing: config.signing,
            client: OnceCell::new(),
        }
    }

    /// Invokes a function and waits for its answer. `trace` is the value of X-Ray's header.
    pub(super) async fn invoke(
        &self,
        function: &Function,
        payload: Vec<u8>,
        trace: Option<&str>,
    ) -> InvokeResult {
        let invocation_type = InvocationType::RequestResponse;
        self.send(function, payload, trace, invocation_type).await
    }

    /// Lets Lambda check that the function can be invoked, without invoking it. This finds the credentials and opens the
    /// connection.
    pub(super) async fn check(&self, function: &Function, payload: Vec<u8>) -> InvokeResult {
        self.send(function, payload, None, InvocationType::DryRun)
            .await
    }

    /// Adds an event to the function's queue of asynchronous invocations.
    pub(super) async fn invoke_async(
        &self,
        function: &Function,
        event: Vec<u8>,
        trace: Option<&str>,
    ) -> InvokeResult {
        self.send(function, event, trace, InvocationType::Event)
            .await
    }

    /// Whether the client talks to AWS and not to an emulator, which might invoke the function for a check.
    pub(crate) fn is_on_aws(&self) -> bool {
        self.endpoint_url.is_none() && !aws::has_emulator()
    }

    async fn send(
        &self,
        function: &Function,
        payload: Vec<u8>,
        trace: Option<&str>,
        invocation_type: InvocationType,
    ) -> InvokeResult {
        let client = self.client.get_or_init(|| self.build()).await;
        let request = client
            .invoke()
            .function_name(&function.name)
            .set_qualifier(function.qualifier.clone())
            .invocation_type(invocation_type)
            .payload(Blob::new(payload))
            .customize();
        // By itself the SDK sends the trace in the process's environment, which belongs to another request if the
        // process serves several at once.
        let request = match trace.map(str::to_owned) {
            Some(trace) => request.mutate_request(move |request| {
                // An invalid header value is left out.
                let _ = request.headers_mut().try_insert(Trace::XRAY, trace.clone());
            }),
            None => request,
        };
        match self.foreign_region(function, client.config()) {
            // The SDK would report this like a broken connection.
            None if client.config().region().is_none() => {
                Err(SdkError::construction_failure(MissingRegion))
            }
            Some(region) => {
                let overridden = Config::builder().region(region);
                request.config_override(overridden).send().await
            }
            None => request.send().await,
        }
    }

    async fn build(&self) -> Client {
        let start = Instant::now();
        let config = match self.signing {
            Signing::Signed => Builder::from(aws::sdk_config().await),
            Signing::Unsigned => Config::builder()
                .behavior_version(aws::behavior_version())
                .http_client(aws::https_client())
                .retry_config(aws_sdk_lambda::config::retry::RetryConfig::disabled())
                .region(Region::from_static(UNSIGNED_REGION))
                .allow_no_auth(),
        };
        let mut config = config
            // A function may take long before the first byte; the caller bounds the time of a call.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(url) = &self.endpoint_url {
            config = config.endpoint_url(url);
        }
        if let Some(region) = &self.region {
            config = config.region(Region::new(region.clone()));
        }
        let client = Client::from_conf(config.build());
        let micros = start.elapsed().as_micros();
        tracing::debug!(micros, "built the Lambda client");
        client
    }

    /// Returns the region of a function whose ARN is in another region than the client.
    fn foreign_region(&self, function: &Function, config: &Config) -> Option<Region> {
        let region = function.region.as_deref()?;
        let own = config.region().map(Region::as_ref);
        (self.endpoint_url.is_none() && own != Some(region)).then(|| Region::new(region.to_owned()))
    }
}

/// Neither the Flow, nor the environment, nor the function's address names a region.
#[derive(Debug, thiserror::Error)]
#[error("no AWS region")]
pub(super) struct MissingRegion;

/// The SDK needs a region. An emulator that checks no signatures ignores it.
const UNSIGNED_REGION: &str = "us-east-1";
