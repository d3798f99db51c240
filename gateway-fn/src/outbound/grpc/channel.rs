//! Prepares the address of a host, and TLS to it.

use std::sync::Arc;

use flowgate_grpc::client::{Address, AddressError, Host, TlsError};

use super::{GrpcAddress, GrpcOptions};

/// Why a connection cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The address is not a valid `host:port`.
    #[error("invalid address {authority}")]
    Address {
        /// The address to connect to.
        authority: String,
        /// What is wrong with it.
        source: AddressError,
    },
    /// TLS cannot be set up: the trusted roots are not valid certificates, or the system has none.
    #[error("cannot set up TLS to {authority}")]
    Tls {
        /// The address to connect to.
        authority: String,
        /// Why the roots cannot be used.
        source: TlsError,
    },
}

/// Returns an address of a host, to which no connection is opened yet.
pub(super) fn address(
    address: &GrpcAddress,
    options: &GrpcOptions,
) -> Result<Address, ChannelError> {
    let authority = address.authority.clone();
    let tls = match address.tls {
        false => None,
        true => {
            let checked = options.tls.check();
            checked.map_err(|source| ChannelError::Tls {
                authority: authority.clone(),
                source,
            })?;
            Some(options.tls.clone())
        }
    };
    let host = Host::new(&authority, Arc::clone(&options.resolver));
    host.and_then(|host| Address::new(Arc::new(host), tls))
        .map_err(|source| ChannelError::Address { authority, source })
}
