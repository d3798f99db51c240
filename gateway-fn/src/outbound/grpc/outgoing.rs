//! A request that is encoded once for all attempts at it.

use bytes::{Bytes, BytesMut};
use flowgate_grpc::{
    Encoding, PREFIX_BYTES,
    blocking::{self, COMPRESSION_COST},
    frame, frame_request,
};
use flowgate_proto::{Chunks, DataRequest, jina::DataRequestListProto};
use http::HeaderValue;
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint},
};

/// A request as it is sent to a peer. Attempts share its bytes.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The message in its gRPC frame: one request, or a list of several parts.
    frame: Chunks,
    has_several_parts: bool,
    /// The same message without compression and frame, if it is compressed.
    plain: Option<Chunks>,
    encoding: Option<Encoding>,
    endpoint: Option<HeaderValue>,
}

impl Outgoing {
    /// Encodes the parts of a request.
    pub(super) async fn new(parts: Vec<DataRequest>, encoding: Option<Encoding>) -> Self {
        let endpoint = parts.first().and_then(DataRequest::exec_endpoint);
        let endpoint = endpoint.filter(|endpoint| !endpoint.is_empty());
        let endpoint = endpoint.and_then(|endpoint| HeaderValue::try_from(endpoint).ok());
        let has_several_parts = parts.len() != 1;
        let (frame, plain) = match (<[DataRequest; 1]>::try_from(parts), encoding) {
            (Ok([request]), None) => (frame_request(request), None),
            (Ok([request]), Some(encoding)) => {
                let plain = request.into_chunks(BytesMut::new());
                (compress_message(plain.clone(), encoding).await, Some(plain))
            }
            (Err(requests), encoding) => {
                let list = DataRequestListProto { requests }.encode_to_vec();
                (
                    frame_message(Bytes::from(list).into(), encoding).await,
                    None,
                )
            }
        };
        Self {
            frame,
            has_several_parts,
            plain,
            encoding,
            endpoint,
        }
    }

    /// Whether the message is a list already.
    pub(super) const fn has_several_parts(&self) -> bool {
        self.has_several_parts
    }

    /// The exec endpoint, if it can be a header.
    pub(super) const fn endpoint(&self) -> Option<&HeaderValue> {
        self.endpoint.as_ref()
    }

    /// Returns the message in its gRPC frame.
    pub(super) fn frame(&self) -> Chunks {
        self.frame.clone()
    }

    /// Returns the message as a `DataRequestListProto` in its gRPC frame.
    pub(super) async fn list_frame(&self) -> Chunks {
        if self.has_several_parts {
            return self.frame();
        }
        let request = self.plain.clone().unwrap_or_else(|| {
            let mut frame = self.frame();
            let _prefix = frame.split_to(PREFIX_BYTES);
            frame
        });
        let mut head = BytesMut::new();
        encode_key(REQUESTS, WireType::LengthDelimited, &mut head);
        encode_varint(request.len() as u64, &mut head);
        let list = std::iter::once(head.freeze()).chain(request).collect();
        frame_message(list, self.encoding).await
    }
}

/// The number of the field `requests` in `DataRequestListProto`.
const REQUESTS: u32 = 1;

async fn frame_message(message: Chunks, encoding: Option<Encoding>) -> Chunks {
    match encoding {
        None => frame(message, None),
        Some(encoding) => compress_message(message, encoding).await,
    }
}

/// Compresses a message and puts it into its gRPC frame, a large one on a thread where it holds up nothing else.
async fn compress_message(message: Chunks, encoding: Encoding) -> Chunks {
    frame_by(message, move |message| frame(message, Some(encoding))).await
}

/// Puts a message into its gRPC frame by this work. If the work panics, the message is sent without compression, which
/// every frame may be.
async fn frame_by(message: Chunks, work: impl FnOnce(Chunks) -> Chunks + Send + 'static) -> Chunks {
    let cost = message.len().saturating_mul(COMPRESSION_COST);
    let plain = message.clone();
    let framed = blocking::run(cost, move || work(message)).await;
    framed.unwrap_or_else(|_panic| frame(plain, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_whose_compression_panics_is_sent_without() {
        let message = Chunks::from(Bytes::from(vec![7; 10 << 20]));
        let framed = frame_by(message.clone(), |_| panic!("compression failed")).await;
        assert_eq!(framed, frame(message, None));
    }
}
