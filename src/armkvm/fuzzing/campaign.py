"""A campaign: many sequences, spread over processes, with one folder that remembers them.

::

    campaign.json   places, kernels and seed; another campaign is refused the folder
    done.jsonl      one line for each sequence carried out: its number, and what was found
    NAME.jsonl      the least sequence that shows a difference, with the reference's answers

Only the campaign itself writes there; workers hand it what they found. A sequence is done when its
line is written, so that an interrupted campaign goes on where it was.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from armkvm.backends.base import System
from armkvm.documents import write_whole
from armkvm.errors import Fault, InputError, PlaceError
from armkvm.fuzzing.compare import Found, Step, compare, shrunk
from armkvm.fuzzing.explained import explained
from armkvm.fuzzing.generate import Generator
from armkvm.fuzzing.ground import survey
from armkvm.traces import lines

Connect = Callable[[str], System]
_BATCH = 10
_FORMAT = "armkvm-campaign-1"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compare: the place tried, the one whose answers count, and which sequences."""

    tried: str
    reference: str
    sequences: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """One sequence carried out. `signature` "" if no answer differed; `explained` names the reason."""

    number: int
    steps: int
    signature: str = ""
    explained: str = ""
    told: str = ""
    trace: tuple[Step, ...] = ()

    @property
    def is_unexplained(self) -> bool:
        return bool(self.signature) and not self.explained


@dataclass(slots=True)
class Tally:
    """How a campaign stands."""

    done: int = 0
    steps: int = 0
    unexplained: Counter[str] = field(default_factory=Counter)
    explained: Counter[str] = field(default_factory=Counter)
    told: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Count one sequence."""
        self.done += 1
        self.steps += result.steps
        if result.is_unexplained:
            self.unexplained[result.signature] += 1
            self.told.setdefault(result.signature, result.told)
        elif result.explained:
            self.explained[result.explained] += 1


class Worker:
    """Both places, open; carries out sequences by number. A place that died is opened again once."""

    def __init__(self, plan: Plan, connect: Connect) -> None:
        self._plan, self._connect = plan, connect
        self._explained = explained()
        self._known: set[str] = set()
        self._open()

    def _open(self) -> None:
        self._reference = self._connect(self._plan.reference)
        try:
            self._tried = self._connect(self._plan.tried)
        except BaseException:
            self._reference.close()
            raise
        self._generator = Generator(survey(self._reference))

    def close(self) -> None:
        """Close both places."""
        self._reference.close()
        self._tried.close()

    def carry_out(self, number: int) -> Result:
        """One sequence; what it finds is shrunk if this worker has not found the same before."""
        steps = self._generator.sequence(self._plan.seed, number)
        try:
            return self._compare(number, steps)
        except PlaceError as died:
            with suppress(PlaceError):
                self.close()
            self._open()
            try:
                return self._compare(number, steps)
            except PlaceError:
                self._open()
                return Result(number, len(steps), "a place died", "", str(died), tuple(steps))

    def _compare(self, number: int, steps: Sequence[Step]) -> Result:
        found = self._once(steps)
        if found is None:
            return Result(number, len(steps))
        if found.explained is not None:
            return Result(number, len(steps), found.signature, found.explained.name)
        if found.signature in self._known:
            return Result(number, len(steps), found.signature)
        self._known.add(found.signature)
        least = shrunk(found, self._once)
        return Result(number, len(steps), found.signature, "", str(least.difference), least.steps)

    def _once(self, steps: Sequence[Step]) -> Found | None:
        return compare(steps, self._reference, self._tried, self._explained)


def run(plan: Plan, folder: Path, connect: Connect, jobs: int = 1) -> Iterator[Tally]:
    """Carry out what the folder does not have yet; yields the state after every sequence.

    InputError if the folder belongs to another campaign.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(plan, folder)
    tally, done = _remembered(folder)
    yield tally
    todo = [number for number in range(plan.sequences) if number not in done]
    if not todo:
        return
    with (folder / "done.jsonl").open("a", encoding="utf-8") as journal:
        for result in _results(plan, todo, connect, jobs):
            _keep(plan, folder, result, tally)
            tally.add(result)
            journal.write(json.dumps(_line(result)) + "\n")
            journal.flush()
            yield tally


def _results(plan: Plan, todo: Sequence[int], connect: Connect, jobs: int) -> Iterator[Result]:
    if jobs == 1:
        worker = Worker(plan, connect)
        try:
            yield from map(worker.carry_out, todo)
        finally:
            worker.close()
        return
    batches = [todo[at : at + _BATCH] for at in range(0, len(todo), _BATCH)]
    pool = ProcessPoolExecutor(
        min(jobs, len(batches)), get_context("spawn"), initializer=_start, initargs=(plan, connect)
    )
    try:
        for results in pool.map(_batch, batches):
            yield from results
    finally:
        pool.shutdown(cancel_futures=True)


_open_worker: Callable[[], Worker]


def _start(plan: Plan, connect: Connect) -> None:
    """In a worker's process. Its places end with it: a lab never outlives its owner.

    They are opened by the first batch, whose failure reaches the campaign; one here would not.
    """
    global _open_worker  # noqa: PLW0603 - the one thing a process of the pool keeps
    _open_worker = cache(lambda: Worker(plan, connect))


def _batch(numbers: Sequence[int]) -> list[Result]:
    worker = _open_worker()
    return [worker.carry_out(number) for number in numbers]


# -- the folder ------------------------------------------------------------------------------------


def _claim(plan: Plan, folder: Path) -> None:
    wanted = {"format": _FORMAT, "tried": plan.tried, "reference": plan.reference, "seed": plan.seed}
    path = folder / "campaign.json"
    if not path.exists():
        write_whole(path, (json.dumps(wanted, indent=1) + "\n").encode())
        return
    try:
        there = json.loads(path.read_bytes())
    except ValueError:
        there = None
    if there != wanted:
        fault = Fault("$", f"expected the campaign {json.dumps(wanted)}; use a folder of its own for another")
        raise InputError(str(path), [fault])


def _remembered(folder: Path) -> tuple[Tally, set[int]]:
    """What was done before; a last line that was cut short is done again."""
    tally, done = Tally(), set()
    path = folder / "done.jsonl"
    kept = []
    for line in path.read_text().splitlines(keepends=True) if path.exists() else ():
        try:
            row: dict[str, Any] = json.loads(line) if line.endswith("\n") else {}
            result = Result(row["number"], row["steps"], row["signature"], row["explained"], row["told"])
        except (ValueError, KeyError, TypeError):
            break
        kept.append(line)
        if result.number not in done:
            done.add(result.number)
            tally.add(result)
    if path.exists():
        write_whole(path, "".join(kept).encode())
    for signature in tally.unexplained:
        trace = folder / _file_name(signature)
        if trace.exists():
            tally.files[signature] = trace
    return tally, done


def _line(result: Result) -> dict[str, object]:
    return {
        "number": result.number,
        "steps": result.steps,
        "signature": result.signature,
        "explained": result.explained,
        "told": result.told,
    }


def _keep(plan: Plan, folder: Path, result: Result, tally: Tally) -> None:
    """Save a new finding as a trace."""
    if not (result.is_unexplained and result.trace) or result.signature in tally.files:
        return
    path = folder / _file_name(result.signature)
    name = f"fuzz {plan.seed}/{result.number}"
    lines.save(path, lines.header(plan.reference, "", name=name, found=result.told), result.trace)
    tally.files[result.signature] = path


def _file_name(signature: str) -> str:
    return re.sub("[^A-Za-z0-9_]+", "-", signature).strip("-")[:100] + ".jsonl"
