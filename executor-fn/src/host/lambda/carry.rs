//! Hands an invocation's bytes past the runtime's own reading of JSON, so that a payload that is none becomes a
//! fault of ours, and 6 MB are not read once more. It also knows what runs: it lies around the whole of an
//! invocation, to the point where its answer is taken.

use std::{
    cell::Cell,
    future::pending,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use lambda_runtime::LambdaInvocation;
use tower::{Layer, Service};

use super::running::Running;

tokio::task_local! {
    static PAYLOAD: Cell<Bytes>;
}

/// The payload of the invocation that the calling task answers; the second time there is nothing left.
pub(super) fn payload() -> Bytes {
    PAYLOAD.try_with(Cell::take).unwrap_or_default()
}

/// The layer: what lies beneath is given `null` to read.
#[derive(Clone)]
pub(super) struct Carry {
    pub(super) running: Running,
}

impl<S> Layer<S> for Carry {
    type Service = Carrying<S>;

    fn layer(&self, inner: S) -> Carrying<S> {
        Carrying {
            inner,
            running: self.running.clone(),
        }
    }
}

/// The service of [`Carry`].
#[derive(Clone)]
pub(super) struct Carrying<S> {
    inner: S,
    running: Running,
}

impl<S> Service<LambdaInvocation> for Carrying<S>
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
        let payload = std::mem::replace(&mut invocation.body, Bytes::from_static(b"null"));
        let work = PAYLOAD.scope(Cell::new(payload), self.inner.call(invocation));
        let running = self.running.clone();
        Box::pin(async move {
            let answered = running.track(work).await;
            if running.is_stopping() {
                // The runtime's loop knows no end: it asks for the next invocation when this returns.
                pending::<()>().await;
            }
            answered
        })
    }
}
