"""The templates of infra/: SAM's transformation for each parameter value, and settings that the programs support."""

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

# Variables of the AWS SDK and of the bundled Flow.
OTHER_VARIABLES = {"AWS_ENDPOINT_URL_LAMBDA", "EXECUTOR_FUNCTION", "WEBSOCKET_PUSH"}


class NoPolicies:
    """Replaces SAM's managed policies, which would be fetched from AWS. The templates use none."""

    def load(self):
        return {}


def transformed(template=SAM, **parameters) -> dict:
    template = copy.deepcopy(template)
    for resource in template["Resources"].values():
        for key in ("CodeUri", "ContentUri"):
            if "s3://" not in resource.get("Properties", {}).get(key, "s3://"):
                resource["Properties"][key] = "s3://bucket/key"
    return transform(template, parameters, NoPolicies())["Resources"]


CHOICES = ("HttpAuthorization", "WebSocketAuthorization", "WebSocketPush", "WebSocketAccessLog")


@pytest.mark.parametrize(
    "values", list(itertools.product(*(SAM["Parameters"][name]["AllowedValues"] for name in CHOICES)))
)
def test_every_combination_of_choices_is_a_valid_template(values):
    transformed(**dict(zip(CHOICES, values)))


ANY = "x-amazon-apigateway-any-method"


def resolved(node, values: dict, template=SAM):
    """Resolves the conditions in a node as CloudFormation does; removed values are None."""
    if isinstance(node, list):
        return [item for item in (resolved(item, values, template) for item in node) if item is not None]
    if not isinstance(node, dict):
        return node
    if node == {"Ref": "AWS::NoValue"}:
        return None
    if set(node) == {"Fn::If"}:
        condition, then, otherwise = node["Fn::If"]
        return resolved(then if holds(condition, values, template) else otherwise, values, template)
    pairs = {key: resolved(value, values, template) for key, value in node.items()}
    return {key: value for key, value in pairs.items() if value is not None}


def holds(condition: str, values: dict, template=SAM) -> bool:
    """Evaluates a condition of the template."""
    return evaluated({"Condition": condition}, values, template)


def evaluated(node, values: dict, template=SAM):
    if not isinstance(node, dict):
        return node
    ((function, argument),) = node.items()
    at = lambda item: evaluated(item, values, template)
    match function:
        case "Ref":
            return values.get(argument, template["Parameters"][argument]["Default"])
        case "Condition":
            return at(template["Conditions"][argument])
        case "Fn::Equals":
            return str(at(argument[0])) == str(at(argument[1]))
        case "Fn::Not":
            return not at(argument[0])
        case "Fn::And":
            return all(map(at, argument))
        case "Fn::Or":
            return any(map(at, argument))
        case "Fn::Join":
            # A list parameter is its text here.
            return at(argument[1])
    raise AssertionError(function)


def http_api(**values) -> dict:
    properties = transformed(**values)["HttpApi"]["Properties"]
    # Without it API Gateway ignores an invalid authorizer, which leaves the route open.
    assert properties["FailOnWarnings"] is True
    return resolved(properties["Body"], values)


def authorization(**values) -> dict:
    """Returns the security requirements of each route of the HTTP API."""
    paths = http_api(**values)["paths"]
    return {(path, method): route["security"] for path, of in paths.items() for method, route in of.items()}


def test_iam_authorization_is_the_one_that_sam_generates():
    # The output of SAM for `Auth: {EnableIamAuthorizer: true}`.
    generated = {
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
    body = transform(generated, {}, NoPolicies())["Resources"]["Api"]["Properties"]["Body"]
    assert http_api()["components"]["securitySchemes"] == {"iam": body["components"]["securitySchemes"]["AWS_IAM"]}


def test_authorization_is_by_token_or_none_as_chosen():
    assert set(map(str, authorization(HttpAuthorization="JWT").values())) == {str([{"jwt": []}])}
    assert list(http_api(HttpAuthorization="JWT")["components"]["securitySchemes"]) == ["jwt"]
    assert set(map(str, authorization(HttpAuthorization="NONE").values())) == {"[]"}


def test_only_a_preflight_needs_no_authorization():
    routes = authorization(CorsOrigins="https://page.example")
    assert {route for route, security in routes.items() if not security} == {("/", "options"), ("/{proxy+}", "options")}


def test_the_flow_pushes_only_if_the_template_allows_it():
    for choice, value in [("on", "true"), ("off", "false")]:
        values = {"WebSocketPush": choice}
        variables = SAM["Resources"]["WebSocketFunction"]["Properties"]["Environment"]["Variables"]
        assert resolved(variables["WEBSOCKET_PUSH"], values) == value
        assert SAM["Resources"]["WebSocketFunctionInvokesItself"]["Condition"] == "HasPush"
        assert holds("HasPush", values) == (value == "true")
    flow = (ROOT / "infra/flows/lambda.yml").read_text()
    assert "push: ${{ ENV.WEBSOCKET_PUSH }}" in flow


def test_the_timeout_of_the_executor_is_slightly_below_that_of_the_gateway():
    for choice in ("on", "off"):
        gateway, executor = (
            resolved(SAM["Resources"][name]["Properties"]["Timeout"], {"WebSocketPush": choice})
            for name in ("WebSocketFunction", "ExecutorFunction")
        )
        assert 0 < gateway - executor <= 10


def access_log(api: str, **values):
    return resolved(transformed(**values)[api]["Properties"].get("AccessLogSettings"), values)


def test_a_websocket_api_writes_access_logs_only_if_chosen():
    # A new account has no role for these logs, so that the stack would fail; an HTTP API needs no role.
    assert access_log("WebSocketApiDefaultStage") is None
    assert "$context.connectionId" in access_log("WebSocketApiDefaultStage", WebSocketAccessLog="on")["Format"]
    assert access_log("HttpApiApiGatewayDefaultStage")["DestinationArn"] == {"Fn::GetAtt": ["ApiLogs", "Arn"]}


def test_nothing_is_public_by_default():
    assert transformed()["WebSocketApiConnectRoute"]["Properties"]["AuthorizationType"] == "AWS_IAM"
    assert authorization() == {
        ("/", ANY): [{"iam": []}],
        ("/{proxy+}", ANY): [{"iam": []}],
        ("/status", "get"): [{"iam": []}],
    }
    assert CONTAINER["Parameters"]["Scheme"]["Default"] == "internal"
    assert CONTAINER["Parameters"]["PublicTaskAddress"]["Default"] == "DISABLED"


def test_functions_have_only_the_permissions_that_the_flow_needs():
    statements = []
    for resource in transformed().values():
        properties = resource["Properties"]
        if resource["Type"] == "AWS::IAM::Policy":
            statements += properties["PolicyDocument"]["Statement"]
        assert "Policies" not in properties
    allowed = {statement["Action"]: statement["Resource"] for statement in statements}
    assert set(allowed) == {"lambda:InvokeFunction", "execute-api:ManageConnections", "sqs:SendMessage"}
    assert all(resource != "*" for resource in allowed.values())


@pytest.mark.parametrize("template", [SAM, PYTHON], ids=["flow", "python"])
def test_errors_and_throttles_of_every_function_raise_an_alarm(template):
    resources = template["Resources"]
    functions = {name for name, resource in resources.items() if resource["Type"].endswith("::Function")}
    watched = set()
    for alarm in alarms(template, "AWS/Lambda"):
        (dimension,) = alarm["Dimensions"]
        watched.add((dimension["Value"]["Ref"], alarm["MetricName"]))
    assert watched >= set(itertools.product(functions, ("Errors", "Throttles")))


def alarms(template, namespace: str) -> list:
    """Returns the alarms on the metrics of a namespace."""
    resources = template["Resources"].values()
    all_alarms = [each["Properties"] for each in resources if each["Type"] == "AWS::CloudWatch::Alarm"]
    return [alarm for alarm in all_alarms if alarm["Namespace"] == namespace]


def template_variables() -> set:
    functions = [resource for resource in SAM["Resources"].values() if resource["Type"].endswith("::Function")]
    names = {name for function in functions for name in function["Properties"]["Environment"]["Variables"]}
    container = CONTAINER["Resources"]["Task"]["Properties"]["ContainerDefinitions"][0]["Environment"]
    return names | set(re.findall(r"FLOWGATE_\w+", str(container)))


def supported_settings() -> set:
    """Returns the settings that the programs read, found in their sources."""
    sources = [*(ROOT / "gateway-fn").rglob("*.rs"), *(ROOT / "executor-fn").rglob("*.rs")]
    return {name for source in sources for name in re.findall(r'"(FLOWGATE_\w+)"', source.read_text())}


def test_settings_are_supported():
    assert template_variables() - OTHER_VARIABLES <= supported_settings()


def test_the_template_sets_the_variables_of_the_bundled_flow():
    flow = (ROOT / "infra/flows/lambda.yml").read_text()
    assert set(re.findall(r"\$\{\{ ENV\.(\w+) \}\}", flow)) <= template_variables()


def test_the_python_image_has_its_code_and_its_port():
    dockerfile = (ROOT / "infra/python-executor/Dockerfile").read_text()
    included = (ROOT / ".dockerignore").read_text().split()
    for source in re.findall(r"^COPY (infra/\S+)", dockerfile, re.MULTILINE):
        assert any(line[0] == "!" and f"{source}/".startswith(f"{line[1:]}/") for line in included), source
    # `jina executor` has no variable for the port.
    assert '"--port", "{port}"]' in dockerfile
