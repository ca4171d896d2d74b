"""The ready steps of a run and the mutexes they need: a data structure for `core.scheduling`."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence


class _Queue:
    """Ready nodes with one and the same mutex set, as a heap of ranks.

    While it holds any, it is either offered (its best rank is among the candidates) or parked at a mutex that
    had no room. Ranks that it was offered or parked with before may still be there, and are passed over.
    """

    __slots__ = ("mutexes", "offered", "ranks")

    def __init__(self, mutexes: tuple[int, ...]) -> None:
        self.mutexes = mutexes
        self.ranks: list[int] = []
        self.offered: int | None = None


class ReadySet:
    """Ready nodes by rank (0 is the most urgent), and which mutexes have room.

    `taken[node]` are the mutexes of a node and `capacity[mutex]` how many may hold one. Nodes with the same
    mutexes share a queue and queues wait at the mutex that stops them, so that `take` costs O(log nodes)
    however many nodes wait.
    """

    def __init__(self, taken: Sequence[tuple[int, ...]], capacity: Sequence[int]) -> None:
        queues = {mutexes: _Queue(mutexes) for mutexes in taken}
        self._queues = [queues[mutexes] for mutexes in taken]
        self._free = list(capacity)
        self._parked: list[list[int]] = [[] for _ in capacity]
        self._candidates: list[int] = []
        self._ready: set[int] = set()
        self._by_rank: Sequence[int] = range(len(taken))
        self._rank: Sequence[int] = self._by_rank

    def order(self, by_rank: Sequence[int]) -> None:
        """Use another ranking: all nodes, most urgent first."""
        self._by_rank = by_rank
        rank = [0] * len(by_rank)
        for place, number in enumerate(by_rank):
            rank[number] = place
        self._rank = rank
        self._candidates = []
        self._parked = [[] for _ in self._free]
        for queue in self._queues:
            queue.ranks.clear()
        for place in sorted(rank[number] for number in self._ready):
            self._enqueue(place)

    def add(self, number: int) -> None:
        """The node is ready."""
        self._ready.add(number)
        self._enqueue(self._rank[number])

    def discard(self, numbers: Iterable[int]) -> None:
        """The nodes are not ready any more, if they were."""
        self._ready.difference_update(numbers)

    def take(self) -> int | None:
        """Remove the most urgent node whose mutexes all have room, and take these; None if there is none."""
        while self._candidates:
            rank = heapq.heappop(self._candidates)
            number = self._by_rank[rank]
            queue = self._queues[number]
            if queue.offered != rank:
                continue
            full = self.full_mutex(number)
            starts = full is None and number in self._ready
            if starts:
                self._ready.remove(number)
                for mutex in queue.mutexes:
                    self._free[mutex] -= 1
            if full is None:
                self._offer(queue)
            else:
                heapq.heappush(self._parked[full], rank)
            # Others may have been parked behind this queue at a mutex that still has room.
            for mutex in queue.mutexes:
                self._wake(mutex)
            if starts:
                return number
        return None

    def release(self, number: int) -> None:
        """The node gives its mutexes back."""
        for mutex in self._queues[number].mutexes:
            self._free[mutex] += 1
            self._wake(mutex)

    def parked(self) -> Iterator[int]:
        """The ready nodes whose mutexes do not all have room."""
        return (number for number in self._ready if self.full_mutex(number) is not None)

    def full_mutex(self, number: int) -> int | None:
        """The first mutex of a node that has no room."""
        for mutex in self._queues[number].mutexes:
            if not self._free[mutex]:
                return mutex
        return None

    def _enqueue(self, rank: int) -> None:
        queue = self._queues[self._by_rank[rank]]
        heapq.heappush(queue.ranks, rank)
        if queue.ranks[0] == rank:
            self._offer(queue)

    def _offer(self, queue: _Queue) -> None:
        """Make the best node of the queue a candidate, if it has one."""
        queue.offered = self._head(queue)
        if queue.offered is not None:
            heapq.heappush(self._candidates, queue.offered)

    def _head(self, queue: _Queue) -> int | None:
        """The rank of the best node that is still ready; those before it are forgotten."""
        ranks = queue.ranks
        while ranks and self._by_rank[ranks[0]] not in self._ready:
            heapq.heappop(ranks)
        return ranks[0] if ranks else None

    def _wake(self, mutex: int) -> None:
        """Offer the most urgent queue parked at a mutex, if that has room.

        One is enough: when it starts or is parked elsewhere, `take` wakes the next. A queue whose first node
        is not ready any more is as urgent as its next.
        """
        parked = self._parked[mutex]
        while parked and self._free[mutex]:
            rank = heapq.heappop(parked)
            queue = self._queues[self._by_rank[rank]]
            head = self._head(queue)
            if head == rank:
                self._offer(queue)
                return
            if head is not None:
                heapq.heappush(parked, head)
