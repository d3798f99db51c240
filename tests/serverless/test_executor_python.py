"""A Python Executor, unchanged, as a Lambda function: `executor-fn` wraps `jina executor` under the emulator."""

import time

import pytest

from executor_function import emulated, python_executor


@pytest.fixture(scope='module')
def function(tmp_path_factory):
    directory = tmp_path_factory.mktemp('python')
    # The machines of these tests are slower than Lambda's ten seconds allow.
    with emulated(directory, python_executor(), FLOWGATE_COMMAND_START='later') as function:
        yield function


def call(function, endpoint='/', **parameters):
    request = {'data': [{'text': 'hello'}], 'execEndpoint': endpoint, 'parameters': parameters}
    return function.invoke(request)


def test_it_answers(function):
    assert call(function)['data'][0]['text'] == 'HELLO'


def test_its_error_is_an_answer(function):
    status = call(function, '/fail')['header']['status']
    assert status['description'] == "ValueError('boom')"
    assert status['exception']['name'] == 'ValueError'


def test_its_output_is_in_the_log(function):
    call(function, '/print')
    assert '"message":"hello","stream":"stdout"' in function.log()


def test_its_endpoints_are_told(function):
    answer = function.invoke({'flowgate': 1, 'call': 'endpoints'})
    assert answer['flowgate'] == 1 and answer['body']


def test_it_is_started_again_when_it_dies(function):
    before = call(function)['data'][0]['tags']['pid']
    died = call(function, '/die')
    assert died['errorType'] == 'Flowgate.Unavailable'
    assert 'being started again' in died['errorMessage']
    after = call(function)['data'][0]['tags']['pid']
    assert after != before


def test_what_takes_too_long_is_given_up_in_time(tmp_path):
    started = {'FLOWGATE_COMMAND_START': 'later'}
    with emulated(tmp_path, python_executor(), timeout=20, **started) as function:
        call(function)
        begin = time.monotonic()
        late = call(function, '/sleep', seconds=60)
        assert late['errorType'] == 'Flowgate.OutOfTime'
        assert 19 < time.monotonic() - begin < 20.5


def test_a_start_that_takes_too_long_is_told(tmp_path):
    with emulated(tmp_path, ['sleep', '60'], timeout=2, FLOWGATE_COMMAND_START='later') as function:
        late = call(function)
        assert late['errorType'] == 'Flowgate.Unavailable'
        assert 'is being started' in late['errorMessage']
