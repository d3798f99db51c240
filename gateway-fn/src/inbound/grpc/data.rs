//! Serves the gRPC methods that carry data directly on their HTTP/2 connection, and passes messages on in the pieces in
//! which they arrive.

use std::{future::poll_fn, sync::Arc, task::Poll};

use flowgate_auth::Auth;
use flowgate_config::Protocol;
use flowgate_grpc::{
    Budget, Exchange, Held, Messages, MinRate, frame_request,
    h2::{RecvStream, SendStream, server::SendResponse},
    send_answer, to_trailers,
};
use flowgate_proto::{Chunks, DECODE_ERROR_PREFIX, DataRequest};
use futures_util::{Stream, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header, request::Parts};
use tokio::task::coop::consume_budget;
use tonic::Status;
use tracing::Instrument as _;

use super::{
    answers::{Answers, Counted, Pause},
    call::StreamingService,
    context_of,
};
use crate::{
    context::{ConnectionLoad, Context},
    gateway::Gateway,
};

/// The methods that carry data, with the authentication of their callers.
#[derive(Clone, Debug)]
pub struct DataMethods {
    gateway: Gateway,
    streaming: StreamingService,
    auth: Auth,
    budget: Arc<Budget>,
    max_message_bytes: usize,
    min_rate: MinRate,
}

/// A method that carries data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataMethod {
    /// `jina.JinaSingleDataRequestRPC/process_single_data`.
    Single,
    /// `jina.JinaRPC/Call`.
    Call,
}

impl DataMethod {
    /// Returns the method that a request calls, if it is one of these.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Option<Self> {
        let method = match request.uri().path() {
            "/jina.JinaSingleDataRequestRPC/process_single_data" => Self::Single,
            "/jina.JinaRPC/Call" => Self::Call,
            _ => return None,
        };
        (is_grpc(request.headers()) && request.method() == Method::POST).then_some(method)
    }
}

/// Whether a request is one of gRPC over HTTP/2, and not of gRPC-Web ("gRPC over HTTP2", `Content-Type`).
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    let rest = content_type.and_then(|value| {
        value
            .as_bytes()
            .strip_prefix(b"application/grpc".as_slice())
    });
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

type Body = bytes::Bytes;

impl DataMethods {
    pub(super) const fn new(
        gateway: Gateway,
        streaming: StreamingService,
        auth: Auth,
        budget: Arc<Budget>,
        max_message_bytes: usize,
        min_rate: MinRate,
    ) -> Self {
        Self {
            gateway,
            streaming,
            auth,
            budget,
            max_message_bytes,
            min_rate,
        }
    }

    /// Answers a request on the connection with this load. The request is cancelled when the client disconnects or resets
    /// the stream.
    pub async fn serve(&self, method: DataMethod, load: &ConnectionLoad, exchange: Exchange) {
        let Exchange {
            request,
            mut respond,
        } = exchange;
        let (head, body) = request.into_parts();
        let serving = async {
            if !self.auth.is_enabled() {
                return self.answer(method, load, &head, body).await;
            }
            let path = head.uri.path();
            let protocols = &[Protocol::Grpc];
            let caller = self.auth.authenticate(&head.headers, protocols, path);
            match caller.await {
                Ok(caller) => {
                    let answer = self.answer(method, load, &head, body);
                    answer.instrument(caller.span()).await
                }
                Err(error) => Reply::Failed(error.grpc_status()),
            }
        };
        let reply = tokio::select! {
            biased;
            reply = serving => reply,
            // Also if the connection is lost.
            _reset = poll_fn(|context| respond.poll_reset(context)) => return,
        };
        reply.send(respond, self.min_rate).await;
    }

    async fn answer(
        &self,
        method: DataMethod,
        load: &ConnectionLoad,
        head: &Parts,
        body: RecvStream,
    ) -> Reply {
        let mut context = context_of(&head.extensions, &head.headers);
        let messages = Messages::new(body, &head.headers, self.max_message_bytes);
        let messages = messages
            .with_account(self.budget.account())
            .with_min_rate(self.min_rate);
        match method {
            DataMethod::Single => {
                context.load = Some(load.clone());
                match self.answer_single(messages.without_pauses(), context).await {
                    Ok((answer, held)) => Reply::Single(answer, held),
                    Err(status) => Reply::Failed(status),
                }
            }
            DataMethod::Call => {
                let (requests, load) = (requests(messages), load.clone());
                let answers = self
                    .streaming
                    .answers(requests, &head.headers, context, load);
                Reply::Stream(answers)
            }
        }
    }

    async fn answer_single(
        &self,
        mut messages: Messages,
        context: Context,
    ) -> Result<(Chunks, Option<Held>), Status> {
        // A request that cannot be handled is not read.
        self.gateway
            .check_room(context.load.as_ref())
            .map_err(|error| error.grpc_status())?;
        let message = tokio::select! {
            biased;
            message = messages.next() => message?,
            // The rest of the message would come too late.
            error = self.gateway.aborted() => return Err(error.grpc_status()),
        };
        let Some(message) = message else {
            return Err(Status::internal("Missing request message."));
        };
        let mut held = messages.take_held();
        let answer = self.gateway.handle(decode(message)?, context).await;
        let answer = answer.map_err(|error| error.grpc_status())?;
        let answer = frame_request(answer);
        if let Some(held) = &mut held {
            held.set(answer.len());
        }
        Ok((answer, held))
    }
}

/// What is sent to the client.
enum Reply {
    /// One message in its frame, and its bytes from the budget.
    Single(Chunks, Option<Held>),
    /// The answers of a stream, in their order.
    Stream(Answers),
    /// No message.
    Failed(Status),
}

impl Reply {
    async fn send(self, respond: SendResponse<Body>, min_rate: MinRate) {
        match self {
            Self::Single(message, held) => {
                let Some(mut stream) = begin(respond) else {
                    return;
                };
                let sent = send_answer(&mut stream, message, held, min_rate);
                if sent.await.is_ok() {
                    end(&mut stream, &Status::ok(""));
                }
            }
            Self::Failed(status) => send_failure(respond, &status),
            Self::Stream(answers) => {
                let Some(stream) = begin(respond) else { return };
                send_answers(stream, answers, min_rate).await;
            }
        }
    }
}

/// Sends the head of an answer that does not begin with an error.
fn begin(mut respond: SendResponse<Body>) -> Option<SendStream<Body>> {
    respond
        .send_response(response(HeaderMap::new()), false)
        .ok()
}

fn end(stream: &mut SendStream<Body>, status: &Status) {
    // Fails only if the client has disconnected.
    let _ = stream.send_trailers(to_trailers(status));
}

/// Sends a status without a message, which is one frame ("gRPC over HTTP2", "Trailers-Only").
fn send_failure(mut respond: SendResponse<Body>, status: &Status) {
    let _ = respond.send_response(response(to_trailers(status)), true);
}

fn response(headers: HeaderMap) -> Response<()> {
    let mut response = Response::new(());
    *response.headers_mut() = headers;
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    response
}

/// Sends the answers of a stream until they end, the client disconnects, or one is an error.
async fn send_answers(mut stream: SendStream<Body>, mut answers: Answers, min_rate: MinRate) {
    loop {
        let next = tokio::select! {
            biased;
            next = answers.next() => next,
            _reset = poll_fn(|context| stream.poll_reset(context)) => return,
        };
        let (message, held) = match next {
            None => return end(&mut stream, &Status::ok("")),
            Some(Err(status)) => return end(&mut stream, &status),
            Some(Ok(Counted { request, held })) => (frame_request(request), held),
        };
        let sent = send_answer(&mut stream, message, held, min_rate);
        if answers.drive_until(sent).await.is_err() {
            return;
        }
        // Answers may always be ready: other requests of this worker must have their turn.
        consume_budget().await;
    }
}

/// The requests of a stream, up to the first one that cannot be read.
fn requests(messages: Messages) -> (impl Stream<Item = Result<Counted, Status>> + Send, Pause) {
    let pause = Pause::counting();
    let paused = pause.clone();
    let requests = stream::unfold(Some(messages), move |messages| {
        let pause = paused.clone();
        async move {
            let mut messages = messages?;
            let wanted = poll_fn(|context| {
                if pause.is_set() {
                    messages.poll_ahead(context);
                    return Poll::Pending;
                }
                Poll::Ready(())
            });
            wanted.await;
            match messages.next().await {
                Ok(None) => None,
                Ok(Some(message)) => {
                    let held = messages.take_held();
                    let request = decode(message).map(|request| Counted { request, held });
                    Some((request, Some(messages)))
                }
                Err(error) => Some((Err(error.into()), None)),
            }
        }
    });
    (requests, pause)
}

fn decode(message: Chunks) -> Result<DataRequest, Status> {
    DataRequest::from_chunks(message)
        .map_err(|_| Status::unknown(format!("{DECODE_ERROR_PREFIX}'jina.DataRequestProto'")))
}
