//! The Gateway.
