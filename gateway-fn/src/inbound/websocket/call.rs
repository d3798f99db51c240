//! Handles one message of a client: reads the request, sends it through the Flow, and writes the answer.

use flowgate_grpc::{
    Held,
    blocking::{self, MAX_INLINE_BYTES},
};
use flowgate_proto::{DataRequest, Documents};
use flowgate_websocket::Message;
use futures_util::{FutureExt as _, future::BoxFuture};
use prost::Message as _;

use super::{
    close::Close,
    subprotocol::{Input, Subprotocol},
};
use crate::{
    context::Context, error::GatewayError, gateway::Gateway, inbound::decoded::DecodedBytes,
};

/// A message and its bytes from the budget.
pub(super) struct Counted {
    pub(super) message: Message,
    pub(super) held: Option<Held>,
}

/// The result of a message.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The answer to its request.
    Answer(Message),
    /// The message had no meaning.
    Ignored,
    /// The client sends no more requests.
    End,
    /// There was no room for what the message becomes: the session ends once its other requests are answered.
    Refused(Close),
    /// The session must be closed.
    Failed(Close),
}

/// A message that is being handled.
pub(super) type Call = BoxFuture<'static, Outcome>;

/// How far a message has been handled.
pub(super) enum StartedCall {
    /// It has been handled.
    Done(Outcome),
    /// It is being handled.
    Call(Call),
}

/// Begins to handle a message. Its bytes are held until the answer takes their place.
pub(super) fn begin(gateway: &Gateway, subprotocol: Subprotocol, message: Counted) -> StartedCall {
    let Counted { message, held } = message;
    let limits = gateway.decode_limits();
    let bytes = payload_bytes(&message);
    let memory = held
        .as_ref()
        .map(|held| DecodedBytes::new(held.budget(), bytes));
    let read = move || {
        let input = subprotocol.read(&message, limits, memory.as_ref());
        input.map(|input| (input, memory.map(DecodedBytes::into_held)))
    };
    if bytes <= MAX_INLINE_BYTES {
        return match read() {
            Ok((Input::Request(request), decoded)) => {
                let held = HeldBytes { held, decoded };
                StartedCall::Call(answer(gateway, subprotocol, *request, held).boxed())
            }
            other => StartedCall::Done(outcome_without_request(other)),
        };
    }
    let gateway = gateway.clone();
    let call = async move {
        let read = blocking::run(bytes, read).await;
        match read.unwrap_or_else(|_| Err(internal_error())) {
            Ok((Input::Request(request), decoded)) => {
                let held = HeldBytes { held, decoded };
                Box::pin(answer(&gateway, subprotocol, *request, held)).await
            }
            other => outcome_without_request(other),
        }
    };
    StartedCall::Call(call.boxed())
}

/// The bytes of a request from the budget.
struct HeldBytes {
    /// Those of its message.
    held: Option<Held>,
    /// Those that it takes beyond its message since it is decoded.
    decoded: Option<Held>,
}

/// Begins a dry run, whose answer is its status.
pub(super) fn begin_dry_run(gateway: &Gateway, subprotocol: Subprotocol) -> Call {
    let gateway = gateway.clone();
    let dry_run = async move {
        let status = gateway.try_dry_run(Documents::default(), Context::default());
        match status.await {
            Ok(status) => Outcome::Answer(subprotocol.write_status(&status)),
            Err(error) => Outcome::Failed(Close::from(&error)),
        }
    };
    dry_run.boxed()
}

fn outcome_without_request(input: Result<(Input, Option<Held>), Close>) -> Outcome {
    match input {
        Ok((Input::Request(_) | Input::Ignored, _)) => Outcome::Ignored,
        Ok((Input::End, _)) => Outcome::End,
        Err(close) if close.is_overloaded() => Outcome::Refused(close),
        Err(close) => Outcome::Failed(close),
    }
}

/// Sends a request through the Flow; begins before the future is polled.
fn answer(
    gateway: &Gateway,
    subprotocol: Subprotocol,
    request: DataRequest,
    bytes: HeldBytes,
) -> impl Future<Output = Outcome> + Send + use<> {
    let answered = gateway.handle_in_turn(request, Context::default());
    async move {
        let answered = answered.await;
        let HeldBytes { held, decoded } = bytes;
        // The request has ended with its answer.
        drop(decoded);
        match answered {
            Ok(answer) => write(subprotocol, answer, held).await,
            Err(error @ GatewayError::NoRoom { .. }) => Outcome::Refused(Close::from(&error)),
            Err(error) => Outcome::Failed(Close::from(&error)),
        }
    }
}

async fn write(subprotocol: Subprotocol, answer: DataRequest, mut held: Option<Held>) -> Outcome {
    let bytes = answer.encoded_len();
    if let Some(held) = &mut held {
        held.set(held.bytes() + bytes);
    }
    let written = match subprotocol {
        Subprotocol::Bytes => subprotocol.write(&answer),
        Subprotocol::Json => blocking::run(bytes, move || subprotocol.write(&answer))
            .await
            .unwrap_or_else(|_| Err(internal_error())),
    };
    written.map_or_else(Outcome::Failed, |answer| {
        Outcome::Answer(count(answer, held))
    })
}

/// Lets an answer hold its bytes until it is sent.
fn count(answer: Message, held: Option<Held>) -> Message {
    match (answer, held) {
        (Message::Text(text), Some(held)) => Message::Text(held.attach(text)),
        (Message::Binary(bytes), Some(held)) => Message::Binary(held.attach(bytes)),
        (answer, _) => answer,
    }
}

/// A panic while a message was read or written ends only its session.
fn internal_error() -> Close {
    Close::internal("internal error of the Gateway")
}

/// The bytes of a message's payload.
pub(super) const fn payload_bytes(message: &Message) -> usize {
    match message {
        Message::Text(payload)
        | Message::Binary(payload)
        | Message::Ping(payload)
        | Message::Pong(payload) => payload.len(),
        Message::Close(_) => 0,
    }
}
