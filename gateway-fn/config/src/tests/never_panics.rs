//! Any text is a valid Flow or has errors of one line each; nothing panics.

use proptest::prelude::*;

use super::*;

const FLOW: &str = "\
jtype: Flow
version: '1'
with: &w {name: shop, timeout_send: 5000, port: '1,2', protocol: [grpc, http]}
gateway:
  <<: *w
  expose_endpoints: '{\"/foo\": {}}'
  title: ${{root.with.name}}-${{ ENV.X }}-$Y
executors:
  - {name: a, external: true, host: h, port: [1, 2], replicas: 2}
  - {name: b, host: 'grpcs://h:2', needs: a, when: {tags__lang: {$eq: en}}, grpc_metadata: {k: v}}
  - {method: inspect}
  - {name: c, uses: inproc://greet, needs: a, floating: true}
  - {method: needs, needs: [b, c]}
";

fn check(text: &str) {
    let outcome = Config::from_yaml(text, "flow.yml", &|name| {
        (name == "X").then(|| "$Y ${{root}} [a]".to_owned())
    });
    match outcome {
        Ok(loaded) => assert!(loaded.config.executors.len() == loaded.config.graph.len()),
        Err(ConfigErrors(errors)) => {
            assert!(!errors.is_empty(), "{text:?}");
            assert!(
                errors.iter().all(|error| !error.to_string().contains('\n')),
                "{errors:?}"
            );
        }
    }
}

#[test]
fn the_unmutated_flow_is_valid() {
    config(FLOW);
}

proptest! {
    #[test]
    fn any_text(text in ".{0,200}") {
        check(&text);
        check(&format!("jtype: Flow\n{text}"));
    }

    #[test]
    fn text_of_yamls_own_characters(text in "[\\[\\]{}:,&*!|>'\"%@#$?<\\- \\na-c0-9]{0,120}") {
        check(&text);
        check(&format!("jtype: Flow\nexecutors:\n{text}"));
    }

    #[test]
    fn a_flow_with_a_piece_replaced(at in 0..FLOW.len(), length in 0_usize..40, piece in "[\\[\\]{}:,&*$!'\" \\n-]{0,8}|null|~|-1|99999999999999999999|true|\\$X|é") {
        let mut text = FLOW.to_owned();
        text.replace_range(at..(at + length).min(FLOW.len()), &piece);
        check(&text);
    }

    #[test]
    fn a_flow_with_lines_in_another_order(order in Just(FLOW.lines().collect::<Vec<_>>()).prop_shuffle()) {
        check(&order.join("\n"));
    }
}
