"""Flows whose Executors are functions, behind `cargo lambda watch`, invoked by the Gateway through the real AWS SDK."""

import pytest

from functions import HELLO, bootstrap, executors, texts, watched

HEAD = "jtype: Flow\nversion: '1'\ngateway: {protocol: http, port: 8080, function: {public_url: true}}\nexecutors:\n"

FLOWS = {
    "chain": """
  - {name: first, host: 'lambda://first'}
  - {name: second, host: 'lambda://second'}
""",
    "join": """
  - {name: first, host: 'lambda://first'}
  - {name: second, host: 'lambda://second', needs: gateway}
  - {name: joined, method: needs_all}
""",
    "absent": """
  - {name: absent, host: 'lambda://nobody'}
""",
}


@pytest.fixture(scope="module")
def functions(tmp_path_factory):
    executor = bootstrap("executor-fn")
    programs = {
        "first": (executor, {"FLOWGATE_EXECUTOR": "greet"}),
        "second": (executor, {"FLOWGATE_EXECUTOR": "greet"}),
    }
    for name, flow in FLOWS.items():
        programs[name] = (bootstrap("gateway-fn"), {"FLOWGATE_FLOW": HEAD + flow})
    with watched(tmp_path_factory.mktemp("watch"), programs) as functions:
        yield functions


def test_a_chain_runs_in_two_functions(functions):
    answer = functions.ask("chain", "/post", HELLO).json()
    assert texts(answer)[0] == "hello"
    assert len(answer["data"]) == 3
    assert {"first", "second"} <= set(executors(answer))


def test_branches_are_joined(functions):
    answer = functions.ask("join", "/post", HELLO).json()
    assert texts(answer).count("hello") == 1
    assert len(answer["data"]) == 3
    assert {"first", "second"} <= set(executors(answer))


def test_a_function_that_is_not_there_is_named(functions):
    answer = functions.ask("absent", "/post", HELLO)
    assert answer.status >= 500
    assert b"absent" in answer.body


def test_an_executor_is_invoked_by_hand(functions):
    answer = functions.invoke("first", HELLO).json()
    assert texts(answer)[0] == "hello" and len(answer["data"]) == 2
