//! The settings of a Flow's invocations -> one SDK client, built when it is first needed; a payload -> Invoke's answer.

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
    built: OnceCell<Client>,
}

/// What the SDK says.
type Outcome = Result<InvokeOutput, SdkError<InvokeError, HttpResponse>>;

impl LambdaClient {
    /// A client to be built when it is first needed.
    #[must_use]
    pub fn new(config: &InvokeConfig) -> Self {
        Self {
            endpoint_url: config.endpoint_url.clone(),
            region: config.region.clone(),
            signing: config.signing,
            built: OnceCell::new(),
        }
    }

    /// Invokes a function and waits for what it answers. `trace` is X-Ray's header.
    pub(super) async fn invoke(
        &self,
        function: &Function,
        payload: Vec<u8>,
        trace: Option<&str>,
    ) -> Outcome {
        let kind = InvocationType::RequestResponse;
        self.send(function, payload, trace, kind).await
    }

    /// Has Lambda check that the function could be invoked, which makes the connection and finds the credentials.
    pub(super) async fn try_invoke(&self, function: &Function, payload: Vec<u8>) -> Outcome {
        self.send(function, payload, None, InvocationType::DryRun)
            .await
    }

    /// Has Lambda invoke a function later.
    pub(super) async fn queue(
        &self,
        function: &Function,
        event: Vec<u8>,
        trace: Option<&str>,
    ) -> Outcome {
        self.send(function, event, trace, InvocationType::Event)
            .await
    }

    /// Whether AWS itself is invoked. An emulator may take a check for an invocation.
    pub(crate) fn is_on_aws(&self) -> bool {
        self.endpoint_url.is_none() && !aws::has_emulator()
    }

    async fn send(
        &self,
        function: &Function,
        payload: Vec<u8>,
        trace: Option<&str>,
        kind: InvocationType,
    ) -> Outcome {
        let client = self.built.get_or_init(|| self.build()).await;
        let request = client
            .invoke()
            .function_name(&function.name)
            .set_qualifier(function.qualifier.clone())
            .invocation_type(kind)
            .payload(Blob::new(payload))
            .customize();
        // By itself the SDK hands on the trace of the process's environment, which is not this request's where one
        // process serves several at once.
        let request = match trace.map(str::to_owned) {
            Some(trace) => request.mutate_request(move |request| {
                // A trace is made of header values; one that is none is left out.
                let _ = request.headers_mut().try_insert(Trace::XRAY, trace.clone());
            }),
            None => request,
        };
        match self.elsewhere(function, client.config()) {
            Some(region) => {
                let there = Config::builder().region(region);
                request.config_override(there).send().await
            }
            None => request.send().await,
        }
    }

    async fn build(&self) -> Client {
        let began = Instant::now();
        let config = match self.signing {
            Signing::Signed => Builder::from(aws::sdk_config().await),
            Signing::Unsigned => Config::builder()
                .behavior_version(aws::version())
                .http_client(aws::https_client())
                .retry_config(aws_sdk_lambda::config::retry::RetryConfig::disabled())
                .region(Region::from_static(NOWHERE))
                .allow_no_auth(),
        };
        let mut config = config
            // A function may take its time before the first byte; the time for a call is bounded by who calls.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(url) = &self.endpoint_url {
            config = config.endpoint_url(url);
        }
        if let Some(region) = &self.region {
            config = config.region(Region::new(region.clone()));
        }
        let client = Client::from_conf(config.build());
        let micros = began.elapsed().as_micros();
        tracing::debug!(micros, "the client of Lambda was built");
        client
    }

    /// The region of a function that is in another than the client's: an ARN is invoked where it is.
    fn elsewhere(&self, function: &Function, config: &Config) -> Option<Region> {
        let region = function.region.as_deref()?;
        let here = config.region().map(Region::as_ref);
        (self.endpoint_url.is_none() && here != Some(region))
            .then(|| Region::new(region.to_owned()))
    }
}

/// An emulator that checks no signature does not look at the region either.
const NOWHERE: &str = "us-east-1";
