//! The subprotocols that a client offers -> which of them it is answered.
//!
//! What is chosen is not remembered, for a function has no connections: each message says by itself what it is (see
//! `message.rs`). The choice is for the client, whose WebSocket fails if it offered some and none is answered.

/// What `$connect` is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The client offered none, and none may be answered.
    Unasked,
    /// One that the client offered.
    Answer(&'static str),
    /// None of those offered is spoken here.
    Refuse,
}

/// The first of the client's that is known. A container takes whatever it does not know for JSON and names none in its
/// answer, as Jina does; API Gateway's clients would end such a connection themselves.
pub(super) fn choose(offered: Option<&[&str]>) -> Choice {
    let Some(offered) = offered else {
        return Choice::Unasked;
    };
    let known = |offer: &&str| SUBPROTOCOLS.into_iter().find(|known| known == offer);
    offered
        .iter()
        .find_map(known)
        .map_or(Choice::Refuse, Choice::Answer)
}

const SUBPROTOCOLS: [&str; 2] = ["json", "bytes"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_offer_is_answered_and_only_offers_are() {
        assert_eq!(choose(None), Choice::Unasked);
        assert_eq!(
            choose(Some(&["chat", "bytes", "json"])),
            Choice::Answer("bytes")
        );
        assert_eq!(choose(Some(&["json"])), Choice::Answer("json"));
        for unusable in [&["chat"][..], &[""], &[], &["BYTES"]] {
            assert_eq!(choose(Some(unusable)), Choice::Refuse, "{unusable:?}");
        }
    }
}
