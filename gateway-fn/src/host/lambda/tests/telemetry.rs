//! What an invocation leaves behind: metrics, a trace, and no unfinished work.

use std::{
    io::Write,
    net::UdpSocket,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::*;
use crate::telemetry::emf::Output;

/// The lines that were written to it.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut bytes_written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bytes_written.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn of_metrics(function: &mut Function) -> Self {
        let lines = Self::default();
        let shared = Arc::get_mut(&mut function.0).expect("not shared yet");
        let metrics = shared.metrics.as_mut().expect("on by default");
        metrics.output = Output::to(lines.clone());
        lines
    }

    fn read(&self) -> Vec<Value> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let text = String::from_utf8(bytes).expect("text");
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}

const GREETER: &str = "jtype: Flow\nexecutors: [{name: greeter, uses: 'inproc://greet'}]\n";

#[tokio::test]
async fn every_invocation_is_measured() {
    let mut function = flow(GREETER);
    let lines = Lines::of_metrics(&mut function);
    let http = event(HTTP_API, "POST", "/post", HELLO);
    let plain_json: Value = serde_json::from_str(HELLO).expect("JSON");
    let message = json!({
        "requestContext": {
            "connectionId": "c", "eventType": "MESSAGE", "routeKey": "$default", "requestId": "r",
            "domainName": "a.execute-api.eu-west-1.amazonaws.com", "stage": "prod",
        },
        "body": HELLO,
    });
    for (event, cold, has_bytes) in [
        (http, 1.0, true),
        (plain_json, 0.0, true),
        (message, 0.0, false),
    ] {
        respond(&function, &event).await;
        let lines = lines.read();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[0]["ColdStart"], cold);
        assert_eq!(lines[0]["requestId"], "r-1");
        assert_eq!(lines[0].get("AnswerBytes").is_some(), has_bytes);
        assert_eq!(lines[1]["Executor"], "greeter");
        assert_eq!(lines[1]["NodeErrors"], 0.0);
    }
}

#[tokio::test]
async fn a_stream_is_measured_when_its_client_disconnects() {
    let mut function = flow(
        "jtype: Flow\ngateway: {function: {response_streaming: true}}\n\
         executors: [{name: greeter, uses: 'inproc://greet'}]\n",
    );
    let lines = Lines::of_metrics(&mut function);
    let event = event(FUNCTION_URL, "POST", "/post", HELLO);
    let streamed = try_respond(&function, &event).await;
    assert!(lines.read().is_empty());
    drop(streamed);
    assert_eq!(lines.read()[0]["AnswerBytes"], 0.0);
}

#[tokio::test]
async fn a_provisioned_start_is_not_cold() {
    let provisioned = |name: &str| {
        (name == "AWS_LAMBDA_INITIALIZATION_TYPE").then(|| "provisioned-concurrency".to_owned())
    };
    let mut function = flow_with_env(GREETER, &provisioned);
    let lines = Lines::of_metrics(&mut function);
    respond(&function, &event(HTTP_API, "GET", "/", "")).await;
    assert_eq!(lines.read()[0]["ColdStart"], 0.0);
}

#[tokio::test]
async fn an_unavailable_executor_is_counted_as_an_error() {
    let mut function = flow(
        "jtype: Flow\ngateway: {retries: 0}\nexecutors: [{name: gone, external: true, host: 127.0.0.1, port: 9}]\n",
    );
    let lines = Lines::of_metrics(&mut function);
    respond(&function, &event(HTTP_API, "POST", "/post", HELLO)).await;
    let lines = lines.read();
    assert_eq!(lines[1]["Executor"], "gone");
    assert_eq!(lines[1]["NodeErrors"], 1.0);
    assert_eq!(lines[2]["Code"], "Unavailable");
}

#[tokio::test]
async fn the_xray_daemon_receives_the_visit_under_lambdas_segment() {
    let daemon = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let wait = Some(Duration::from_secs(10));
    daemon.set_read_timeout(wait).expect("a time");
    let address = daemon.local_addr().expect("bound").to_string();
    let env = |name: &str| (name == "AWS_XRAY_DAEMON_ADDRESS").then(|| address.clone());
    let function = flow_with_env(GREETER, &env);
    let mut context = invocation();
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    context.xray_trace_id = Some(trace.to_owned());
    let event = event(HTTP_API, "POST", "/post", HELLO);
    respond_in(&function, &event, context)
        .await
        .expect("a response");
    let mut packet = [0; 4096];
    let length = daemon.recv(&mut packet).expect("a packet");
    let text = std::str::from_utf8(&packet[..length]).expect("text");
    let (_, document) = text.split_once('\n').expect("two lines");
    let document: Value = serde_json::from_str(document).expect("JSON");
    assert_eq!(document["name"], "greeter");
    assert_eq!(document["parent_id"], "53995c3f42cd8ad8");
}

/// Lambda freezes the process after the response.
#[tokio::test]
async fn floating_work_is_done_before_the_response() {
    let mut function = flow(
        "jtype: Flow\nexecutors:\n- {name: greeter, uses: 'inproc://greet'}\n\
         - {name: later, uses: 'inproc://greet', needs: [gateway], floating: true}\n",
    );
    let lines = Lines::of_metrics(&mut function);
    respond(&function, &event(HTTP_API, "POST", "/post", HELLO)).await;
    assert_eq!(function.0.services.gateway.background_tasks(), 0);
    let lines = lines.read();
    let visited = |name| lines.iter().any(|line| line["Executor"] == name);
    assert!(visited("greeter") && visited("later"), "{lines:?}");
}

#[tokio::test]
async fn floating_work_is_waited_for_as_long_as_the_flow_says() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("bound").port();
    let function = flow(&format!(
        "jtype: Flow\ngateway: {{function: {{wait_for_floating: 50}}}}\nexecutors:\n\
         - {{name: greeter, uses: 'inproc://greet'}}\n\
         - {{name: slow, external: true, host: 127.0.0.1, port: {port}, needs: [gateway], floating: true}}\n"
    ));
    let started = Instant::now();
    respond(&function, &event(HTTP_API, "POST", "/post", HELLO)).await;
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// The caller would stop waiting although there is a response.
#[tokio::test]
async fn floating_work_does_not_outlast_the_callers_timeout() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("bound").port();
    let function = flow(&format!(
        "jtype: Flow\ngateway: {{function: {{front_door_timeout: 4000, answer_margin: 2000}}}}\nexecutors:\n\
         - {{name: greeter, uses: 'inproc://greet'}}\n\
         - {{name: slow, external: true, host: 127.0.0.1, port: {port}, needs: [gateway], floating: true}}\n"
    ));
    let timeout = Duration::from_secs(4);
    let end = SystemTime::now() + timeout;
    let unix_time = end.duration_since(SystemTime::UNIX_EPOCH).expect("now");
    let requests = vec![hello()];
    let mut by_gateway = invoke(&DataRequestListProto { requests }.encode_to_vec());
    by_gateway["deadline"] = u64::try_from(unix_time.as_millis())
        .expect("in range")
        .into();
    let websocket = json!({
        "requestContext": {"connectionId": "c", "eventType": "MESSAGE", "routeKey": "$default", "apiId": "a", "stage": "s"},
        "body": HELLO,
    });
    let measure = async |event: &Value| {
        let started = Instant::now();
        try_respond(&function, event).await.expect("a response");
        started.elapsed()
    };
    let (websocket, by_gateway) = tokio::join!(measure(&websocket), measure(&by_gateway));
    for took in [websocket, by_gateway] {
        assert!(took > timeout / 4 && took < timeout, "{took:?}");
    }
}
