//! Documents and protobuf `Struct`s become JSON. Documents look the same in both forms: all of their
//! 19 keys, and `_metadata` behind them only where there is some.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{
    write_array,
    writer::{WriteError, Writer},
};
use crate::{
    Kind, Struct, Value,
    docarray::{DocumentProto, NamedScoreProto, NdArrayProto, document_proto::Content},
};

pub(super) fn documents(documents: &[DocumentProto], out: &mut Writer) -> Result<(), WriteError> {
    out.list(documents, |out, held| document(held, out))
}

fn document(held: &DocumentProto, out: &mut Writer) -> Result<(), WriteError> {
    let (blob, tensor, content) = match &held.content {
        Some(Content::Blob(blob)) => (Some(blob), None, ""),
        Some(Content::Tensor(tensor)) => (None, Some(tensor), ""),
        Some(Content::Text(content)) => (None, None, content.as_str()),
        None => (None, None, ""),
    };
    out.object(|out| {
        text("id", &held.id, out);
        text("parent_id", &held.parent_id, out);
        unsigned("granularity", held.granularity, out);
        unsigned("adjacency", held.adjacency, out);
        bytes("blob", blob, out);
        array("tensor", tensor, &held.id, out)?;
        text("mime_type", &held.mime_type, out);
        text("text", content, out);
        single("weight", held.weight, out);
        text("uri", &held.uri, out);
        structure_or_null("tags", held.tags.as_ref(), out)?;
        single("offset", held.offset, out);
        location(&held.location, out)?;
        array("embedding", held.embedding.as_ref(), &held.id, out)?;
        text("modality", &held.modality, out);
        scores("evaluations", &held.evaluations, out)?;
        scores("scores", &held.scores, out)?;
        nested("chunks", &held.chunks, out)?;
        nested("matches", &held.matches, out)?;
        match &held.metadata {
            Some(metadata) if !metadata.fields.is_empty() => {
                out.key("_metadata");
                structure(metadata, out)
            }
            _ => Ok(()),
        }
    })
}

fn text(key: &str, value: &str, out: &mut Writer) {
    out.key(key);
    out.text_or_null(value);
}

fn unsigned(key: &str, value: u32, out: &mut Writer) {
    out.key(key);
    if value == 0 {
        out.null();
    } else {
        out.integer(value);
    }
}

fn single(key: &str, value: f32, out: &mut Writer) {
    out.key(key);
    if value == 0.0 {
        out.null();
    } else {
        out.double(f64::from(value));
    }
}

fn bytes(key: &str, value: Option<&Bytes>, out: &mut Writer) {
    out.key(key);
    match value {
        Some(value) if !value.is_empty() => out.plain(&STANDARD.encode(value)),
        _ => out.null(),
    }
}

fn array(
    field: &'static str,
    value: Option<&NdArrayProto>,
    id: &str,
    out: &mut Writer,
) -> Result<(), WriteError> {
    out.key(field);
    let Some(value) = value else {
        out.null();
        return Ok(());
    };
    write_array::array(value, out).map_err(|source| WriteError::Array {
        document: id.to_owned(),
        field,
        source,
    })
}

fn location(numbers: &[f32], out: &mut Writer) -> Result<(), WriteError> {
    out.key("location");
    if numbers.is_empty() {
        out.null();
        return Ok(());
    }
    out.list(numbers, |out, &number| {
        out.double(f64::from(number));
        Ok(())
    })
}

fn scores(
    key: &str,
    scores: &BTreeMap<String, NamedScoreProto>,
    out: &mut Writer,
) -> Result<(), WriteError> {
    out.key(key);
    if scores.is_empty() {
        out.null();
        return Ok(());
    }
    out.object(|out| {
        for (name, score) in scores {
            out.text_key(name);
            out.object(|out| {
                single("value", score.value, out);
                text("op_name", &score.op_name, out);
                text("description", &score.description, out);
                text("ref_id", &score.ref_id, out);
                Ok(())
            })?;
        }
        Ok(())
    })
}

fn nested(key: &str, inner: &[DocumentProto], out: &mut Writer) -> Result<(), WriteError> {
    out.key(key);
    if inner.is_empty() {
        out.null();
        return Ok(());
    }
    documents(inner, out)
}

fn structure_or_null(
    key: &str,
    fields: Option<&Struct>,
    out: &mut Writer,
) -> Result<(), WriteError> {
    out.key(key);
    match fields {
        Some(held) if !held.fields.is_empty() => structure(held, out),
        _ => {
            out.null();
            Ok(())
        }
    }
}

/// A `Struct` as an object; all of its numbers are doubles.
pub(super) fn structure(held: &Struct, out: &mut Writer) -> Result<(), WriteError> {
    out.object(|out| {
        for (key, held) in &held.fields {
            out.text_key(key);
            value(held, out)?;
        }
        Ok(())
    })
}

fn value(held: &Value, out: &mut Writer) -> Result<(), WriteError> {
    match &held.kind {
        None | Some(Kind::NullValue(_)) => out.null(),
        Some(Kind::BoolValue(truth)) => out.boolean(*truth),
        Some(Kind::NumberValue(number)) => out.proto_double(*number),
        Some(Kind::StringValue(text)) => out.text(text),
        Some(Kind::ListValue(list)) => return out.list(&list.values, |out, held| value(held, out)),
        Some(Kind::StructValue(inner)) => return structure(inner, out),
    }
    Ok(())
}
