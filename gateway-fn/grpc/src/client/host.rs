//! The host of an Executor: a name and the addresses to which it resolves, or one address. Its replicas share it.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::future::BoxFuture;
use http::uri::Authority;
use tokio::net::lookup_host;

/// The most addresses of one name that are used. Each may have a connection from every worker thread.
pub const MAX_ADDRESSES: usize = 64;

/// Resolves names.
pub trait Resolve: fmt::Debug + Send + Sync {
    /// Returns the addresses of a name, with this port.
    fn resolve<'a>(
        &'a self,
        name: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// Asks the operating system, in the order in which it prefers the addresses.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(
        &'a self,
        name: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(lookup_host((name, port)).await?.collect()) })
    }
}

/// Why an address is invalid.
#[derive(Debug, thiserror::Error)]
#[error("expected host:port")]
pub struct AddressError;

/// A host and port.
#[derive(Debug)]
pub struct Host {
    authority: Authority,
    port: u16,
    /// The address, if it is not a name.
    literal: Option<SocketAddr>,
    resolver: Arc<dyn Resolve>,
    /// Held while the name is resolved.
    resolving: tokio::sync::Mutex<()>,
    answers: AtomicU64,
    addresses: Mutex<Arc<[SocketAddr]>>,
    changes: AtomicU64,
}

impl Host {
    /// Returns the host `host:port`, which is not resolved yet.
    ///
    /// # Errors
    /// When the text is not `host:port`.
    pub fn new(authority: &str, resolver: Arc<dyn Resolve>) -> Result<Self, AddressError> {
        let authority: Authority = authority.parse().map_err(|_| AddressError)?;
        let port = authority.port_u16().ok_or(AddressError)?;
        let literal: Option<IpAddr> = name_of(&authority).parse().ok();
        let literal = literal.map(|address| SocketAddr::from((address, port)));
        Ok(Self {
            authority,
            port,
            literal,
            resolver,
            resolving: tokio::sync::Mutex::default(),
            answers: AtomicU64::new(0),
            addresses: Mutex::new(literal.into_iter().collect()),
            changes: AtomicU64::new(0),
        })
    }

    /// `host:port`.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The host without the port, and without the brackets of an IPv6 address.
    pub(super) fn name(&self) -> &str {
        name_of(&self.authority)
    }

    /// The address, if the host is not a name.
    pub(super) const fn literal(&self) -> Option<SocketAddr> {
        self.literal
    }

    /// Whether it is a name, which is resolved.
    #[must_use]
    pub const fn is_name(&self) -> bool {
        self.literal.is_none()
    }

    /// Returns the addresses of the last answer, at most [`MAX_ADDRESSES`]; none if the name has not been resolved yet.
    #[must_use]
    pub fn addresses(&self) -> Arc<[SocketAddr]> {
        Arc::clone(&self.lock())
    }

    /// Returns a number that grows when the addresses change, or a connection gets one of them.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(super) fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Resolves the name anew and returns its addresses. Connections that are opened at the same time share an answer.
    ///
    /// # Errors
    /// When the name cannot be resolved. The addresses of the last answer stay.
    pub async fn resolve(&self) -> io::Result<Arc<[SocketAddr]>> {
        if self.literal.is_some() {
            return Ok(self.addresses());
        }
        let answers = self.answers.load(Ordering::Acquire);
        let _resolving = self.resolving.lock().await;
        if self.answers.load(Ordering::Acquire) != answers {
            return Ok(self.addresses());
        }
        let found = self.resolver.resolve(self.name(), self.port).await?;
        if found.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let addresses = self.set_addresses(&found);
        self.answers.fetch_add(1, Ordering::AcqRel);
        Ok(addresses)
    }

    /// Takes over an answer. Of too many addresses those that were known stay, so that their connections do.
    fn set_addresses(&self, found: &[SocketAddr]) -> Arc<[SocketAddr]> {
        let mut addresses = self.lock();
        let known = addresses.iter().filter(|address| found.contains(address));
        let mut now: Vec<_> = known.copied().collect();
        for address in found {
            if now.len() < MAX_ADDRESSES && !now.contains(address) {
                now.push(*address);
            }
        }
        if **addresses != now[..] {
            *addresses = now.into();
            self.note_change();
        }
        Arc::clone(&addresses)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<[SocketAddr]>> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn name_of(authority: &Authority) -> &str {
    authority.host().trim_matches(['[', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(numbers: std::ops::Range<u8>) -> Vec<SocketAddr> {
        let address = |number| SocketAddr::from(([10, 0, 0, number], 1));
        numbers.map(address).collect()
    }

    #[test]
    fn of_too_many_addresses_the_known_ones_stay() {
        let host = Host::new("many:1", Arc::new(SystemResolver)).expect("valid");
        assert!(host.is_name() && host.addresses().is_empty());
        host.set_addresses(&addresses(100..160));
        assert_eq!((host.addresses().len(), host.changes()), (60, 1));
        let more: Vec<_> = addresses(0..200);
        assert_eq!(host.set_addresses(&more).len(), MAX_ADDRESSES);
        assert_eq!(host.addresses()[..60], addresses(100..160));
        // The same addresses in another order are no change.
        let changes = host.changes();
        let reversed: Vec<_> = host.addresses().iter().rev().copied().collect();
        host.set_addresses(&reversed);
        assert_eq!(host.changes(), changes);
        host.set_addresses(&addresses(100..101));
        assert_eq!(*host.addresses(), addresses(100..101));
    }

    #[test]
    fn an_address_is_not_resolved() {
        for text in ["127.0.0.1:1", "[::1]:1"] {
            let host = Host::new(text, Arc::new(SystemResolver)).expect("valid");
            assert!(!host.is_name());
            assert_eq!(host.addresses().len(), 1);
        }
        for text in ["name", "name:", ":1 2", "name:70000"] {
            assert!(Host::new(text, Arc::new(SystemResolver)).is_err(), "{text}");
        }
    }
}
