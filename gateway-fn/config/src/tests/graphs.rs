//! The graphs that Jina 3.13.2 makes of Flows, by its own `--graph-description`.

use super::*;

#[test]
fn graphs_are_the_same_as_in_jina() {
    let a = "  - {name: a, external: true, port: 5}\n";
    let b = "  - {name: b, external: true, port: 6, needs: gateway}\n";
    for (executors, expected) in [
        (format!("{a}  - {{name: b, external: true, port: 6, needs: []}}\n"), "start: a, a: b, b: end"),
        (format!("{a}  - {{name: b, external: true, port: 6, needs: null}}\n"), "start: a, a: b, b: end"),
        (format!("{a}{b}  - {{name: c, external: true, port: 6, needs: '[a, b]'}}\n"), "start: a b, a: c, b: c, c: end"),
        (format!("{a}  - {{name: b, external: true, port: 6, needs: [a, a]}}\n"), "start: a, a: b, b: end"),
        (format!("  - {{name: a, external: true, port: 5, needs: b}}\n{b}"), "start: b, a: , b: a end"),
        ("  - {name: a, external: true, port: 5, floating: true}\n  - {name: b, external: true, port: 6, floating: true}\n".to_owned(), "start: a b, a: , b: "),
        (
            format!("{a}  - {{name: f, external: true, port: 7, floating: true}}\n{b}  - {{method: needs_all}}\n"),
            "start: a b, a: f, f: , b: joiner, joiner: end",
        ),
        (format!("{a}  - {{method: needs_all, name: q}}\n"), "start: a, a: q, q: end"),
        (
            format!("{a}{b}  - {{method: needs, needs: [a, b]}}\n  - {{name: c, external: true, port: 6, needs: gateway}}\n  - {{method: needs, needs: [a, c]}}\n"),
            "start: a b c, a: joiner joiner4, b: joiner, joiner: , c: joiner4, joiner4: end",
        ),
        (format!("  - {{name: gateway, external: true, port: 5}}\n{a}"), "start: a, a: end"),
        ("  - {external: true, port: 5}\n  - {external: true, port: 6}\n".to_owned(), "start: executor0, executor0: executor1, executor1: end"),
    ] {
        assert_eq!(graph(&of_executors(&executors)), expected, "{executors}");
    }
}

#[test]
fn inspections_are_collected_floating_or_removed() {
    let a = "  - {name: a, external: true, port: 5}\n";
    let b = "  - {name: b, external: true, port: 6}\n";
    let i = "  - {method: inspect, name: i}\n";
    let of = |with: &str, executors: &str| {
        graph(&config(&format!(
            "jtype: Flow\nwith: {{{with}}}\nexecutors:\n{executors}"
        )))
    };
    assert_eq!(
        of("", &format!("{a}{i}{b}")),
        "start: a, a: i _aux_i, i: gather_inspect, _aux_i: b, b: gather_inspect, gather_inspect: end"
    );
    assert_eq!(
        of(
            "inspect: HANG",
            &format!("{a}{i}  - {{name: b, needs: [a, _aux_i]}}\n")
        ),
        "start: a, a: i _aux_i, i: , _aux_i: b, b: end",
        "once, under either name"
    );
    assert_eq!(
        of("inspect: HANG", &format!("{a}{i}{b}")),
        "start: a, a: i _aux_i, i: , _aux_i: b, b: end"
    );
    assert_eq!(
        of("inspect: REMOVE", &format!("{a}{i}{b}")),
        "start: a, a: b, b: end"
    );
    assert_eq!(
        of(
            "",
            &format!("{a}  - {{method: inspect}}\n{b}  - {{method: gather_inspect}}\n")
        ),
        "start: a, a: inspect _aux_inspect, inspect: gather_inspect gather_inspect5, _aux_inspect: b, b: gather_inspect, gather_inspect: gather_inspect5, gather_inspect5: end"
    );
    assert_eq!(
        of(
            "",
            &format!("{a}  - {{method: inspect}}\n  - {{method: inspect}}\n{b}")
        ),
        "start: a, a: inspect _aux_inspect, inspect: gather_inspect, _aux_inspect: inspect3 _aux_inspect4, inspect3: gather_inspect, _aux_inspect4: b, b: gather_inspect, gather_inspect: end"
    );
    assert_eq!(
        of(
            "",
            &format!("{a}  - {{method: inspect, name: i, floating: true}}\n{b}")
        ),
        "start: a, a: i _aux_i b, i: gather_inspect, _aux_i: , b: gather_inspect, gather_inspect: end"
    );
}
