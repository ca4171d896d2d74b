"""Which ready node is taken next, where several wait for several mutexes."""

from __future__ import annotations

from update_all.core.ready import ReadySet

A, B = 0, 1


def taken(ready: ReadySet) -> list[int]:
    found: list[int] = []
    while (number := ready.take()) is not None:
        found.append(number)
    return found


def test_one_that_waits_elsewhere_wakes_the_next_where_it_waited() -> None:
    """Both wait for A; the first gets no further because of B, so A is the second's."""
    ready = ReadySet([(B,), (A,), (A, B), (A,)], [1, 1])
    for number in range(4):
        ready.add(number)
    assert taken(ready) == [0, 1]
    assert sorted(ready.parked()) == [2, 3]
    ready.release(1)
    assert taken(ready) == [3]
    ready.release(0)
    assert taken(ready) == []
    ready.release(3)
    assert taken(ready) == [2]


def test_one_that_starts_leaves_what_room_there_is_to_the_next() -> None:
    ready = ReadySet([(A,), (A,), (A, B), (A,)], [2, 1])
    for number in range(4):
        ready.add(number)
    assert taken(ready) == [0, 1]
    ready.release(0)
    ready.release(1)
    assert taken(ready) == [2, 3]


def test_one_that_is_not_ready_any_more_is_passed_over() -> None:
    ready = ReadySet([(A,), (A,), (A,)], [1, 1])
    for number in range(3):
        ready.add(number)
    assert ready.take() == 0
    ready.discard([1])
    ready.release(0)
    assert taken(ready) == [2]
    assert ready.full_mutex(1) == A
