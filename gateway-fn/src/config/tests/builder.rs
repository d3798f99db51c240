//! Flows that are built in Rust.

use std::time::Duration;

use super::*;
use crate::config::builder::{Flow, GatewayOptions};

fn timeout_send(timeout: Duration) -> Result<Option<Duration>, Faults> {
    let options = GatewayOptions::new().timeout_send(timeout);
    let built = Flow::new().config_gateway(options).build()?;
    Ok(built.gateway.timeout_send)
}

#[test]
fn the_longest_time_is_no_limit_and_the_shortest_stays_one() {
    assert_eq!(timeout_send(Duration::MAX), Ok(None));
    let shortest = Ok(Some(Duration::from_millis(1)));
    assert_eq!(timeout_send(Duration::from_nanos(1)), shortest);
    assert!(timeout_send(Duration::from_secs(86_401)).is_err());
}
