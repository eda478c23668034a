"""PromQL with names and values of any characters in it."""

from __future__ import annotations

import pytest

from rollout.prometheus.graphs import completed_share, states
from rollout.prometheus.promql import quoted, selector


class TestSelector:
    """The series that are meant."""

    @pytest.mark.parametrize(
        ("labels", "expected"),
        [
            ({}, "up"),
            ({"job": "worker"}, 'up{job="worker"}'),
            ({"job": "worker", "build_id": "v1.1"}, 'up{job="worker",build_id="v1.1"}'),
            ({"build_id": ("v1", "v1.1")}, r'up{build_id=~"v1|v1\x5c.1"}'),
            ({"build_id": ("v2+a",)}, r'up{build_id=~"v2\x5c+a"}'),
        ],
    )
    def test_by_labels(self, labels: dict[str, str | tuple[str, ...]], expected: str) -> None:
        """A text is meant as it is, and each of a tuple's; no dot of a build id is a wildcard."""
        assert selector("up", **labels) == expected

    def test_nothing_escapes(self) -> None:
        """Whatever a workflow type is called, the query stays one string."""
        text = completed_share('Say "hi"} or vector(1) #')
        assert text.endswith(r'{workflow_type="Say \x22hi\x22} or vector(1) #"})')


def test_quoted() -> None:
    """What would end a string, in either kind of quotes, is written by its number."""
    assert quoted("od'd\"na\\me\n") == r"od\x27d\x22na\x5cme\x0a"


def test_states() -> None:
    """Each state has its number."""
    assert states("state", "is", ("up", "down"), "name") == (
        'max by (name) (1 * state{job="exporter",is="up"} or 2 * state{job="exporter",is="down"})'
    )
