"""Checkpoints: whole or absent, plain data only, and of the right architecture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pair_fld.config import ModelConfig
from pair_fld.errors import PairError
from pair_fld.models import build_model
from pair_fld.models.checkpoint import load_checkpoint, load_model, load_weights, save_checkpoint

CONFIG = ModelConfig(arch="coord_net", input_size=64, options={"stages": [[2, 16, 1, 2], [2, 24, 1, 2]], "neck": 16})


class Evil:
    """What a pickle could run on loading."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("ran"),)  # type: ignore[return-value]


def test_round_trip_gives_the_same_network(tmp_path: Path) -> None:
    net = build_model(CONFIG).eval()
    path = tmp_path / "a.pt"
    save_checkpoint(path, {"ema": net.state_dict(), "record": {"config": {"model": CONFIG.model_dump(mode="json")}}})
    again, _ = load_model(path)
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(again(x), net(x))


def test_code_in_a_checkpoint_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": 1, "ema": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(
        PairError, match=r"another or damaged file \(not tensors and plain values alone\)\. Train again"
    ):
        load_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"not a checkpoint", "another or damaged file"),
        (b"PK\x03\x04cut short", "a truncated file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b"\0" * 5000, "a file of zeros"),
        # an old pickle, opcode "GLOBAL" of a name without a module: no error class of torch's own
        (b"\x80\x02cos\n", "another or damaged file"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "bad.pt"
    path.write_bytes(content)
    with pytest.raises(PairError, match=f"expected a checkpoint of pairfld, found {found}"):
        load_checkpoint(path)


def test_every_truncation_is_a_sentence(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "whole.pt", {"ema": {"w": torch.zeros(300)}, "record": {"config": {}}})
    whole = (tmp_path / "whole.pt").read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        with pytest.raises(PairError, match=r"found (an empty|a truncated|another or damaged) file"):
            load_checkpoint(tmp_path / "cut.pt")


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ({"format": torch.zeros(3)}, "expected a pairfld checkpoint of format 1, found another file"),
        ({"ema": {}}, "expected a checkpoint of a training run, found another file of pairfld"),
        ({"ema": [], "record": {"config": {}}}, "found another file of pairfld"),
        ({"ema": {"w": 5}, "record": {"config": {}}}, "found another file of pairfld"),
        ({"ema": {}, "record": {"config": {"model": 5}}}, "expected a checkpoint with the settings of its net"),
        ({"ema": {}, "record": {"config": {"model": {"arch": "coord_net", "input_size": "x"}}}}, "settings of its net"),
        ({"ema": {}, "record": {"config": {"model": CONFIG.model_dump(mode="json")}}}, "another architecture"),
    ],
)
def test_parts_of_another_type(tmp_path: Path, state: dict, found: str) -> None:
    save_checkpoint(tmp_path / "odd.pt", state)
    with pytest.raises(PairError, match=found):
        load_model(tmp_path / "odd.pt")


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(PairError, match="found no such file"):
        load_checkpoint(tmp_path / "none.pt")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "foreign.pt")
    with pytest.raises(PairError, match="expected a pairfld checkpoint of format 1, found another file"):
        load_checkpoint(tmp_path / "foreign.pt")


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    other = build_model(ModelConfig(arch="heatmap_net", input_size=64))
    with pytest.raises(PairError, match=r"expected weights of coord_net .* found those of another architecture"):
        load_weights(build_model(CONFIG), other.state_dict(), tmp_path / "x.pt")
