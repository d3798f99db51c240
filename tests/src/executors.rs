//! Reimplements, with `executor-fn`, the Executors that Jina used when the recordings in `golden/` were made.

use std::time::Duration;

use executor_fn::{Error, Executor, Reply, Request, tensor};
use flowgate_proto::{
    Kind, Struct, Value,
    docarray::{
        DenseNdArrayProto, DocumentProto, NamedScoreProto, NdArrayProto, document_proto::Content,
        nd_array_proto::Content as Array,
    },
    normalize,
};

/// Creates a document with an id and a text.
#[must_use]
pub fn text(id: &str, text: &str) -> DocumentProto {
    DocumentProto {
        id: id.to_owned(),
        content: Some(Content::Text(text.to_owned())),
        ..Default::default()
    }
}

/// Returns the text of a document; empty when it has none.
#[must_use]
pub fn text_of(document: &DocumentProto) -> &str {
    match &document.content {
        Some(Content::Text(text)) => text,
        _ => "",
    }
}

/// Converts a JSON object to a protobuf `Struct`.
///
/// # Panics
/// When it is not an object.
#[must_use]
pub fn fields(json: serde_json::Value) -> Struct {
    executor_fn::struct_from_json(json).expect("an object")
}

/// The Executor `Multi`: one endpoint per kind of change to documents.
#[must_use]
pub fn multi() -> Executor {
    Executor::new("Multi")
        .on_default(unchanged)
        .on("/echo", unchanged)
        .on("/upper", |request| each(request, |document, _| set_text(document, text_of(document).to_uppercase())))
        .on("/tags", |request| {
            each(request, |document, _| {
                let tags = serde_json::json!({"i": 3, "f": 2.5, "b": true, "s": "str", "n": null,
                    "l": [1, "a", false], "m": {"x": 1, "y": {"z": [1.5]}}});
                add_tags(document, tags);
            })
        })
        .on("/emb", |request| {
            each(request, |document, _| {
                #[expect(clippy::cast_precision_loss, reason = "texts of the recordings are short")]
                let length = text_of(document).len() as f32;
                document.embedding = Some(Box::new(tensor::from_slice(&[length, 1.5, -2.0])));
            })
        })
        .on("/tensor_list", |request| {
            each(request, |document, _| {
                let buffer = [1_i64, 2, 3, 4].iter().flat_map(|value| value.to_le_bytes()).collect();
                let array = nested_list(buffer, vec![2, 2]);
                document.content = Some(Content::Tensor(Box::new(array)));
            })
        })
        .on("/matches", |request| each(request, add_relatives))
        .on("/all", |request| each(request, |document, _| set_scalar_fields(document)))
        .on("/raise", async |_| Err(Error::new("ValueError", "boom").arg(42)))
        .on("/asleep", asleep)
        .on("/new", async |_| Ok(Reply::documents(vec![text("new0", "n0"), text("new1", "n1")])))
        .on("/clear", async |_| Ok(Reply::documents(Vec::new())))
        .on("/results", async |request: Request| {
            let results = serde_json::json!({"count": request.documents().len(), "nested": {"a": [1, 2]},
                "who": "exec0/rep-0"});
            Ok(Reply::results(fields(results)))
        })
        .on("/params", |request| {
            let parameters = Value { kind: Some(Kind::StructValue(request.parameters().clone())) };
            each(request, move |document, _| {
                document.tags.get_or_insert_default().fields.insert("params".to_owned(), parameters.clone());
            })
        })
}

/// The Executor `Tag`: adds its name to every document, as a tag and to the text.
#[must_use]
pub fn tag(name: &'static str) -> Executor {
    with_tag_endpoints(Executor::new("Tag"), name)
}

/// The Executor `Order`: like `Tag`, with `/order`, which sleeps and then changes the documents in a different way for
/// each name, so that the result of a join shows the order in which its branches were merged.
#[must_use]
pub fn order(name: &'static str) -> Executor {
    with_tag_endpoints(Executor::new("Order"), name).on(
        "/order",
        move |request: Request| async move {
            sleep(request.number_parameter("sleep")).await;
            let mut documents = request.into_documents();
            for document in &mut documents {
                add_tags(document, serde_json::json!({name: true}));
                set_text(document, format!("{}+{name}", text_of(document)));
                match name {
                    "b" => document.weight = 0.5,
                    "c" => document.embedding = Some(Box::new(tensor::from_slice(&[1.0, 2.0]))),
                    _ => {}
                }
            }
            if matches!(name, "b" | "c") {
                documents.push(text(&format!("new-{name}"), &format!("from {name}")));
            }
            Ok(Reply::documents(documents))
        },
    )
}

/// The Executor `OnlyFoo`: binds `/foo` and no default.
#[must_use]
pub fn only_foo(name: &'static str) -> Executor {
    Executor::new("OnlyFoo").on("/foo", move |request| {
        each(request, move |document, _| {
            add_tags(document, serde_json::json!({format!("foo_{name}"): 1}))
        })
    })
}

fn with_tag_endpoints(executor: Executor, name: &'static str) -> Executor {
    executor
        .on_default(move |request| {
            each(request, move |document, _| {
                add_tags(document, serde_json::json!({name: 1}));
                set_text(document, format!("{}+{name}", text_of(document)));
            })
        })
        .on("/raise", move |request: Request| async move {
            match request.text_parameter("who") {
                Some(who) if who != name => Ok(Reply::unchanged()),
                _ => Err(Error::value_error(format!("boom in {name}"))),
            }
        })
        .on("/results", move |request: Request| async move {
            Ok(Reply::results(fields(
                serde_json::json!({"n": request.documents().len(), "tag": name}),
            )))
        })
        .on("/new", move |_| async move {
            let mut shared = text("shared", &format!("from {name}"));
            add_tags(&mut shared, serde_json::json!({name: 1}));
            shared.weight = if name == "b" { 1.0 } else { 0.0 };
            Ok(Reply::documents(vec![
                text(&format!("{name}-0"), name),
                shared,
            ]))
        })
}

async fn unchanged(_: Request) -> Result<Reply, Error> {
    Ok(Reply::unchanged())
}

async fn asleep(request: Request) -> Result<Reply, Error> {
    let parameter = request.number_parameter("sleep");
    for document in request.documents() {
        let tag = document
            .tags
            .as_ref()
            .and_then(|tags| tags.fields.get("sleep"));
        sleep(match tag.and_then(|tag| tag.kind.as_ref()) {
            Some(Kind::NumberValue(seconds)) => Some(*seconds),
            _ => parameter,
        })
        .await;
    }
    Ok(Reply::unchanged())
}

async fn sleep(seconds: Option<f64>) {
    if let Some(seconds) = seconds.filter(|seconds| *seconds > 0.0) {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }
}

/// Changes every document.
async fn each(
    request: Request,
    change: impl Fn(&mut DocumentProto, usize),
) -> Result<Reply, Error> {
    let mut documents = request.into_documents();
    for (index, document) in documents.iter_mut().enumerate() {
        change(document, index);
        // docarray does the same when a field is set: ids, levels, guessed MIME types.
        normalize(document);
    }
    Ok(Reply::documents(documents))
}

fn add_tags(document: &mut DocumentProto, tags: serde_json::Value) {
    document
        .tags
        .get_or_insert_default()
        .fields
        .extend(fields(tags).fields);
}

fn set_text(document: &mut DocumentProto, text: String) {
    document.content = Some(Content::Text(text));
}

fn add_relatives(document: &mut DocumentProto, index: usize) {
    let mut chunk = text(&format!("c{index}"), "chunk");
    add_tags(&mut chunk, serde_json::json!({"k": 1}));
    let mut matched = text(&format!("m{index}"), "match");
    matched.scores.insert(
        "cosine".to_owned(),
        NamedScoreProto {
            value: 0.25,
            op_name: "op".to_owned(),
            description: "desc".to_owned(),
            ref_id: "r".to_owned(),
        },
    );
    matched
        .scores
        .insert("empty".to_owned(), NamedScoreProto::default());
    document.chunks.push(chunk);
    document.matches.push(matched);
    document.evaluations.insert(
        "e".to_owned(),
        NamedScoreProto {
            value: 1.0,
            ..Default::default()
        },
    );
}

fn set_scalar_fields(document: &mut DocumentProto) {
    document.weight = 0.1;
    document.uri = "a/b.png".to_owned();
    document.modality = "mod".to_owned();
    document.offset = 1.1;
    document.location = vec![1.1, 2.0];
    document.granularity = 2;
    document.adjacency = 3;
    document.parent_id = "par".to_owned();
    document.metadata = Some(fields(serde_json::json!({"q": 1})));
}

/// Creates an array as docarray writes a Python list of lists of integers.
fn nested_list(buffer: Vec<u8>, shape: Vec<u32>) -> NdArrayProto {
    let array = DenseNdArrayProto {
        buffer: buffer.into(),
        shape,
        dtype: "<i8".to_owned(),
    };
    NdArrayProto {
        content: Some(Array::Dense(array)),
        cls_name: "list".to_owned(),
        parameters: None,
    }
}
