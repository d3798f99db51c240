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
  - {name: absent, host: 'lambda://unknown'}
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
    response = functions.request("chain", "/post", HELLO).json()
    assert texts(response)[0] == "hello"
    assert len(response["data"]) == 3
    assert {"first", "second"} <= set(executors(response))


def test_branches_are_joined(functions):
    response = functions.request("join", "/post", HELLO).json()
    assert texts(response).count("hello") == 1
    assert len(response["data"]) == 3
    assert {"first", "second"} <= set(executors(response))


def test_a_missing_function_is_reported_by_name(functions):
    response = functions.request("absent", "/post", HELLO)
    assert response.status >= 500
    assert b"absent" in response.body


def test_an_executor_is_invoked_by_hand(functions):
    response = functions.invoke("first", HELLO).json()
    assert texts(response)[0] == "hello" and len(response["data"]) == 2


def test_each_invocation_has_a_line_in_place_of_metrics(functions):
    functions.request("chain", "/post", HELLO)
    for name in ("chain", "first", "second"):
        functions.programs[name].wait_for_log("REPORT RequestId: ", 10)
        assert "CloudWatchMetrics" not in functions.programs[name].log()
