"""The templates of infra/: what SAM makes of them for each value of a parameter, and that their settings are known ones."""

import copy
import itertools
import re

import pytest
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

from functions import ROOT

SAM = yaml_parse((ROOT / "infra/template.yaml").read_text())
CONTAINER = yaml_parse((ROOT / "infra/container.yaml").read_text())

# What the AWS SDK reads and what the bundled Flow names.
NOT_OURS = {"AWS_ENDPOINT_URL_LAMBDA", "EXECUTOR_FUNCTION"}


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


CHOICES = ("HttpAuthorization", "WebSocketAuthorization", "WebSocketPush")


@pytest.mark.parametrize(
    "values", list(itertools.product(*(SAM["Parameters"][name]["AllowedValues"] for name in CHOICES)))
)
def test_every_choice_makes_a_template(values):
    made(**dict(zip(CHOICES, values)))


def test_nothing_is_public_by_default():
    assert SAM["Parameters"]["HttpAuthorization"]["Default"] == "AWS_IAM"
    assert made()["WebSocketApiConnectRoute"]["Properties"]["AuthorizationType"] == "AWS_IAM"
    for path in made()["HttpApi"]["Properties"]["Body"]["paths"].values():
        for method in path.values():
            assert method["x-amazon-apigateway-auth"]["Fn::If"][:2] == ["HasIam", {"type": "AWS_IAM"}]
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
