//! The functions that a user binds to endpoints: stored without their concrete types, called so that a panic
//! becomes an error, and adapted from blocking functions and from methods of shared state.

use std::{
    future::Future,
    num::NonZeroUsize,
    panic::AssertUnwindSafe,
    sync::{Arc, LazyLock},
    thread::available_parallelism,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::Semaphore;

use crate::Error;

/// A handler behind one pointer, whatever its concrete type.
pub(crate) type Handler<In, Out> =
    Arc<dyn Fn(In) -> BoxFuture<'static, Result<Out, Error>> + Send + Sync>;

/// Stores `function` as a [`Handler`].
pub(crate) fn into_handler<In, Out, F, Fut>(function: F) -> Handler<In, Out>
where
    F: Fn(In) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Out, Error>> + Send + 'static,
{
    Arc::new(move |input| function(input).boxed())
}

/// Calls `handler`; a panic fails only this call.
pub(crate) async fn call_catching_panics<In, Out>(
    handler: &Handler<In, Out>,
    input: In,
) -> Result<Out, Error> {
    let call = AssertUnwindSafe(async move { handler(input).await });
    call.catch_unwind()
        .await
        .unwrap_or_else(|payload| Err(Error::from_panic(payload.as_ref())))
}

/// Turns a method of shared state into a handler that can be bound to an endpoint. The method is async; a plain one
/// makes a function for [`blocking`].
///
/// ```
/// # use std::sync::Arc;
/// # use executor_fn::{Error, Executor, Reply, Request, with_state};
/// #[derive(Default)]
/// struct Index;
///
/// impl Index {
///     async fn search(self: Arc<Self>, _: Request) -> Result<Reply, Error> {
///         Ok(Reply::unchanged())
///     }
/// }
///
/// let index = Arc::new(Index::default());
/// let executor = Executor::new("Search").on("/search", with_state(&index, Index::search));
/// ```
pub fn with_state<S, In, Output>(
    state: &Arc<S>,
    method: impl Fn(Arc<S>, In) -> Output + Send + Sync + 'static,
) -> impl Fn(In) -> Output + Send + Sync + 'static
where
    S: Send + Sync + 'static,
{
    let state = Arc::clone(state);
    move |input| method(Arc::clone(&state), input)
}

static THREADS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(max_threads()));

/// Some handlers wait for a disk or a database, so there are more threads than processors.
fn max_threads() -> usize {
    let processors = available_parallelism().map_or(1, NonZeroUsize::get);
    (4 * processors).max(16)
}

/// Turns a plain function into a handler that runs on Tokio's pool for blocking work. Use it for
/// everything that computes for more than about a millisecond: other requests go on meanwhile.
///
/// All such handlers of a process together run on at most four threads for each processor, and at least 16: more would only
/// take memory, and time from each other. Further requests wait in their order, and leave without having run if they are
/// cancelled.
///
/// ```
/// # use executor_fn::{Error, Executor, Reply, Request, blocking};
/// fn encode(request: Request) -> Result<Reply, Error> {
///     Ok(request.into_documents().into())
/// }
///
/// let executor = Executor::new("Encoder").on("/encode", blocking(encode));
/// ```
pub fn blocking<In, Out>(
    function: impl Fn(In) -> Result<Out, Error> + Send + Sync + 'static,
) -> impl Fn(In) -> BoxFuture<'static, Result<Out, Error>> + Send + Sync + 'static
where
    In: Send + 'static,
    Out: Send + 'static,
{
    let function = Arc::new(function);
    move |input| {
        let function = Arc::clone(&function);
        async move {
            // An error means that the semaphore is closed, which it never is. The permit stays with the work, which a
            // cancelled request does not end.
            let permit = THREADS.acquire().await.ok();
            let work = move || {
                let _permit = permit;
                function(input)
            };
            match tokio::task::spawn_blocking(work).await {
                Ok(result) => result,
                Err(error) => match error.try_into_panic() {
                    Ok(payload) => Err(Error::from_panic(payload.as_ref())),
                    Err(cancelled) => Err(cancelled.into()),
                },
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, mpsc};

    use futures_util::future::join_all;

    use super::*;

    /// The runtime would have threads for all of them.
    #[tokio::test]
    async fn blocking_handlers_run_on_a_limited_number_of_threads() {
        let max = max_threads();
        let (entered, entries) = mpsc::channel();
        let barrier = Arc::new(Barrier::new(max + 1));
        let handler = {
            let barrier = Arc::clone(&barrier);
            blocking(move |input: usize| {
                // Fails at the end of the test.
                let _ = entered.send(());
                if input < max {
                    barrier.wait();
                }
                Ok(input)
            })
        };
        let calls = tokio::spawn(join_all((0..max + 20).map(handler)));
        let entries = tokio::task::spawn_blocking(move || {
            // All threads are taken, and none of them ends.
            (0..max).for_each(|_| entries.recv().expect("a call"));
            assert!(entries.try_recv().is_err(), "one call too many");
            barrier.wait();
            entries
        });
        let entries = entries.await.expect("no panic");
        let results = calls.await.expect("no panic");
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(entries.iter().take(20).count(), 20);
    }
}
