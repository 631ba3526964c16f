"""Runs that are interrupted in every way: nothing is lost, and what follows is as if nothing had happened."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pair_fld.data.dataset import FaceDataset
from pair_fld.errors import PairError
from pair_fld.models.checkpoint import load_checkpoint
from pair_fld.train import trainer as loop
from pair_fld.train.interrupts import StopSignals
from pair_fld.train.lock import is_locked, locked
from pair_fld.train.metric_log import METRICS
from pair_fld.train.resume import LAST
from tests.train.settings import TINY, stage, train, weights

ROOT = Path(__file__).parents[2]
# a checkpoint after every step, so that a kill also meets half-written files
CHILD = """
import sys
from pathlib import Path
from pair_fld.data.dataset import FaceDataset
from tests.train.settings import TINY, stage, train
train(stage(TINY, epochs=8, checkpoint_minutes=1e-9), FaceDataset(sys.argv[1]), Path(sys.argv[2]), resume=True,
    report=lambda p: print(p.step, flush=True))
"""


def child(dataset: Path, out: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(dataset), str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
def test_killed_at_random_equals_uninterrupted(dot_pack: Path, tmp_path: Path) -> None:
    settings = stage(TINY, epochs=8, checkpoint_minutes=1e-9)
    train(settings, FaceDataset(dot_pack), tmp_path / "straight")
    seed = int(time.time())
    rng, killed = random.Random(seed), []
    for low, high in ((2, 12), (14, 30)):  # of 40 steps; epochs end at every fifth
        with child(dot_pack, tmp_path / "killed") as process:
            assert process.stdout is not None
            limit = rng.randint(low, high)
            for line in process.stdout:
                if int(line) >= limit:
                    time.sleep(rng.uniform(0, 0.03))  # a step takes about that: anywhere within it
                    process.kill()
                    break
        killed.append(process.returncode)
    assert killed == [-signal.SIGKILL] * 2
    assert 2 <= load_checkpoint(tmp_path / "killed" / LAST)["step"] < 40
    (tmp_path / "killed/.last.1.tmp.pt").write_bytes(b"half a checkpoint")
    train(settings, FaceDataset(dot_pack), tmp_path / "killed", resume=True)
    assert weights(tmp_path / "straight" / LAST).equal(weights(tmp_path / "killed" / LAST)), f"seed {seed}"
    assert (tmp_path / "killed" / METRICS).read_bytes() == (tmp_path / "straight" / METRICS).read_bytes()
    assert load_checkpoint(tmp_path / "killed" / LAST)["best"] == load_checkpoint(tmp_path / "straight" / LAST)["best"]
    assert not list((tmp_path / "killed").glob(".*.tmp*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_let_the_step_end_and_save_it(dot_pack: Path, tmp_path: Path, number: int) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def report(progress: loop.TrainProgress) -> None:
        if progress.step == 3:
            os.kill(os.getpid(), number)

    train(stage(TINY), FaceDataset(dot_pack), tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        train(stage(TINY), FaceDataset(dot_pack), tmp_path / "run", report=report)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert load_checkpoint(tmp_path / "run" / LAST)["step"] == 4  # the step after the one that was reported
    train(stage(TINY), FaceDataset(dot_pack), tmp_path / "run", resume=True)
    assert weights(tmp_path / "straight" / LAST).equal(weights(tmp_path / "run" / LAST))


def test_a_second_ctrl_c_does_not_wait() -> None:
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.stop_requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_full_disk_keeps_the_checkpoint_before(
    dot_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, real = stage(TINY, checkpoint_minutes=1e-9), loop.save_checkpoint

    def save(path: Path, state: dict) -> None:
        if state["step"] == 7:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, state)

    train(settings, FaceDataset(dot_pack), tmp_path / "straight")
    monkeypatch.setattr(loop, "save_checkpoint", save)
    with pytest.raises(PairError, match=r"the checkpoint of step 7 could not be written .*No space left.*--resume"):
        train(settings, FaceDataset(dot_pack), tmp_path / "run")
    monkeypatch.undo()
    assert load_checkpoint(tmp_path / "run" / LAST)["step"] == 6
    train(settings, FaceDataset(dot_pack), tmp_path / "run", resume=True)
    assert weights(tmp_path / "straight" / LAST).equal(weights(tmp_path / "run" / LAST))


def test_torch_running_out_of_space_is_told_too(dot_pack: Path, tmp_path: Path) -> None:
    """The system itself refuses to let files grow: torch's writer then raises RuntimeError."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        with pytest.raises(PairError, match="checkpoint of step 5 could not be written"):
            train(stage(TINY), FaceDataset(dot_pack), tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list((tmp_path / "run").glob("*.pt"))


def test_one_process_a_folder(dot_pack: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(stage(TINY, epochs=1), FaceDataset(dot_pack), out)
    assert not is_locked(out)
    with locked(out):
        assert is_locked(out)
        for how in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(PairError, match="another process is training in this folder"):
                train(stage(TINY, epochs=1), FaceDataset(dot_pack), out, **how)
    assert not is_locked(out)
