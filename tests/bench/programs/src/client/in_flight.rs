//! The messages of one connection: which to send next, and how long each answer took.

use bytes::Bytes;
use tokio::time::Instant;

use super::ClientError;

/// Precedes the number of a message, in the message and in its answer.
const MARK: &[u8] = b"bench";

const DIGITS: usize = 8;

/// The state of one connection.
#[derive(Debug)]
pub(super) struct InFlight {
    template: Bytes,
    /// Where the number is in the template.
    number_at: usize,
    total: usize,
    max_in_flight: usize,
    /// When each message was sent; `None` once it is answered.
    sent: Vec<Option<Instant>>,
    latencies: Vec<u64>,
    received_bytes: usize,
}

impl InFlight {
    pub(super) fn new(
        template: &Bytes,
        total: usize,
        max_in_flight: usize,
    ) -> Result<Self, ClientError> {
        let number_at = number_start(template).ok_or("the message does not contain `bench`")?;
        Ok(Self {
            template: template.clone(),
            number_at,
            total,
            max_in_flight,
            sent: Vec::with_capacity(total),
            latencies: Vec::with_capacity(total),
            received_bytes: 0,
        })
    }

    /// Returns the next message, unless all are sent or enough are in flight.
    pub(super) fn next_message(&mut self) -> Option<Bytes> {
        let number = self.sent.len();
        if number == self.total || number - self.latencies.len() == self.max_in_flight {
            return None;
        }
        self.sent.push(Some(Instant::now()));
        let mut message = self.template.to_vec();
        let digits = message.get_mut(self.number_at..self.number_at + DIGITS)?;
        digits.copy_from_slice(format!("{number:0DIGITS$}").as_bytes());
        Some(message.into())
    }

    /// Takes an answer.
    pub(super) fn receive(&mut self, answer: &[u8]) -> Result<(), ClientError> {
        let sent = self.sent_time(answer).ok_or_else(|| {
            let text = String::from_utf8_lossy(answer.get(..300).unwrap_or(answer));
            format!("an answer that belongs to no message: {text}")
        })?;
        let microseconds = sent.elapsed().as_micros();
        self.latencies.push(microseconds.try_into()?);
        self.received_bytes += answer.len();
        Ok(())
    }

    fn sent_time(&mut self, answer: &[u8]) -> Option<Instant> {
        let start = number_start(answer)?;
        let digits = answer.get(start..start + DIGITS)?;
        let number: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
        self.sent.get_mut(number)?.take()
    }

    pub(super) const fn max_in_flight(&self) -> usize {
        self.max_in_flight
    }

    pub(super) fn is_done(&self) -> bool {
        self.latencies.len() == self.total
    }

    pub(super) fn received_bytes(&self) -> usize {
        self.received_bytes
    }

    pub(super) fn into_latencies(self) -> Vec<u64> {
        self.latencies
    }
}

fn number_start(message: &[u8]) -> Option<usize> {
    let found = message
        .windows(MARK.len())
        .position(|window| window == MARK)?;
    Some(found + MARK.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_matched_with_their_messages_in_any_order() {
        let mut messages = InFlight::new(&"<bench00000000>".into(), 3, 2).unwrap();
        let first = messages.next_message().unwrap();
        let second = messages.next_message().unwrap();
        assert_eq!(second, "<bench00000001>");
        assert_eq!(messages.next_message(), None, "two are in flight");

        messages.receive(&second).unwrap();
        assert_eq!(messages.next_message().unwrap(), "<bench00000002>");
        assert!(messages.receive(&second).is_err(), "it was answered before");
        messages.receive(&first).unwrap();
        messages.receive(b"..bench00000002").unwrap();
        assert!(messages.is_done());
    }
}
