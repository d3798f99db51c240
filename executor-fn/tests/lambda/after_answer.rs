//! Work of handlers that outlives the answer: when the caller gets the answer, and when Lambda may freeze the process.

use std::{env, time::Duration};

use executor_fn::{Executor, Reply, Request, ServeOptions, serve};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{answer, function::Function, runtime_api::RuntimeApi};

/// The variable with the address to which the work connects. It is done when it has read a byte.
const WORK: &str = "TEST_WORK_ADDRESS";

/// The variable that says whether the Executor announces its work.
const ANNOUNCED: &str = "TEST_WORK_ANNOUNCED";

const PAYLOAD: &str = r#"{"data":[],"execEndpoint":"/"}"#;

/// Far longer than any step of a test takes on a machine that is not overloaded.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

async fn start_work(request: Request) -> Result<Reply, executor_fn::Error> {
    let lambda = request.context().lambda().expect("a function");
    let tenant = lambda.tenant_id.clone();
    assert_eq!(tenant.as_deref(), Some("blue"));
    request.context().spawn(async {
        let address = env::var(WORK).expect("an address");
        let mut stream = TcpStream::connect(address).await.expect("the test listens");
        stream.read_u8().await.expect("the test writes");
    });
    Ok(Reply::unchanged())
}

/// The program of the functions in these tests.
#[tokio::test]
#[ignore = "other tests start it as a function"]
async fn function() {
    if env::var_os(WORK).is_none() {
        return;
    }
    let mut executor = Executor::new("E").on_default(start_work);
    if env::var_os(ANNOUNCED).is_some() {
        executor = executor.background_work();
    }
    let served = serve(executor, ServeOptions::default()).await;
    served.expect("no error");
}

struct Work(TcpListener);

impl Work {
    async fn listen() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.expect("a port"))
    }

    fn address(&self) -> String {
        self.0.local_addr().expect("an address").to_string()
    }

    /// Waits until the work has begun; a byte to the stream ends it.
    async fn begun(&self) -> TcpStream {
        let accepted = timeout(TEST_TIMEOUT, self.0.accept()).await;
        accepted.expect("in time").expect("a connection").0
    }
}

#[tokio::test]
async fn announced_work_goes_on_after_the_answer_until_the_next_event_is_asked_for() {
    let (api, work) = (RuntimeApi::start().await, Work::listen().await);
    let env = [(WORK, &*work.address()), (ANNOUNCED, "1")];
    let _function = Function::start_test("after_answer::function", &api, &env);
    for invocation in 1..=2 {
        answer(api.invoke(PAYLOAD).await);
        let mut running = work.begun().await;
        // The runtime waits for the next invocation while the work goes on.
        api.wait_until(|api| api.polls() == invocation + 1).await;
        assert_eq!(api.event_polls(), invocation, "Lambda may freeze the work");
        running.write_u8(1).await.expect("it reads");
        api.wait_for_event_polls(invocation + 1).await;
    }
}

/// Otherwise every further invocation would last until the function's timeout.
#[tokio::test]
async fn the_extension_asks_again_after_a_failure() {
    let (api, work) = (RuntimeApi::start().await, Work::listen().await);
    api.fail_next_event_poll();
    let env = [(WORK, &*work.address()), (ANNOUNCED, "1")];
    let _function = Function::start_test("after_answer::function", &api, &env);
    answer(api.invoke(PAYLOAD).await);
    work.begun().await.write_u8(1).await.expect("it reads");
    api.wait_for_event_polls(2).await;
}

#[tokio::test]
async fn other_work_is_done_before_the_next_invocation_is_asked_for() {
    let (api, work) = (RuntimeApi::start().await, Work::listen().await);
    let env = [(WORK, &*work.address())];
    let _function = Function::start_test("after_answer::function", &api, &env);
    answer(api.invoke(PAYLOAD).await);
    let mut running = work.begun().await;
    assert_eq!(api.polls(), 1, "Lambda may freeze the work");
    assert!(!api.has_extension());
    running.write_u8(1).await.expect("it reads");
    api.wait_until(|api| api.polls() == 2).await;
}
