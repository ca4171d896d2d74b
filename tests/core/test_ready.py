"""Which ready node is taken next, where several wait for several mutexes."""

from __future__ import annotations

import random

import pytest

from update_all.core.ready import ReadySet

A, B = 0, 1
SETS: tuple[tuple[int, ...], ...] = ((), (A,), (A, B), (B,))


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


def test_the_next_of_a_queue_has_its_own_rank_when_the_first_is_not_ready_any_more() -> None:
    ready = ReadySet([(A,), (A,), (A, B), (A,)], [1, 1])
    for number in range(4):
        ready.add(number)
    assert taken(ready) == [0]
    ready.discard([1])
    ready.release(0)
    assert taken(ready) == [2]
    ready.release(2)
    assert taken(ready) == [3]


class Naive:
    """The same by looking at everything each time."""

    def __init__(self, taken: list[tuple[int, ...]], capacity: list[int]) -> None:
        self.taken, self.free = taken, capacity
        self.ready: set[int] = set()
        self.by_rank = list(range(len(taken)))

    def starts(self, number: int) -> bool:
        return number in self.ready and all(self.free[mutex] for mutex in self.taken[number])

    def take(self) -> int | None:
        number = next(filter(self.starts, self.by_rank), None)
        if number is not None:
            self.ready.remove(number)
            for mutex in self.taken[number]:
                self.free[mutex] -= 1
        return number

    def release(self, number: int) -> None:
        for mutex in self.taken[number]:
            self.free[mutex] += 1


@pytest.mark.parametrize("part", range(8))
def test_it_takes_what_looking_at_everything_would_take(part: int) -> None:
    chance = random.Random(part)  # noqa: S311 - what happens next
    for _ in range(150):
        taken = [chance.choice(SETS) for _ in range(chance.randint(1, 12))]
        capacity = [chance.randint(1, 2), chance.randint(1, 2)]
        ready, naive = ReadySet(taken, capacity), Naive(taken, [*capacity])
        running: list[int] = []
        for _ in range(60):
            match chance.randrange(7):
                case 0 | 1:
                    waiting = [
                        number for number in range(len(taken)) if number not in {*naive.ready, *running}
                    ]
                    for number in chance.sample(waiting, min(2, len(waiting))):
                        naive.ready.add(number)
                        ready.add(number)
                case 2 if naive.ready:
                    lost = chance.sample(sorted(naive.ready), 1)
                    naive.ready.difference_update(lost)
                    ready.discard(lost)
                case 3 | 4 if running:
                    number = running.pop(chance.randrange(len(running)))
                    naive.release(number)
                    ready.release(number)
                case 5 if chance.random() < 0.3:
                    chance.shuffle(naive.by_rank)
                    ready.order([*naive.by_rank])
                case _:
                    started = naive.take()
                    assert ready.take() == started
                    running += [] if started is None else [started]
            assert sorted(ready.parked()) == sorted(n for n in naive.ready if not naive.starts(n))
