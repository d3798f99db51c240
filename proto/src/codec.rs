//! A tonic codec for Jina's messages. It encodes and decodes with prost, and reports undecodable bytes
//! with Jina's own error text.

use std::marker::PhantomData;

use bytes::Buf as _;
use prost::{Message, Name};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// How Jina's status message for undecodable bytes begins; the message's name in quotes follows.
pub const DECODE_ERROR_PREFIX: &str =
    "Unexpected <class 'google.protobuf.message.DecodeError'>: Error parsing message with type ";

/// Encodes `T`, decodes `U`.
#[derive(Debug, Clone, Copy)]
pub struct JinaCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for JinaCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for JinaCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Name + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        Self::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        Self::default()
    }
}

impl<T, U> Encoder for JinaCodec<T, U>
where
    T: Message,
{
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buf)
            .map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl<T, U> Decoder for JinaCodec<T, U>
where
    U: Message + Default + Name,
{
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // Fields of type `Bytes` become slices of this buffer, without another copy.
        let message = buf.copy_to_bytes(buf.remaining());
        U::decode(message)
            .map(Some)
            .map_err(|_| Status::unknown(format!("{DECODE_ERROR_PREFIX}'{}'", U::full_name())))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}
