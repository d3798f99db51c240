"""The templates of infra/: what SAM makes of them for each value of a parameter, and that their settings are known ones."""

import copy
import itertools
import re

import pytest
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

from functions import ROOT

SAM = yaml_parse((ROOT / "infra/template.yaml").read_text())
PYTHON = yaml_parse((ROOT / "infra/python-executor/template.yaml").read_text())
CONTAINER = yaml_parse((ROOT / "infra/container.yaml").read_text())

# What the AWS SDK reads and what the bundled Flow names.
NOT_OURS = {"AWS_ENDPOINT_URL_LAMBDA", "EXECUTOR_FUNCTION", "WEBSOCKET_PUSH"}


class NoPolicies:
    """SAM's managed policies would be fetched from AWS; the templates use none."""

    def load(self):
        return {}


def made(**parameters) -> dict:
    template = copy.deepcopy(SAM)
    for resource in template["Resources"].values():
        for key in ("CodeUri", "ContentUri"):
            if key in resource.get("Properties", {}):
                resource["Properties"][key] = "s3://bucket/key"
    return transform(template, parameters, NoPolicies())["Resources"]


CHOICES = ("HttpAuthorization", "WebSocketAuthorization", "WebSocketPush", "WebSocketAccessLog")


@pytest.mark.parametrize(
    "values", list(itertools.product(*(SAM["Parameters"][name]["AllowedValues"] for name in CHOICES)))
)
def test_every_choice_makes_a_template(values):
    made(**dict(zip(CHOICES, values)))


ANY = "x-amazon-apigateway-any-method"


def resolved(node, values: dict):
    """What CloudFormation makes of the conditions in a node; what is left out is None."""
    if isinstance(node, list):
        return [resolved(item, values) for item in node]
    if not isinstance(node, dict):
        return node
    if node == {"Ref": "AWS::NoValue"}:
        return None
    if set(node) == {"Fn::If"}:
        condition, then, otherwise = node["Fn::If"]
        return resolved(then if holds(condition, values) else otherwise, values)
    pairs = {key: resolved(value, values) for key, value in node.items()}
    return {key: value for key, value in pairs.items() if value is not None}


def holds(condition: str, values: dict) -> bool:
    at = lambda name: values.get(name, SAM["Parameters"][name]["Default"])
    return {
        "HasIam": at("HttpAuthorization") == "AWS_IAM",
        "HasJwt": at("HttpAuthorization") == "JWT",
        "HasCors": at("CorsOrigins") != "",
        "HasPush": at("WebSocketPush") == "on",
        "HasWebSocketAccessLog": at("WebSocketAccessLog") == "on",
    }[condition]


def http_api(**values) -> dict:
    properties = made(**values)["HttpApi"]["Properties"]
    # Without it, what API Gateway does not understand of an authorizer is left out, and the route is open.
    assert properties["FailOnWarnings"] is True
    return resolved(properties["Body"], values)


def authorization(**values) -> dict:
    """What each route of the HTTP API demands."""
    paths = http_api(**values)["paths"]
    return {(path, method): route["security"] for path, of in paths.items() for method, route in of.items()}


def test_iam_is_written_as_sam_writes_it_for_an_http_api():
    # SAM's own, of `Auth: {EnableIamAuthorizer: true}`.
    own = {
        "Resources": {
            "Api": {
                "Type": "AWS::Serverless::HttpApi",
                "Properties": {
                    "Auth": {"EnableIamAuthorizer": True},
                    "DefinitionBody": {"openapi": "3.0.1", "paths": {"/": {"get": {}}}},
                },
            }
        }
    }
    body = transform(own, {}, NoPolicies())["Resources"]["Api"]["Properties"]["Body"]
    assert http_api()["components"]["securitySchemes"] == {"iam": body["components"]["securitySchemes"]["AWS_IAM"]}


def test_a_token_is_demanded_where_that_is_chosen_and_nothing_where_that_is():
    assert set(map(str, authorization(HttpAuthorization="JWT").values())) == {str([{"jwt": []}])}
    assert list(http_api(HttpAuthorization="JWT")["components"]["securitySchemes"]) == ["jwt"]
    assert set(map(str, authorization(HttpAuthorization="NONE").values())) == {"[]"}


def test_a_preflight_alone_needs_nothing():
    routes = authorization(CorsOrigins="https://page.example")
    assert {route for route, security in routes.items() if not security} == {("/", "options"), ("/{proxy+}", "options")}


def test_the_flow_pushes_where_the_template_lets_it():
    for choice, says in [("on", "true"), ("off", "false")]:
        values = {"WebSocketPush": choice}
        variables = SAM["Resources"]["WebSocketFunction"]["Properties"]["Environment"]["Variables"]
        assert resolved(variables["WEBSOCKET_PUSH"], values) == says
        assert SAM["Resources"]["WebSocketFunctionInvokesItself"]["Condition"] == "HasPush"
        assert holds("HasPush", values) == (says == "true")
    flow = (ROOT / "infra/flows/lambda.yml").read_text()
    assert "push: ${{ ENV.WEBSOCKET_PUSH }}" in flow


def test_an_executor_has_as_long_as_the_gateway_less_a_little():
    for choice in ("on", "off"):
        gateway, executor = (
            resolved(SAM["Resources"][name]["Properties"]["Timeout"], {"WebSocketPush": choice})
            for name in ("WebSocketFunction", "ExecutorFunction")
        )
        assert 0 < gateway - executor <= 10


def access_log(api: str, **values):
    return resolved(made(**values)[api]["Properties"].get("AccessLogSettings"), values)


def test_a_websocket_api_logs_only_where_that_is_chosen():
    # A fresh account has no role for it, and the stack would fail; an HTTP API needs none.
    assert access_log("WebSocketApiDefaultStage") is None
    assert "$context.connectionId" in access_log("WebSocketApiDefaultStage", WebSocketAccessLog="on")["Format"]
    assert access_log("HttpApiApiGatewayDefaultStage")["DestinationArn"] == {"Fn::GetAtt": ["ApiLogs", "Arn"]}


def test_nothing_is_public_by_default():
    assert made()["WebSocketApiConnectRoute"]["Properties"]["AuthorizationType"] == "AWS_IAM"
    assert authorization() == {
        ("/", ANY): [{"iam": []}],
        ("/{proxy+}", ANY): [{"iam": []}],
        ("/status", "get"): [{"iam": []}],
    }
    assert CONTAINER["Parameters"]["Scheme"]["Default"] == "internal"
    assert CONTAINER["Parameters"]["PublicTaskAddress"]["Default"] == "DISABLED"


def test_a_function_may_do_what_the_flow_needs_and_nothing_else():
    statements = []
    for resource in made().values():
        properties = resource["Properties"]
        if resource["Type"] == "AWS::IAM::Policy":
            statements += properties["PolicyDocument"]["Statement"]
        assert "Policies" not in properties
    allowed = {statement["Action"]: statement["Resource"] for statement in statements}
    assert set(allowed) == {"lambda:InvokeFunction", "execute-api:ManageConnections"}
    assert all(resource != "*" for resource in allowed.values())


@pytest.mark.parametrize("template", [SAM, PYTHON], ids=["flow", "python"])
def test_errors_and_throttles_of_every_function_raise_an_alarm(template):
    resources = template["Resources"]
    functions = {name for name, resource in resources.items() if resource["Type"].endswith("::Function")}
    watched = set()
    for resource in resources.values():
        if resource["Type"] == "AWS::CloudWatch::Alarm" and resource["Properties"]["Namespace"] == "AWS/Lambda":
            (dimension,) = resource["Properties"]["Dimensions"]
            watched.add((dimension["Value"]["Ref"], resource["Properties"]["MetricName"]))
    assert watched == set(itertools.product(functions, ("Errors", "Throttles")))


def variables() -> set:
    functions = [resource for resource in SAM["Resources"].values() if resource["Type"].endswith("::Function")]
    names = {name for function in functions for name in function["Properties"]["Environment"]["Variables"]}
    container = CONTAINER["Resources"]["Task"]["Properties"]["ContainerDefinitions"][0]["Environment"]
    return names | set(re.findall(r"FLOWGATE_\w+", str(container)))


def known() -> set:
    """The settings that the programs read, by the names in their sources."""
    sources = [*(ROOT / "gateway-fn/src").rglob("*.rs"), *(ROOT / "executor-fn/src").rglob("*.rs")]
    return {name for source in sources for name in re.findall(r'"(FLOWGATE_\w+)"', source.read_text())}


def test_settings_are_known_ones():
    assert variables() - NOT_OURS <= known()


def test_the_bundled_flow_names_what_the_template_sets():
    flow = (ROOT / "infra/flows/lambda.yml").read_text()
    assert set(re.findall(r"\$\{\{ ENV\.(\w+) \}\}", flow)) <= variables()


def test_the_python_image_gets_its_code_and_its_port():
    dockerfile = (ROOT / "infra/python-executor/Dockerfile").read_text()
    let_in = (ROOT / ".dockerignore").read_text().split()
    for source in re.findall(r"^COPY (infra/\S+)", dockerfile, re.MULTILINE):
        assert any(line[0] == "!" and f"{source}/".startswith(f"{line[1:]}/") for line in let_in), source
    # `jina executor` reads no variable for it.
    assert '"--port", "{port}"]' in dockerfile
