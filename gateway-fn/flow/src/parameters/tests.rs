//! The cases of `grpc/13-specific_parameters` and around them.

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

fn seen(client: &Struct, node: &str) -> Struct {
    let parameters = RequestParameters::new(client.clone().into(), ["exec0", "other"].into_iter());
    parameters
        .expect("a Struct")
        .for_node(node)
        .decode()
        .expect("a Struct")
}

/// Request and tag `params` of the recording `grpc/13-specific_parameters`.
#[test]
fn keys_with_a_name_are_for_that_node() {
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
    assert_eq!(seen(&client, "exec0"), recorded);
}

#[test]
fn every_piece_but_the_last_makes_the_name() {
    let client = object([("a__b__c", 1.0.into()), ("a___d", 2.0.into())]);
    assert_eq!(seen(&client, "ab"), object([("c", 1.0.into())]));
    assert_eq!(seen(&client, "a"), object([("_d", 2.0.into())]));
    assert_eq!(seen(&client, "b"), object([]));
}

#[test]
fn a_specific_key_wins_over_a_plain_one_and_the_object_over_both() {
    let mut client = object([("k", 1.0.into()), ("exec0__k", 2.0.into())]);
    assert_eq!(seen(&client, "exec0"), object([("k", 2.0.into())]));
    assert_eq!(seen(&client, "other"), object([("k", 1.0.into())]));
    let own = nested([("k", 3.0.into())]);
    client.fields.insert("exec0".to_owned(), own.clone());
    assert_eq!(
        seen(&client, "exec0"),
        object([("k", 3.0.into()), ("exec0", own.clone())])
    );
    assert_eq!(
        seen(&client, "other"),
        object([("k", 1.0.into()), ("exec0", own)])
    );
}

#[test]
fn what_is_no_object_under_a_nodes_name_is_an_ordinary_parameter() {
    let client = object([("exec0", 5.0.into())]);
    assert_eq!(seen(&client, "exec0"), client);
}

#[test]
fn nothing_is_decoded_without_need() {
    let client: Parameters =
        object([("a", 1.0.into()), ("__x", 2.0.into()), ("y__", 3.0.into())]).into();
    let parameters =
        RequestParameters::new(client.clone(), ["exec0"].into_iter()).expect("a Struct");
    assert!(parameters.specific.is_none());
    assert_eq!(parameters.for_node("exec0"), client);
}

#[test]
fn absent_parameters_are_empty_for_a_node() {
    let parameters =
        RequestParameters::new(Parameters::default(), std::iter::empty()).expect("absent");
    assert_eq!(parameters.for_node("exec0"), Parameters::EMPTY);
    assert!(!parameters.client().is_present());
}

/// The nodes are asked for no longer than needed.
#[test]
fn a_split_key_settles_it() {
    let client = object([("a__b", 1.0.into())]);
    let nodes = std::iter::from_fn(|| -> Option<&str> { panic!("nobody need look") });
    let parameters = RequestParameters::new(client.into(), nodes).expect("a Struct");
    assert!(parameters.specific.is_some());
}

#[test]
fn a_nodes_own_name_makes_it_specific() {
    let client = object([("exec0", nested([("k", 5.0.into())]))]);
    assert_eq!(
        seen(&client, "exec0").fields.get("k"),
        Some(&5.0.into()),
        "the members are merged"
    );
}
