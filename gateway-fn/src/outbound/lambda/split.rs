//! A request too large for one invocation -> parts of its documents, each as large as fits; their answers -> one.

use flowgate_proto::{DataRequest, Documents, Parameters, Struct, docarray::DocumentProto};

use super::fault::{InvokeFault, NotSplittable};

/// Why a request is in too few parts to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Of the part that was the obstacle.
    pub(super) bytes: Option<usize>,
    pub(super) not_splittable: NotSplittable,
}

/// Halves the documents until every part fits. `fit` makes a piece of a part, or says how many bytes it would take.
pub(super) fn halved<P>(
    request: &DataRequest,
    max_parts: usize,
    fit: impl Fn(DataRequest) -> Result<Result<P, usize>, InvokeFault>,
) -> Result<Result<Vec<P>, Refused>, InvokeFault> {
    let refused = |not_splittable, bytes| {
        Ok(Err(Refused {
            bytes,
            not_splittable,
        }))
    };
    let Ok(documents) = request.documents.decode() else {
        return refused(NotSplittable::Opaque, None);
    };
    if documents.is_empty() {
        return refused(NotSplittable::NoDocuments, None);
    }
    let frame = DataRequest {
        documents: Documents::default(),
        ..request.clone()
    };
    let mut pieces = Vec::new();
    // The whole does not fit: that is why this is asked. The last one is next.
    let mut waiting = halves(&documents);
    while let Some(part) = waiting.pop() {
        if pieces.len() + waiting.len() >= max_parts {
            return refused(NotSplittable::TooManyParts { most: max_parts }, None);
        }
        let sent = DataRequest {
            documents: part.to_vec().into(),
            ..frame.clone()
        };
        match fit(sent)? {
            Ok(piece) => pieces.push(piece),
            Err(bytes) if part.len() == 1 => {
                return refused(NotSplittable::OneDocument, Some(bytes));
            }
            Err(_) => waiting.extend(halves(part)),
        }
    }
    Ok(Ok(pieces))
}

/// Both halves, the first one last; a single document alone.
fn halves(documents: &[DocumentProto]) -> Vec<&[DocumentProto]> {
    let (first, second) = documents.split_at(documents.len().div_ceil(2));
    [second, first]
        .into_iter()
        .filter(|half| !half.is_empty())
        .collect()
}

/// Puts the answers of a request's parts together: header, routes and parameters are the first one's, the documents
/// follow each other, and no result is lost. `sent` are the parameters that every part had.
pub(super) fn put_together(
    sent: &Parameters,
    answers: Vec<DataRequest>,
) -> Result<DataRequest, InvokeFault> {
    let sent = sent.results().map_err(unreadable)?.unwrap_or_default();
    let mut united = sent.clone();
    let mut documents = Vec::new();
    let mut whole = None;
    for (part, mut answer) in answers.into_iter().enumerate() {
        let results = answer.parameters.results().map_err(unreadable)?;
        for (name, result) in results.unwrap_or_default().fields {
            if sent.fields.get(&name) != Some(&result) {
                united.fields.insert(own_name(&united, name, part), result);
            }
        }
        documents.extend(std::mem::take(&mut answer.documents).into_vec()?);
        whole.get_or_insert(answer);
    }
    let mut whole = whole.unwrap_or_default();
    if !united.fields.is_empty() {
        whole.parameters = whole.parameters.with_results(united).map_err(unreadable)?;
    }
    whole.documents = documents.into();
    Ok(whole)
}

/// The parts come from one Executor, and so under one name: what another part has returned under it already gets a name
/// of its own, `NAME/part-1` for the second part.
fn own_name(united: &Struct, name: String, part: usize) -> String {
    match united.fields.contains_key(&name) {
        true => format!("{name}/part-{part}"),
        false => name,
    }
}

fn unreadable(error: prost::DecodeError) -> InvokeFault {
    InvokeFault::Unreadable(error.into())
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

    /// Parts that fit when they have no more than so many documents and no document `X`.
    fn split(documents: &[&str], fits: usize, max_parts: usize) -> Result<Vec<String>, Refused> {
        let fit = |part: DataRequest| {
            let ids = ids(&part);
            let length = ids.len();
            let is_small = length <= fits && !ids.contains('X');
            Ok(if is_small { Ok(ids) } else { Err(length) })
        };
        halved(&request(documents), max_parts, fit).expect("no fault")
    }

    #[test]
    fn documents_are_halved_in_their_order_until_they_fit() {
        let split = |fits| split(&["a", "b", "c", "d", "e"], fits, 9).expect("parts");
        assert_eq!(split(3), ["abc", "de"]);
        assert_eq!(split(2), ["ab", "c", "de"]);
        assert_eq!(split(1), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn what_cannot_be_split_is_said() {
        let refused =
            |ids: &[&str], fits, most| split(ids, fits, most).expect_err("no parts").not_splittable;
        assert_eq!(refused(&["X"], 9, 9), NotSplittable::OneDocument);
        assert_eq!(refused(&["a", "X", "b"], 9, 9), NotSplittable::OneDocument);
        assert_eq!(refused(&[], 9, 9), NotSplittable::NoDocuments);
        let few = NotSplittable::TooManyParts { most: 2 };
        assert_eq!(refused(&["a", "b", "c"], 1, 2), few);
        let off = NotSplittable::TooManyParts { most: 1 };
        assert_eq!(refused(&["a", "b"], 1, 1), off);
    }

    #[test]
    fn answers_come_together_and_no_result_is_lost() {
        let parameters = |results: serde_json::Value| -> Parameters {
            let given = executor_fn::structure(json!({RESULTS_KEY: results, "k": 1}));
            given.expect("an object").into()
        };
        let answer = |ids: &[&str], results| DataRequest {
            parameters: parameters(results),
            ..request(ids)
        };
        let earlier = json!({"a/rep-0": {"n": 9}});
        let whole = put_together(
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
        let whole = whole.expect("an answer");
        assert_eq!(ids(&whole), "abc");
        let expected = json!({"a/rep-0": {"n": 9}, "e/rep-0": {"n": 2}, "e/rep-0/part-1": {"n": 2}, "late": {"n": 3}});
        assert_eq!(
            whole.parameters.decode().ok(),
            parameters(expected).decode().ok()
        );
        let plain = put_together(&Parameters::EMPTY, vec![request(&["a"]), request(&["b"])])
            .expect("an answer");
        assert_eq!(
            (ids(&plain).as_str(), plain.parameters.is_present()),
            ("ab", false)
        );
    }
}
