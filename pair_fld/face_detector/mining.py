"""Hard negatives: what the net takes for a face while it is trained, where no face is.

Every round looks at random views of the training images and of images that are drawn without faces. The false
detections with the highest scores are shown again in the steps that follow, a share `views.HARD` of all views. What a
round found is kept in the run folder as places, without pixels, and a continued run cuts the same views again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pair_fld.config import DetectorConfig
from pair_fld.data.synthetic.faceless import draw_faceless
from pair_fld.errors import PairError
from pair_fld.face_detector.images import SCENE_SIDE, near_faces
from pair_fld.face_detector.views import View, cut, net_input, random_roll, without_faces
from pair_fld.io import read_json, write_json
from pair_fld.progress import Say, say_nothing
from pair_fld.runtime.centre_detector import decode_map
from pair_fld.runtime.frame import Frame, frame_matrix
from pair_fld.runtime.geometry import invert, transform_points
from pair_fld.runtime.search import SearchingDetector

RECORD_FILE = "hard-negatives.json"
FALSE = 0.3  # score from which a detection away from all faces is a false one
DOUBT = 0.3  # score of the teacher from which there may be a face that nobody labelled; lower, hardly anything is left
DRAWN = 0.5  # share of the views that show a drawn image; the others show training images
SURROUNDINGS = 1.6  # side of what is kept around a false detection, over the side of the view that it was made in
_VIEW_SIDES = (0.15, 1.05)  # over the image's longer side
_WITNESS_SIDE = 2.4  # over the detection's box, as BlazeFace's second view
_FACELESS_SEED = 13  # the fixed negatives, the threshold and the benchmark draw from other seeds
_BATCH = 64


@dataclass(frozen=True)
class FalseDetection:
    """draw: number of the random view in its round. x, y, side: _img, middle and side of its surroundings."""

    draw: int
    x: float
    y: float
    side: float


@dataclass(frozen=True)
class MiningRound:
    """What one round found.

    Attributes:
        number: of the round, from 0.
        step: training step before which it took place.
        views: random views that were looked at.
        false_drawn, false_photographs: views with a false detection, of drawn and of training images.
        kept: the false detections that training shows again.
    """

    number: int
    step: int
    views: int
    false_drawn: int
    false_photographs: int
    kept: tuple[FalseDetection, ...]


class HardNegatives:
    """The hard negatives of a training run.

    Args:
        images: training images, with the boxes of their faces.
        config: rounds, views per round and how many false detections each keeps.
        folder: the run folder.
        teacher: a detector that is asked whether a false detection is a face that nobody labelled.
        say: takes a sentence per round.

    Attributes:
        views: surroundings of the false detections of all rounds so far.
    """

    def __init__(
        self,
        images: Sequence[View],
        config: DetectorConfig,
        folder: Path,
        teacher: SearchingDetector | None = None,
        say: Say = say_nothing,
    ) -> None:
        self.images, self.config, self.path = images, config, folder / RECORD_FILE
        self.teacher, self.say = teacher, say
        self.views, self._rounds = list[View](), list[MiningRound]()

    def restore(self, step: int) -> None:
        """Take up the rounds that a run which continues at `step` has behind it.

        Raises:
            PairError: their record is damaged.
        """
        self._rounds = [one for one in _read(self.path) if one.step < step] if self.path.is_file() else []
        self.views = [view for one in self._rounds for view in self._kept(one)]

    def update(self, step: int, net: nn.Module) -> None:
        """Mine with `net` where a round is due before `step`: rounds part the training into equal stretches."""
        rounds = self.config.mining_rounds
        due = [self.config.steps * (k + 1) // (rounds + 1) for k in range(rounds)]
        if step in due:
            self.mine(step, net)

    def mine(self, step: int, net: nn.Module) -> MiningRound:
        """Look at new views with `net`, keep its false detections, and write the record."""
        number = len(self._rounds)
        found = list[tuple[float, FalseDetection]]()
        false = {True: 0, False: 0}
        for first in range(0, self.config.mining_views, _BATCH):
            draws = range(first, min(first + _BATCH, self.config.mining_views))
            sources = [self._draw(number, k) for k in draws]
            views = [cut(source, frame, self.config.input_size) for source, frame, _ in sources]
            outputs = _outputs(net, views)
            for k, (source, frame, drawn), view, output in zip(draws, sources, views, outputs, strict=True):
                best = false_detection(view, output)
                if best is None:
                    continue
                score, centre, size = best
                middle = transform_points(invert(frame_matrix(frame, len(view.image), 1.0)), centre)
                if not drawn and self._may_be_a_face(source, middle, size * frame.size / len(view.image)):
                    continue
                false[drawn] += 1
                x, y = middle.round(2).tolist()
                found.append((score, FalseDetection(k, x, y, round(frame.size * SURROUNDINGS, 2))))
        found.sort(key=lambda one: -one[0])
        kept = tuple(one for _, one in found[: self.config.hard_negatives])
        made = MiningRound(number, step, self.config.mining_views, false[True], false[False], kept)
        self._rounds.append(made)
        self.views += self._kept(made)
        write_json(self.path, [asdict(one) for one in self._rounds])
        self.say(f"step {step}: {len(found)} false detections in {made.views} views, {len(kept)} kept")
        return made

    def _draw(self, number: int, draw: int) -> tuple[View, Frame, bool]:
        """A random view of a round: the image that it is cut from, its frame, and whether the image is drawn."""
        rng = np.random.default_rng((self.config.seed, 3, number, draw))
        drawn = bool(rng.random() < DRAWN)
        if drawn:
            source = without_faces(draw_faceless(_FACELESS_SEED, int(rng.integers(2**31)), SCENE_SIDE)[1])
        else:
            source = self.images[int(rng.integers(len(self.images)))]
        height, width = source.image.shape[:2]
        side = max(height, width) * float(np.exp(rng.uniform(*np.log(_VIEW_SIDES))))
        x, y = (rng.uniform(0, 1, 2) * (width, height) - 0.5).tolist()
        return source, Frame((x, y), side, random_roll(rng)), drawn

    def _kept(self, one: MiningRound) -> list[View]:
        size = round(self.config.input_size * SURROUNDINGS)
        sources = [self._draw(one.number, found.draw)[0] for found in one.kept]
        return [cut(s, Frame((f.x, f.y), f.side), size) for s, f in zip(sources, one.kept, strict=True)]

    def _may_be_a_face(self, source: View, centre: np.ndarray, size: float) -> bool:
        """Whether the teacher sees something there, in any of four rolls."""
        if self.teacher is None:
            return False
        x, y = centre.tolist()
        for roll in (0.0, 90.0, 180.0, 270.0):
            view = cut(source, Frame((x, y), size * _WITNESS_SIDE, roll), self.teacher.side)
            if len(self.teacher.infer(view.image, DOUBT)[2]):
                return True
        return False


def false_detection(view: View, output: np.ndarray) -> tuple[float, np.ndarray, float] | None:
    """Score, centre (x, y) and longer side (view pixels) of the best detection away from all faces, doubtful ones too.

    Args:
        view: (S, S, 3) with the boxes of its faces.
        output: (15, H, H) of the net.

    Returns:
        None where none reaches `FALSE`.
    """
    side = len(view.image)
    boxes, _, scores = decode_map(output)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 * side - 0.5
    low, high = near_faces(view)
    near = ((centres[:, None] > low) & (centres[:, None] < high)).all(axis=-1).any(axis=-1)
    inside = ((centres >= -0.5) & (centres < side - 0.5)).all(axis=-1)
    scores = np.where(inside & ~near, scores, 0.0)
    best = int(scores.argmax())
    if scores[best] < FALSE:
        return None
    return float(scores[best]), centres[best], float((boxes[best, 2:] - boxes[best, :2]).max() * side)


@torch.no_grad()
def _outputs(net: nn.Module, views: Sequence[View]) -> np.ndarray:
    """(n, 15, H, H) of the net, whose mode stays as it was."""
    training, device = net.training, next(net.parameters()).device
    net.eval()
    pixels = net_input(views).contiguous(memory_format=torch.channels_last)
    outputs = net(pixels.to(device)).float().cpu().numpy()
    net.train(training)
    return outputs


def _read(path: Path) -> list[MiningRound]:
    tree = read_json(path, "the record of the hard negatives")
    try:
        return [replace(MiningRound(**one), kept=tuple(FalseDetection(**kept) for kept in one["kept"])) for one in tree]
    except (TypeError, KeyError):
        remedy = "Use another --out, or --overwrite to start anew."
        raise PairError(path, "the record of the hard negatives", "something else", remedy) from None
