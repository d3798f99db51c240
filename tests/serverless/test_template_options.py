"""What infra/template.yaml makes of its optional parameters: limits, concurrency, aliases, gradual deployment, VPC, domains."""

import copy
import re

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from functions import ROOT
from test_template import CONTAINER, PYTHON, SAM, alarms, evaluated, holds, resolved, transformed

FUNCTIONS = ("GatewayFunction", "WebSocketFunction", "ExecutorFunction")


def resources(**values) -> dict:
    """Returns the resources that CloudFormation would create."""
    made = transformed(**values)
    kept = {name: it for name, it in made.items() if "Condition" not in it or holds(it["Condition"], values)}
    return {name: resolved(it, values) for name, it in kept.items()}


def of_type(made: dict, kind: str) -> dict:
    return {name: it["Properties"] for name, it in made.items() if it["Type"] == kind}


def versions(made: dict) -> set:
    return set(of_type(made, "AWS::Lambda::Version"))


def test_a_first_deployment_reserves_and_limits_nothing():
    made = resources()
    for function in of_type(made, "AWS::Lambda::Function").values():
        assert not {"ReservedConcurrentExecutions", "VpcConfig"} & set(function)
    assert all("ProvisionedConcurrencyConfig" not in alias for alias in of_type(made, "AWS::Lambda::Alias").values())
    for stage in of_type(made, "AWS::ApiGatewayV2::Stage").values():
        assert stage["DefaultRouteSettings"] == {"DetailedMetricsEnabled": True}
    kinds = {it["Type"] for it in made.values()}
    assert not {"AWS::CodeDeploy::Application", "AWS::ApiGatewayV2::DomainName", "AWS::Route53::RecordSet"} & kinds
    assert all("VPC" not in str(role["ManagedPolicyArns"]) for role in of_type(made, "AWS::IAM::Role").values())


def test_each_api_has_its_own_throttling():
    made = resources(HttpRateLimit=50, HttpBurstLimit=100, WebSocketRateLimit=5)
    http, websocket = (made[name]["Properties"]["DefaultRouteSettings"] for name in (
        "HttpApiApiGatewayDefaultStage", "WebSocketApiDefaultStage",
    ))
    assert http == {
        "DetailedMetricsEnabled": True,
        "ThrottlingRateLimit": {"Ref": "HttpRateLimit"},
        "ThrottlingBurstLimit": {"Ref": "HttpBurstLimit"},
    }
    assert websocket == {"DetailedMetricsEnabled": True, "ThrottlingRateLimit": {"Ref": "WebSocketRateLimit"}}


@pytest.mark.parametrize("kind", ["Gateway", "Executor"])
def test_concurrency_is_reserved_and_provisioned_for_the_chosen_functions(kind):
    reserved, provisioned = f"{kind}ReservedConcurrency", f"{kind}ProvisionedConcurrency"
    made = resources(**{reserved: 7, provisioned: 3})
    chosen = {"Gateway": {"GatewayFunction", "WebSocketFunction"}, "Executor": {"ExecutorFunction"}}[kind]
    for name in FUNCTIONS:
        function, alias = made[name]["Properties"], made[f"{name}Aliaslive"]["Properties"]
        expected = {"Ref": reserved} if name in chosen else None
        assert function.get("ReservedConcurrentExecutions") == expected
        expected = {"ProvisionedConcurrentExecutions": {"Ref": provisioned}} if name in chosen else None
        assert alias.get("ProvisionedConcurrencyConfig") == expected


def invoked(made: dict) -> str:
    """Returns everything that names a function in order to invoke it, as one text."""
    parts = [
        made["HttpApi"]["Properties"]["Body"]["paths"],
        of_type(made, "AWS::ApiGatewayV2::Integration"),
        of_type(made, "AWS::Lambda::Permission"),
        of_type(made, "AWS::IAM::Policy"),
        [made[name]["Properties"].get("Environment") for name in FUNCTIONS],
    ]
    return str(parts)


@pytest.mark.parametrize(
    "values",
    [{"Deployment": "AllAtOnce"}, {"GatewayProvisionedConcurrency": 1}, {"ExecutorProvisionedConcurrency": 1}],
    ids=str,
)
def test_everything_invokes_the_alias_if_there_is_a_reason_for_it(values):
    made = resources(WebSocketPush="on", **values)
    text = invoked(made)
    for name in FUNCTIONS:
        assert f"'{name}Aliaslive'" in text
        # Only the role is named after the function.
        assert f"'Ref': '{name}'" not in text and f"{name}.Arn" not in text and f"'{name}', 'Arn'" not in text
    for name, function in zip(("GatewayEvents", "WebSocketEvents", "ExecutorEvents"), FUNCTIONS):
        name_of_alias = {"Fn::Select": [7, {"Fn::Split": [":", {"Ref": f"{function}Aliaslive"}]}]}
        assert made[name]["Properties"]["Qualifier"] == name_of_alias


def test_otherwise_everything_invokes_the_function_itself():
    # A change of a parameter then takes effect without a new version.
    made = resources(WebSocketPush="on")
    assert "Aliaslive" not in invoked(made)
    qualifiers = {events["Qualifier"] for events in of_type(made, "AWS::Lambda::EventInvokeConfig").values()}
    assert qualifiers == {"$LATEST"}


def test_a_change_of_code_flow_or_release_publishes_versions():
    before = versions(resources())
    assert len(before) == 3
    assert not versions(resources(Release="r2")) & before
    assert not versions(resources(Release="r3")) & versions(resources(Release="r2"))
    flow = copy.deepcopy(SAM)
    flow["Resources"]["Flow"]["Properties"]["ContentUri"] = "s3://bucket/changed"
    # The Executor has no Flow.
    assert {name[:8] for name in before - versions(transformed(flow))} == {"GatewayF", "WebSocke"}
    code = copy.deepcopy(SAM)
    code["Resources"]["ExecutorFunction"]["Properties"]["CodeUri"] = "s3://bucket/changed"
    assert {name[:8] for name in before - versions(transformed(code))} == {"Executor"}


@pytest.mark.parametrize("choice", SAM["Parameters"]["Deployment"]["AllowedValues"])
def test_code_deploy_shifts_the_traffic_of_each_function_and_watches_its_alarm(choice):
    made = resources(Deployment=choice)
    groups = of_type(made, "AWS::CodeDeploy::DeploymentGroup")
    if choice == "off":
        assert not groups
        return
    assert set(groups) == {f"{name}DeploymentGroup" for name in FUNCTIONS}
    for name, group in groups.items():
        assert choice in str(group["DeploymentConfigName"])
        ((alarm,),) = [group["AlarmConfiguration"]["Alarms"]]
        assert alarm["Name"] == {"Ref": name.replace("FunctionDeploymentGroup", "Errors")}
        assert "UpdatePolicy" in made[name.replace("DeploymentGroup", "Aliaslive")]


def test_a_vpc_is_for_all_functions_with_the_permission_that_it_needs():
    made = resources(VpcSubnets="subnet-1,subnet-2", VpcSecurityGroups="sg-1")
    for name in FUNCTIONS:
        network = made[name]["Properties"]["VpcConfig"]
        assert network == {"SubnetIds": {"Ref": "VpcSubnets"}, "SecurityGroupIds": {"Ref": "VpcSecurityGroups"}}
        assert "AWSLambdaVPCAccessExecutionRole" in str(made[f"{name}Role"]["Properties"]["ManagedPolicyArns"])


@pytest.mark.parametrize(
    "values, domains, records",
    [
        ({"HttpDomain": "a.example"}, {"HttpDomainName"}, set()),
        ({"WebSocketDomain": "b.example", "HostedZone": "Z1"}, {"WebSocketDomainName"}, {"WebSocketDomainRecord"}),
        (
            {"HttpDomain": "a.example", "WebSocketDomain": "b.example", "HostedZone": "Z1"},
            {"HttpDomainName", "WebSocketDomainName"},
            {"HttpDomainRecord", "WebSocketDomainRecord"},
        ),
    ],
    ids=str,
)
def test_a_domain_name_leads_to_the_root_of_its_api(values, domains, records):
    made = resources(DomainCertificate="arn", **values)
    assert set(of_type(made, "AWS::ApiGatewayV2::DomainName")) == domains
    assert set(of_type(made, "AWS::Route53::RecordSet")) == records
    for mapping in of_type(made, "AWS::ApiGatewayV2::ApiMapping").values():
        # A key would become a part of the path.
        assert "ApiMappingKey" not in mapping
        assert made[mapping["ApiId"]["Ref"]]["Type"] == "AWS::ApiGatewayV2::Api"
        assert made[mapping["Stage"]["Ref"]]["Properties"]["ApiId"] == mapping["ApiId"]


@pytest.mark.parametrize(
    "values, broken",
    [
        ({}, set()),
        ({"HttpDomain": "a.example"}, {"DomainsHaveACertificate"}),
        ({"WebSocketDomain": "b.example"}, {"DomainsHaveACertificate"}),
        ({"HttpDomain": "a.example", "DomainCertificate": "arn"}, set()),
        ({"HttpDomain": "a.example", "WebSocketDomain": "a.example", "DomainCertificate": "arn"}, {"DomainsDiffer"}),
    ],
    ids=str,
)
def test_rules_refuse_a_domain_that_cannot_work(values, broken):
    found = set()
    for name, rule in SAM["Rules"].items():
        applies = evaluated(rule["RuleCondition"], values)
        if applies and not all(evaluated(each["Assert"], values) for each in rule["Assertions"]):
            found.add(name)
    assert found == broken


def test_failed_asynchronous_invocations_are_kept_and_raise_an_alarm():
    made = resources(WebSocketPush="on")
    destination = {"OnFailure": {"Destination": {"Fn::GetAtt": ["FailedEvents", "Arn"]}}}
    configured = of_type(made, "AWS::Lambda::EventInvokeConfig").values()
    assert {events["FunctionName"]["Ref"] for events in configured} == set(FUNCTIONS)
    assert all(events["DestinationConfig"] == destination for events in configured)
    # Repeating a push would answer a client twice.
    assert made["WebSocketEvents"]["Properties"]["MaximumRetryAttempts"] == 0
    roles = made["FunctionsReportFailedEvents"]["Properties"]["Roles"]
    assert roles == [{"Ref": f"{name}Role"} for name in FUNCTIONS]
    (waiting,) = alarms(SAM, "AWS/SQS")
    assert waiting["Dimensions"] == [{"Name": "QueueName", "Value": {"Fn::GetAtt": ["FailedEvents", "QueueName"]}}]
    lost = [alarm for alarm in alarms(SAM, "AWS/Lambda") if alarm["MetricName"] == "DestinationDeliveryFailures"]
    assert [alarm["Dimensions"][0]["Value"] for alarm in lost] == [{"Ref": "WebSocketFunction"}]


@pytest.mark.parametrize("template", [SAM, PYTHON, CONTAINER], ids=["flow", "python", "container"])
def test_log_retention_is_one_that_cloudwatch_accepts(template):
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", "AWS::Logs::LogGroup").schema
    parameter = template["Parameters"]["LogRetentionDays"]
    assert set(parameter["AllowedValues"]) == set(schema["properties"]["RetentionInDays"]["enum"])
    assert parameter["Default"] in parameter["AllowedValues"]


def test_the_parameters_are_in_the_guide():
    section = (ROOT / "infra/README.md").read_text().split("## AWS SAM")[1].split("\n## ")[0]
    table = "".join(re.findall(r"^\|.*$", section, re.MULTILINE))
    assert set(SAM["Parameters"]) == set(re.findall(r"`([A-Z]\w+[a-z]\w*)`", table))
