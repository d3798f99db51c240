//! What a client is to be told, about which request.

use super::fault::Fault;
use crate::inbound::websocket::subprotocol::Subprotocol;

/// Messages for a client.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) request_id: String,
    pub(super) form: Subprotocol,
    pub(super) messages: Vec<String>,
}

impl Reply {
    pub(super) const fn new(request_id: String, form: Subprotocol, messages: Vec<String>) -> Self {
        Self {
            request_id,
            form,
            messages,
        }
    }

    pub(super) fn fault(request_id: String, form: Subprotocol, fault: &Fault) -> Self {
        let told = fault.message(&request_id, form);
        Self::new(request_id, form, vec![told])
    }
}
