"""Reads metrics in tests as Prometheus would."""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Labels", "Series", "labels", "parse", "scrape"]

Labels = frozenset[tuple[str, str]]
Series = dict[str, dict[Labels, float]]


def labels(**names: str) -> Labels:
    """The labels of one series."""
    return frozenset(names.items())


def parse(text: str) -> Series:
    """Every series in ``text``: name, then labels, then value."""
    found: Series = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def scrape(port: int) -> Series:
    """What is served on ``port`` now; raises `OSError` where nothing is."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return parse(answer.read().decode())
