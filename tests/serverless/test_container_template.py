"""infra/container.yaml: which protocols are served, how it scales, and that its checks fit what the program does."""

import itertools
import json
import re
import subprocess

import pytest

from functions import BOOTSTRAPS, ROOT
from processes import free_port, running
from test_template import CONTAINER, alarms, evaluated, holds, resolved

PROTOCOLS = {"Grpc": 50051, "Http": 8080, "WebSocket": 8081}
SERVED = [names for size in (1, 2, 3) for names in itertools.combinations(PROTOCOLS, size)]
PROGRAM = BOOTSTRAPS / "flowgate/bootstrap"

FLOW = """
jtype: Flow
gateway: {{protocol: {protocol}, port: {port}}}
executors: [{{name: gone, host: 'grpc://127.0.0.1:{closed}'}}]
"""


def resources(**values) -> dict:
    """Returns the resources that CloudFormation would create."""
    every = CONTAINER["Resources"]
    kept = {name: it for name, it in every.items() if "Condition" not in it or holds(it["Condition"], values, CONTAINER)}
    return {name: resolved(it, values, CONTAINER) for name, it in kept.items()}


def choose(served) -> dict:
    return {name: "on" if name in served else "off" for name in PROTOCOLS}


@pytest.mark.parametrize("served", SERVED, ids=lambda served: "+".join(served))
def test_each_protocol_that_is_served_has_targets_and_a_way_to_them(served):
    made = resources(**choose(served))
    expected = {f"{name}Targets" for name in served}
    assert {name for name in made if name.endswith("Targets")} == expected
    attached = {
        each["TargetGroupArn"]["Ref"]: each["ContainerPort"] for each in made["Service"]["Properties"]["LoadBalancers"]
    }
    assert attached == {f"{name}Targets": PROTOCOLS[name] for name in served}
    actions = [made["Listener"]["Properties"]["DefaultActions"]]
    actions += [made[rule]["Properties"]["Actions"] for rule in ("GrpcRule", "WebSocketRule")]
    kinds = [(action["Type"], action.get("TargetGroupArn", {}).get("Ref")) for (action,) in actions]
    ways = {name: ("forward", f"{name}Targets") if name in served else ("fixed-response", None) for name in PROTOCOLS}
    assert kinds == [ways["Http"], ways["Grpc"], ways["WebSocket"]]
    # An alarm about a target group that does not exist would go off for ever.
    (gone,) = [alarm for alarm in alarms_of(made) if alarm["MetricName"] == "HealthyHostCount"]
    assert gone["Dimensions"][1]["Value"]["Fn::GetAtt"][0] in expected


def alarms_of(made) -> list:
    return [it["Properties"] for it in made.values() if it["Type"] == "AWS::CloudWatch::Alarm"]


def test_a_service_without_a_protocol_is_refused():
    (rule,) = CONTAINER["Rules"].values()
    (assertion,) = rule["Assertions"]
    assert not evaluated(assertion["Assert"], choose(()), CONTAINER)
    assert all(evaluated(assertion["Assert"], choose(served), CONTAINER) for served in SERVED)


def test_tasks_are_added_only_if_there_is_a_maximum():
    made = resources()
    assert made["Service"]["Properties"]["DesiredCount"] == {"Ref": "Tasks"}
    assert not {"ScalableTasks", "ScalingPolicy"} & set(made)
    made = resources(MaxTasks=6)
    # Otherwise each update of the stack would undo the scaling.
    assert "DesiredCount" not in made["Service"]["Properties"]
    target = made["ScalableTasks"]["Properties"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == ({"Ref": "Tasks"}, {"Ref": "MaxTasks"})
    assert target["ResourceId"] == {"Fn::Sub": "service/${Cluster}/${Service.Name}"}
    assert made["ScalingPolicy"]["Properties"]["ScalingTargetId"] == {"Ref": "ScalableTasks"}


def test_errors_of_the_gateway_and_of_the_load_balancer_raise_alarms():
    names = {alarm["MetricName"] for alarm in alarms(CONTAINER, "AWS/ApplicationELB")}
    assert names == {"HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count", "HealthyHostCount"}
    (metric,) = CONTAINER["Resources"]["FailedRequests"]["Properties"]["MetricTransformations"]
    (failed,) = alarms(CONTAINER, metric["MetricNamespace"])
    assert failed["MetricName"] == metric["MetricName"]


def health_check() -> list:
    (container,) = CONTAINER["Resources"]["Task"]["Properties"]["ContainerDefinitions"]
    return container["HealthCheck"]["Command"]


def test_the_image_and_the_task_make_the_same_check():
    dockerfile = (ROOT / "infra/container/Dockerfile").read_text()
    (command,) = re.findall(r"^HEALTHCHECK .*\\\n +CMD (.*)$", dockerfile, re.MULTILINE)
    assert ["CMD", *json.loads(command)] == health_check()


@pytest.fixture(params=["grpc", "http", "websocket"])
def gateway(request, tmp_path):
    """A Gateway with one protocol, whose Executor does not answer: its port, its protocol and its log."""
    port, closed = free_port(), free_port()
    flow = tmp_path / "flow.yml"
    flow.write_text(FLOW.format(protocol=request.param, port=port, closed=closed))
    with running([PROGRAM, "serve", flow], tmp_path / "log") as program:
        program.wait_for_port(port)
        yield port, request.param, program


def test_one_protocol_is_enough_to_be_healthy(gateway):
    port, protocol, _ = gateway
    ports = {50051: "grpc", 8080: "http", 8081: "websocket"}
    replaced = {number: port if name == protocol else free_port() for number, name in ports.items()}
    command = [re.sub(r":(\d+)$", lambda found: f":{replaced[int(found[1])]}", word) for word in health_check()]
    assert command[:2] == ["CMD", "/flowgate"]
    checked = subprocess.run([PROGRAM, *command[2:]], capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("gateway", ["grpc"], indirect=True)
def test_the_log_filter_finds_a_failed_grpc_request(gateway):
    port, _, program = gateway
    pattern = CONTAINER["Resources"]["FailedRequests"]["Properties"]["FilterPattern"]
    # A quoted pattern is a phrase.
    phrase = json.loads(pattern)
    assert phrase not in program.log()
    request = ["grpcurl", "-plaintext", "-d", "{}", f"127.0.0.1:{port}", "jina.JinaSingleDataRequestRPC/process_single_data"]
    answer = subprocess.run(request, capture_output=True, text=True, timeout=60)
    assert answer.returncode != 0, answer.stdout
    program.wait_for_log(phrase, 10)
