//! Ends all requests in flight at once. Each worker thread waits for a token of its own, because waiting takes a lock.

use flowgate_grpc::workers;
use tokio_util::sync::CancellationToken;

/// The tokens by which the requests in flight end.
#[derive(Debug)]
pub(super) struct Aborting(Box<[CancellationToken]>);

impl Aborting {
    /// Returns one token for each worker.
    pub(super) fn new() -> Self {
        let tokens = (0..workers::default_count().get()).map(|_| CancellationToken::new());
        Self(tokens.collect())
    }

    /// Ends all requests.
    pub(super) fn abort(&self) {
        self.0.iter().for_each(CancellationToken::cancel);
    }

    /// Returns the token for a request on this thread.
    pub(super) fn token(&self) -> &CancellationToken {
        let worker = workers::current().unwrap_or_default();
        &self.0[worker % self.0.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_end_on_every_thread() {
        let aborting = Aborting::new();
        assert!(!aborting.token().is_cancelled());
        aborting.abort();
        assert!(aborting.0.iter().all(CancellationToken::is_cancelled));
        aborting.token().cancelled().await;
    }
}
