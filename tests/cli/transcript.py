"""Transcripts: what a person types and sees, as a text file that a test repeats.

::

    $ armkvm regs --decode PC
    PC
      id        0x6030000000100040
    $ armkvm regs --decode FOO
    ! armkvm: no register is called 'FOO'; ...
    [2]

Lines with ``! `` were on stderr and come after stdout; ``[N]`` is the exit code where it is not 0.
A command that ends in ``2>/dev/null`` shows none of the former.
Commands of one file run in one folder, one after the other. ``python -m tests.cli.transcript FILE...``
writes the answers anew, for a person to read before they are committed; in a Markdown file those of
the blocks that begin with a prompt.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from tests.recordings import REPOSITORY, SHARED_DATA

from armkvm.cli.main import run

PROMPT = "$ "


def commands(text: str) -> list[str]:
    """The commands of a transcript."""
    return [line.removeprefix(PROMPT) for line in text.splitlines() if line.startswith(PROMPT)]


def repeat(text: str) -> str:
    """The transcript with its commands carried out here and now, in the current folder.

    The repository's example guests are in it.
    """
    examples = Path("examples")
    if not examples.exists():
        examples.symlink_to(REPOSITORY / "examples")
    return "".join(f"{PROMPT}{command}\n{_answer(command)}" for command in commands(text))


def _answer(command: str) -> str:
    program, *words = shlex.split(command)
    quiet = words[-1:] == ["2>/dev/null"]
    words = words[: len(words) - quiet]
    if program != "armkvm":
        return _prepare(program, words)
    out, err = io.StringIO(), io.StringIO()
    said = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = run(words)
        except SystemExit as left:
            status = int(left.code or 0)
            # argparse words its usage anew in every release of Python; what is wrong comes last
            said = [line.partition(" (choose from")[0] for line in err.getvalue().splitlines()[-1:]]
    lines = out.getvalue().splitlines()
    if not quiet:
        lines += [f"! {line}".rstrip() for line in (err.getvalue().splitlines() if said is None else said)]
    lines += [f"[{status}]"] if status else []
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _prepare(program: str, words: list[str]) -> str:
    """The few other commands that a transcript may use: ``echo TEXT > FILE``, ``sed OLD NEW FILE``."""
    if program == "echo":
        text, arrow, name = words
        assert arrow == ">"
        Path(name).write_text(f"{text}\n")
    elif program == "sed":
        old, new, name = words
        before = Path(name).read_text()
        assert old in before
        Path(name).write_text(before.replace(old, new, 1))
    else:
        raise ValueError(f"a transcript cannot run {program}")
    return ""


def furnish(folder: Path) -> bool:
    """Put the public fingerprints, where they are, into a folder under names like ``n1-5.10.json``."""
    found = sorted((SHARED_DATA / "firecracker").glob("fingerprint_ARM_NEOVERSE_*host.json"))
    for path in found:
        core, kernel = path.stem.removesuffix("host").split("_")[-2:]
        shutil.copyfile(path, folder / f"{core.lower()}-{kernel}.json")
    return bool(found)


def main() -> None:
    os.environ["COLUMNS"] = "100"
    for name in sys.argv[1:]:
        path = Path(name).resolve()
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            text = path.read_text()
            furnish(Path(folder))
            if path.suffix == ".md":
                path.write_text(_SHOWN.sub(lambda shown: f"```\n{repeat(shown[1])}```", text))
            else:
                path.write_text(repeat(text))


_SHOWN = re.compile(r"^```\n(\$ .*?)^```$", re.MULTILINE | re.DOTALL)


if __name__ == "__main__":
    main()
