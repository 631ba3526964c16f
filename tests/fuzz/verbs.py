"""The calls that are tried: what each reads, what of it is damaged, and what it may change."""

from __future__ import annotations

from dataclasses import dataclass

_RECIPE = ("--recipe", "recipe.yaml")
_IN_WORK = (*_RECIPE, "--work", "work")
# ablate leaves out the heatmap terms or the coordinate terms of the distillation, so it wants both
_HEATMAPS = ("student.train.steps_per_epoch=1", "student.train.epochs=1", "student.model.arch=heatmap_net",
             "student.model.options={stem: 8, stages: [[1, 8, 1, 2]], width: 8}",
             "student.train.losses={wing: 1.0, kd_wing: 1.0, heatmap: 1.0, kd_heatmap: 1.0}")  # fmt: skip


@dataclass(frozen=True)
class Verb:
    """A call of the command line.

    damaged: patterns of the files that one of is damaged. changes: beginnings of the paths that it may write, replace
    or remove; elsewhere nothing may change. weight: how often it is drawn. trained: needs the stages' results.
    section: what overrides of the recipe begin with; empty where the verb takes none.
    """

    call: tuple[str, ...]
    damaged: tuple[str, ...]
    changes: tuple[str, ...] = ("out",)
    weight: float = 1.0
    trained: bool = True
    section: str = ""


FACES = ("faces/*/*", "table.csv")
PACK = ("work/data/*",)

VERBS = (
    Verb(("predict", "photos", "--out", "out", "--jobs", "1"), ("photos/*",), weight=3, trained=False),
    Verb(("predict", "photos", "--draw", "out/d", "--json", "out/a.json", "--csv", "out/a.csv", "--sheet",
          "out/a.png", "--jobs", "1"), ("photos/*",), weight=2, trained=False),
    Verb(("predict", "list.txt", "--out", "out", "--jobs", "1"), ("list.txt", "photos/*"), weight=2, trained=False),
    Verb(("predict", "clip.mp4", "--out", "out", "--frames", "2"), ("clip.mp4",), weight=2, trained=False),
    Verb(("predict", "photos", "--out", "texts", "--resume", "--jobs", "1"), ("texts/*/*", "photos/*"),
         changes=("texts/",), trained=False),
    Verb(("predict", "faces", "--out", "texts", "--jobs", "1"), ("faces/*/*", "texts/*/*"), changes=(),
         trained=False),
    Verb(("predict", "photos/a.jpg", "--archive", "archive.zip", "--out", "out"), ("archive.zip",), weight=2,
         trained=False),
    Verb(("prepare", *_RECIPE, "--work", "out"), (*FACES, "recipe.yaml"), weight=4, trained=False, section="data"),
    Verb(("prepare", *_IN_WORK, "--resume"), (*PACK, "recipe.yaml"), changes=(), section="data"),
    Verb(("validate", "texts", "--images", "faces", "--out", "out"), ("texts/*/*", "faces/*/*"), weight=2,
         trained=False),
    Verb(("validate", "texts", "--images", "table.csv", "--out", "out"), ("texts/*/*", "table.csv"), trained=False),
    Verb(("validate", "model.tflite", "--images", "faces", "--out", "out"), ("model.tflite", *FACES), weight=2,
         trained=False),
    Verb(("validate", "work/quant/model-fp32.onnx", "--images", "faces", "--out", "out"), ("work/quant/*.onnx",),
         weight=2),
    Verb(("validate", "work/student/best.pt", "--images", "faces", "--out", "out"), ("work/student/best.pt",),
         weight=2),
    Verb(("validate", "work/student/best.pt", *_IN_WORK, "--split", "valid", "--out", "out"),
         (*PACK, "recipe.yaml"), weight=2),
    Verb(("runs",), ("run.json",), weight=0.5, trained=False),
    Verb(("runs", "--folder", "work"), ("work/teacher/run.json", "work/teacher/metrics.csv", "work/*/run.json"),
         weight=2),
    Verb(("runs", "show", "stopped", "--folder", "."), ("stopped/run.json", "stopped/metrics.csv"), weight=2),
    Verb(("train-teacher", *_IN_WORK, "--out", "out"), (*PACK, "recipe.yaml"), weight=3, section="teacher"),
    Verb(("train-teacher", *_IN_WORK, "--out", "stopped", "--resume", "teacher.train.lr=0.001"),
         ("stopped/*", "recipe.yaml"), changes=("stopped/",), weight=2, section="teacher"),
    Verb(("train-teacher", *_IN_WORK, "--out", "out", "--init-from", "work/teacher/best.pt"),
         ("work/teacher/best.pt",)),
    Verb(("distill", *_IN_WORK, "--out", "out"), ("work/*.npz", "work/teacher/best.pt", *PACK, "recipe.yaml"),
         changes=("out", "work/"), weight=3, section="student"),
    Verb(("quantize", *_IN_WORK, "--out", "out"), ("work/student/best.pt", *PACK, "recipe.yaml"), weight=0.5,
         section="quant"),
    Verb(("quantize", *_IN_WORK, "--resume"), ("work/quant/*", "work/student/best.pt", "recipe.yaml"),
         changes=(), section="quant"),
    Verb(("package", *_IN_WORK, "--out", "out"),
         ("work/quant/*", "work/package/*", "work/teacher/best.pt", *PACK, "recipe.yaml"),
         changes=("out", "work/"), weight=1, section="budget"),
    Verb(("package", *_IN_WORK, "--resume"), ("work/package/*", "work/quant/*", "recipe.yaml"), changes=(),
         section="budget"),
    Verb(("benchmark", "models", "work/quant/model-fp32.onnx", "--runs", "1", "--threads", "1", "--plot", "out.png"),
         ("work/quant/*.onnx",), weight=0.3),
    Verb(("benchmark", "models", "model.tflite", "--runs", "1", "--threads", "1", "--images", "table.csv"),
         ("model.tflite", "table.csv"), weight=0.3, trained=False),
    Verb(("train-detector", *_IN_WORK, "--out", "out", "steps=1", "synthetic_images=1", "negative_images=1"), (*PACK,),
         weight=0.3),
    Verb(("audit", "work/data", "--out", "out"), PACK, weight=0.7),
    Verb(("audit", "work/data", "--out", "out", "--labels", "drafts", "--scheme", "map.npz"), ("drafts/*", "map.npz"),
         weight=0.7),
    Verb(("fit-scheme", "--from", "drafts", "--to", "faces", "--out", "out.npz"), ("drafts/*", *FACES), weight=0.7),
    Verb(("annotate", "annotator", "faces", "--out", "drafts", "--one-flip", "--resume"), ("drafts/*", "annotator/*"),
         changes=("drafts/",), weight=0.5),
    Verb(("annotate", "annotator", "faces", "--out", "out", "--one-flip"), ("annotator/*", *FACES), weight=0.2),
    Verb(("ablate", *_IN_WORK, "--out", "out", "--seeds", "2", "--jobs", "1", *_HEATMAPS),
         ("work/*.npz", "work/teacher/best.pt", *PACK, "recipe.yaml"), changes=("out", "work/"), weight=0.2,
         section="student"),
    Verb(("report", "stopped", "model.tflite", "archive.zip", "--images", "faces", "--out", "out"),
         ("stopped/*", "model.tflite", "archive.zip", *FACES), weight=0.5),
    Verb(("report", "archive.zip", "--out", "out"), ("archive.zip",), weight=0.5, trained=False),
    Verb(("new", "mine", "faces", "table.csv", "--out", "out"), FACES, weight=0.5, trained=False),
    Verb(("configs", "show", "recipe.yaml"), ("recipe.yaml",), weight=0.5, trained=False),
)  # fmt: skip
