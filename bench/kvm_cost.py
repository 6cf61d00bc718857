"""What `kvm:` and the agent cost above a bare ioctl loop: measured inside one lab, in one run.

    python bench/kvm_cost.py [CPU] [KERNEL] [ROUNDS]

The bounds are issue-sized promises: `kvm:` at most 1.5 times the bare loop, the agent at most
twice `kvm:`. Exit code 1 if one does not hold, 2 if there is no lab.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "src"))

from armkvm.backends.lab.commands import run  # noqa: E402
from armkvm.backends.lab.place import LabOptions, open_lab  # noqa: E402
from armkvm.errors import PlaceError  # noqa: E402

COMPILER = "aarch64-linux-gnu-gcc"


def c_loop() -> bytes | None:
    """The loop in C as a static arm64 program, if there is a compiler."""
    if shutil.which(COMPILER) is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "onereg"
        subprocess.run([COMPILER, "-O2", "-static", "-o", program, HERE / "onereg.c"], check=True)
        return program.read_bytes()


def main(cpu: str = "max", kernel: str = "6.12", rounds: str = "30") -> int:
    """Measure, print a table, and say whether the bounds hold."""
    options = LabOptions.parse(cpu, {"kernel": kernel, "boot_timeout": "300"})
    files = {"/run/inside_kvm.py": (HERE / "inside_kvm.py").read_bytes()}
    words = ["python3", "/run/inside_kvm.py", rounds]
    if (program := c_loop()) is not None:
        files["/run/onereg"] = program
        words.append("/run/onereg")
    out, err = bytearray(), bytearray()
    try:
        code = run(options, words, files=files, out=out.extend, err=err.extend)
    except PlaceError as error:
        print(error, file=sys.stderr)
        return 2
    if code:
        sys.stderr.write(err.decode())
        return 2
    result = json.loads(out)
    cost = result["us_per_call"]
    print(f"{options.uri}: {result['registers']} registers, read and written back, {result['rounds']} rounds")
    for name in sorted(cost, key=cost.__getitem__):
        print(f"  {name:<16} {cost[name]:8.2f} us per call  {cost[name] / cost['bare']:5.2f} x bare")
    holds = cost["kvm"] <= 1.5 * cost["bare"] and cost["agent"] <= 2 * cost["kvm"]
    print("bounds hold" if holds else "BOUNDS DO NOT HOLD: kvm <= 1.5 bare, agent <= 2 kvm")
    start = time.perf_counter()
    with open_lab(options) as system:
        system.api_version()
        seconds = time.perf_counter() - start
        print(f"from URI to first answer: {seconds:.2f} s (resumed: {system.machine.resumed})")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
