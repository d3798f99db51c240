//! What all protocols answer when the body of a request cannot be read.

use std::{error::Error, io, iter};

/// The text for a client that sent its body too slowly.
pub(super) const TIMEOUT_DETAIL: &str = "the body did not arrive in time";

/// Whether a body ended because the client sent it too slowly.
pub(super) fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    let mut causes = iter::successors(Some(error), |error| Error::source(*error));
    causes.any(|error| {
        let error = error.downcast_ref::<io::Error>();
        error.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
    })
}
