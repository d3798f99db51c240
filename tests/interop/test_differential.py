"""A fixed run of the differential comparison: Jina's Gateway on the left, the one under test on the right."""

import differential
from parties import UNDER_TEST


def test_both_gateways_give_the_same_answers(launcher, pool):
    report = differential.run(launcher, pool, seed=2023, count=50, right=UNDER_TEST)
    print(report)
    assert not report.unexpected
    assert set(report.compared) == set(differential.topologies(pool))
