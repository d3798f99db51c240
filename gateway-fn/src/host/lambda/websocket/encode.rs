//! Encodes a `DataRequest` as the text of a WebSocket message: JSON, or protobuf in base64, because API Gateway sends
//! clients text only.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use flowgate_proto::{DataRequest, Kind, Value, json, struct_from_json};
use prost::Message as _;

use crate::inbound::websocket::subprotocol::Subprotocol;

/// Base64 that decodes with or without the padding `=`.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a message could not be encoded.
#[derive(Debug, thiserror::Error)]
pub(super) enum EncodeError {
    /// Its content cannot be written as JSON.
    #[error(transparent)]
    Json(#[from] json::WriteError),
    /// Its parameters are not a `google.protobuf.Struct`.
    #[error(transparent)]
    Parameters(#[from] prost::DecodeError),
}

/// Encodes a message.
pub(super) fn encode(message: &DataRequest, format: Subprotocol) -> Result<String, EncodeError> {
    match format {
        Subprotocol::Bytes => Ok(BASE64.encode(message.encode_to_vec())),
        // API Gateway limits the bytes of a message.
        Subprotocol::Json => Ok(json::write_websocket_unescaped(message)?),
    }
}

/// Encodes a message with one more object beside its content: in JSON as the member `key`, in protobuf as
/// `parameters["__key__"]`.
pub(super) fn encode_with(
    mut message: DataRequest,
    format: Subprotocol,
    key: &str,
    object: serde_json::Value,
) -> Result<String, EncodeError> {
    match format {
        Subprotocol::Json => {
            let mut text = encode(&message, format)?;
            // The JSON of a message is an object that is never empty, so a comma fits in place of its brace.
            text.truncate(text.trim_end().len().saturating_sub(1));
            text.push_str(&format!(",\"{key}\":{object}}}"));
            Ok(text)
        }
        Subprotocol::Bytes => {
            let mut parameters = message.parameters.decode()?;
            let value = Value {
                kind: struct_from_json(object).map(Kind::StructValue),
            };
            parameters.fields.insert(format!("__{key}__"), value);
            message.parameters = parameters.into();
            encode(&message, format)
        }
    }
}
