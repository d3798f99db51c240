//! Tests which replica is called: when one hangs, and when a name has several addresses.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU16},
    },
};

use bytes::Bytes;
use executor_fn::info::Traffic;
use flowgate_config::RetryPolicy;
use flowgate_grpc::{
    client::{ClientTls, Resolve, SystemResolver},
    frame, h2,
};
use flowgate_proto::{Compression, DataRequest, jina::EndpointsProto};
use flowgate_tls::TlsRoots;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Response, StatusCode};
use prost::Message as _;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

use super::*;
use crate::{
    context::Context,
    outbound::grpc::{
        GrpcDeployment,
        outgoing::Outgoing,
        peer::DISCOVERY_TIMEOUT,
        replica::{MAX_SILENCE, PROBE_INTERVAL},
    },
};

/// The most calls that a peer takes at once on a connection.
const MAX_STREAMS: u32 = 10;

/// Longer than anything takes here.
const BOUND: Duration = Duration::from_secs(60);

/// An Executor that can hang: it still takes connections, as the threads of gRPC do for a process that is busy.
struct Peer {
    state: Arc<PeerState>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct PeerState {
    is_hung: AtomicBool,
    /// Unless it is 0, the HTTP status of all answers, as of a proxy.
    http_status: AtomicU16,
    /// The requests that arrived, without discovery.
    calls: AtomicUsize,
    /// The requests for discovery: the probes.
    probes: AtomicUsize,
    arrived: Notify,
}

impl Peer {
    async fn start(ip: Ipv4Addr, port: u16) -> io::Result<(Self, u16)> {
        let listener = TcpListener::bind((ip, port)).await?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(PeerState::default());
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Ok((Self { state, serving }, port))
    }

    fn hang(&self, is_hung: bool) {
        self.state.is_hung.store(is_hung, Ordering::SeqCst);
    }

    fn calls(&self) -> usize {
        self.state.calls.load(Ordering::SeqCst)
    }

    /// Waits for a request, or a probe.
    async fn arrived(&self) {
        let arrived = tokio::time::timeout(BOUND, self.state.arrived.notified());
        arrived.await.expect("a request");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(stream: tokio::net::TcpStream, state: Arc<PeerState>) {
    let mut builder = h2::server::Builder::new();
    let handshake = builder
        .max_concurrent_streams(MAX_STREAMS)
        .handshake::<_, Bytes>(stream);
    let mut connection = handshake.await.expect("HTTP/2");
    let mut held = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let is_discovery = request.uri().path().ends_with("/endpoint_discovery");
        let count = match is_discovery {
            true => &state.probes,
            false => &state.calls,
        };
        count.fetch_add(1, Ordering::SeqCst);
        let is_hung = state.is_hung.load(Ordering::SeqCst);
        state.arrived.notify_one();
        if is_hung {
            held.push((request, respond));
            continue;
        }
        if let Ok(status) = StatusCode::from_u16(state.http_status.load(Ordering::SeqCst)) {
            let mut head = Response::new(());
            *head.status_mut() = status;
            respond.send_response(head, true).expect("sent");
            continue;
        }
        let endpoints = EndpointsProto {
            endpoints: vec!["/default".to_owned()],
        };
        let message = match is_discovery {
            true => endpoints.encode_to_vec(),
            false => Vec::new(),
        };
        let mut stream = respond
            .send_response(Response::new(()), false)
            .expect("sent");
        for piece in frame(Bytes::from(message).into(), None) {
            stream.send_data(piece, false).expect("sent");
        }
        let status = ("grpc-status".parse().expect("a name"), HeaderValue::from(0));
        let trailers = HeaderMap::from_iter([status]);
        stream.send_trailers(trailers).expect("sent");
    }
}

/// Resolves every name to these addresses.
#[derive(Debug, Default)]
struct Names(Mutex<Vec<IpAddr>>);

impl Names {
    fn set(&self, addresses: &[Ipv4Addr]) {
        let addresses = addresses.iter().copied().map(IpAddr::V4);
        *self.0.lock().expect("no panic") = addresses.collect();
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, _: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        let addresses = self.0.lock().expect("no panic").clone();
        let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, port));
        Box::pin(std::future::ready(Ok(addresses.collect())))
    }
}

fn deployment(addresses: &[String], resolver: Arc<dyn Resolve>) -> GrpcDeployment {
    let address = |authority: &String| GrpcAddress {
        authority: authority.clone(),
        tls: false,
    };
    let addresses: Vec<_> = addresses.iter().map(address).collect();
    let options = GrpcOptions {
        timeout: None,
        attempts: std::num::NonZeroUsize::new(1),
        retry_policy: RetryPolicy::Safe,
        compression: Compression::None,
        max_message_bytes: 1 << 20,
        connections: std::num::NonZeroUsize::MIN,
        resolver,
        tls: ClientTls::new(TlsRoots::Bundled),
        show_addresses: true,
        traffic: Arc::<Traffic>::default(),
        budget: None,
    };
    GrpcDeployment::new("e", &addresses, &HeaderMap::new(), &options).expect("valid")
}

/// Makes a call in one attempt.
async fn call(deployment: &GrpcDeployment) {
    let context = Context::default();
    let called = deployment.call(vec![DataRequest::default()], &context);
    let called = tokio::time::timeout(BOUND, called).await;
    called.expect("the call ends").expect("an answer");
}

/// Lets time pass. The clock stands still only meanwhile, so that it does not run ahead of the network.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Makes calls until the condition is true.
async fn call_until(deployment: &GrpcDeployment, condition: impl Fn() -> bool) {
    let calling = async {
        while !condition() {
            call(deployment).await;
        }
    };
    let called = tokio::time::timeout(BOUND, calling).await;
    called.expect("the condition is true in time");
}

#[tokio::test]
async fn a_replica_that_hangs_is_left_out_until_a_probe_is_answered() {
    let (hung, hung_port) = Peer::start(Ipv4Addr::LOCALHOST, 0).await.expect("a port");
    let (running, port) = Peer::start(Ipv4Addr::LOCALHOST, 0).await.expect("a port");
    let addresses = [hung_port, port].map(|port| format!("127.0.0.1:{port}"));
    let deployment = Arc::new(deployment(&addresses, Arc::new(SystemResolver)));
    hung.hang(true);
    let waiting = tokio::spawn({
        let deployment = Arc::clone(&deployment);
        async move { call(&deployment).await }
    });
    hung.arrived().await;
    let replica = deployment.rotation.replicas.read().expect("no panic")[0].clone();
    let is_in_use = || replica.is_in_use(deployment.rotation.clock.now());
    // While no other replica answers either, silence says nothing.
    pass(2 * MAX_SILENCE).await;
    assert!(is_in_use());
    call(&deployment).await;
    assert!(!is_in_use(), "another one has answered meanwhile");
    pass(PROBE_INTERVAL).await;
    call(&deployment).await;
    hung.arrived().await;
    // However many calls there are, it gets none; a probe that hangs changes nothing, and no other one begins beside it.
    for _ in 0..3 {
        pass(PROBE_INTERVAL).await;
        let in_flight = [0; 5].map(|_| call(&deployment));
        futures_util::future::join_all(in_flight).await;
    }
    assert_eq!((hung.calls(), running.calls()), (1, 17));
    hung.hang(false);
    // With the call that hangs it would have more in flight than the other one.
    waiting.abort();
    pass(DISCOVERY_TIMEOUT).await;
    call_until(&deployment, || hung.calls() > 1).await;
    assert_eq!(hung.state.probes.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_proxy_whose_executor_is_down_is_left_out_until_it_is_there() {
    let context = Context::default();
    for (status, is_down) in [(502, true), (503, true), (504, true), (429, false)] {
        let (proxy, proxy_port) = Peer::start(ONE, 0).await.expect("a port");
        let (running, port) = Peer::start(ONE, 0).await.expect("a port");
        proxy.state.http_status.store(status, Ordering::SeqCst);
        let addresses = [proxy_port, port].map(|port| format!("127.0.0.1:{port}"));
        let deployment = deployment(&addresses, Arc::new(SystemResolver));
        let calls = [0; 2].map(|_| deployment.call(vec![DataRequest::default()], &context));
        let calls = futures_util::future::join_all(calls);
        let calls = tokio::time::timeout(BOUND, calls).await.expect("in time");
        // Not repeated: it is not known whether the Executor has run it.
        assert_eq!(calls.iter().filter(|result| result.is_err()).count(), 1);
        let replica = deployment.rotation.replicas.read().expect("no panic")[0].clone();
        let is_in_use = replica.is_in_use(deployment.rotation.clock.now());
        assert_eq!(is_in_use, !is_down, "{status}");
        assert_eq!(replica.peer.is_answering().await, !is_down, "{status}");
        proxy.state.http_status.store(0, Ordering::SeqCst);
        assert!(replica.peer.is_answering().await);
        drop(running);
    }
}

/// As with a `timeout_send` below [`MAX_SILENCE`], and few requests.
#[tokio::test(start_paused = true)]
async fn a_replica_whose_calls_all_time_out_is_left_out() {
    let addresses = [1, 2].map(|port| format!("127.0.0.1:{port}"));
    let deployment = deployment(&addresses, Arc::new(SystemResolver));
    let replicas = deployment
        .rotation
        .replicas
        .read()
        .expect("no panic")
        .clone();
    let [hung, running] = &replicas[..] else {
        panic!("two replicas");
    };
    let is_in_use = || hung.is_in_use(deployment.rotation.clock.now());
    let time_out = async || {
        let in_flight = hung.begin();
        tokio::time::advance(Duration::from_secs(1)).await;
        in_flight.end(true);
        running.note_answer();
    };
    // One is no sign, however long ago it is; nor are those between which it answers, or ends the connection.
    time_out().await;
    tokio::time::advance(100 * MAX_SILENCE).await;
    running.note_answer();
    assert!(is_in_use());
    for _ in 0..10 {
        hung.note_answer();
        time_out().await;
        assert!(is_in_use());
    }
    hung.note_answer();
    hung.begin().end(false);
    tokio::time::advance(2 * MAX_SILENCE).await;
    running.note_answer();
    assert!(is_in_use());
    hung.note_answer();
    for _ in 0..5 {
        time_out().await;
        assert!(is_in_use());
    }
    // A call whose client has left is unanswered too.
    let cancelled = hung.begin();
    tokio::time::advance(Duration::from_secs(1)).await;
    drop(cancelled);
    assert!(!is_in_use());
    // A probe that succeeds begins anew.
    hung.note_answer();
    assert!(is_in_use());
    time_out().await;
    assert!(is_in_use());
}

#[tokio::test]
async fn the_replica_that_answers_now_and_then_stays_in_use() {
    let (slow, slow_port) = Peer::start(Ipv4Addr::LOCALHOST, 0).await.expect("a port");
    let (_running, port) = Peer::start(Ipv4Addr::LOCALHOST, 0).await.expect("a port");
    let addresses = [slow_port, port].map(|port| format!("127.0.0.1:{port}"));
    let deployment = deployment(&addresses, Arc::new(SystemResolver));
    let replica = deployment.rotation.replicas.read().expect("no panic")[0].clone();
    let _in_flight = replica.begin();
    for _ in 0..5 {
        pass(MAX_SILENCE / 2).await;
        replica.note_answer();
        pass(MAX_SILENCE / 2).await;
        call(&deployment).await;
        assert!(replica.is_in_use(deployment.rotation.clock.now()));
    }
    drop(slow);
}

#[tokio::test]
async fn a_call_that_a_busy_peer_did_not_take_in_time_may_be_repeated() {
    let (busy, port) = Peer::start(Ipv4Addr::LOCALHOST, 0).await.expect("a port");
    busy.hang(true);
    let deployment = deployment(&[format!("127.0.0.1:{port}")], Arc::new(SystemResolver));
    let replica = deployment.rotation.next(&[]);
    let message = Outgoing::new(vec![DataRequest::default()], None).await;
    let (context, mut short) = (Context::default(), Context::default());
    short.shorten_deadline(Duration::from_millis(100));
    let fill = futures_util::future::join_all(
        (0..MAX_STREAMS).map(|_| replica.peer.process(&message, &context)),
    );
    let wait = async {
        while busy.calls() < MAX_STREAMS as usize {
            busy.arrived().await;
        }
        replica.peer.process(&message, &short).await
    };
    let error = tokio::select! {
        _ = fill => panic!("the peer hangs"),
        result = wait => result.expect_err("the peer takes no more calls"),
    };
    assert!(!error.may_have_run(), "{error}");
    assert_eq!(busy.calls(), MAX_STREAMS as usize);
}

const ONE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const TWO: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Starts two Executors that have the same port and different addresses.
async fn peers_with_one_name() -> (Peer, Peer, String) {
    for _ in 0..50 {
        let (one, port) = Peer::start(ONE, 0).await.expect("a port");
        // Another process may have the port of the other address.
        if let Ok((two, _)) = Peer::start(TWO, port).await {
            return (one, two, format!("name:{port}"));
        }
    }
    panic!("no port is free")
}

#[tokio::test]
async fn all_addresses_of_a_name_are_used() {
    let (one, two, authority) = peers_with_one_name().await;
    let names = Arc::new(Names::default());
    // Nothing listens on the first one.
    names.set(&[Ipv4Addr::new(127, 0, 0, 3), ONE, TWO]);
    let deployment = deployment(&[authority], Arc::<Names>::clone(&names));
    call_until(&deployment, || one.calls() > 0 && two.calls() > 0).await;
    let before = [one.calls(), two.calls()];
    for _ in 0..10 {
        call(&deployment).await;
    }
    let calls = [one.calls() - before[0], two.calls() - before[1]];
    assert_eq!(calls, [5, 5]);

    // One of them hangs: the other one takes the calls.
    two.hang(true);
    let before = two.calls();
    let deployment = Arc::new(deployment);
    let hanging = tokio::spawn({
        let deployment = Arc::clone(&deployment);
        async move {
            let calls = [0; 2].map(|_| call(&deployment));
            futures_util::future::join_all(calls).await
        }
    });
    while two.calls() == before {
        two.arrived().await;
    }
    pass(2 * MAX_SILENCE).await;
    for _ in 0..10 {
        call(&deployment).await;
    }
    let replicas = deployment
        .rotation
        .replicas
        .read()
        .expect("no panic")
        .clone();
    let address = |replica: &Arc<Replica>| replica.peer.address().pin().map(|pin| pin.ip());
    let left_out = |ip: Ipv4Addr| {
        let mut found = replicas
            .iter()
            .filter(|replica| address(replica) == Some(ip.into()));
        let replica = found.next().expect("a replica");
        assert!(found.next().is_none(), "one replica for each address");
        !replica.is_in_use(deployment.rotation.clock.now())
    };
    assert!(left_out(TWO) && !left_out(ONE));
    hanging.abort();
}

#[tokio::test]
async fn addresses_that_come_and_go_are_noticed() {
    let (one, two, authority) = peers_with_one_name().await;
    let names = Arc::new(Names::default());
    names.set(&[ONE]);
    let deployment = deployment(&[authority], Arc::<Names>::clone(&names));
    for _ in 0..5 {
        call(&deployment).await;
    }
    assert_eq!((one.calls(), two.calls()), (5, 0));
    // While all is well, the name is resolved every now and then.
    names.set(&[ONE, TWO]);
    pass(RESOLVE_INTERVAL).await;
    call_until(&deployment, || two.calls() > 0).await;
    names.set(&[TWO]);
    pass(RESOLVE_INTERVAL).await;
    let count = || deployment.rotation.replicas.read().expect("no panic").len();
    call_until(&deployment, || count() == 1).await;
    let calls = one.calls();
    for _ in 0..5 {
        call(&deployment).await;
    }
    assert_eq!(one.calls(), calls);
    // A name of which all addresses have changed works at once, even with one attempt.
    drop(two);
    names.set(&[Ipv4Addr::new(127, 0, 0, 3), ONE]);
    let host = deployment.rotation.hosts[0].host();
    host.resolve().await.expect("an address");
    call(&deployment).await;
    assert_eq!(one.calls(), calls + 1);
}
