"""Which hosts to leave out so that the others agree, and as few of them as can be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Takers = frozenset[frozenset[str]]
"""Sets of hosts that agree on something; none of them is part of another."""

MOST_STEPS = 50_000
"""How many partial answers are looked at before the best one found so far is taken."""


def maximal(sets: Iterable[frozenset[str]]) -> Takers:
    """Without those that are part of another."""
    kept: list[frozenset[str]] = []
    for each in sorted(set(sets), key=len, reverse=True):
        if not any(each <= larger for larger in kept):
            kept.append(each)
    return frozenset(kept)


def largest_agreeing(
    hosts: Iterable[str], questions: Iterable[Takers], sizes: Mapping[str, int]
) -> frozenset[str]:
    """The most hosts that agree on every question; `sizes` says how many a label stands for (else 1).

    Of equally many the answer is the same whatever the order of hosts and questions.
    """
    search = _Search(sizes)
    ordered = sorted(set(questions), key=lambda takers: (len(takers), sorted(map(sorted, takers))))
    search.descend(frozenset(hosts), ordered)
    return search.best


class _Search:
    """Branch and bound: one of its sets is chosen for each question, the heaviest first."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = sizes
        self._steps = 0
        self.best: frozenset[str] = frozenset()
        self._weight = 0

    def weight(self, hosts: frozenset[str]) -> int:
        return sum(self._sizes.get(host, 1) for host in hosts)

    def descend(self, agreeing: frozenset[str], questions: list[Takers]) -> None:
        self._steps += 1
        if not questions:
            self.best, self._weight = agreeing, self.weight(agreeing)
            return
        options = maximal(agreeing & takers for takers in questions[0])
        for left in sorted(options, key=lambda hosts: (-self.weight(hosts), sorted(hosts))):
            if self.weight(left) <= self._weight or self._steps > MOST_STEPS:
                break  # the first branch always ends with an answer
            self.descend(left, questions[1:])
