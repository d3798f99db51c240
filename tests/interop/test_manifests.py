"""Runs Jina's Kubernetes and Compose exports, and `jina ping`, with `flowgate` under the name `jina`."""

import json
import subprocess

import pytest
import yaml
from jina import Document, Flow

from parties import FLOWGATE, JINA, UNDER_TEST, Gateway
from processes import free_port


@pytest.fixture(scope='module')
def jina(tmp_path_factory):
    """The binary `flowgate` under the name `jina`, as in a container image that replaces Jina's."""
    if UNDER_TEST == 'jina':
        return JINA
    link = tmp_path_factory.mktemp('bin') / 'jina'
    link.symlink_to(FLOWGATE)
    return link


@pytest.fixture(scope='module')
def exported():
    return Flow(protocol='http', port=8081, timeout_send=2000).add(name='enc', replicas=2).add(name='idx')


def kubernetes_arguments(flow, directory) -> list:
    flow.to_kubernetes_yaml(str(directory / 'k8s'))
    documents = yaml.safe_load_all((directory / 'k8s' / 'gateway' / 'gateway.yml').read_text())
    [deployment] = [each for each in documents if each['kind'] == 'Deployment']
    return deployment['spec']['template']['spec']['containers'][0]['args']


def compose_arguments(flow, directory) -> list:
    flow.to_docker_compose_yaml(str(directory / 'compose.yml'))
    services = yaml.safe_load((directory / 'compose.yml').read_text())['services']
    return services['gateway']['command']


def with_local_addresses(arguments, port, addresses) -> list:
    """Replaces the port and the addresses in the arguments by ones of this machine."""
    arguments = list(arguments)
    arguments[arguments.index('--port') + 1] = str(port)
    where = arguments.index('--deployments-addresses') + 1
    assert set(json.loads(arguments[where])) == set(addresses)
    arguments[where] = json.dumps(addresses)
    return arguments


@pytest.mark.parametrize('arguments_of', [kubernetes_arguments, compose_arguments])
def test_an_exported_gateway_starts_and_serves(launcher, pool, jina, exported, arguments_of):
    at = {name: f'127.0.0.1:{process.ports[0]}' for name, process in pool.items()}
    if arguments_of is kubernetes_arguments:
        addresses = {'enc': [f'grpc://{at["r0"]}'], 'idx': [f'grpc://{at["b"]}']}
    else:
        addresses = {'enc': [at['r0'], at['r1']], 'idx': [at['b']]}
    port = free_port()
    arguments = with_local_addresses(arguments_of(exported, launcher.directory), port, addresses)
    process = launcher.start('exported', [jina, *arguments], [port])
    client = Gateway(process, {'http': port}).wait_ready().client('http')
    assert client.is_flow_ready(timeout=10)
    for _ in range(4):
        [doc] = client.post('/', Document(text='x'))
        assert doc.text == 'x+r+b'
    # The command of the manifest's probes.
    assert ping(jina, 'gateway', f'http://127.0.0.1:{port}') == 0
    process.terminate()


def ping(jina, *arguments) -> int:
    """Runs `jina ping` and returns its exit status."""
    return subprocess.run([jina, 'ping', *arguments], capture_output=True, timeout=60).returncode


@pytest.mark.parametrize('protocol', ['grpc', 'http'])
def test_ping_of_a_running_gateway_succeeds(jina, one_executor, protocol):
    assert ping(jina, 'gateway', f'{protocol}://127.0.0.1:{one_executor.ports[protocol]}') == 0


def test_ping_of_an_executor_and_of_a_flow_succeeds(jina, one_executor, pool):
    assert ping(jina, 'executor', f'127.0.0.1:{pool["a"].ports[0]}') == 0
    assert ping(jina, 'flow', f'grpc://127.0.0.1:{one_executor.ports["grpc"]}') == 0


@pytest.mark.parametrize('target', ['gateway', 'executor'])
def test_ping_of_a_closed_port_fails(jina, target):
    assert ping(jina, target, f'127.0.0.1:{free_port()}', '--timeout', '500') == 1
