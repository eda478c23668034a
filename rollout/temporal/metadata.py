"""The table of what is kept on a version in the server: each key, and what it means.

Everything that reads or writes a version's metadata does it through `Metadata`. Keys that are
not in the table are somebody else's: they are kept as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["BLOCKED", "Metadata", "Note", "host_key", "verified_key"]

BLOCKED = "blocked"
_UNBLOCKED = "unblocked"
_DRIFT_ACCEPTED = "drift_accepted"
_VERIFIED = "verified."
_GATE_ROUND = "gate_round"
_HOST = "rollout.host/"
_TEXTS: Mapping[str, str] = {
    "strategy": "strategy",
    "version_set": "set",
    "fingerprint": "fingerprint",
    "behavior": "behavior",
    "behavior_exceptions": "behavior_exceptions",
    "workflows": "workflows",
    "wanted": "rollout.wanted",
}
"""The keys of plain texts, by the field of `Metadata` that holds each."""
_NO_CODE = "-"


@dataclass(frozen=True)
class Note:
    """What is known of one code of a version: it says nothing of any other code."""

    fingerprint: str | None
    """Of the code; None for a version that has declared none."""
    text: str

    def __str__(self) -> str:
        return f"{_code(self.fingerprint)} {self.text}"


@dataclass(frozen=True)
class Metadata:
    """What is kept on one version, or a part of it that is to be written."""

    strategy: str | None = None
    """What its workers declared of runs that have begun."""
    version_set: str | None = None
    """The chain of compatible builds that it belongs to."""
    fingerprint: str | None = None
    """Of the code that its workers run."""
    behavior: str | None = None
    """Of workflows that say nothing themselves: ``pinned`` or ``auto-upgrade``."""
    behavior_exceptions: str | None = None
    """Workflows that say something else themselves; empty where there are none."""
    workflows: str | None = None
    """What its workers can run, a name a line; empty where that is not known."""
    blocked: Note | None = None
    """Why it must get no traffic."""
    unblocked: Note | None = None
    """Who has lifted a block of this code."""
    drift_accepted: Note | None = None
    """Who has let this code through although it gives runs other arguments."""
    verified: Mapping[str, Note] = field(default_factory=dict)
    """How the replay ended, by the build whose runs were replayed."""
    gate_round: int | None = None
    """How many times an operator has asked for its gate to be tried again."""
    wanted: str | None = None
    """What the controller tells the hosts; see `rollout.core.host_notes`, as for `hosts`."""
    hosts: Mapping[str, str] = field(default_factory=dict)
    """The last beat of each host that leaves its notes on this version."""
    others: Mapping[str, str] = field(default_factory=dict)
    """What is under keys, or has a form, that this table does not know."""

    @classmethod
    def read(cls, entries: Mapping[str, str]) -> Metadata:
        """What ``entries``, all of a version's, say."""
        rest = dict(entries)
        texts = {name: rest.pop(key) for name, key in _TEXTS.items() if key in rest}
        code = texts.get("fingerprint")
        notes = {key: note for key, text in rest.items() if (note := _note(key, text, code))}
        gate_round = _whole_number(rest.get(_GATE_ROUND, ""))
        hosts = {key: text for key, text in rest.items() if key.startswith(_HOST)}
        known = {*notes, *hosts, *([_GATE_ROUND] if gate_round is not None else [])}
        return cls(
            **texts,
            blocked=notes.get(BLOCKED),
            unblocked=notes.get(_UNBLOCKED),
            drift_accepted=notes.get(_DRIFT_ACCEPTED),
            verified={
                key.removeprefix(_VERIFIED): note
                for key, note in notes.items()
                if key.startswith(_VERIFIED)
            },
            gate_round=gate_round,
            hosts={key.removeprefix(_HOST): text for key, text in hosts.items()},
            others={key: text for key, text in rest.items() if key not in known},
        )

    def entries(self) -> dict[str, str]:
        """The same as the server keeps it. A field that is None is left out."""
        fields: dict[str, object] = {key: getattr(self, name) for name, key in _TEXTS.items()}
        fields |= {BLOCKED: self.blocked, _UNBLOCKED: self.unblocked, _GATE_ROUND: self.gate_round}
        fields |= {_DRIFT_ACCEPTED: self.drift_accepted}
        fields |= {verified_key(source): note for source, note in self.verified.items()}
        fields |= {host_key(name): text for name, text in self.hosts.items()}
        known = {key: str(value) for key, value in fields.items() if value is not None}
        return {**self.others, **known}

    @property
    def workflow_names(self) -> tuple[str, ...] | None:
        """What its workers can run; None where that is not known."""
        return tuple(self.workflows.splitlines()) if self.workflows else None

    def of_this_code(self, note: Note | None) -> str | None:
        """What ``note`` says; None where there is none, or the code has changed since."""
        if note is None or _code(note.fingerprint) != _code(self.fingerprint):
            return None
        return note.text

    @property
    def outcomes(self) -> dict[str, str]:
        """How each replay on this code ended, by the build whose runs were replayed."""
        texts = {source: self.of_this_code(note) for source, note in self.verified.items()}
        return {source: text for source, text in texts.items() if text is not None}

    def says(self, wanted: Metadata) -> bool:
        """Whether it has all that ``wanted`` has; what is not there is as good as empty."""
        mine = self.entries()
        return all(mine.get(key, "") == value for key, value in wanted.entries().items())


def verified_key(source: str) -> str:
    """The key of the outcome of a replay of runs of ``source``."""
    return f"{_VERIFIED}{source}"


def host_key(name: str) -> str:
    """The key of the notes of the host ``name``."""
    return f"{_HOST}{name}"


def _note(key: str, text: str, fingerprint: str | None) -> Note | None:
    """The note in an entry; None where it holds none. ``fingerprint``: of the code now."""
    if key not in (BLOCKED, _UNBLOCKED, _DRIFT_ACCEPTED) and not key.startswith(_VERIFIED):
        return None
    now = _code(fingerprint)
    if text.startswith(f"{now} "):  # anybody may declare a fingerprint with spaces in it
        code, said = now, text[len(now) + 1 :]
    else:
        code, _, said = text.partition(" ")
    if not code or not said:
        return None
    return Note(None if code == _NO_CODE else code, said)


def _whole_number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"0|[1-9][0-9]{0,8}", text) else None


def _code(fingerprint: str | None) -> str:
    """A fingerprint as notes begin with it."""
    return fingerprint or _NO_CODE
