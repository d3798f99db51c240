//! Splits a request that is too large for one invocation into chunks of its documents, and merges their answers.

use flowgate_proto::{DataRequest, Documents, Parameters, Struct, docarray::DocumentProto};

use super::error::{InvokeError, NotSplittable};

/// A part of a request as a payload.
#[derive(Debug)]
pub(super) enum Encoded<C> {
    /// The chunk fits into an invocation.
    Fits(C),
    /// The smallest payload of the part is still too large.
    TooLarge { bytes: usize },
}

/// Why a request cannot be split into chunks that fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SplitError {
    /// The size of the part that is too large.
    pub(super) bytes: Option<usize>,
    pub(super) reason: NotSplittable,
}

/// Halves the documents until every part fits into a chunk, which `encode` makes of it.
pub(super) fn split_by_halves<C>(
    request: &DataRequest,
    max_parts: usize,
    encode: impl Fn(DataRequest) -> Result<Encoded<C>, InvokeError>,
) -> Result<Result<Vec<C>, SplitError>, InvokeError> {
    let fail = |reason, bytes| Ok(Err(SplitError { bytes, reason }));
    let Ok(documents) = request.documents.decode() else {
        return fail(NotSplittable::Opaque, None);
    };
    if documents.is_empty() {
        return fail(NotSplittable::NoDocuments, None);
    }
    let without_documents = DataRequest {
        documents: Documents::default(),
        ..request.clone()
    };
    let mut chunks = Vec::new();
    // A stack. The whole request need not be tried: it is known not to fit.
    let mut pending = halves(&documents);
    while let Some(part) = pending.pop() {
        if chunks.len() + pending.len() >= max_parts {
            return fail(NotSplittable::TooManyParts { max_parts }, None);
        }
        let encoded = encode(DataRequest {
            documents: part.to_vec().into(),
            ..without_documents.clone()
        });
        match encoded? {
            Encoded::Fits(chunk) => chunks.push(chunk),
            Encoded::TooLarge { bytes } if part.len() == 1 => {
                return fail(NotSplittable::OneDocument, Some(bytes));
            }
            Encoded::TooLarge { .. } => pending.extend(halves(part)),
        }
    }
    Ok(Ok(chunks))
}

/// Returns both halves, the first one last, because the caller pops them; a single document is one half.
fn halves(documents: &[DocumentProto]) -> Vec<&[DocumentProto]> {
    let (first, second) = documents.split_at(documents.len().div_ceil(2));
    [second, first]
        .into_iter()
        .filter(|half| !half.is_empty())
        .collect()
}

/// Merges the answers of a request's chunks: the header, routes and parameters of the first answer, the documents of all
/// answers in order, and all results. `sent` are the parameters of the request.
pub(super) fn merge_answers(
    sent: &Parameters,
    answers: Vec<DataRequest>,
) -> Result<DataRequest, InvokeError> {
    let sent = sent.results().map_err(invalid)?.unwrap_or_default();
    let mut merged_results = sent.clone();
    let mut documents = Vec::new();
    let mut merged = None;
    for (part, mut answer) in answers.into_iter().enumerate() {
        let results = answer.parameters.results().map_err(invalid)?;
        for (name, result) in results.unwrap_or_default().fields {
            if sent.fields.get(&name) != Some(&result) {
                let name = unique_name(&merged_results, name, part);
                merged_results.fields.insert(name, result);
            }
        }
        documents.extend(std::mem::take(&mut answer.documents).into_vec()?);
        merged.get_or_insert(answer);
    }
    let mut merged = merged.unwrap_or_default();
    if !merged_results.fields.is_empty() {
        let parameters = merged.parameters.with_results(merged_results);
        merged.parameters = parameters.map_err(invalid)?;
    }
    merged.documents = documents.into();
    Ok(merged)
}

/// Returns a name for a part's result. All parts come from one Executor and so have the same name: if an earlier part has
/// a result of that name, it becomes `NAME/part-1` for the second part.
fn unique_name(results: &Struct, name: String, part: usize) -> String {
    match results.fields.contains_key(&name) {
        true => format!("{name}/part-{part}"),
        false => name,
    }
}

fn invalid(error: prost::DecodeError) -> InvokeError {
    InvokeError::InvalidAnswer(error.into())
}

#[cfg(test)]
mod tests {
    use flowgate_proto::RESULTS_KEY;
    use serde_json::json;

    use super::*;

    fn request(ids: &[&str]) -> DataRequest {
        let document = |id: &&str| DocumentProto {
            id: (*id).to_owned(),
            ..DocumentProto::default()
        };
        DataRequest {
            documents: ids.iter().map(document).collect::<Vec<_>>().into(),
            ..DataRequest::default()
        }
    }

    fn ids(request: &DataRequest) -> String {
        let documents = request.documents.decode().expect("documents");
        documents
            .iter()
            .map(|document| document.id.as_str())
            .collect()
    }

    /// Splits into parts that fit if they have at most `max_documents` and no document `X`.
    fn split(
        documents: &[&str],
        max_documents: usize,
        max_parts: usize,
    ) -> Result<Vec<String>, SplitError> {
        let encode = |part: DataRequest| {
            let ids = ids(&part);
            let bytes = ids.len();
            let fits = bytes <= max_documents && !ids.contains('X');
            Ok(if fits {
                Encoded::Fits(ids)
            } else {
                Encoded::TooLarge { bytes }
            })
        };
        split_by_halves(&request(documents), max_parts, encode).expect("it can be encoded")
    }

    #[test]
    fn documents_are_halved_in_their_order_until_they_fit() {
        let split =
            |max_documents| split(&["a", "b", "c", "d", "e"], max_documents, 9).expect("parts");
        assert_eq!(split(3), ["abc", "de"]);
        assert_eq!(split(2), ["ab", "c", "de"]);
        assert_eq!(split(1), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn the_reason_is_reported_when_a_request_cannot_be_split() {
        let reason = |ids: &[&str], max_documents, max_parts| {
            let error = split(ids, max_documents, max_parts);
            error.expect_err("not splittable").reason
        };
        assert_eq!(reason(&["X"], 9, 9), NotSplittable::OneDocument);
        assert_eq!(reason(&["a", "X", "b"], 9, 9), NotSplittable::OneDocument);
        assert_eq!(reason(&[], 9, 9), NotSplittable::NoDocuments);
        let two = NotSplittable::TooManyParts { max_parts: 2 };
        assert_eq!(reason(&["a", "b", "c"], 1, 2), two);
        let one = NotSplittable::TooManyParts { max_parts: 1 };
        assert_eq!(reason(&["a", "b"], 1, 1), one);
    }

    #[test]
    fn answers_are_merged_and_no_result_is_lost() {
        let parameters = |results: serde_json::Value| -> Parameters {
            let results = executor_fn::struct_from_json(json!({RESULTS_KEY: results, "k": 1}));
            results.expect("an object").into()
        };
        let answer = |ids: &[&str], results| DataRequest {
            parameters: parameters(results),
            ..request(ids)
        };
        let earlier = json!({"a/rep-0": {"n": 9}});
        let merged = merge_answers(
            &parameters(earlier),
            vec![
                answer(
                    &["a", "b"],
                    json!({"a/rep-0": {"n": 9}, "e/rep-0": {"n": 2}}),
                ),
                answer(&[], json!({"a/rep-0": {"n": 9}, "e/rep-0": {"n": 2}})),
                answer(&["c"], json!({"late": {"n": 3}})),
            ],
        );
        let merged = merged.expect("an answer");
        assert_eq!(ids(&merged), "abc");
        let expected = json!({"a/rep-0": {"n": 9}, "e/rep-0": {"n": 2}, "e/rep-0/part-1": {"n": 2}, "late": {"n": 3}});
        assert_eq!(
            merged.parameters.decode().ok(),
            parameters(expected).decode().ok()
        );
        let plain = merge_answers(&Parameters::EMPTY, vec![request(&["a"]), request(&["b"])])
            .expect("an answer");
        assert_eq!(
            (ids(&plain).as_str(), plain.parameters.is_present()),
            ("ab", false)
        );
    }
}
