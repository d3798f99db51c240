"""gateway-fn under Lambda's runtime interface emulator, with the events of AWS's documentation."""

import pytest

from functions import FLOW_IN_PROCESS, HELLO, body_of, bootstrap, emulated, event, http_event, texts

HTTP_EVENTS = ["http_api", "rest_api", "load_balancer", "load_balancer_multi_value", "vpc_lattice", "vpc_lattice_v1"]


@pytest.fixture(scope="module")
def function(tmp_path_factory):
    directory = tmp_path_factory.mktemp("gateway")
    with emulated(bootstrap("gateway-fn"), directory, FLOWGATE_FLOW=FLOW_IN_PROCESS) as function:
        yield function


@pytest.mark.parametrize("name", HTTP_EVENTS)
def test_a_post_runs_the_flow(function, name):
    response = function.invoke(http_event(name, "POST", "/post", HELLO))
    assert response["statusCode"] == 200
    assert texts(body_of(response))[0] == "hello"
    assert len(body_of(response)["data"]) == 2


@pytest.mark.parametrize("name", HTTP_EVENTS)
def test_status_has_the_name_of_the_function(function, name):
    response = function.invoke(http_event(name, "GET", "/status"))
    assert response["statusCode"] == 200
    assert "gateway-fn" in str(body_of(response))


@pytest.mark.parametrize("name", HTTP_EVENTS)
def test_an_unknown_path_is_not_found(function, name):
    assert function.invoke(http_event(name, "GET", "/nowhere"))["statusCode"] == 404


@pytest.mark.parametrize("name", HTTP_EVENTS)
def test_an_invalid_json_body_is_rejected_as_in_the_container(function, name):
    broken = {**http_event(name, "POST", "/post"), "body": "{"}
    assert function.invoke(broken)["statusCode"] == 422


def test_a_websocket_connects_sends_and_disconnects(function):
    assert function.invoke(event("websocket_connect"))["statusCode"] == 200
    response = function.invoke(event("websocket_message"))
    assert texts(body_of(response))[0] == "hello"
    assert function.invoke(event("websocket_disconnect"))["statusCode"] == 200


def test_a_warmer_is_answered_and_another_services_event_is_an_error(function):
    assert function.invoke({"source": "serverless-plugin-warmup"}) == {"warm": True}
    queued = function.invoke({"Records": [{"eventSource": "aws:sqs", "body": "{}"}]})
    assert queued["errorType"] == "Flowgate.UnknownEvent"
    assert "Amazon SQS" in queued["errorMessage"]


def test_init_is_measured(function):
    function.invoke(http_event("http_api", "GET", "/status"))
    print(f"INIT {function.init_milliseconds():.1f} ms")
    assert function.init_milliseconds() > 0
