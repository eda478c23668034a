"""The truth test: a whole switchover, and what we say of it held against the server each second."""

from __future__ import annotations

import pytest

from tests.support.truth import hold_against_the_server
from tests.support.truth_table import as_markdown

pytestmark = [pytest.mark.stack, pytest.mark.long]


def test_every_figure_is_the_servers() -> None:
    """Under load, with a worker killed and one stopped, nothing that we say is wrong.

    Late is allowed: each figure is held against the time of which it says it is.
    """
    account = hold_against_the_server()
    print(as_markdown(account))  # noqa: T201 - shown where it fails
    assert account.failures == []
    for what in ("open_runs", "target_share"):
        for source in ("exporter", "status"):
            assert account.held.outcomes[what, source].total() > 5
    assert account.held.outcomes["safe_to_stop", "exporter"].total() > 0
