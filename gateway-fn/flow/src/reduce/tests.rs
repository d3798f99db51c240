//! Compares merges with recordings of docarray 0.21 and of a join in Jina. Each line of `recorded.tsv` has a name, the
//! result and the lists; all but the name are the hex of a `DocumentArrayProto`.

use std::collections::{BTreeMap, BTreeSet};

use flowgate_proto::{
    RESULTS_KEY, Value,
    docarray::{DenseNdArrayProto, DocumentArrayProto, NdArrayProto, nd_array_proto},
    jina::RouteProto,
};
use proptest::prelude::*;
use prost::Message as _;

use super::*;

const RECORDED: &str = include_str!("recorded.tsv");

fn documents(hex: &str) -> Vec<DocumentProto> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    DocumentArrayProto::decode(&bytes[..])
        .expect("a DocumentArrayProto")
        .docs
}

#[test]
fn documents_are_merged_as_by_docarray() {
    for line in RECORDED.lines() {
        let mut fields = line.split('\t');
        let name = fields.next().expect("a name");
        let expected = documents(fields.next().expect("a result"));
        assert_eq!(
            reduce_documents(fields.map(documents).collect()),
            expected,
            "{name}"
        );
    }
}

fn text(id: &str, text: &str, tags: &[&str]) -> DocumentProto {
    let tags = tags
        .iter()
        .map(|tag| ((*tag).to_owned(), Value::from(true)));
    DocumentProto {
        id: id.to_owned(),
        content: Some(Content::Text(text.to_owned())),
        tags: Some(Struct {
            fields: tags.collect(),
        })
        .filter(|tags| !tags.fields.is_empty()),
        ..Default::default()
    }
}

/// The embedding that c adds to each document.
fn embedding() -> Option<Box<NdArrayProto>> {
    let array = NdArrayProto {
        cls_name: "numpy".to_owned(),
        parameters: None,
        content: Some(nd_array_proto::Content::Dense(DenseNdArrayProto {
            buffer: vec![0, 0, 128, 63, 0, 0, 0, 64].into(),
            shape: vec![2],
            dtype: "<f4".to_owned(),
        })),
    };
    Some(Box::new(array))
}

/// Recording `grpc/28-join_b_first`, before j adds its tag and text.
#[test]
fn a_join_takes_from_each_branch_the_fields_that_the_others_lack() {
    let b = |id, text_| DocumentProto {
        weight: 0.5,
        ..text(id, text_, &["a", "b"])
    };
    let c = |id, text_| DocumentProto {
        embedding: embedding(),
        ..text(id, text_, &["a", "c"])
    };
    let from_b = vec![
        b("d0", "x+a+b"),
        b("d1", "y+a+b"),
        text("new-b", "from b", &[]),
    ];
    let from_c = vec![
        c("d0", "x+a+c"),
        c("d1", "y+a+c"),
        text("new-c", "from c", &[]),
    ];
    let joined = |id, text_| DocumentProto {
        embedding: embedding(),
        ..b(id, text_)
    };
    assert_eq!(
        reduce_documents(vec![from_b, from_c]),
        [
            joined("d0", "x+a+b"),
            joined("d1", "y+a+b"),
            text("new-b", "from b", &[]),
            text("new-c", "from c", &[]),
        ]
    );
}

fn part(route: &str, results: Option<f64>) -> DataRequest {
    let map = |n: f64| Value::from(BTreeMap::from([(route.to_owned(), n.into())]));
    let results = results.map(|n| (RESULTS_KEY.to_owned(), map(n)));
    let mut part = DataRequest::default();
    route.clone_into(&mut part.header.request_id);
    part.parameters = Struct {
        fields: results.into_iter().collect(),
    }
    .into();
    part.routes = vec![RouteProto {
        executor: route.to_owned(),
        ..Default::default()
    }];
    part
}

/// As in the recording `grpc/32-join_results`.
#[test]
fn results_of_all_requests_are_merged() {
    let request = reduce(vec![part("b/rep-0", Some(1.0)), part("c/rep-0", Some(2.0))])
        .expect("decodable requests");
    let results = request
        .parameters
        .results()
        .expect("a Struct")
        .expect("results");
    let keys: Vec<_> = results.fields.into_keys().collect();
    assert_eq!(keys, ["b/rep-0", "c/rep-0"]);
}

#[test]
fn header_and_routes_are_those_of_the_first_request_and_results_are_always_present() {
    let request = reduce(vec![part("b", None), part("c", None)]).expect("decodable requests");
    assert_eq!(request.header.request_id, "b");
    assert_eq!(request.routes.len(), 1);
    assert_eq!(request.parameters.keys().expect("a Struct"), [RESULTS_KEY]);
}

#[test]
fn requests_without_documents_leave_the_field_unchanged() {
    let absent = reduce(vec![part("b", None), part("c", None)]).expect("decodable requests");
    assert!(!absent.documents.is_present());
    let mut empty_list = part("b", None);
    empty_list.documents = Vec::new().into();
    let empty = reduce(vec![empty_list, part("c", None)]).expect("decodable requests");
    assert!(empty.documents.is_present());
}

#[test]
fn a_single_request_is_returned_unchanged() {
    let mut alone = part("b", None);
    alone.documents = vec![text("d", "x", &[])].into();
    assert_eq!(
        reduce(vec![alone.clone()]).expect("decodable requests"),
        alone
    );
}

#[test]
fn a_document_without_an_id_is_never_the_same_as_another() {
    let parts = vec![vec![text("", "a", &[])], vec![text("", "b", &[])]];
    assert_eq!(reduce_documents(parts).len(), 2);
}

#[test]
fn documents_deeper_than_the_limit_are_kept_unmerged() {
    let deep = |leaf: &str| {
        (0..MAX_DEPTH + 10).fold(text(leaf, "", &[]), |inner, level| DocumentProto {
            chunks: vec![inner],
            ..text(&level.to_string(), "", &[])
        })
    };
    let mut ids = BTreeSet::new();
    collect_ids(
        &reduce_documents(vec![vec![deep("b")], vec![deep("c")]]),
        &mut ids,
    );
    assert!(ids.contains("b") && ids.contains("c"));
}

fn collect_ids(documents: &[DocumentProto], ids: &mut BTreeSet<String>) {
    for document in documents {
        ids.insert(document.id.clone());
        collect_ids(&document.chunks, ids);
        collect_ids(&document.matches, ids);
    }
}

fn any_document() -> impl Strategy<Value = DocumentProto> {
    let leaf = ("[a-e]", 0_u32..3).prop_map(|(id, granularity)| DocumentProto {
        id,
        granularity,
        ..Default::default()
    });
    leaf.prop_recursive(3, 12, 3, |inner| {
        let list = || prop::collection::vec(inner.clone(), 0..3);
        ("[a-e]", list(), list()).prop_map(|(id, chunks, matches)| DocumentProto {
            id,
            chunks,
            matches,
            ..Default::default()
        })
    })
}

proptest! {
    #[test]
    fn no_id_is_lost(parts in prop::collection::vec(prop::collection::vec(any_document(), 0..4), 1..4)) {
        let (mut before, mut after) = (BTreeSet::new(), BTreeSet::new());
        parts.iter().for_each(|part| collect_ids(part, &mut before));
        let first = parts[0].len();
        let reduced = reduce_documents(parts);
        collect_ids(&reduced, &mut after);
        prop_assert_eq!(before, after);
        prop_assert!(reduced.len() >= first);
    }
}
