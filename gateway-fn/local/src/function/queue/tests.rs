//! The queue of one function, with runtimes that fetch and complete invocations without a process.

use super::*;

const LONG: Duration = Duration::from_secs(900);

fn invocation() -> Invocation {
    Invocation::new(Bytes::from_static(b"1"), None)
}

fn queue_with_processes(max_processes: usize) -> Arc<Queue> {
    Arc::new(Queue::new(LONG, 100, Some(max_processes), log()))
}

fn log() -> FunctionLog {
    FunctionLog {
        function: "function".to_owned(),
        memory_mib: 128,
    }
}

fn error_text(result: &InvokeResult) -> String {
    match result {
        InvokeResult::FunctionError(error) => String::from_utf8_lossy(error).into_owned(),
        InvokeResult::Response(response) => panic!("a response: {response:?}"),
    }
}

#[tokio::test]
async fn a_process_is_started_for_each_invocation_that_finds_none_idle() {
    let queue = queue_with_processes(2);
    let (first, start) = queue
        .enqueue(invocation(), QueuePolicy::Throttle)
        .expect("accepted");
    let one = start.expect("a start").process;
    let fetched = queue.fetch(Some(one)).await;
    assert!(queue.is_ready(one));
    let (second, start) = queue
        .enqueue(invocation(), QueuePolicy::Throttle)
        .expect("accepted");
    assert_ne!(start.expect("a start").process, one);
    let third = queue.enqueue(invocation(), QueuePolicy::Throttle);
    assert!(matches!(third, Err(InvokeError::Throttled)));
    // An invocation that may wait does not start a third process.
    let (third, start) = queue
        .enqueue(invocation(), QueuePolicy::Wait)
        .expect("accepted");
    assert!(start.is_none());

    let response = InvokeResult::Response(Bytes::from_static(b"2"));
    assert!(queue.complete(&fetched.invocation.request_id, response.clone()));
    assert_eq!(first.await.expect("a result"), response);
    for receiver in [second, third] {
        let fetched = queue.fetch(Some(one)).await;
        assert!(queue.complete(&fetched.invocation.request_id, response.clone()));
        assert_eq!(receiver.await.expect("a result"), response);
    }
}

#[tokio::test]
async fn an_idle_process_is_reused() {
    let queue = queue_with_processes(10);
    let (_first, start) = queue
        .enqueue(invocation(), QueuePolicy::Throttle)
        .expect("accepted");
    let one = start.expect("a start").process;
    let fetched = queue.fetch(Some(one)).await;
    let response = InvokeResult::Response(Bytes::new());
    assert!(queue.complete(&fetched.invocation.request_id, response));
    let poller = Arc::clone(&queue);
    let poller = tokio::spawn(async move { poller.fetch(Some(one)).await });
    while queue.state().polling == 0 {
        tokio::task::yield_now().await;
    }
    let (_second, start) = queue
        .enqueue(invocation(), QueuePolicy::Throttle)
        .expect("accepted");
    assert!(start.is_none());
    poller.await.expect("an invocation");
}

#[tokio::test]
async fn an_exit_fails_the_process_own_invocation_and_starts_another_for_the_queued_one() {
    let queue = queue_with_processes(1);
    let (running, start) = queue
        .enqueue(invocation(), QueuePolicy::Throttle)
        .expect("accepted");
    let one = start.expect("a start").process;
    let _fetched = queue.fetch(Some(one)).await;
    let (mut queued, start) = queue
        .enqueue(invocation(), QueuePolicy::Wait)
        .expect("accepted");
    assert!(start.is_none());
    let exit = InvokeResult::function_error("E", "it exited");
    let next = queue.process_exited(one, &exit);
    assert!(error_text(&running.await.expect("a result")).contains("it exited"));
    assert!(
        queued.try_recv().is_err(),
        "a process that was ready fails only its own invocation"
    );
    // A process that never became ready fails the queued invocation, with the error that it reported.
    let two = next.expect("a start").process;
    queue.record_init_error(Some(two), Bytes::from_static(b"no flow"));
    assert!(queue.process_exited(two, &exit).is_none());
    assert_eq!(error_text(&queued.await.expect("a result")), "no flow");
}

#[tokio::test(start_paused = true)]
async fn an_invocation_that_times_out_kills_its_process() {
    let queue = queue_with_processes(1);
    let (receiver, start) = queue
        .enqueue(invocation(), QueuePolicy::Throttle)
        .expect("accepted");
    let start = start.expect("a start");
    let fetched = queue.fetch(Some(start.process)).await;
    assert!(error_text(&receiver.await.expect("a result")).contains("Sandbox.Timedout"));
    assert!(start.kill.is_cancelled());
    let late = InvokeResult::Response(Bytes::new());
    assert!(!queue.complete(&fetched.invocation.request_id, late));
}

#[tokio::test]
async fn an_invocation_whose_caller_has_gone_is_not_run() {
    let queue = Arc::new(Queue::new(LONG, 1, None, log()));
    let (abandoned, _) = queue
        .enqueue(invocation(), QueuePolicy::Wait)
        .expect("accepted");
    drop(abandoned);
    let (mut queued, _) = queue
        .enqueue(invocation(), QueuePolicy::Wait)
        .expect("the abandoned invocation's place is free");
    let fetched = queue.fetch(None).await;
    let response = InvokeResult::Response(Bytes::new());
    assert!(queue.complete(&fetched.invocation.request_id, response.clone()));
    assert_eq!(queued.try_recv().expect("a result"), response);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_invocations_at_once_wake_two_polling_runtimes() {
    let queue = Arc::new(Queue::new(LONG, 100, None, log()));
    for round in 0..2000 {
        let pollers: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                tokio::spawn(async move { queue.fetch(None).await })
            })
            .collect();
        let enqueue = || {
            queue
                .enqueue(invocation(), QueuePolicy::Wait)
                .expect("accepted")
        };
        let _callers = [enqueue(), enqueue()];
        for poller in pollers {
            let fetched = tokio::time::timeout(Duration::from_secs(20), poller).await;
            let fetched = fetched.unwrap_or_else(|_| panic!("not woken in round {round}"));
            let request_id = fetched.expect("no panic").invocation.request_id;
            queue.complete(&request_id, InvokeResult::Response(Bytes::new()));
        }
    }
}
