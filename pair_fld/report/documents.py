"""The figures of an archive's technical report: the same as the page's, without any face."""

from __future__ import annotations

import numpy as np

from pair_fld.evaluate.report import Result
from pair_fld.report.figures import NORMALISER, attribute_sheet, ced_figure, mean_face_figure
from pair_fld.report.pareto import Own, pareto_figures
from pair_fld.report.style import Plate
from pair_fld.report.tables import result_regions


def document_figures(name: str, result: Result, attributes: np.ndarray, size_mb: float) -> list[Plate]:
    """What was measured, drawn: errors over faces, over the face, over attributes, and over size among other models.

    A figure that nothing was measured for is absent; times are, because they belong to one machine.

    Args:
        name: of the model.
        result: on its test faces.
        attributes: (N, 6) of these faces.
        size_mb: of its file.
    """
    scored = result.overall[NORMALISER].faces
    plates: list[Plate | None] = [ced_figure({name: result}) if scored else None]
    finite = result.points[np.isfinite(result.points)]
    if len(finite):
        plates.append(mean_face_figure(name, result.points, result_regions(result), float(np.ceil(finite.max()))))
    plates.append(attribute_sheet(name, attributes, result))
    groups = {group: scores.to_json() for group, scores in result.groups().items()}
    plates += pareto_figures([Own(name, groups, size_mb)])[:1]
    return [plate for plate in plates if plate is not None]
