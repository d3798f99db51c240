//! Writes documents and protobuf `Struct`s as JSON. Both styles write all 19 keys of a document, and
//! `_metadata` after them only when it is not empty.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{write_array::write_array, write_error::WriteError, writer::Writer};
use crate::{
    Kind, Struct, Value,
    docarray::{DocumentProto, NamedScoreProto, NdArrayProto, document_proto::Content},
};

pub(super) fn write_documents(
    documents: &[DocumentProto],
    out: &mut Writer,
) -> Result<(), WriteError> {
    out.write_list(documents, |out, item| write_document(item, out))
}

fn write_document(document: &DocumentProto, out: &mut Writer) -> Result<(), WriteError> {
    let (blob, tensor, text) = match &document.content {
        Some(Content::Blob(blob)) => (Some(blob), None, ""),
        Some(Content::Tensor(tensor)) => (None, Some(&**tensor), ""),
        Some(Content::Text(text)) => (None, None, text.as_str()),
        None => (None, None, ""),
    };
    out.write_object(|out| {
        write_text_field("id", &document.id, out);
        write_text_field("parent_id", &document.parent_id, out);
        write_uint32_field("granularity", document.granularity, out);
        write_uint32_field("adjacency", document.adjacency, out);
        write_bytes_field("blob", blob, out);
        write_array_field("tensor", tensor, &document.id, out)?;
        write_text_field("mime_type", &document.mime_type, out);
        write_text_field("text", text, out);
        write_float_field("weight", document.weight, out);
        write_text_field("uri", &document.uri, out);
        write_struct_or_null("tags", document.tags.as_ref(), out)?;
        write_float_field("offset", document.offset, out);
        write_location(&document.location, out)?;
        write_array_field(
            "embedding",
            document.embedding.as_deref(),
            &document.id,
            out,
        )?;
        write_text_field("modality", &document.modality, out);
        write_scores("evaluations", &document.evaluations, out)?;
        write_scores("scores", &document.scores, out)?;
        write_nested("chunks", &document.chunks, out)?;
        write_nested("matches", &document.matches, out)?;
        match &document.metadata {
            Some(metadata) if !metadata.fields.is_empty() => {
                out.write_key("_metadata");
                write_struct(metadata, out)
            }
            _ => Ok(()),
        }
    })
}

fn write_text_field(key: &str, value: &str, out: &mut Writer) {
    out.write_key(key);
    out.write_text_or_null(value);
}

fn write_uint32_field(key: &str, value: u32, out: &mut Writer) {
    out.write_key(key);
    if value == 0 {
        out.write_null();
    } else {
        out.write_integer(value);
    }
}

fn write_float_field(key: &str, value: f32, out: &mut Writer) {
    out.write_key(key);
    if value == 0.0 {
        out.write_null();
    } else {
        out.write_double(f64::from(value));
    }
}

fn write_bytes_field(key: &str, value: Option<&Bytes>, out: &mut Writer) {
    out.write_key(key);
    match value {
        Some(value) if !value.is_empty() => out.write_plain(&STANDARD.encode(value)),
        _ => out.write_null(),
    }
}

fn write_array_field(
    field: &'static str,
    value: Option<&NdArrayProto>,
    id: &str,
    out: &mut Writer,
) -> Result<(), WriteError> {
    out.write_key(field);
    let Some(value) = value else {
        out.write_null();
        return Ok(());
    };
    write_array(value, out).map_err(|source| WriteError::Array {
        document: id.to_owned(),
        field,
        source,
    })
}

fn write_location(numbers: &[f32], out: &mut Writer) -> Result<(), WriteError> {
    out.write_key("location");
    if numbers.is_empty() {
        out.write_null();
        return Ok(());
    }
    out.write_list(numbers, |out, &number| {
        out.write_double(f64::from(number));
        Ok(())
    })
}

fn write_scores(
    key: &str,
    scores: &BTreeMap<String, NamedScoreProto>,
    out: &mut Writer,
) -> Result<(), WriteError> {
    out.write_key(key);
    if scores.is_empty() {
        out.write_null();
        return Ok(());
    }
    out.write_object(|out| {
        for (name, score) in scores {
            out.write_escaped_key(name);
            out.write_object(|out| {
                write_float_field("value", score.value, out);
                write_text_field("op_name", &score.op_name, out);
                write_text_field("description", &score.description, out);
                write_text_field("ref_id", &score.ref_id, out);
                Ok(())
            })?;
        }
        Ok(())
    })
}

fn write_nested(key: &str, inner: &[DocumentProto], out: &mut Writer) -> Result<(), WriteError> {
    out.write_key(key);
    if inner.is_empty() {
        out.write_null();
        return Ok(());
    }
    write_documents(inner, out)
}

fn write_struct_or_null(
    key: &str,
    fields: Option<&Struct>,
    out: &mut Writer,
) -> Result<(), WriteError> {
    out.write_key(key);
    match fields {
        Some(fields) if !fields.fields.is_empty() => write_struct(fields, out),
        _ => {
            out.write_null();
            Ok(())
        }
    }
}

/// Writes a `Struct` as an object. All of its numbers are doubles.
pub(super) fn write_struct(object: &Struct, out: &mut Writer) -> Result<(), WriteError> {
    out.write_object(|out| {
        for (key, value) in &object.fields {
            out.write_escaped_key(key);
            write_value(value, out)?;
        }
        Ok(())
    })
}

fn write_value(value: &Value, out: &mut Writer) -> Result<(), WriteError> {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => out.write_null(),
        Some(Kind::BoolValue(truth)) => out.write_bool(*truth),
        Some(Kind::NumberValue(number)) => out.write_struct_double(*number),
        Some(Kind::StringValue(text)) => out.write_text(text),
        Some(Kind::ListValue(list)) => {
            return out.write_list(&list.values, |out, item| write_value(item, out));
        }
        Some(Kind::StructValue(inner)) => return write_struct(inner, out),
    }
    Ok(())
}
