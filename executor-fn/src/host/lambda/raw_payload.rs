//! Passes the raw payload of an invocation to its handler, counts the invocations in flight, and waits for background work.
//! The runtime client itself would parse the payload: up to 6 MB of JSON a second time, and malformed JSON would fail with
//! its error instead of Flowgate's.

use std::{
    cell::Cell,
    future::pending,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use lambda_runtime::LambdaInvocation;
use tower::{Layer, Service};

use super::{background::Background, in_flight::InFlight};

tokio::task_local! {
    static PAYLOAD: Cell<Bytes>;
}

/// Takes the payload of the invocation that the current task answers. A second call, and one outside of the handler below a
/// [`RawPayloadLayer`], returns no bytes.
#[must_use]
pub fn raw_payload() -> Bytes {
    PAYLOAD.try_with(Cell::take).unwrap_or_default()
}

/// Wraps the runtime client's service: that parses `null` instead of the payload, and [`raw_payload`] returns the
/// payload.
#[derive(Clone, Debug, Default)]
pub struct RawPayloadLayer {
    in_flight: InFlight,
    background: Background,
}

impl RawPayloadLayer {
    /// Counts the invocations in flight.
    pub(in crate::host) fn new(in_flight: &InFlight) -> Self {
        Self {
            in_flight: in_flight.clone(),
            background: Background::default(),
        }
    }

    /// Waits after each answer for this work.
    pub(super) fn with_background(self, background: &Background) -> Self {
        Self {
            background: background.clone(),
            ..self
        }
    }
}

impl<S> Layer<S> for RawPayloadLayer {
    type Service = RawPayloadService<S>;

    fn layer(&self, inner: S) -> RawPayloadService<S> {
        RawPayloadService {
            inner,
            in_flight: self.in_flight.clone(),
            background: self.background.clone(),
        }
    }
}

/// The service of [`RawPayloadLayer`].
#[derive(Clone, Debug)]
pub struct RawPayloadService<S> {
    inner: S,
    in_flight: InFlight,
    background: Background,
}

impl<S> Service<LambdaInvocation> for RawPayloadService<S>
where
    S: Service<LambdaInvocation>,
    S::Future: Send + 'static,
    S::Response: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut invocation: LambdaInvocation) -> Self::Future {
        let background = self.background.clone();
        let running = background.begin(&invocation.context);
        let payload = std::mem::replace(&mut invocation.body, Bytes::from_static(b"null"));
        let answer = PAYLOAD.scope(Cell::new(payload), self.inner.call(invocation));
        let in_flight = self.in_flight.clone();
        Box::pin(async move {
            // Includes sending the answer to Lambda.
            let answer = in_flight.track(answer).await;
            background.end(running).await;
            if in_flight.is_draining() {
                // The runtime client's loop has no stop: it would ask for the next invocation when this returns.
                pending::<()>().await;
            }
            answer
        })
    }
}
