//! The requests of a session that have no answer yet, and how many it may have.

use std::{collections::VecDeque, num::NonZeroUsize};

use futures_util::stream::FuturesUnordered;

use super::{
    call::{Call, Counted, payload_bytes},
    close::Close,
};

/// The bytes of messages that may wait until they may start. They are read ahead so that pings after them are answered,
/// although the client sends more requests than it may have in flight.
const MAX_WAITING_BYTES: usize = 64 << 10;

/// What a message costs beside its payload.
const MESSAGE_OVERHEAD_BYTES: usize = 128;

/// The size of an answer before there has been one.
const FIRST_ANSWER_BYTES: usize = 64 << 10;

/// How much one session may have in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct WorkLimits {
    /// The most requests in flight; `None` is no limit.
    pub(super) prefetch: Option<NonZeroUsize>,
    /// The most bytes of answers that wait for the client to read them. No request starts whose answer is expected to
    /// exceed half of it.
    pub(super) max_unread_bytes: usize,
}

/// The requests of a session.
pub(super) struct Work {
    pub(super) calls: FuturesUnordered<Call>,
    /// Messages above the limit.
    waiting: VecDeque<Counted>,
    waiting_bytes: usize,
    /// How to close once every request is answered; set when the input has ended.
    pub(super) pending_close: Option<Close>,
    /// The expected size of the next answer: at least the size of the last one, and a little less than that of the largest
    /// recent one.
    answer_bytes: usize,
}

impl Work {
    pub(super) fn new() -> Self {
        Self {
            calls: FuturesUnordered::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            pending_close: None,
            answer_bytes: FIRST_ANSWER_BYTES,
        }
    }

    /// Starts with a single call, and accepts no messages.
    pub(super) fn only(call: Call) -> Self {
        let mut work = Self::new();
        work.calls.push(call);
        work.pending_close = Some(Close::normal());
        work
    }

    /// Whether one more message may wait.
    pub(super) const fn has_room(&self) -> bool {
        self.waiting_bytes < MAX_WAITING_BYTES
    }

    /// Queues a message, unless the input has ended.
    pub(super) fn enqueue(&mut self, message: Counted) {
        if self.pending_close.is_none() {
            self.waiting_bytes += payload_bytes(&message.message) + MESSAGE_OVERHEAD_BYTES;
            self.waiting.push_back(message);
        }
    }

    /// Returns the next message, if it may start: `fair_share` is the Gateway's limit, and `unread_bytes` are waiting for the
    /// client to read them. One request may always be in flight.
    pub(super) fn next_message(
        &mut self,
        limits: WorkLimits,
        fair_share: usize,
        unread_bytes: usize,
    ) -> Option<Counted> {
        if unread_bytes > self.max_unread_bytes_to_start(limits, fair_share)? {
            return None;
        }
        self.answer_bytes = self.next_answer_bytes()?;
        let next = self.waiting.pop_front()?;
        self.waiting_bytes -= payload_bytes(&next.message) + MESSAGE_OVERHEAD_BYTES;
        if self.waiting.is_empty() {
            // An idle session holds no memory for a burst that has passed.
            self.waiting = VecDeque::new();
        }
        Some(next)
    }

    /// Returns how many bytes may be waiting for the client to read them when the next message starts; `None` if there is
    /// no message, or if a request must end first.
    pub(super) fn max_unread_bytes_to_start(
        &self,
        limits: WorkLimits,
        fair_share: usize,
    ) -> Option<usize> {
        let answer_bytes = self.next_answer_bytes()?;
        let max_bytes = limits.max_unread_bytes / 2;
        let max = limits
            .prefetch
            .map_or(fair_share, |prefetch| prefetch.get().min(fair_share));
        match self.calls.len() {
            0 => Some(max_bytes),
            in_flight if in_flight < max => {
                max_bytes.checked_sub(answer_bytes.saturating_mul(in_flight + 1))
            }
            _ => None,
        }
    }

    /// Returns the expected size of the answer to the next message; `None` if there is no message.
    fn next_answer_bytes(&self) -> Option<usize> {
        let next = payload_bytes(&self.waiting.front()?.message);
        Some(self.answer_bytes.max(next))
    }

    /// Notes the size of an answer. A large one raises the expected size of the next answers, but less each time.
    pub(super) fn note_answer(&mut self, bytes: usize) {
        self.answer_bytes = bytes.max(self.answer_bytes - self.answer_bytes / 8);
    }

    /// Ends the input with what has been read.
    pub(super) fn end_input(&mut self, close: Close) {
        if self.pending_close.is_none() {
            self.pending_close = Some(close);
        }
    }

    /// Ends the input because a message was refused. Also if the client has ended it: the close says that a request has no
    /// answer.
    pub(super) fn refuse(&mut self, close: Close) {
        self.pending_close = Some(close);
    }

    /// Ends the input, and drops messages that came after its end.
    pub(super) fn end_input_here(&mut self, close: Close) {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.end_input(close);
    }

    /// Returns how to close if the input has ended and all requests are answered.
    pub(super) fn close_if_idle(&mut self) -> Option<Close> {
        let is_idle = self.calls.is_empty() && self.waiting.is_empty();
        self.pending_close.take_if(|_| is_idle)
    }
}

#[cfg(test)]
mod tests {
    use flowgate_websocket::Message;
    use futures_util::{FutureExt as _, StreamExt as _};

    use super::{super::call::Outcome, *};

    const LIMITS: WorkLimits = WorkLimits {
        prefetch: NonZeroUsize::new(5),
        max_unread_bytes: 1 << 30,
    };

    /// Starts what may start of ten messages, and returns how many are in flight.
    fn start(limits: WorkLimits, fair_share: usize, unread_bytes: usize) -> usize {
        let mut work = Work::new();
        for _ in 0..10 {
            work.enqueue(Counted {
                message: Message::Binary(vec![0; 1000].into()),
                held: None,
            });
        }
        while work
            .next_message(limits, fair_share, unread_bytes)
            .is_some()
        {
            work.calls.push(std::future::pending().boxed());
        }
        work.calls.len()
    }

    #[test]
    fn requests_in_flight_are_limited_by_prefetch_and_by_the_fair_share() {
        assert_eq!(start(LIMITS, 8, 0), 5);
        assert_eq!(start(LIMITS, 3, 0), 3);
        let unlimited = WorkLimits {
            prefetch: None,
            ..LIMITS
        };
        assert_eq!(start(unlimited, 8, 0), 8);
    }

    #[test]
    fn no_request_starts_whose_answer_might_be_one_too_many() {
        let limits = |max_unread_bytes| WorkLimits {
            max_unread_bytes,
            ..LIMITS
        };
        let twice = 2 * FIRST_ANSWER_BYTES;
        assert_eq!(start(limits(3 * twice), 8, 0), 3);
        assert_eq!(start(limits(3 * twice), 8, FIRST_ANSWER_BYTES), 2);
        // One request may be in flight however small the limit is, but not behind unread answers.
        assert_eq!(start(limits(10), 8, 0), 1);
        assert_eq!(start(limits(10), 8, 6), 0);
    }

    #[test]
    fn a_refused_message_is_told_also_after_the_end_of_the_input() {
        for has_ended in [false, true] {
            let mut work = Work::new();
            let (answer, call) = tokio::sync::oneshot::channel();
            let call = async { call.await.unwrap_or(Outcome::Ignored) };
            work.calls.push(call.boxed());
            if has_ended {
                work.end_input(Close::normal());
            }
            work.refuse(Close::overloaded("full"));
            assert_eq!(work.close_if_idle(), None, "a request is in flight");
            answer.send(Outcome::Ignored).expect("it waits");
            assert!(work.calls.next().now_or_never().flatten().is_some());
            assert_eq!(work.close_if_idle(), Some(Close::overloaded("full")));
        }
    }

    #[test]
    fn a_large_answer_counts_for_the_next_ones_and_less_each_time() {
        let mut work = Work::new();
        work.note_answer(8000);
        assert_eq!(
            work.answer_bytes,
            FIRST_ANSWER_BYTES - FIRST_ANSWER_BYTES / 8
        );
        work.note_answer(1 << 20);
        assert_eq!(work.answer_bytes, 1 << 20);
        for _ in 0..100 {
            work.note_answer(8000);
        }
        assert_eq!(work.answer_bytes, 8000);
    }
}
