"""One case: a fresh copy of the world, damage drawn from (seed, number), a call in a process of its own, the rule."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from tests.fuzz.damage import VALUES, WORDS, damage
from tests.fuzz.verbs import VERBS, Verb

CPU_SECONDS = 60  # that a call may compute; on a busy machine this takes longer
SECONDS = 900  # that a call may take
MEMORY = 16 * 2**30  # bytes of address space that a call may take
_KEYS = {
    "data": ("pack_size", "pack_margin", "valid_fraction", "seed", "num_workers", "sources.0.weight", "sources.0.kind",
             "sources.0.path", "sources.0.split", "sources.0.labels", "sources.0.identity", "sources.1.count", "root",
             "near_duplicate_distance", "sources.0.name", "sources"),
    "teacher": ("train.epochs", "train.batch_size", "train.lr", "train.seed", "train.threads", "train.losses",
                "train.losses.wing", "train.weights", "train.ema_decay", "train.grad_clip", "train.warmup_epochs",
                "model.arch", "model.input_size", "model.margin", "model.options", "model.options.stem",
                "model.options.stages", "train.augment.rotation", "train.augment.scale", "train.checkpoint_minutes"),
    "student": ("train.losses", "train.losses.kd_wing", "distill.views", "model.options.neck", "train.steps_per_epoch"),
    "quant": ("precisions", "formats", "method", "calibration_images", "release", "max_drift_px"),
    "budget": ("model_mb.max", "required_files", "archive_mb"),
}  # fmt: skip
_SECRET = re.compile(r"0x[0-9a-f]+|\d+")


@dataclass
class Outcome:
    """What became of a case. errors: how it broke the rule, none when it kept it."""

    number: int
    call: list[str]
    done: list[str]
    code: int = -1
    seconds: float = 0.0
    stdout: str = ""
    stderr: str = ""
    errors: list[str] = field(default_factory=list)

    def signature(self) -> str:
        """The same for errors of one cause: the rule that broke, and the last line of ours in the traceback."""
        ours = re.findall(r'File "[^"]*/(pair_fld/[^"]+)", line (\d+)', self.stderr)
        last = [line for line in self.stderr.splitlines() if line.strip()][-1:] or [""]
        where = ":".join(ours[-1]) if ours else f"{self.call[0]}"
        return f"{_SECRET.sub('#', self.errors[0][:60])} | {where} | {_SECRET.sub('#', last[0])[:80]}"

    def text(self) -> str:
        """Everything about it."""
        done = "\n".join(f"  {line}" for line in self.done)
        errors = "\n".join(f"  {line}" for line in self.errors)
        return (
            f"case {self.number}: pairfld {' '.join(self.call)}\ndamage:\n{done}\nerrors:\n{errors}\n"
            f"exit {self.code} after {self.seconds:.1f} s\n--- stderr\n{self.stderr[-4000:]}\n"
        )


def run_case(seed: int, number: int, world: Path, scratch: Path, verbs: Sequence[Verb] = VERBS) -> Outcome:
    """Try the case (seed, number) in the folder `scratch`, which is emptied before and after."""
    rng = random.Random(f"{seed}:{number}")
    verb = rng.choices(verbs, [verb.weight for verb in verbs])[0]
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(world, scratch, symlinks=True)
    with contextlib.chdir(scratch):
        call, done = list(verb.call), []
        if rng.random() < 0.85 or not verb.section:
            for _ in range(rng.choice((1, 1, 1, 2))):
                files = [p for pattern in verb.damaged for p in sorted(Path().glob(pattern)) if p.is_file()]
                if files:
                    done.append(damage(rng.choice(files), rng))
        if verb.section and (not done or rng.random() < 0.3):
            call.append(_override(verb.section, rng))
        odd_argument = rng.random() < 0.05 and len(call) > 1
        if odd_argument:
            call[rng.randrange(1, len(call))] = rng.choice(WORDS).replace("\0", "")
            done.append("an argument replaced")
        outcome = Outcome(number, call, done)
        before = snapshot(Path())
        _call(outcome)
        # where results go is not known of an argument that was replaced
        after = {path: what for path, what in snapshot(Path()).items() if not odd_argument or path in before}
        _judge(outcome, before, after, verb)
    shutil.rmtree(scratch, ignore_errors=True)
    return outcome


def _override(section: str, rng: random.Random) -> str:
    value = rng.choice((*VALUES, *WORDS))
    text = str(value).replace("\0", "").replace("None", "null")
    return f"{section}.{rng.choice(_KEYS[section])}={text}".encode("utf-8", errors="ignore").decode()


def snapshot(folder: Path) -> dict[str, str]:
    """Every path below a folder with what it is: hash of a file, target of a link, "folder"."""
    found = {}
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(root, name)
            if os.path.islink(path):
                found[path] = f"link {os.readlink(path)}"
            elif os.path.isdir(path):
                found[path] = "folder"
            else:
                found[path] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return {path.removeprefix("./"): what for path, what in found.items()}


def _call(outcome: Outcome) -> None:
    """Run the console's entry point in a fork of this process."""
    started = time.monotonic()
    folder = Path("..")
    streams = [folder / "stdout", folder / "stderr"]
    child = os.fork()
    if child == 0:
        try:
            _as_console(outcome.call, streams)
        finally:
            os._exit(99)  # never reached but for an error of the fuzzer's own
    code = None
    while code is None and time.monotonic() - started < SECONDS:
        pid, status = os.waitpid(child, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status) if pid else None
        time.sleep(0.005)
    if code is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        outcome.errors.append(f"did not end within {SECONDS} s")
    outcome.code, outcome.seconds = -9 if code is None else code, time.monotonic() - started
    outcome.stdout, outcome.stderr = (stream.read_text(errors="replace") for stream in streams)


def _as_console(call: list[str], streams: list[Path]) -> None:
    os.setpgid(0, 0)
    for number, stream in enumerate(streams, 1):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(k, mode) for k, mode in ((0, "r"), (1, "w"), (2, "w")))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    from pair_fld.cli import console
    from pair_fld.cli.app import main

    for terminal in (console.out, console.err):  # made for the streams of the parent
        terminal._force_terminal = False
    code: object = 0
    with mock.patch.object(sys, "argv", ["pairfld", *call]):
        try:
            main()
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
            code = 99
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 98)


def _judge(outcome: Outcome, before: dict[str, str], after: dict[str, str], verb: Verb) -> None:
    if outcome.errors:
        return
    if outcome.code not in (0, 1, 2):
        outcome.errors.append(f"exit code {outcome.code}")
    for word in ("Traceback (most recent call last)", "Exception in thread", "Exception ignored in"):
        if word in outcome.stderr + outcome.stdout:
            outcome.errors.append(word)
    if outcome.code in (1, 2) and not any(len(line.split()) >= 3 for line in outcome.stderr.splitlines()):
        outcome.errors.append("failed without a sentence")
    outcome.errors += _changes(before, after, verb.changes)


def _changes(before: dict[str, str], after: dict[str, str], allowed: Sequence[str]) -> Iterator[str]:
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path) and not any(path.startswith(prefix) for prefix in allowed):
            word = "written" if path not in before else "removed" if path not in after else "changed"
            yield f"{path[:80]!r} was {word}"
