"""`python -m tests.fuzz`: tries cases until the time is up, prints how many, and every way in which the rule broke."""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz import world
from tests.fuzz.cases import Outcome, run_case
from tests.fuzz.verbs import VERBS, Verb

_SHOW_SECONDS = 30  # between two lines of progress


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every case kept the rule, 1 otherwise."""
    options = _options(arguments)
    verbs = [verb for verb in VERBS if (verb.trained is False or options.trained) and options.verb in verb.call[0]]
    with tempfile.TemporaryDirectory(prefix="pairfld-fuzz-") as scratch:
        folder = Path(scratch)
        there = options.world.absolute() if options.world else folder / "world"
        if not there.is_dir():
            _build(there, options.trained)
        # so deep that an argument of ../.. does not lead to the whole temporary folder
        (folder / "far" / "below").mkdir(parents=True)
        _load_modules()
        if options.case is not None:
            outcome = run_case(options.seed, options.case, there, folder / "far" / "below" / "case", verbs)
            print(outcome.text() + "--- stdout\n" + outcome.stdout[-4000:])
            return 1 if outcome.errors else 0
        outcomes = _try(options, verbs, there, folder / "far" / "below" / "case")
    return _report(outcomes, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--cases", type=int, default=10**9, help="stop after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="this one alone, with what it printed")
    parser.add_argument("--verb", default="", help="verbs with this in their name only")
    parser.add_argument("--world", type=Path, help="keep the undamaged files here, and take them from here next time")
    parser.add_argument("--untrained", dest="trained", action="store_false", help="leave out what needs a trained net")
    return parser.parse_args(arguments)


def _build(folder: Path, trained: bool) -> None:
    """In a process of its own: after a step of training, a fork of this one could not train."""
    process = multiprocessing.get_context("fork").Process(target=_build_there, args=(folder, trained))
    process.start()
    process.join()
    if process.exitcode:
        sys.exit("the world of the fuzzer could not be built")


def _build_there(folder: Path, trained: bool) -> None:
    folder.mkdir()
    os.chdir(folder)
    world.build(Path(), trained=trained)


def _load_modules() -> None:
    """Once here rather than in every fork; nothing may start a thread."""
    import cv2
    import torch

    import pair_fld.cli.app
    import pair_fld.evaluate.validate
    import pair_fld.export.quantization.run
    import pair_fld.train.distill  # noqa: F401

    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def _try(options: argparse.Namespace, verbs: Sequence[Verb], there: Path, scratch: Path) -> list[Outcome]:
    outcomes: list[Outcome] = []
    started = shown = time.monotonic()
    for number in range(options.cases):
        if time.monotonic() - started > 60 * options.minutes:
            break
        outcomes.append(run_case(options.seed, number, there, scratch, verbs))
        if outcomes[-1].errors:
            print(outcomes[-1].text(), file=sys.stderr, flush=True)
        if time.monotonic() - shown > _SHOW_SECONDS:
            shown = time.monotonic()
            print(f"{len(outcomes)} cases, {(shown - started) / 60:.1f} min", file=sys.stderr, flush=True)
    return outcomes


def _report(outcomes: list[Outcome], options: argparse.Namespace) -> int:
    broken = [outcome for outcome in outcomes if outcome.errors]
    codes = Counter(outcome.code for outcome in outcomes)
    verbs = Counter(outcome.call[0] for outcome in outcomes)
    print(f"{len(outcomes)} cases tried with seed {options.seed}, {len(broken)} broke the rule")
    print("exit codes:", ", ".join(f"{code}: {count}" for code, count in sorted(codes.items())))
    print("verbs:", ", ".join(f"{verb} {count}" for verb, count in verbs.most_common()))
    for signature, count in Counter(outcome.signature() for outcome in broken).most_common():
        first = next(outcome for outcome in broken if outcome.signature() == signature)
        print(f"{count} x {signature}  (case {first.number}: {'; '.join(first.done)[:160]})")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
