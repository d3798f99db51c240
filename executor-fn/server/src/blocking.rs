//! Runs work on large bodies and messages on other threads, with a limit on the threads in use, so that the other requests
//! of a worker do not wait for it.

use std::{
    num::NonZeroUsize,
    sync::LazyLock,
    thread::{self, available_parallelism},
};

use tokio::sync::Semaphore;

/// Work on bodies up to this many bytes is done on the worker's own thread, because it takes less than about a millisecond:
/// JSON is read and written at some 100 MB/s.
pub const MAX_INLINE_BYTES: usize = 64 << 10;

/// Work on bodies up to this size need not wait for work on larger ones, which may take seconds.
const MAX_MEDIUM_BYTES: usize = 1 << 20;

/// The threads of a worker for what is not limited here, such as the lookup of a host name.
const OTHER_THREADS: usize = 4;

static MEDIUM: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(max_medium_threads(processors())));

static LARGE: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(max_large_threads(processors())));

/// As many threads for medium bodies as there are processors: more would only slow each other down.
const fn max_medium_threads(processors: usize) -> usize {
    processors
}

/// Half as many for large bodies, so that they leave processors for everything else.
const fn max_large_threads(processors: usize) -> usize {
    processors.div_ceil(2)
}

/// The most threads on which one worker runs blocking work. All the work that is allowed at once may come from one worker,
/// and other work must find a thread even then. The threads start when they are needed.
pub(crate) fn max_threads() -> usize {
    max_threads_with(processors())
}

const fn max_threads_with(processors: usize) -> usize {
    max_medium_threads(processors) + max_large_threads(processors) + OTHER_THREADS
}

fn processors() -> usize {
    available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Compression of a number of bytes takes about as long as other work on this many times that number.
pub const COMPRESSION_COST: usize = 2;

/// Runs work on this many bytes: a small amount on this thread, more on another thread, so that other requests need not
/// wait.
///
/// # Errors
/// When the work panicked.
pub async fn run<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> thread::Result<T> {
    if bytes <= MAX_INLINE_BYTES {
        return Ok(work());
    }
    let threads = match bytes <= MAX_MEDIUM_BYTES {
        true => &MEDIUM,
        false => &LARGE,
    };
    // An error means that the semaphore is closed, which it never is. The permit stays with the work: a request that is
    // cancelled does not end it.
    let permit = threads.acquire().await.ok();
    let work = move || {
        let _permit = permit;
        work()
    };
    let finished = tokio::task::spawn_blocking(work).await;
    finished.map_err(|error| match error.try_into_panic() {
        Ok(panic) => panic,
        Err(cancelled) => Box::new(cancelled),
    })
}

/// Runs work whose output may be far larger than its input, such as a decompression. `work` gets the most bytes that it may
/// return, and is tried first with few, on this thread: only if `is_too_large` finds that it needs more, it is started
/// again on another thread, with more bytes and at last with `limit`. Starting again costs little beside the larger output.
///
/// # Errors
/// When the work panicked.
pub async fn run_growing<T: Send + 'static, E: Send + 'static>(
    input_bytes: usize,
    limit: usize,
    work: impl Fn(usize) -> Result<T, E> + Clone + Send + 'static,
    is_too_large: fn(&E) -> bool,
) -> thread::Result<Result<T, E>> {
    for max in [MAX_INLINE_BYTES, MAX_MEDIUM_BYTES] {
        if input_bytes > max || limit <= max {
            continue;
        }
        let work = work.clone();
        let result = run(max, move || work(max)).await?;
        if !result.as_ref().is_err_and(is_too_large) {
            return Ok(result);
        }
    }
    run(input_bytes.max(limit), move || work(limit)).await
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn small_work_does_not_wait_for_large_work() {
        let (release, held) = mpsc::channel::<()>();
        let large = tokio::spawn(run(MAX_MEDIUM_BYTES + 1, move || held.recv()));
        // The runtime has one thread: this would wait for ever if the large work held it.
        for bytes in [1, MAX_INLINE_BYTES, MAX_INLINE_BYTES + 1] {
            assert_eq!(run(bytes, || 5).await.expect("no panic"), 5);
        }
        release.send(()).expect("the large work waits");
        assert!(large.await.expect("no panic").expect("no panic").is_ok());
    }

    #[tokio::test]
    async fn output_that_grows_is_made_on_another_thread() {
        let here = thread::current().id();
        for (input, limit, output, is_here) in [
            (1, usize::MAX, MAX_INLINE_BYTES, true),
            (1, usize::MAX, MAX_INLINE_BYTES + 1, false),
            (1, usize::MAX, MAX_MEDIUM_BYTES + 1, false),
            (MAX_INLINE_BYTES + 1, usize::MAX, 1, false),
            (1, MAX_INLINE_BYTES, MAX_INLINE_BYTES, true),
        ] {
            let work = move |max| match output <= max {
                true => Ok(thread::current().id()),
                false => Err(max),
            };
            let thread = run_growing(input, limit, work, |_| true).await;
            let thread = thread.expect("no panic").expect("within the limit");
            assert_eq!(thread == here, is_here, "{input} bytes to {output}");
        }
        for limit in [1, MAX_INLINE_BYTES + 1, 2 * MAX_MEDIUM_BYTES] {
            let exceeded = run_growing(1, limit, Err::<(), _>, |_| true).await;
            assert_eq!(exceeded.expect("no panic"), Err(limit));
        }
        let other_error = run_growing(1, usize::MAX, Err::<(), _>, |_| false).await;
        assert_eq!(other_error.expect("no panic"), Err(MAX_INLINE_BYTES));
    }

    #[test]
    fn work_of_each_size_finds_a_thread_while_all_larger_work_runs() {
        for processors in [1, 2, 7, 8, 64] {
            let threads = max_threads_with(processors);
            let (medium, large) = (
                max_medium_threads(processors),
                max_large_threads(processors),
            );
            assert!(threads - large >= medium, "{processors}");
            assert!(threads > medium + large, "{processors}");
        }
    }

    #[tokio::test]
    async fn a_panic_of_large_work_is_an_error() {
        let panicking = || -> u8 { panic!("on purpose") };
        assert!(run(MAX_INLINE_BYTES + 1, panicking).await.is_err());
        assert_eq!(run(MAX_INLINE_BYTES + 1, || 5).await.expect("no panic"), 5);
    }
}
