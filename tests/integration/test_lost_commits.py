"""A COMMIT whose answer is lost, or not waited for: what became of the record decides the rest."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from backend.services.claiming import Following
from backend.services.disk_store import DiskStore
from backend.services.dsar_exporter import persist_dsar_export
from backend.services.request_rows import Claim
from tests.acceptance.test_faults import Broken
from tests.factories import START, Person
from tests.harness import World
from tests.integration.test_claims import now_of, take
from tests.lossy import LossyProxy, a_lossy_proxy


@pytest.fixture
def lossy(server_world: World) -> Iterator[tuple[World, LossyProxy]]:
    """A world on each server with two requests, and a proxy through which it is reached."""
    server_world.people(Person(7, runs=3))
    server_world.request(7, "FIRST", requested_at=START)
    server_world.request(7, "NEXT", requested_at=START + timedelta(days=1))
    with a_lossy_proxy(server_world.database_url) as proxy:
        through = World(proxy.url, server_world.root)
        yield through, proxy
        through.close()


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Python's own way with SIGINT, however this process was started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def lose(lossy: tuple[World, LossyProxy], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the answer lost to the COMMIT that records the next export; see ``lose_commit``."""
    publish = DiskStore.publish

    def arm(**options: Any) -> None:
        def publish_and_lose(*arguments: Any, **keywords: Any) -> str:
            path = publish(*arguments, **keywords)
            monkeypatch.setattr(DiskStore, "publish", publish)
            lossy[1].lose_commit(**options)
            return path

        monkeypatch.setattr(DiskStore, "publish", publish_and_lose)

    return arm


@pytest.mark.parametrize("takes_effect", [True, False])
def test_commit_whose_answer_is_lost_is_asked_for_record_and_following_claim(
    lossy: tuple[World, LossyProxy], lose: Callable[..., None], takes_effect: bool
) -> None:
    world, proxy = lossy
    with world.services() as services:
        claim, cutoff = take(services), now_of(services)
        after = Following(cutoff, "w:1", None, wanted=lambda: True, after=claim)
        lose(takes_effect=takes_effect)
        result = persist_dsar_export("FIRST", claim=claim, following=after)
    assert proxy.lost.is_set() and result["ok"]
    # One transaction: where the record stands, so does the claim; where it was made again, the
    # claim was not.
    assert after.looked is takes_effect
    if takes_effect:
        assert isinstance(after.claim, Claim) and after.claim.reference_id == "NEXT"
    assert world.row("NEXT")["status"] == ("processing" if takes_effect else "pending")
    world.check_invariants()


@pytest.mark.parametrize("takes_effect", [True, False])
@pytest.mark.parametrize("followed", [True, False])
@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_at_the_commit_asks_before_it_deletes(
    lossy: tuple[World, LossyProxy],
    lose: Callable[..., None],
    takes_effect: bool,
    followed: bool,
) -> None:
    world, proxy = lossy
    with world.services() as services:
        claim, cutoff = take(services), now_of(services)
        after = Following(cutoff, "w:1", None, wanted=lambda: followed, after=claim)
        lose(takes_effect=takes_effect, then=interrupt)
        with pytest.raises(KeyboardInterrupt):
            persist_dsar_export("FIRST", claim=claim, following=after)
    assert proxy.lost.is_set()
    assert world.row("FIRST")["status"] == ("completed" if takes_effect else "pending")
    assert world.public("FIRST").exists() is takes_effect
    outcomes = {a["outcome"] for a in world.attempts(claim.request_id)}
    assert outcomes == {"completed" if takes_effect else "released"}
    world.check_invariants()


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_twice_at_the_commit_keeps_the_file(
    lossy: tuple[World, LossyProxy],
    lose: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, _ = lossy
    monkeypatch.setattr("backend.services.dsar_exporter._pause", interrupt)
    with world.services() as services:
        claim = take(services)
        lose(takes_effect=True, then=interrupt)
        with pytest.raises(KeyboardInterrupt):
            persist_dsar_export("FIRST", claim=claim)
    assert world.row("FIRST")["status"] == "completed"
    world.check_invariants()


@pytest.mark.parametrize("action", ["interrupt", "raise"])
def test_export_broken_off_after_its_record_stands(world: World, action: str) -> None:
    world.people(Person(7, runs=3))
    world.request(7, "R-7")
    done = Broken(world, "recorded", action, "backend.cli.dsar_commands", "export", "R-7").end()
    assert done.returncode != 0
    assert world.row("R-7")["status"] == "completed"
    world.check_invariants()
