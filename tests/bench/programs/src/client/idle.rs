//! WebSockets without traffic, whose memory the bench measures in the Gateway.

use std::time::Duration;

use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tokio_tungstenite::WebSocketStream;

use super::{ClientError, socket};

/// Opens so many WebSockets, one after the other.
///
/// # Errors
/// When a handshake fails.
pub async fn open(
    port: u16,
    connections: usize,
) -> Result<Vec<WebSocketStream<TcpStream>>, ClientError> {
    let mut sockets = Vec::with_capacity(connections);
    for _ in 0..connections {
        sockets.push(socket::open(port, "json").await?);
    }
    // The server may still be busy after its last handshake.
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(sockets)
}

/// Holds the sockets until standard input ends.
///
/// # Errors
/// When standard input cannot be read.
pub async fn hold(sockets: Vec<WebSocketStream<TcpStream>>) -> Result<(), ClientError> {
    let mut input = Vec::new();
    tokio::io::stdin().read_to_end(&mut input).await?;
    drop(sockets);
    Ok(())
}
