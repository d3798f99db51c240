//! Limits whose default depends on others.

use super::*;

#[test]
fn the_memory_of_a_decoded_request_follows_the_budget_of_bytes() {
    let limits = |yaml: &str| {
        let flow = format!("jtype: Flow\ngateway: {{limits: {{{yaml}}}}}\n");
        config(&flow).gateway.limits
    };
    for (yaml, bytes_in_flight, expected) in [
        ("", usize::MAX, 1 << 30),
        ("", 256 << 20, 512 << 20),
        ("", 100_000, 200_000),
        ("max_message_bytes: 1000", usize::MAX, 4000),
        ("max_message_bytes: 1000", 100_000, 4000),
        ("max_decoded_bytes: 7", usize::MAX, 7),
        ("max_decoded_bytes: 1073741825", 100, (1 << 30) + 1),
    ] {
        let found = limits(yaml)
            .decode_limits(bytes_in_flight)
            .max_decoded_bytes;
        assert_eq!(found, expected, "{yaml}, {bytes_in_flight}");
    }
}
