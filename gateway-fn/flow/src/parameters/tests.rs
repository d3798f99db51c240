//! Tests parameters for single nodes, with the parameters of the recording `grpc/13-specific_parameters`.

use flowgate_proto::Value;

use super::*;

fn object<const N: usize>(members: [(&str, Value); N]) -> Struct {
    let fields = members.map(|(key, value)| (key.to_owned(), value));
    Struct {
        fields: fields.into(),
    }
}

fn nested<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::from(object(members).fields)
}

fn for_node(client: &Struct, node: &str) -> Struct {
    let parameters = RequestParameters::new(client.clone().into(), |key| {
        ["exec0", "other"].contains(&key)
    });
    parameters
        .expect("a Struct")
        .for_node(node)
        .decode()
        .expect("a Struct")
}

/// The request, and the tag `params` of the response, in the recording `grpc/13-specific_parameters`.
#[test]
fn keys_with_the_name_of_a_node_are_for_that_node() {
    let client = object([
        ("other__c", 3.0.into()),
        ("__x", 1.0.into()),
        ("exec0__b", 2.0.into()),
        ("y__", 2.0.into()),
        ("a__b__c", 1.0.into()),
        ("exec0__z__w", 4.0.into()),
        ("exec0", nested([("k", 5.0.into())])),
        ("a", 1.0.into()),
    ]);
    let recorded = object([
        ("k", 5.0.into()),
        ("__x", 1.0.into()),
        ("a", 1.0.into()),
        ("b", 2.0.into()),
        ("y__", 2.0.into()),
        ("exec0", nested([("k", 5.0.into())])),
    ]);
    assert_eq!(for_node(&client, "exec0"), recorded);
}

#[test]
fn all_pieces_but_the_last_form_the_name() {
    let client = object([("a__b__c", 1.0.into()), ("a___d", 2.0.into())]);
    assert_eq!(for_node(&client, "ab"), object([("c", 1.0.into())]));
    assert_eq!(for_node(&client, "a"), object([("_d", 2.0.into())]));
    assert_eq!(for_node(&client, "b"), object([]));
}

#[test]
fn a_specific_key_overrides_a_plain_one_and_the_object_both() {
    let mut client = object([("k", 1.0.into()), ("exec0__k", 2.0.into())]);
    assert_eq!(for_node(&client, "exec0"), object([("k", 2.0.into())]));
    assert_eq!(for_node(&client, "other"), object([("k", 1.0.into())]));
    let own = nested([("k", 3.0.into())]);
    client.fields.insert("exec0".to_owned(), own.clone());
    assert_eq!(
        for_node(&client, "exec0"),
        object([("k", 3.0.into()), ("exec0", own.clone())])
    );
    assert_eq!(
        for_node(&client, "other"),
        object([("k", 1.0.into()), ("exec0", own)])
    );
}

#[test]
fn a_value_under_a_nodes_name_that_is_not_an_object_is_an_ordinary_parameter() {
    let client = object([("exec0", 5.0.into())]);
    assert_eq!(for_node(&client, "exec0"), client);
}

#[test]
fn values_are_not_decoded_without_need() {
    let client: Parameters =
        object([("a", 1.0.into()), ("__x", 2.0.into()), ("y__", 3.0.into())]).into();
    let parameters =
        RequestParameters::new(client.clone(), |key| key == "exec0").expect("a Struct");
    assert!(parameters.decoded.is_none());
    assert_eq!(parameters.for_node("exec0"), client);
}

#[test]
fn absent_parameters_are_empty_for_a_node() {
    let parameters = RequestParameters::new(Parameters::default(), |_| false).expect("absent");
    assert_eq!(parameters.for_node("exec0"), Parameters::EMPTY);
    assert!(!parameters.client().is_present());
}

#[test]
fn the_names_of_nodes_are_not_read_after_a_specific_key() {
    let client = object([("a__b", 1.0.into())]);
    let is_node = |_: &str| panic!("the names are read");
    let parameters = RequestParameters::new(client.into(), is_node).expect("a Struct");
    assert!(parameters.decoded.is_some());
}

#[test]
fn a_key_that_is_the_name_of_a_node_is_specific() {
    let client = object([("exec0", nested([("k", 5.0.into())]))]);
    assert_eq!(
        for_node(&client, "exec0").fields.get("k"),
        Some(&5.0.into()),
        "the fields are merged"
    );
}
