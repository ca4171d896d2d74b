"""The ladder of urgency."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from update_all.core.interrupts import Interrupts, Urgency


def test_each_interrupt_is_one_rung_up_to_the_last() -> None:
    interrupts = Interrupts()

    assert [interrupts.escalate() for _ in range(5)] == [1, 2, 3, 3, 3]


def test_at_least_never_goes_down() -> None:
    interrupts = Interrupts()

    assert interrupts.escalate(Urgency.STOP) is Urgency.STOP
    assert interrupts.escalate(Urgency.FINISH) is Urgency.STOP


@given(st.lists(st.sampled_from([None, *Urgency]), max_size=6), st.sampled_from(Urgency))
def test_waiters_wake_when_their_level_is_reached_and_not_before(
    presses: list[Urgency | None], level: Urgency
) -> None:
    async def scenario() -> None:
        interrupts = Interrupts()
        before = interrupts.reached(level)
        for press in presses:
            interrupts.escalate(press)
            assert before.done() == (interrupts.urgency >= level or level is Urgency.NONE)
            assert interrupts.reached(level).done() == before.done()

    asyncio.run(scenario())


def test_cancelled_waiter_is_forgotten_and_the_others_wake() -> None:
    async def scenario() -> None:
        interrupts = Interrupts()
        gone, kept = interrupts.reached(Urgency.FINISH), interrupts.reached(Urgency.FINISH)
        gone.cancel()
        await asyncio.sleep(0)
        interrupts.escalate()
        assert gone.cancelled()
        assert kept.done()

    asyncio.run(scenario())


def test_a_child_becomes_urgent_with_its_parent_and_alone() -> None:
    parent = Interrupts()
    first, second = parent.child(), parent.child()
    first.why = "somebody skipped it"
    first.escalate()
    assert (parent.urgency, first.urgency, second.urgency) == (Urgency.NONE, Urgency.FINISH, Urgency.NONE)
    parent.escalate(Urgency.STOP)
    assert (first.urgency, second.urgency) == (Urgency.STOP, Urgency.STOP)
    assert parent.child().urgency is Urgency.STOP
    assert second.why == parent.why


def test_who_waits_for_a_child_wakes_with_the_parent() -> None:
    async def scenario() -> None:
        parent = Interrupts()
        child = parent.child()
        waiter = child.reached(Urgency.STOP)
        parent.escalate()
        assert not waiter.done()
        parent.escalate()
        assert waiter.done()

    asyncio.run(scenario())
