//! The process as a Lambda function: events in, answers out.

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "what dispatches events is not there yet")
)]
pub(crate) mod websocket;
