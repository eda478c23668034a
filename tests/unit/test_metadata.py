"""What is kept on a version: each key read and written, notes that hold for one code alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rollout.temporal.metadata import BLOCKED, Metadata, Note, verified_key

ALL = {
    "strategy": "compatible",
    "set": "v1",
    "fingerprint": "c0de",
    "behavior": "pinned",
    "behavior_exceptions": "Poll auto-upgrade",
    "workflows": "Order\nPoll",
    "blocked": "c0de rolled back to v1 by command",
    "unblocked": "c0de by rollout.toml",
    "verified.v1": "c0de passed",
    "verified.v1.1": "c0de run 7 breaks on v2",
    "gate_round": "2",
    "rollout.host/web-1": "a beat",
    "rollout.wanted": "what the hosts are told",
}


class TestReading:
    """The entries of a version as fields."""

    def test_every_key_has_its_field(self) -> None:
        """Texts, notes and the number are read from the keys that they are kept under."""
        assert Metadata.read(ALL) == Metadata(
            strategy="compatible",
            version_set="v1",
            fingerprint="c0de",
            behavior="pinned",
            behavior_exceptions="Poll auto-upgrade",
            workflows="Order\nPoll",
            blocked=Note("c0de", "rolled back to v1 by command"),
            unblocked=Note("c0de", "by rollout.toml"),
            verified={"v1": Note("c0de", "passed"), "v1.1": Note("c0de", "run 7 breaks on v2")},
            gate_round=2,
            hosts={"web-1": "a beat"},
            wanted="what the hosts are told",
        )

    def test_nothing_is_known_of_a_version_without_any(self) -> None:
        """No entries are no metadata."""
        assert Metadata.read({}) == Metadata()

    def test_unknown_keys_are_kept(self) -> None:
        """What somebody else wrote is still there when all is written again."""
        entries = {**ALL, "owner": "the shop's team", "verified": "no build is named"}
        read = Metadata.read(entries)
        assert read.others == {"owner": "the shop's team", "verified": "no build is named"}
        assert replace(read, version_set="v2").entries() == {**entries, "set": "v2"}

    @pytest.mark.parametrize(
        ("key", "text"),
        [("gate_round", "soon"), ("gate_round", "02"), ("gate_round", "²"), ("blocked", "c0de")],
    )
    def test_what_has_another_form_says_nothing(self, key: str, text: str) -> None:
        """A number that is none and a note without a reason are kept, and mean nothing."""
        read = Metadata.read({key: text})
        assert (read.blocked, read.gate_round) == (None, None)
        assert read.entries() == {key: text}

    @given(
        some.dictionaries(
            some.sampled_from([*ALL, "owner"]) | some.builds("verified.{}".format, some.text()),
            some.text() | some.sampled_from(["c0de x", "- x", "3"]),
        )
    )
    def test_whatever_is_read_is_written_the_same(self, entries: dict[str, str]) -> None:
        """Reading and writing again changes no entry, whatever is in them."""
        assert Metadata.read(entries).entries() == entries


class TestNotes:
    """Blocks, their lifting and replays: each holds for one code alone."""

    def test_a_note_holds_for_its_code(self) -> None:
        """A block and a replay of the code that runs now are in force."""
        read = Metadata.read(ALL)
        assert read.of_this_code(read.blocked) == "rolled back to v1 by command"
        assert read.outcomes == {"v1": "passed", "v1.1": "run 7 breaks on v2"}

    def test_a_note_on_other_code_does_not(self) -> None:
        """Once the workers run other code, what was noted is history."""
        read = Metadata.read({**ALL, "fingerprint": "0ther"})
        assert read.blocked == Note("c0de", "rolled back to v1 by command")
        assert read.of_this_code(read.blocked) is None
        assert read.of_this_code(read.unblocked) is None
        assert read.outcomes == {}

    def test_new_code_does_not_take_old_notes_over(self) -> None:
        """A declaration of new code, written over all the rest, leaves a block to the old one."""
        declared = replace(Metadata.read(ALL), fingerprint="0ther")
        assert declared.entries()["blocked"] == "c0de rolled back to v1 by command"

    @pytest.mark.parametrize("fingerprint", [None, "", "a commit of yesterday"])
    def test_any_fingerprint_will_do(self, fingerprint: str | None) -> None:
        """A version without a fingerprint, and one with spaces in it, can be blocked."""
        written = Metadata(fingerprint=fingerprint, blocked=Note(fingerprint, "it is slow"))
        read = Metadata.read(written.entries())
        assert read.of_this_code(read.blocked) == "it is slow"


class TestWriting:
    """A part of the metadata, to be written over what is there."""

    def test_a_part_is_only_what_it_names(self) -> None:
        """Fields that are not given are not written."""
        assert Metadata(version_set="v1").entries() == {"set": "v1"}
        assert Metadata(blocked=Note("c0de", "slow")).entries() == {BLOCKED: "c0de slow"}
        assert Metadata(verified={"v1": Note(None, "passed")}).entries() == {
            verified_key("v1"): "- passed"
        }

    def test_what_says_it_all_need_not_be_written(self) -> None:
        """A declaration is written again only where something in it is new."""
        read = Metadata.read({"strategy": "compatible", "fingerprint": "c0de"})
        declared = Metadata(strategy="compatible", fingerprint="c0de", behavior_exceptions="")
        assert read.says(declared)
        assert not read.says(replace(declared, fingerprint="0ther"))
        assert not read.says(replace(declared, behavior_exceptions="Poll auto-upgrade"))
