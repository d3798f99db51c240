//! Tests of tensors and embeddings: dense and sparse arrays, and the limits on them.

use super::*;
use crate::{
    DataRequest, Struct, Value,
    docarray::{
        DenseNdArrayProto, DocumentProto, NdArrayProto, SparseNdArrayProto,
        document_proto::Content as DocumentContent, nd_array_proto::Content,
    },
};

fn with_array(array: NdArrayProto) -> DataRequest {
    let document = DocumentProto {
        id: "a".to_owned(),
        content: Some(DocumentContent::Tensor(Box::new(array))),
        ..Default::default()
    };
    DataRequest {
        documents: vec![document].into(),
        ..Default::default()
    }
}

fn dense(dtype: &str, shape: &[u32], buffer: &[u8]) -> DenseNdArrayProto {
    DenseNdArrayProto {
        buffer: buffer.to_vec().into(),
        shape: shape.to_vec(),
        dtype: dtype.to_owned(),
    }
}

fn numpy(dtype: &str, shape: &[u32], buffer: &[u8]) -> DataRequest {
    with_array(NdArrayProto {
        cls_name: "numpy".to_owned(),
        content: Some(Content::Dense(dense(dtype, shape, buffer))),
        parameters: None,
    })
}

fn array_error(request: &DataRequest) -> ArrayError {
    match write_http(request) {
        Err(WriteError::Array { source, .. }) => source,
        other => panic!("expected an array error: {other:?}"),
    }
}

#[test]
fn nan_is_a_string_over_http_and_unquoted_over_websocket() {
    let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let bytes: Vec<u8> = values.into_iter().flat_map(f64::to_le_bytes).collect();
    let answer = numpy("<f8", &[3], &bytes);
    let http = String::from_utf8(write_http(&answer).expect("valid")).expect("UTF-8");
    assert!(
        http.contains(r#""tensor":["NaN","Infinity","-Infinity"]"#),
        "{http}"
    );
    let websocket = write_websocket(&answer).expect("valid");
    assert!(
        websocket.contains(r#""tensor": [NaN, Infinity, -Infinity]"#),
        "{websocket}"
    );
    for text in [http, websocket] {
        let read = read_response(&json(&text)).expect("valid");
        let again = write_websocket(&read).expect("valid");
        assert!(again.contains("[NaN, Infinity, -Infinity]"), "{again}");
    }
}

#[test]
fn an_array_without_dimensions_is_written_as_its_element() {
    let answer = numpy("<f4", &[], &1.5_f32.to_le_bytes());
    assert_eq!(
        first_document(&answer).get("tensor"),
        Some(&Json::Float(1.5))
    );
}

#[test]
fn long_names_of_element_types_are_accepted() {
    let answer = numpy("float32", &[1], &1.5_f32.to_le_bytes());
    assert_eq!(first_document(&answer).get("tensor"), Some(&json("[1.5]")));
}

/// Jina converts all elements to doubles, so that large ones lose their last digits.
#[test]
fn unsigned_integers_keep_their_digits() {
    let bytes: Vec<u8> = [u64::MAX, 1]
        .into_iter()
        .flat_map(u64::to_le_bytes)
        .collect();
    let items = [Json::BigInt(u64::MAX.to_string().into()), Json::Int(1)];
    let expected = Json::List(items.into());
    let answer = numpy("<u8", &[2], &bytes);
    assert_eq!(first_document(&answer).get("tensor"), Some(&expected));
}

#[test]
fn inconsistent_arrays_are_errors() {
    let huge = u32::MAX;
    assert!(matches!(
        array_error(&numpy("<f4", &[2], &[0; 7])),
        ArrayError::Size { bytes: 7, .. }
    ));
    assert!(matches!(
        array_error(&numpy("<f4", &[huge, huge, huge], &[0; 4])),
        ArrayError::Size { .. }
    ));
    assert!(matches!(
        array_error(&numpy("<f8", &[0], &[0; 4])),
        ArrayError::Size { .. }
    ));
    assert!(matches!(
        array_error(&numpy("<f8", &[huge], &[])),
        ArrayError::Size { .. }
    ));
    assert!(matches!(
        array_error(&numpy("<f8", &[huge, 0], &[])),
        ArrayError::TooLarge { .. }
    ));
    assert!(matches!(
        array_error(&numpy("|u1", &[1; 33], &[0])),
        ArrayError::Dimensions { dimensions: 33 }
    ));
    for dtype in [
        "<c8",
        "|O",
        "<f3",
        "",
        "<U0",
        "<U99999999999",
        "|S3",
        "<M8[ns]",
    ] {
        assert!(
            matches!(
                array_error(&numpy(dtype, &[1], &[0])),
                ArrayError::Dtype { .. }
            ),
            "{dtype}"
        );
    }
}

fn sparse(class: &str, indices: &[i64], values: &[f32], shape: &[u32]) -> DataRequest {
    let indices: Vec<u8> = indices.iter().flat_map(|i| i.to_le_bytes()).collect();
    let values: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let format = Value {
        kind: Some(crate::Kind::StringValue("csr".to_owned())),
    };
    with_array(NdArrayProto {
        cls_name: class.to_owned(),
        content: Some(Content::Sparse(Box::new(SparseNdArrayProto {
            indices: Some(dense("<i8", &[], &indices)),
            values: Some(dense("<f4", &[], &values)),
            shape: shape.to_vec(),
        }))),
        parameters: Some(Struct {
            fields: [("sparse_format".to_owned(), format)].into(),
        }),
    })
}

#[test]
fn sparse_arrays_are_written_as_dense_lists() {
    let expected = json("[[0.0,1.5,0.0],[0.0,0.0,2.5]]");
    for (class, indices) in [
        ("scipy", [0, 1, 1, 2]),
        ("tensorflow", [0, 1, 1, 2]),
        ("torch", [0, 1, 1, 2]),
    ] {
        let answer = sparse(class, &indices, &[1.5, 2.5], &[2, 3]);
        assert_eq!(
            first_document(&answer).get("tensor"),
            Some(&expected),
            "{class}"
        );
    }
    // Coordinates of (0, 2) and (1, 0), dimension by dimension.
    let answer = sparse("torch", &[0, 1, 2, 0], &[1.5, 2.5], &[2, 3]);
    let expected = json("[[0.0,0.0,1.5],[2.5,0.0,0.0]]");
    assert_eq!(first_document(&answer).get("tensor"), Some(&expected));
}

#[test]
fn inconsistent_sparse_arrays_are_errors() {
    let error =
        |indices: &[i64], shape: &[u32]| array_error(&sparse("scipy", indices, &[1.5], shape));
    assert_eq!(error(&[0, 3], &[2, 3]), ArrayError::Indices);
    assert_eq!(error(&[0, -1], &[2, 3]), ArrayError::Indices);
    assert_eq!(error(&[0], &[2, 3]), ArrayError::Indices);
    assert_eq!(error(&[0, 1, 1, 2], &[2, 3]), ArrayError::Indices);
    assert!(matches!(
        error(&[0, 0], &[1_000_000, 1_000_000]),
        ArrayError::TooLarge { .. }
    ));
    assert!(matches!(
        error(&[0, 0], &[u32::MAX; 2]),
        ArrayError::TooLarge { .. }
    ));
}

#[test]
fn the_zeros_filled_in_for_one_request_are_limited() {
    let many = vec![numpy("<f8", &[1 << 20], &[]); 100];
    let mut documents: Vec<_> = many
        .into_iter()
        .flat_map(|request| request.documents.into_vec().expect("documents"))
        .collect();
    crate::normalize_all(&mut documents);
    let filled = documents.iter().filter(|document| match &document.content {
        Some(DocumentContent::Tensor(array)) => match &array.content {
            Some(Content::Dense(dense)) => !dense.buffer.is_empty(),
            _ => false,
        },
        _ => false,
    });
    assert_eq!(filled.count(), 2, "of 8 MiB each");
}
