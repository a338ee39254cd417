"""Feed everything that reads bytes from outside with what nobody would send, part by part, and say how it took it.

    python -m scripts.fuzz                                   every part, 5,000 inputs each
    python -m scripts.fuzz --part invite --inputs 100000     one part
    python -m scripts.fuzz --engine damage                   without guidance by coverage

The parts are the targets of `tests/fuzz/targets.py`. Each runs in a process of its own, by atheris (libFuzzer), which
keeps the inputs that reach new code and goes on from them; where atheris is not to be had, good inputs are damaged at
random instead, and that is said. It fails if anything but a typed error comes out, if an input takes longer than
a second, or if a process takes more than 256 MiB. `--keep` adds a few of the small inputs that reached new code to the
corpus in the repository.
"""

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

INPUT_S_MAX: Final = 1.0
PEAK_BYTES_MAX: Final = 256 * 2**20
HANG_S: Final = 20
"""After that long with one input libFuzzer ends the process."""
PART_S_MAX: Final = 3_600
FAILURES_SHOWN_MAX: Final = 5
KEPT_BYTES_MAX: Final = 160
ENGINES: Final = ("atheris", "damage")

Feed = Callable[[bytes], bool]


@dataclass(slots=True, kw_only=True)
class Findings:
    """What came of a part.

    Args:
        inputs: How many were fed.
        taken: How many of these were read, not refused.
        exceptions: How many ended with anything but a typed error.
        slowest_s: The longest time that one took.
        peak_bytes: The most memory that the process held, the interpreter and our code included.
        failures: Some of the exceptions, each with its input in hexadecimal.
    """

    inputs: int = 0
    taken: int = 0
    exceptions: int = 0
    slowest_s: float = 0.0
    peak_bytes: int = 0
    failures: list[str] = field(default_factory=list)

    def problems(self, wanted: int) -> list[str]:
        """Say what is wrong, if anything is."""
        found = list(self.failures)
        if self.inputs < wanted:
            found.append(f"it ended after {self.inputs} of {wanted} inputs")
        if self.slowest_s > INPUT_S_MAX:
            found.append(f"an input took {self.slowest_s:.2f} s")
        if self.peak_bytes > PEAK_BYTES_MAX:
            found.append(f"it took {self.peak_bytes / 2**20:.0f} MiB")
        return found


class Meter:
    """Feeds, measures, and goes on whatever happens.

    Args:
        feed: Takes one input and says whether it was read; typed errors do not come out of it.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.findings = Findings()

    def take(self, data: bytes) -> None:
        """Feed one input."""
        findings = self.findings
        started = time.perf_counter()
        try:
            findings.taken += self._feed(data)
        except Exception as error:  # noqa: BLE001 - that nothing of the kind happens is what this is for
            self._note(error, data)
        findings.slowest_s = max(findings.slowest_s, time.perf_counter() - started)
        findings.inputs += 1

    def _note(self, error: Exception, data: bytes) -> None:
        findings = self.findings
        findings.exceptions += 1
        if len(findings.failures) < FAILURES_SHOWN_MAX:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(frame.filename).name}:{frame.lineno}"
            findings.failures.append(f"{error!r} at {place} for {data.hex()}")

    def report(self, path: Path) -> None:
        """Write down the findings so far."""
        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.findings.peak_bytes = usage * (1 if sys.platform == "darwin" else 1024)
        path.write_text(json.dumps(asdict(self.findings)), encoding="utf-8")


# -- One part, in a process of its own --


def damage_at_random(name: str, inputs: int, seed: int, folder: Path) -> None:
    """Feed a target with damaged inputs."""
    from tests.fuzz.damage import damage  # noqa: PLC0415 - in the process of the part alone
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415

    target = next(each for each in TARGETS if each.name == name)
    meter, corpus, chance = (
        Meter(target.try_input),
        target.corpus(),
        random.Random(f"{seed} {name}"),
    )
    for _ in range(inputs):
        meter.take(damage(chance, corpus))
    meter.report(folder / "findings")


def follow_coverage(name: str, inputs: int, seed: int, folder: Path) -> None:
    """Let libFuzzer feed a target; ends the process."""
    import atheris  # noqa: PLC0415 - in the process of the part alone

    with atheris.instrument_imports(include=["domain", "adapters", "node"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415
    from tests.fuzz.damage import BYTES_MAX  # noqa: PLC0415

    target = next(each for each in TARGETS if each.name == name)
    corpus = folder / "corpus"
    corpus.mkdir()
    for data in target.corpus():
        (corpus / _file_name(data)).write_bytes(data)
    meter = Meter(target.try_input)

    def take(data: bytes) -> None:
        meter.take(data)
        if meter.findings.inputs >= inputs:
            meter.report(folder / "findings")
            os._exit(0)  # libFuzzer counts its own repetitions too, and never returns

    options = [f"-seed={seed + 1}", f"-max_len={BYTES_MAX}", f"-timeout={HANG_S}"]
    quiet = ["-verbosity=0", f"-artifact_prefix={folder}/", "-rss_limit_mb=0"]
    atheris.Setup([sys.argv[0], *options, *quiet, str(corpus)], take)
    atheris.Fuzz()


def _file_name(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


# -- All of them --


def available_engine() -> str:
    """The engine to use where none is asked for."""
    done = subprocess.run(
        [sys.executable, "-c", "import atheris"], capture_output=True, check=False
    )
    if done.returncode == 0:
        return "atheris"
    version, machine = platform.python_version(), f"{sys.platform} {platform.machine()}"
    print(
        f"SKIPPED: guidance by coverage. atheris is not installed, as there is none for Python {version} on {machine};"
        " good inputs are damaged at random instead.",
        file=sys.stderr,
    )
    return "damage"


def run_part(name: str, inputs: int, seed: int, engine: str, folder: Path) -> tuple[Findings, str]:
    """Run a part in a process of its own; gives the findings, and the end of what it said if it did not end well."""
    command = [sys.executable, "-m", "scripts.fuzz", "--worker", str(folder), "--part", name]
    numbers = ["--inputs", str(inputs), "--seed", str(seed), "--engine", engine]
    try:
        done = subprocess.run(
            [*command, *numbers],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PART_S_MAX,
            check=False,
        )
        said, is_well = done.stdout.decode(errors="replace"), done.returncode == 0
    except subprocess.TimeoutExpired:
        said, is_well = f"not over after {PART_S_MAX} s", False
    path = folder / "findings"
    if not path.is_file():
        return Findings(), said[-2_000:]
    return Findings(**json.loads(path.read_text(encoding="utf-8"))), "" if is_well else said[
        -2_000:
    ]


def keep(name: str, folder: Path, count: int, corpus: Path) -> None:
    """Add the smallest of the inputs that reached new code to the corpus in the repository."""
    kept: dict[str, list[str]] = json.loads(corpus.read_text(encoding="utf-8"))
    found = {each.read_bytes() for each in (folder / "corpus").glob("*")}
    small = sorted(data.hex() for data in found if 0 < len(data) <= KEPT_BYTES_MAX)
    chosen = sorted(small, key=len)[-count:]
    kept[name] = sorted({*kept.get(name, ()), *chosen})
    corpus.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n", encoding="utf-8")


def names() -> list[str]:
    """The names of all parts."""
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - not before coverage is looked after

    return [target.name for target in TARGETS]


def main() -> int:
    """Run what the command line asks for."""
    arguments = _parse()
    parts: Sequence[str] = arguments.part or names()
    if arguments.worker is not None:
        work = {"atheris": follow_coverage, "damage": damage_at_random}[arguments.engine]
        work(parts[0], arguments.inputs, arguments.seed, arguments.worker)
        return 0
    engine = arguments.engine or available_engine()
    rows: dict[str, dict[str, Any]] = {}
    failed = 0
    for name in parts:
        with TemporaryDirectory(prefix="culm-fuzz-") as folder:
            found, said = run_part(name, arguments.inputs, arguments.seed, engine, Path(folder))
            if arguments.keep and engine == "atheris":
                keep(name, Path(folder), arguments.keep, ROOT / "tests" / "fuzz" / "corpus.json")
        problems = found.problems(arguments.inputs) + ([said] if said else [])
        failed += bool(problems)
        rows[name] = asdict(found)
        print(
            f"{name}: {found.inputs} inputs, {found.taken} taken, {found.exceptions} exceptions, slowest"
            f" {found.slowest_s * 1e3:.1f} ms, {found.peak_bytes / 2**20:.0f} MiB",
            *(f"\n  - {problem}" for problem in problems),
            flush=True,
        )
    total = sum(row["inputs"] for row in rows.values())
    if arguments.json:
        print(json.dumps({"engine": engine, "inputs": total, "failed": failed, "parts": rows}))
    else:
        print(f"{total} inputs by {engine}: {len(rows) - failed} parts passed, {failed} failed")
    return 1 if failed else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", action="append", help="run this one, not all")
    parser.add_argument("--inputs", type=int, default=5_000, help="so many for each part")
    parser.add_argument("--seed", type=int, default=0, help="what chance follows")
    parser.add_argument("--engine", choices=ENGINES, help="what makes the inputs")
    parser.add_argument(
        "--keep", type=int, default=0, help="add so many inputs of each to the corpus"
    )
    parser.add_argument("--json", action="store_true", help="say the result as JSON, last")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is None and (unknown := set(arguments.part or ()) - set(names())):
        parser.error(
            f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(names())}"
        )
    return arguments


if __name__ == "__main__":
    sys.exit(main())
