//! Hands an invocation's bytes past the runtime's own reading of JSON, so that a payload that is none becomes a
//! fault of ours, and 6 MB are not read once more.

use std::{
    cell::Cell,
    task::{Context, Poll},
};

use bytes::Bytes;
use lambda_runtime::LambdaInvocation;
use tokio::task::futures::TaskLocalFuture;
use tower::{Layer, Service};

tokio::task_local! {
    static PAYLOAD: Cell<Bytes>;
}

/// The payload of the invocation that the calling task answers; the second time there is nothing left.
pub(super) fn payload() -> Bytes {
    PAYLOAD.try_with(Cell::take).unwrap_or_default()
}

/// The layer: what lies beneath is given `null` to read.
#[derive(Clone, Copy)]
pub(super) struct Carry;

impl<S> Layer<S> for Carry {
    type Service = Carrying<S>;

    fn layer(&self, inner: S) -> Carrying<S> {
        Carrying(inner)
    }
}

/// The service of [`Carry`].
#[derive(Clone)]
pub(super) struct Carrying<S>(S);

impl<S: Service<LambdaInvocation>> Service<LambdaInvocation> for Carrying<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = TaskLocalFuture<Cell<Bytes>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut invocation: LambdaInvocation) -> Self::Future {
        let payload = std::mem::replace(&mut invocation.body, Bytes::from_static(b"null"));
        PAYLOAD.scope(Cell::new(payload), self.0.call(invocation))
    }
}
