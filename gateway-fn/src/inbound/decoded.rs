//! Counts what a JSON request becomes when it is decoded in the budget of bytes, while it is parsed and as long as it lives.

use std::sync::{Arc, Mutex, PoisonError};

use flowgate_grpc::{Budget, Held};
use flowgate_proto::DecodedMemory;

use crate::gateway::FREE_DECODED_TIMES;

/// The memory of one request, beyond what is free.
#[derive(Debug)]
pub(super) struct DecodedBytes {
    held: Mutex<Held>,
    free: usize,
}

impl DecodedBytes {
    /// Holds nothing yet for a text of this size.
    pub(super) fn new(budget: &Arc<Budget>, text_bytes: usize) -> Self {
        Self {
            held: Mutex::new(budget.account()),
            free: text_bytes.saturating_mul(FREE_DECODED_TIMES),
        }
    }

    /// Returns the account, to be held as long as the request.
    pub(super) fn into_held(self) -> Held {
        self.held
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl DecodedMemory for DecodedBytes {
    fn hold(&self, bytes: usize) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.try_set(bytes.saturating_sub(self.free)).is_ok()
    }
}
