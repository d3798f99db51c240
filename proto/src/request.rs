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
                let mut wire = Bytes::new();
                encoding::bytes::merge(wire_type, &mut wire, buf, ctx)?;
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
        let mut wire = Bytes::new();
        encoding::bytes::merge(wire_type, &mut wire, buf, ctx)?;
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
        let mut wire = Bytes::new();
        encoding::bytes::merge(wire_type, &mut wire, buf, ctx)?;
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
                let mut value = Bytes::new();
                encoding::bytes::merge(wire_type, &mut value, buf, ctx)?;
                encoding::encode_varint(value.len() as u64, unknown);
                unknown.put_slice(&value);
            }
            WireType::StartGroup | WireType::EndGroup => {}
        }
        Ok(())
    }
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
    let mut wire = Bytes::new();
    encoding::bytes::merge(wire_type, &mut wire, buf, ctx)?;
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::docarray::DocumentProto;

    fn document(id: &str) -> DocumentProto {
        DocumentProto {
            id: id.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn documents_are_forwarded_undecoded_and_unchanged() {
        let request = DataRequest {
            documents: vec![document("a"), document("b")].into(),
            parameters: Parameters::EMPTY,
            ..Default::default()
        };
        let wire = request.encode_to_vec();
        let read = DataRequest::decode(&wire[..]).expect("just written");
        assert_eq!(read, request);
        assert_eq!(read.encode_to_vec(), wire);
    }

    #[test]
    fn documents_in_pieces_are_passed_on_as_they_came() {
        let request = DataRequest {
            documents: vec![document("a"), document(&"b".repeat(100))].into(),
            parameters: Parameters::EMPTY,
            unknown_fields: vec![0x48, 5],
            ..Default::default()
        };
        let wire = Bytes::from(request.encode_to_vec());
        let documents_len = request.documents.clone().into_wire().len();
        for size in 1..=wire.len() {
            let pieces = |bytes: &Bytes| -> Chunks {
                let starts = (0..bytes.len()).step_by(size);
                starts
                    .map(|at| bytes.slice(at..bytes.len().min(at + size)))
                    .collect()
            };
            let read = DataRequest::from_chunks(pieces(&wire)).expect("just written");
            assert_eq!(read, request, "pieces of {size}");
            assert!(read.documents.has_all_ids());
            let mut written = read.into_chunks(BytesMut::from(&b"head"[..]));
            assert_eq!(written.split_to(4).into_bytes(), "head");
            let shared = written
                .iter()
                .filter(|piece| wire.as_ptr_range().contains(&piece.as_ptr()));
            let shared: usize = shared.map(Bytes::len).sum();
            assert_eq!(shared, documents_len, "not copied");
            assert_eq!(written.into_bytes(), wire);
        }
    }

    proptest! {
        /// Whatever bytes come, cut in whatever way, they are read as when they come in one piece.
        #[test]
        fn pieces_are_read_as_the_whole(
            wire in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                // Mostly valid: fields with small numbers, and lengths that mostly hold.
                proptest::collection::vec((1_u8..6, proptest::collection::vec(0_u8..32, 0..20)), 0..8)
                    .prop_map(|fields| {
                        let field = |(number, value): (u8, Vec<u8>)| {
                            [vec![number << 3 | 2, u8::try_from(value.len()).unwrap_or_default()], value].concat()
                        };
                        fields.into_iter().flat_map(field).collect()
                    }),
            ],
            size in 1_usize..50,
        ) {
            let pieces = wire.chunks(size).map(Bytes::copy_from_slice).collect();
            let whole = DataRequest::decode(&wire[..]);
            let read = DataRequest::from_chunks(pieces);
            prop_assert_eq!(read.is_ok(), whole.is_ok());
            if let (Ok(read), Ok(whole)) = (read, whole) {
                prop_assert_eq!(read.documents.has_all_ids(), whole.documents.has_all_ids());
                let written = read.clone().into_chunks(BytesMut::new()).into_bytes();
                prop_assert_eq!(&written[..], &whole.encode_to_vec()[..]);
                prop_assert_eq!(written.len(), read.encoded_len());
            }
        }
    }

    #[test]
    fn unknown_fields_survive() {
        // Field 9 (varint 5), field 10 (bytes "xy"), field 11 (fixed32), field 12 (fixed64).
        let wire = [
            0x48, 5, 0x52, 2, b'x', b'y', 0x5d, 1, 2, 3, 4, 0x61, 1, 2, 3, 4, 5, 6, 7, 8,
        ];
        let read = DataRequest::decode(&wire[..]).expect("valid protobuf");
        assert!(read.encode_to_vec().ends_with(&wire));
    }

    /// The routes of a hostile client: decoded, they would take a hundred times their size.
    #[test]
    fn routes_beyond_the_limit_stay_encoded() {
        let short = RouteProto {
            executor: "e".to_owned(),
            ..Default::default()
        };
        let long = RouteProto {
            executor: "x".repeat(300 << 10),
            ..Default::default()
        };
        for (route, kept) in [(short, MAX_ROUTES), (long, 3)] {
            let request = DataRequest {
                routes: vec![route; MAX_ROUTES + 10],
                ..Default::default()
            };
            let wire = request.encode_to_vec();
            let read = DataRequest::decode(&wire[..]).expect("valid protobuf");
            assert_eq!(read.routes.len(), kept);
            assert_eq!(read.encode_to_vec(), wire, "none is lost");
        }
    }

    #[test]
    fn a_header_beyond_the_limit_is_refused() {
        let with = |args: usize| DataRequest {
            header: HeaderProto {
                status: Some(crate::jina::StatusProto {
                    exception: Some(crate::jina::status_proto::ExceptionProto {
                        args: vec![String::new(); args],
                        ..Default::default()
                    }),
                    ..Default::default()
                }),
                ..Default::default()
            },
            ..Default::default()
        };
        let wire = with(1000).encode_to_vec();
        assert_eq!(DataRequest::decode(&wire[..]).expect("valid"), with(1000));
        let twice = [&wire[..], &wire].concat();
        let error = DataRequest::decode(&twice[..]).expect_err("twice");
        assert!(error.to_string().contains("more than one status"));
        let large = with(MAX_HEADER_BYTES).encode_to_vec();
        let error = DataRequest::decode(&large[..]).expect_err("too large");
        assert!(error.to_string().contains("more than the limit"), "{error}");
    }

    #[test]
    fn a_repeated_data_field_is_merged() {
        let one = DataRequest {
            documents: vec![document("a")].into(),
            ..Default::default()
        };
        let two = DataRequest {
            documents: vec![document("b")].into(),
            ..Default::default()
        };
        let wire = [one.encode_to_vec(), two.encode_to_vec()].concat();
        let read = DataRequest::decode(&wire[..]).expect("valid protobuf");
        let ids: Vec<_> = read
            .documents
            .into_vec()
            .expect("documents")
            .into_iter()
            .map(|d| d.id)
            .collect();
        assert_eq!(ids, ["a", "b"]);
    }

    /// A hostile client's request: at quadratic cost each of these would take minutes.
    #[test]
    fn fields_repeated_many_times_are_merged_in_linear_time() {
        const TIMES: usize = 100_000;
        // Field 9 as a varint; `data` with one document of 63 bytes; `parameters` with one key.
        let unknown = [0x48, 5];
        let data = DataRequest {
            documents: vec![document(&"a".repeat(61))].into(),
            ..Default::default()
        };
        let data = data.encode_to_vec().split_off(2);
        let parameters = [0x12, 5, 0x0a, 3, 0x0a, 1, b'k'];
        for field in [&unknown[..], &data, &parameters] {
            let wire = field.repeat(TIMES);
            // Decoded from shared memory, as network buffers are, and from a slice.
            let shared = Bytes::from(wire.clone());
            let read = DataRequest::decode(shared.clone()).expect("valid protobuf");
            assert_eq!(
                read,
                DataRequest::decode(&wire[..]).expect("valid protobuf")
            );
            assert!(read.encoded_len() <= wire.len() + 16);
            let documents = read.documents.decode().expect("documents").len();
            let keys = read.parameters.keys().expect("a Struct").len();
            let count = read.unknown_fields.len() / unknown.len() + documents + keys;
            assert_eq!(count, TIMES, "{field:?}");
            assert_eq!(shared, wire, "shared memory is not modified");
        }
    }

    #[test]
    fn a_wrong_wire_type_is_an_error() {
        assert!(
            DataRequest::decode(&[0x20, 1][..]).is_err(),
            "field 4 as a number"
        );
        assert!(DataRequest::decode(&b"garbage"[..]).is_err());
    }

    #[test]
    fn missing_ids_are_detected_without_decoding() {
        for (ids, expected) in [(&["a", "b"][..], true), (&["a", ""], false), (&[], true)] {
            let documents: Vec<_> = ids.iter().map(|id| document(id)).collect();
            let request = DataRequest {
                documents: documents.into(),
                ..Default::default()
            };
            assert_eq!(request.documents.has_all_ids(), expected, "{ids:?}");
            let read = DataRequest::decode(&request.encode_to_vec()[..]).expect("just written");
            assert_eq!(read.documents.has_all_ids(), expected, "{ids:?} encoded");
        }
    }
}
