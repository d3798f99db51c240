//! `jina.DataRequestProto` for a proxy: header and routes are decoded, parameters and documents stay
//! encoded, and unknown fields are preserved.

use std::mem;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::{
    DecodeError, Message,
    encoding::{self, DecodeContext, WireType},
};

use crate::{
    Chunks, Documents, Parameters,
    jina::{HeaderProto, RouteProto},
    wire,
};

const HEADER: u32 = 1;
const PARAMETERS: u32 = 2;
const ROUTES: u32 = 3;
const DATA: u32 = 4;

/// The largest header, in bytes on the wire. An exception in its status takes 12 times as many in memory, and its text is
/// rarely more than a few KiB.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// Up to this many routes are decoded, and these bytes of long ones: an empty route takes 2 bytes on the wire and 200 in memory.
/// Further routes stay encoded. A Flow has a route for each Executor.
const MAX_ROUTES: usize = 1000;
const MAX_LONG_ROUTES_BYTES: usize = 1 << 20;

/// A longer route is a long one. Only a route with an exception is.
const MIN_LONG_ROUTE_BYTES: usize = 2 << 10;

/// A data request or its response; both are the same message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataRequest {
    /// The request id, endpoint, target and, in a response, the status.
    pub header: HeaderProto,
    /// The parameters for the Executors.
    pub parameters: Parameters,
    /// The Gateway and the Executors that have processed the request.
    pub routes: Vec<RouteProto>,
    /// The documents, decoded only when they are needed.
    pub documents: Documents,
    /// The encoded fields with any other number, concatenated.
    pub unknown_fields: Vec<u8>,
}

impl DataRequest {
    /// Returns the exec endpoint, if the request names one.
    #[must_use]
    pub fn exec_endpoint(&self) -> Option<&str> {
        self.header.exec_endpoint.as_deref()
    }
}

/// Implemented by hand, because a derived message would decode every document.
impl Message for DataRequest {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        self.encode_before_documents(buf);
        self.documents.encode(DATA, buf);
        buf.put_slice(&self.unknown_fields);
    }

    fn encoded_len(&self) -> usize {
        let parameters = self
            .parameters
            .wire()
            .map(|wire| encoding::bytes::encoded_len(PARAMETERS, wire));
        encoding::message::encoded_len(HEADER, &self.header)
            + parameters.unwrap_or_default()
            + encoding::message::encoded_len_repeated(ROUTES, &self.routes)
            + self.documents.encoded_len(DATA)
            + self.unknown_fields.len()
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            HEADER => self.merge_header(wire_type, buf, ctx),
            ROUTES => self.merge_route(wire_type, buf, ctx),
            PARAMETERS => {
                let before = mem::take(&mut self.parameters).into_wire();
                let wire = merge_encoded(wire_type, before, buf, ctx)?;
                self.parameters = Parameters::from_wire(Some(wire));
                Ok(())
            }
            DATA => {
                let wire = read_bytes(wire_type, buf, ctx)?;
                self.documents.append(wire.into());
                Ok(())
            }
            _ => self.append_unknown_field(tag, wire_type, buf, ctx),
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Messages that come and go in pieces.
impl DataRequest {
    /// Decodes a message. The documents stay the pieces in which they came.
    ///
    /// # Errors
    /// When the bytes are not valid protobuf.
    pub fn from_chunks(mut chunks: Chunks) -> Result<Self, DecodeError> {
        let mut request = Self::default();
        while chunks.has_remaining() {
            let (tag, wire_type) = encoding::decode_key(&mut chunks)?;
            if (tag, wire_type) == (DATA, WireType::LengthDelimited) {
                request.documents.append(wire::take_delimited(&mut chunks)?);
            } else {
                request.merge_field(tag, wire_type, &mut chunks, DecodeContext::default())?;
            }
        }
        Ok(request)
    }

    /// Encodes the message behind what is in `head`. Documents that came from the network follow as pieces, uncopied.
    #[must_use]
    pub fn into_chunks(self, mut head: BytesMut) -> Chunks {
        let mut pieces = Chunks::default();
        self.encode_before_documents(&mut head);
        self.documents.encode_pieces(DATA, &mut head, &mut pieces);
        head.put_slice(&self.unknown_fields);
        pieces.push(head.freeze());
        pieces
    }

    fn encode_before_documents(&self, buf: &mut impl BufMut) {
        encoding::message::encode(HEADER, &self.header, buf);
        if let Some(parameters) = self.parameters.wire() {
            encoding::bytes::encode(PARAMETERS, parameters, buf);
        }
        encoding::message::encode_repeated(ROUTES, &self.routes, buf);
    }

    /// Merges a header. Of the fields that grow when it occurs again there is only the status, which may not.
    fn merge_header(
        &mut self,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        let wire = read_bytes(wire_type, buf, ctx)?;
        if wire.len() > MAX_HEADER_BYTES {
            let size = wire.len();
            return Err(invalid(format!(
                "the header has {size} bytes, more than the limit of {MAX_HEADER_BYTES} bytes"
            )));
        }
        if self.header.status.is_some() {
            return Err(invalid("the header has more than one status".to_owned()));
        }
        self.header.merge(wire)
    }

    /// Adds a route. One too many stays encoded.
    fn merge_route(
        &mut self,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        let wire = read_bytes(wire_type, buf, ctx)?;
        if self.has_room_for_route(wire.len()) {
            self.routes.push(RouteProto::decode(wire)?);
        } else {
            encoding::bytes::encode(ROUTES, &wire, &mut self.unknown_fields);
        }
        Ok(())
    }

    fn has_room_for_route(&self, bytes: usize) -> bool {
        if self.routes.len() >= MAX_ROUTES {
            return false;
        }
        let lengths = || self.routes.iter().map(Message::encoded_len);
        bytes < MIN_LONG_ROUTE_BYTES || lengths().sum::<usize>() + bytes <= MAX_LONG_ROUTES_BYTES
    }

    fn append_unknown_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        // Groups do not exist in proto3, so that no Jina peer sends one.
        if matches!(wire_type, WireType::StartGroup | WireType::EndGroup) {
            return encoding::skip_field(wire_type, tag, buf, ctx);
        }
        let unknown = &mut self.unknown_fields;
        encoding::encode_key(tag, wire_type, unknown);
        match wire_type {
            WireType::Varint => {
                let value = encoding::decode_varint(buf)?;
                encoding::encode_varint(value, unknown);
            }
            WireType::ThirtyTwoBit => {
                let mut value = 0_u32;
                encoding::fixed32::merge(wire_type, &mut value, buf, ctx)?;
                unknown.put_u32_le(value);
            }
            WireType::SixtyFourBit => {
                let mut value = 0_u64;
                encoding::fixed64::merge(wire_type, &mut value, buf, ctx)?;
                unknown.put_u64_le(value);
            }
            WireType::LengthDelimited => {
                let value = read_bytes(wire_type, buf, ctx)?;
                encoding::encode_varint(value.len() as u64, unknown);
                unknown.put_slice(&value);
            }
            WireType::StartGroup | WireType::EndGroup => {}
        }
        Ok(())
    }
}

/// Reads a field with a length without decoding it.
fn read_bytes(
    wire_type: WireType,
    buf: &mut impl Buf,
    ctx: DecodeContext,
) -> Result<Bytes, DecodeError> {
    let mut bytes = Bytes::new();
    encoding::bytes::merge(wire_type, &mut bytes, buf, ctx)?;
    Ok(bytes)
}

/// Reads an embedded message without decoding it. Protobuf merges a field that occurs twice; for
/// encoded bytes that means to concatenate them. After the first repetition `before` is not shared and
/// grows in place, so that a field that occurs many times costs linear time.
fn merge_encoded(
    wire_type: WireType,
    before: Bytes,
    buf: &mut impl Buf,
    ctx: DecodeContext,
) -> Result<Bytes, DecodeError> {
    let wire = read_bytes(wire_type, buf, ctx)?;
    if before.is_empty() {
        return Ok(wire);
    }
    let mut joined = before
        .try_into_mut()
        .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    joined.extend_from_slice(&wire);
    Ok(joined.freeze())
}

#[expect(
    deprecated,
    reason = "prost has no other way for a message that is decoded by hand"
)]
fn invalid(text: String) -> DecodeError {
    DecodeError::new(text)
}

impl prost::Name for DataRequest {
    const NAME: &'static str = "DataRequestProto";
    const PACKAGE: &'static str = "jina";
}

#[cfg(test)]
mod tests;
