"""Several services in one home: one controller and one exporter for all of their files."""

from __future__ import annotations

import json
import secrets
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.own_home import OwnHome
from tests.support.supervisord import PrivateSupervisord
from tests.support.temporal_server import DevServer
from tests.support.waiting import eventually

SHA = "3f9c2ab"


@pytest.fixture
def names() -> tuple[str, str]:
    """Two deployments of the test's own, on the server that all share."""
    mark = secrets.token_hex(3)
    return f"pay-{mark}", f"shop-{mark}"


@pytest.fixture
def home(temporal_server: DevServer, names: tuple[str, str]) -> Iterator[OwnHome]:
    """A home of both, whose controller and exporter run."""
    supervisord = PrivateSupervisord()
    supervisord.start()
    try:
        made = OwnHome(temporal_server, supervisord)
        for name in names:
            made.init("-d", name, "--directory", str(made.folder))
        made.update("rollout", "rollout-exporter")
        yield made
    finally:
        supervisord.stop()


def test_one_sha_is_the_build_of_two(home: OwnHome, names: tuple[str, str]) -> None:
    """Each is steered by itself, by one controller, and a broken file holds up its own alone."""
    pay, shop = names
    eventually(lambda: _sources(home) == {pay: "controller", shop: "controller"})
    for name in names:
        home.worker(name, SHA, f"worker-{name}-{SHA}")

    told = home.rollout("to", SHA, code=2)
    assert f"which deployment? name one with -d: {pay}, {shop}" in told
    home.rollout("to", SHA, "-d", shop)
    eventually(lambda: home.told(shop)["current"] == SHA)
    assert home.status("-d", pay)["current"] is None

    (home.folder / f"{shop}.toml").write_text("[deployment\n")
    home.rollout("-d", pay, "to", SHA)
    eventually(lambda: home.told(pay)["current"] == SHA)
    told = home.rollout("list", code=0)
    assert f"{shop}  {SHA}" in told
    assert "controller" in _sources(home)[shop]
    assert f"{shop}.toml line 1" in home.rollout("check", code=2)


def test_every_series_names_its_deployment(home: OwnHome, names: tuple[str, str]) -> None:
    """Both processes tell of both deployments, each family once."""
    targets = home.folder / "var" / "targets" / "stack.json"
    groups = eventually(lambda: json.loads(targets.read_text()))
    addresses = {group["labels"]["job"]: group["targets"][0] for group in groups}

    def all_told() -> bool:
        for job, series in (
            ("exporter", "temporal_worker_deployment_up"),
            ("rollout", "rollout_config_ok"),
        ):
            text = _get(f"http://{addresses[job]}/metrics").decode()
            families = list(text_string_to_metric_families(text))
            assert len({each.name for each in families}) == len(families)
            samples = [s for each in families for s in each.samples if s.name == series]
            assert {s.labels["deployment_name"] for s in samples} == set(names)
            assert {s.value for s in samples} == {1.0}
        return True

    eventually(all_told)

    def listed() -> list[str]:
        status = json.loads(_get(f"http://{addresses['rollout']}/api/v1/status"))
        return [each["deployment"] for each in status["deployments"]]

    eventually(lambda: listed() == sorted(names))


def test_files_come_and_go(home: OwnHome, names: tuple[str, str]) -> None:
    """A deployment that is added is followed without a restart; one that is taken away is not."""
    pay, shop = names
    pid = home.supervisord.pid("rollout")
    home.init("-d", f"{shop}-eu", "--directory", str(home.folder))
    (home.folder / f"{pay}.toml").unlink()
    wanted = {shop: "controller", f"{shop}-eu": "controller"}
    eventually(lambda: _sources(home) == wanted, seconds=60)
    log = (home.folder / "var" / "log" / "rollout.log").read_text()
    assert f"{pay}.toml" in log
    assert home.supervisord.pid("rollout") == pid


def _sources(home: OwnHome) -> dict[str, str]:
    """Who tells of each deployment."""
    listed: dict[str, Any] = json.loads(home.rollout("list", "--json"))
    return {each["deployment"]: each["source"] for each in listed["deployments"]}


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - http
        found: bytes = answer.read()
    return found
