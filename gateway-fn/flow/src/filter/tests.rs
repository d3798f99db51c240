//! Compares conditions with recordings of docarray 0.21 on Python 3.10. `recorded.tsv` has documents as `@name` and the
//! hex of a `DocumentProto`, then for each condition the result of `find` for each document: 1, 0, or the class of the
//! exception.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message as _;
use serde_json::{Value as Json, json};

use flowgate_proto::{
    Struct, Value,
    docarray::{DenseNdArrayProto, NdArrayProto, document_proto::Content, nd_array_proto},
};

use super::*;

const RECORDED: &str = include_str!("recorded.tsv");

fn document(hex: &str) -> DocumentProto {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    DocumentProto::decode(&bytes[..]).expect("a DocumentProto")
}

impl Filter {
    /// Whether the condition selects this document.
    fn matches(&self, document: &DocumentProto) -> Result<bool, FilterError> {
        let selected = self.select(Arc::new(vec![document.clone()]));
        selected.map(|selected| !selected.is_empty())
    }
}

fn compile(condition: &Json) -> Filter {
    Filter::compile(condition).unwrap_or_else(|errors| panic!("{condition}: {errors:?}"))
}

#[test]
fn conditions_select_the_same_documents_as_docarray() {
    let (documents, conditions): (Vec<_>, Vec<_>) =
        RECORDED.lines().partition(|line| line.starts_with('@'));
    let hex = |line: &str| document(line.split('\t').nth(1).expect("hex"));
    let documents: Vec<_> = documents.into_iter().map(hex).collect();
    let mut wrong = Vec::new();
    for line in conditions {
        let mut fields = line.split('\t');
        let condition = fields.next().expect("a condition");
        let filter = match Filter::compile(&serde_json::from_str(condition).expect("JSON")) {
            Ok(filter) => filter,
            Err(errors) => {
                wrong.push(format!("{condition}: {errors:?}"));
                continue;
            }
        };
        for (document, expected) in documents.iter().zip(fields) {
            let actual = match filter.matches(document) {
                Ok(is_match) => u8::from(is_match).to_string(),
                Err(error) => error.python_class().to_owned(),
            };
            // docarray's and numpy's classes for a `TypeError`, and `re.error` without its module.
            let expected = match expected {
                "LookupyError" | "UFuncTypeError" => "TypeError",
                "error" => "re.error",
                other => other,
            };
            if actual != expected {
                wrong.push(format!(
                    "{condition} on {}: {actual}, not {expected}",
                    document.id
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn ne_is_accepted_for_neq() {
    let bare = DocumentProto::default();
    assert_eq!(
        compile(&json!({"tags__x": {"$ne": 1}})).matches(&bare),
        Ok(true)
    );
    assert_eq!(
        compile(&json!({"tags__x": {"$ne": null}})).matches(&bare),
        Ok(false)
    );
}

/// Jina fails for such a key with an exception at the first request.
#[test]
fn a_key_of_digits_is_a_key() {
    let tags = BTreeMap::from([("0".to_owned(), Value::from("zero"))]);
    let document = DocumentProto {
        tags: Some(Struct { fields: tags }),
        ..Default::default()
    };
    assert_eq!(
        compile(&json!({"tags__0": {"$eq": "zero"}})).matches(&document),
        Ok(true)
    );
    assert_eq!(
        compile(&json!({"tags__1": {"$eq": null}})).matches(&document),
        Ok(true)
    );
}

#[test]
fn a_tensor_can_be_compared_with_null() {
    let tensor = DocumentProto {
        embedding: Some(Box::new(NdArrayProto {
            content: Some(nd_array_proto::Content::Dense(DenseNdArrayProto::default())),
            ..Default::default()
        })),
        ..Default::default()
    };
    let is_null = compile(&json!({"embedding": {"$eq": null}}));
    assert_eq!(is_null.matches(&tensor), Ok(false));
    assert_eq!(is_null.matches(&DocumentProto::default()), Ok(true));
}

fn syntax_errors(condition: &Json) -> Vec<String> {
    let errors = Filter::compile(condition).expect_err("an invalid condition");
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn syntax_errors_name_the_place_and_what_is_expected() {
    let operators = "one of $eq, $neq, $gt, $gte, $lt, $lte, $in, $nin, $regex, $size, $exists";
    let cases = [
        (json!({"tags__x": {"$gtt": 1}}), format!("tags__x.$gtt: found `$gtt`, expected {operators} (did you mean $gt?)")),
        (json!({"$nott": []}), "$nott: found `$nott`, expected one of $and, $or, $not (did you mean $not?)".to_owned()),
        (json!({"$and": [{"id": {"$eq": 1}}, {"txt": {"$eq": 1}}]}), "$and.1.txt: found `txt`, expected an attribute of a document: one of id, text, blob, tensor, content, content_type, uri, mime_type, modality, tags, weight, granularity, adjacency, parent_id, offset, location, embedding, scores, evaluations, chunks, matches, _metadata (did you mean text?)".to_owned()),
        (json!({"id": {"$not": {"$eq": "x"}}}), "id.$not: found `$not`, expected a comparison such as $eq ($not belongs above the field, like {$not: {field: …}})".to_owned()),
        (json!({"id": {"$eq": "{tags__x} {id}"}}), "id.$eq: found `{tags__x} {id}`, expected exactly one placeholder, like {tags__name}".to_owned()),
        (json!({"text": {"$regex": "("}}), "text.$regex: found `(`, expected a Python regular expression (missing ), unterminated subpattern at position 0)".to_owned()),
        (json!({"id": 5}), "id: found 5, expected an operator and its value, like {$eq: value}".to_owned()),
        (json!({"id": {}}), "id: found an empty object, expected an operator and its value, like {$eq: value}".to_owned()),
        (json!({"id": {"$exists": 1}}), "id.$exists: found 1, expected true or false".to_owned()),
        (json!({"id": {"$in": 1}}), "id.$in: found 1, expected a list, a string or a placeholder".to_owned()),
        (json!({"weight": {"$gt": null}}), "weight.$gt: found null, expected a number, a string, true or false, a list or a placeholder".to_owned()),
        (json!({"text": {"$size": "3"}}), "text.$size: found `3`, expected a number or a placeholder".to_owned()),
        (json!({"weight__x": {"$eq": 1}}), "weight__x: found `weight__x`, expected the attribute without `__`: it has no parts to select".to_owned()),
        (json!({"scores__a__val": {"$eq": 1}}), "scores__a__val: found `scores__a__val`, expected one of value, op_name, description, ref_id (did you mean value?)".to_owned()),
        (json!({"embedding": {"$gt": 1}}), "embedding.$gt: found `$gt`, expected $exists, $size, or $eq/$neq with null: a tensor allows no other operator".to_owned()),
        (json!({"$and": 1}), "$and: found 1, expected a list of conditions, or one condition".to_owned()),
        (json!({"$or": [1]}), "$or.0: found 1, expected a condition, like {field: {$operator: value}}".to_owned()),
        (json!([]), "found a list, expected an object of conditions, like {field: {$operator: value}}".to_owned()),
    ];
    for (condition, expected) in cases {
        assert_eq!(syntax_errors(&condition), [expected], "{condition}");
    }
}

#[test]
fn all_syntax_errors_are_reported_at_once() {
    let condition = json!({"$or": [{"a": {"$eq": 1}}, {"id": {"$b": 1, "$c": 2}}]});
    assert_eq!(syntax_errors(&condition).len(), 3);
}

#[test]
fn nesting_is_limited() {
    let deep = (0..200).fold(
        json!({"id": {"$eq": 1}}),
        |inner, _| json!({"$not": [inner]}),
    );
    assert_eq!(syntax_errors(&deep).len(), 1);
    let value = (0..200).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(syntax_errors(&json!({"tags__x": {"$eq": value}})).len(), 1);
    let path = "chunks__0__".repeat(10_000) + "id";
    assert_eq!(syntax_errors(&json!({path: {"$eq": 1}})).len(), 1);
}

#[test]
fn an_error_names_field_and_operator() {
    let error = compile(&json!({"text": {"$gt": 5}})).matches(&DocumentProto::default());
    let error = error.expect_err("a string and a number");
    assert_eq!(
        error.to_string(),
        "the condition $gt on `text` cannot compare a string with a number"
    );
}

#[test]
fn the_time_of_a_pattern_from_the_request_is_limited() {
    let filter = compile(&json!({"text": {"$regex": "{tags__p}"}}));
    let tags = BTreeMap::from([("p".to_owned(), Value::from(r"(a*)*\1b"))]);
    let document = DocumentProto {
        content: Some(Content::Text("a".repeat(60))),
        tags: Some(Struct { fields: tags }),
        ..Default::default()
    };
    assert!(matches!(
        filter.matches(&document),
        Err(FilterError::Pattern { .. })
    ));
}

fn named(ids: &[&str]) -> Vec<DocumentProto> {
    let document = |id: &&str| DocumentProto {
        id: (*id).to_owned(),
        ..Default::default()
    };
    ids.iter().map(document).collect()
}

#[test]
fn only_documents_that_match_are_selected() {
    let filter = compile(&json!({"id": {"$in": ["a", "c"]}}));
    assert_eq!(
        filter.select(Arc::new(named(&["a", "b", "c"]))),
        Ok(Arc::new(named(&["a", "c"])))
    );
    let all = Arc::new(named(&["a"]));
    assert_eq!(compile(&json!({})).select(Arc::clone(&all)), Ok(all));
}

#[test]
fn the_clients_order_is_restored_and_new_documents_come_last() {
    let ids = ["d0", "d1", "", "d2"].map(str::to_owned);
    let mut documents = named(&["new", "d2", "", "d0", "other", "d1"]);
    restore_order(&mut documents, &ids);
    assert_eq!(documents, named(&["d0", "d1", "d2", "new", "", "other"]));
}

fn any_json() -> impl Strategy<Value = Json> {
    let word = prop_oneof![
        proptest::sample::select(vec![
            "$and",
            "$or",
            "$not",
            "$eq",
            "$neq",
            "$gt",
            "$lte",
            "$in",
            "$nin",
            "$regex",
            "$size",
            "$exists",
            "id",
            "text",
            "tags__a",
            "tags__a__0",
            "scores__a__value",
            "chunks__0__id",
            "location__0",
            "embedding",
            "content",
            "{tags__a}",
            "{text}",
            "{",
            "a.*",
        ])
        .prop_map(str::to_owned),
        ".{0,6}",
    ];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        word.clone().prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::vec((word.clone(), inner), 0..4)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

/// The recorded documents, in which every field that conditions can read is set.
fn any_document() -> impl Strategy<Value = DocumentProto> {
    let documents: Vec<_> = RECORDED
        .lines()
        .filter_map(|line| line.strip_prefix('@')?.split_once('\t'))
        .map(|(_, hex)| document(hex))
        .collect();
    proptest::sample::select(documents)
}

proptest! {
    #[test]
    fn no_condition_panics(condition in any_json(), document in any_document()) {
        if let Ok(filter) = Filter::compile(&condition) {
            let _ = filter.matches(&document);
        }
    }
}
