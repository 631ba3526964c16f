"""torch module to a simplified ONNX file that carries its own metadata."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxsim
import torch

from pair_fld.errors import PairError
from pair_fld.io import atomic_path
from pair_fld.runtime.file_kind import known_error
from pair_fld.runtime.metadata import METADATA_KEY

INPUT = "input"
_TOLERANCE = 1e-4  # of the largest output, or of 1: float32 sums in another order
_OPSET = 18  # the lowest that the exporter writes: ONNX Runtime since 1.14 reads it


def export_onnx(
    module: torch.nn.Module,
    input_size: int,
    path: Path,
    metadata: dict[str, Any],
    output_name: str = "output",
) -> None:
    """Write `module` in eval mode as ONNX: float32 input "input" (batch, 3, S, S), one output.

    The batch axis is dynamic: in the simplified graphs of convolutional nets it costs no operator. BatchNorms
    are folded into the convolutions, constants are folded, and the result is run in ONNX Runtime against the
    module on random input. The file appears whole or not at all. The module's training flag is restored.

    Raises:
        PairError: the module cannot be traced, does not give one tensor, keeps a BatchNormalization, or the
            exported graph computes something else.
    """
    was_training = module.training
    module.eval()
    try:
        model, _ = onnxsim.simplify(_trace(module, input_size, path, output_name))
        _verify(module, model, input_size, path)
    finally:
        module.train(was_training)
    if left := [node.name for node in model.graph.node if node.op_type == "BatchNormalization"]:
        remedy = "Put each BatchNorm directly after a convolution."
        raise PairError(path, "BatchNorms folded into convolutions", f"unfolded {', '.join(left)}", remedy)
    set_metadata(model, metadata)
    save_onnx(model, path)


def _trace(module: torch.nn.Module, input_size: int, path: Path, output_name: str) -> onnx.ModelProto:
    parameter = next(module.parameters(), torch.zeros(0))
    # two faces: the exporter would take an example batch of one for a constant
    example = torch.zeros(2, 3, input_size, input_size, device=parameter.device)
    batch = torch.export.Dim("batch", min=1, max=4096)
    logger, level = logging.getLogger("torch.onnx"), logging.getLogger("torch.onnx").level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), _silence(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                input_names=[INPUT],
                output_names=[output_name],
                dynamic_shapes=({0: batch},),
                opset_version=_OPSET,
                verbose=False,
            )
    except Exception as error:  # the exporter raises classes of its own that share no base but Exception
        cause = str(error).strip().splitlines() or [type(error).__name__]
        remedy = "Write the model with plain operators; see the message of torch.onnx.export."
        raise PairError(path, "a module that torch.onnx can trace", cause[0][:300], remedy) from None
    finally:
        logger.setLevel(level)
    assert program is not None
    model = program.model_proto
    if len(model.graph.output) != 1:
        remedy = "Export the module that returns the landmarks only."
        raise PairError(path, "a module with one output tensor", f"{len(model.graph.output)}", remedy)
    return model


def _verify(module: torch.nn.Module, model: onnx.ModelProto, input_size: int, path: Path) -> None:
    """ONNX Runtime and torch on the same random faces; a batch of three shows a batch axis frozen at two."""
    parameter = next(module.parameters(), torch.zeros(0))
    x = torch.rand(3, 3, input_size, input_size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = module(x.to(parameter.device)).float().cpu().numpy()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    found: Any = session.run(None, {INPUT: x.numpy()})[0]
    error = float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")
    if not error <= _TOLERANCE * max(1.0, float(np.abs(expected).max())):
        remedy = "Look for operations that depend on the batch or on the values."
        raise PairError(path, "an ONNX graph equal to the module", f"a deviation of {error:.2g}", remedy)


@contextmanager
def _silence() -> Generator[None]:
    """The exporter reports its progress to the console."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield


def set_metadata(model: onnx.ModelProto, metadata: dict[str, Any]) -> None:
    """Attach the metadata that `pair_fld.runtime.session` reads, replacing what was there."""
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            entry.value = json.dumps(metadata)
            return
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(metadata)


def get_metadata(model: onnx.ModelProto) -> dict[str, Any]:
    """The metadata of a loaded ONNX file; empty when it has none."""
    texts = [entry.value for entry in model.metadata_props if entry.key == METADATA_KEY]
    return json.loads(texts[0]) if texts else {}


def load_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file with its external data; PairError when it or they are missing or damaged."""
    try:
        if error := known_error(path):
            raise PairError(path, "an ONNX file", error, "Copy it again, or export it again.")
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        raise PairError(path, "an ONNX file", found, "Check the path.") from None
    except PairError:
        raise
    except Exception as error:  # protobuf's DecodeError is not part of a public module
        raise PairError(path, "an ONNX file", f"truncated or damaged ({error})", "Export it again.") from None
    if not model.graph.node:
        raise PairError(path, "an ONNX graph", "no operators", "Export it again.")
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # onnx's checker raises a class of its own for a file that is missing or lies elsewhere
        found = f"another or none ({' '.join(str(error).split())[:200]})"
        raise PairError(path, "its external data beside it", found, "Copy that file too.") from None
    return model


def external_files(path: Path) -> list[Path]:
    """The files beside an ONNX file in which it keeps weights, each once; PairError when it cannot be read."""
    load_onnx(path)  # says what is wrong
    model = onnx.load(str(path), load_external_data=False)
    names = {
        entry.value
        for tensor in _tensors(model.graph)
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return [path.parent / name for name in sorted(names)]


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Initializers, and what attributes hold, also of the graphs within."""
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            if inner.node:
                yield from _tensors(inner)


def save_onnx(model: onnx.ModelProto, path: Path) -> None:
    """Write an ONNX file whole or not at all."""
    with atomic_path(path) as temporary:
        onnx.save(model, str(temporary))
