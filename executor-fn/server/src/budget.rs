//! Bounds the bytes of all requests and answers that a process holds at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;

/// The bytes that may be held at once: bodies that arrive, requests that wait, answers that are not read.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

/// Bytes that are held, until this is dropped.
#[derive(Debug)]
pub struct Held {
    budget: Arc<Budget>,
    bytes: usize,
    /// Whether the bytes may take the reserve too.
    is_answer: bool,
}

/// How much may be held beyond the limit, in percent of it, by answers of Executors to requests that were accepted: the work
/// has been done and would be lost. With the default limit of 40 % of the memory, requests and answers stay below half of it.
const RESERVE_PERCENT: usize = 25;

/// The budget has no room for more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Gateway holds too many bytes of other requests (limit {limit}); try again later")]
pub struct OverBudget {
    /// The limit in bytes.
    pub limit: usize,
}

impl Budget {
    /// Allows this many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
        })
    }

    /// Returns an account that holds nothing yet.
    #[must_use]
    pub fn account(self: &Arc<Self>) -> Held {
        Held {
            budget: Arc::clone(self),
            bytes: 0,
            is_answer: false,
        }
    }

    /// Returns an account for the answer to a request that was accepted, which may take the reserve.
    #[must_use]
    pub fn answer_account(self: &Arc<Self>) -> Held {
        let mut account = self.account();
        account.is_answer = true;
        account
    }

    /// Checks that `bytes` more would fit, without holding them: a client that only announces bytes must not take room from
    /// others.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn check(&self, bytes: usize) -> Result<(), OverBudget> {
        self.check_within(self.limit, bytes)
    }

    fn check_within(&self, limit: usize, bytes: usize) -> Result<(), OverBudget> {
        match self.used.load(Ordering::Relaxed).saturating_add(bytes) > limit {
            true => Err(OverBudget { limit: self.limit }),
            false => Ok(()),
        }
    }

    /// The bytes that are held.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The limit in bytes.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }
}

impl Held {
    /// The budget that the bytes are taken from.
    #[must_use]
    pub const fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    fn limit(&self) -> usize {
        let limit = self.budget.limit;
        match self.is_answer {
            true => limit.saturating_add(limit / 100 * RESERVE_PERCENT),
            false => limit,
        }
    }

    /// Checks that `bytes` more would fit, without holding them, as [`Budget::check`] does.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn check(&self, bytes: usize) -> Result<(), OverBudget> {
        self.budget.check_within(self.limit(), bytes)
    }

    /// How many bytes more would fit.
    #[must_use]
    pub fn room(&self) -> usize {
        self.limit().saturating_sub(self.budget.used())
    }

    /// Holds `bytes` more.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn add(&mut self, bytes: usize) -> Result<(), OverBudget> {
        self.check(bytes)?;
        self.set(self.bytes + bytes);
        Ok(())
    }

    /// Holds exactly `bytes` if they fit; else holds what it held.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn try_set(&mut self, bytes: usize) -> Result<(), OverBudget> {
        if let Some(more @ 1..) = bytes.checked_sub(self.bytes) {
            self.check(more)?;
        }
        self.set(bytes);
        Ok(())
    }

    /// Holds exactly `bytes`, even if they do not fit: an answer that has arrived must be counted.
    pub fn set(&mut self, bytes: usize) {
        if bytes == self.bytes {
            // The counter is shared by all threads.
            return;
        }
        let used = &self.budget.used;
        match bytes.checked_sub(self.bytes) {
            Some(more) => used.fetch_add(more, Ordering::Relaxed),
            None => used.fetch_sub(self.bytes - bytes, Ordering::Relaxed),
        };
        self.bytes = bytes;
    }

    /// The bytes that are held.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns an account of the same kind that holds nothing yet.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self {
            budget: Arc::clone(&self.budget),
            bytes: 0,
            is_answer: self.is_answer,
        }
    }

    /// Holds what another account holds in place of `bytes` of its own.
    pub fn replace(&mut self, bytes: usize, mut other: Self) {
        self.set(self.bytes.saturating_sub(bytes));
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Moves all bytes to another account.
    #[must_use]
    pub fn take(&mut self) -> Self {
        self.split(self.bytes)
    }

    /// Moves at most `bytes` to another account.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        let mut moved = self.sibling();
        moved.bytes = bytes;
        moved
    }

    /// Ties the account to these bytes, and returns them: the account holds their length until the last reference to them
    /// is dropped, which for an answer is when it has been sent.
    #[must_use]
    pub fn attach(mut self, bytes: Bytes) -> Bytes {
        self.set(bytes.len());
        Bytes::from_owner(Attached { bytes, _held: self })
    }
}

/// Bytes with their account.
struct Attached {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Attached {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_held_until_their_account_is_dropped() {
        let budget = Budget::new(100);
        let (mut one, mut two) = (budget.account(), budget.account());
        one.add(60).expect("room");
        assert_eq!(two.add(41), Err(OverBudget { limit: 100 }));
        two.add(40).expect("room");
        two.set(70);
        assert_eq!(budget.used(), 130);
        let moved = two.take();
        drop(two);
        assert_eq!(budget.used(), 130);
        drop(moved);
        assert_eq!(budget.used(), 60);
        one.set(10);
        budget.check(90).expect("room");
        assert_eq!(one.try_set(101), Err(OverBudget { limit: 100 }));
        assert_eq!(one.bytes(), 10);
        one.try_set(100).expect("room");
        one.try_set(10).expect("less");
        budget.check(91).expect_err("one too many");
        drop(one);
        assert_eq!(budget.used(), 0);
        assert_eq!(budget.account().room(), 100);
    }

    #[test]
    fn answers_may_take_a_reserve_beyond_the_limit() {
        let budget = Budget::new(100);
        let (mut request, mut answer) = (budget.account(), budget.answer_account());
        request.add(90).expect("room");
        assert_eq!((request.room(), answer.room()), (10, 35));
        answer.check(36).expect_err("one too many");
        answer.add(35).expect("the reserve");
        assert_eq!(request.add(1), Err(OverBudget { limit: 100 }));
        assert_eq!(answer.take().add(1), Err(OverBudget { limit: 100 }));
        assert_eq!(budget.used(), 90);
    }

    #[test]
    fn attached_bytes_are_held_until_their_last_reference_is_dropped() {
        let budget = Budget::new(100);
        let mut account = budget.account();
        account.add(70).expect("room");
        let part = account.split(30);
        assert_eq!((account.bytes(), part.bytes()), (40, 30));
        drop(account);
        let mut bytes = part.attach(Bytes::from_static(b"0123456789"));
        assert_eq!(budget.used(), 10);
        let first = bytes.split_to(4);
        drop(bytes);
        assert_eq!((budget.used(), &first[..]), (10, &b"0123"[..]));
        drop(first);
        assert_eq!(budget.used(), 0);
    }
}
