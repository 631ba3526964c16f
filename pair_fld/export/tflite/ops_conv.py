"""Convolutions and fully connected layers in TFLite, with their weights, biases and padding."""

from __future__ import annotations

import numpy as np

from pair_fld.errors import PairError
from pair_fld.export.onnx_graph import Affine, Constant, Node
from pair_fld.export.tflite.flatbuffer import schema
from pair_fld.export.tflite.lowering import Lowering


def conv(w: Lowering, node: Node) -> None:
    weights = w.graph.constants.get(node.inputs[1])
    if weights is None or weights.values.ndim != 4:
        w.refuse_node(node, "computed or not two-dimensional weights")
    bias = w.graph.constants.get(node.inputs[2]) if len(node.inputs) > 2 else None
    result, activation = w.fuse(node)
    int8 = w.is_int8(node, result)
    (source,) = w.operands(node, int8)
    target = w.result(result, int8)
    _convolve(w, node, source, target, weights, bias, activation)


def _convolve(
    w: Lowering,
    node: Node,
    source: int,
    target: int,
    weights: Constant,
    bias: Constant | None,
    activation: int,
) -> None:
    """CONV_2D or DEPTHWISE_CONV_2D with weights (out, in / groups, kh, kw) as ONNX holds them."""
    attributes = node.attributes
    groups, channels = int(attributes.get("group", 1)), w.flat.shape(source)[3]
    weights = weights.signed()
    outputs, inputs, height, width = weights.values.shape
    depthwise = groups > 1
    if depthwise and (groups != channels or inputs != 1):
        w.refuse_node(node, f"{groups} groups of {inputs} channels")
    stride, dilation = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    source, padding = pad(w, node, source, (height, width), stride, dilation)
    # dense OHWI; depthwise (1, H, W, out)
    values = weights.values[:, 0].transpose(1, 2, 0)[None] if depthwise else weights.values.transpose(0, 2, 3, 1)
    operands = [source, *_parameters(w, node, source, target, weights, values, bias, 3 if depthwise else 0)]
    options = {
        "padding": padding,
        "strideH": stride[0],
        "strideW": stride[1],
        "dilationHFactor": dilation[0],
        "dilationWFactor": dilation[1],
        "fusedActivationFunction": activation,
    }
    if depthwise:
        options["depthMultiplier"] = outputs // channels
        if dilation != [1, 1] and target not in w.affine:
            w.flat.operator("DEPTHWISE_CONV_2D", operands, [target], 2, "DepthwiseConv2DOptions", **options)
        else:
            w.emit("DEPTHWISE_CONV_2D", operands, [target], "DepthwiseConv2DOptions", **options)
    else:
        w.emit("CONV_2D", operands, [target], "Conv2DOptions", **options)


def _parameters(
    w: Lowering,
    node: Node,
    source: int,
    target: int,
    weights: Constant,
    values: np.ndarray,
    bias: Constant | None,
    axis: int,
) -> tuple[int, int]:
    """Weight and bias tensors; int8 operators have int8 weights and an int32 bias of scale s_in * s_w."""
    name, outputs = node.name, weights.values.shape[0]
    real_bias = np.zeros(outputs, np.float32) if bias is None else bias.real()
    if target not in w.affine:
        return _stored_weights(w, f"{name}_w", values, weights, axis), w.flat.constant(f"{name}_b", real_bias)
    assert weights.affine is not None
    if weights.values.dtype != np.int8 or np.any(weights.affine.zero_point):
        remedy = "Quantize weights symmetrically to int8."
        raise PairError(w.graph.path, f"int8 weights with zero point 0 at node {name!r}", "others", remedy)
    if weights.affine.axis not in (None, 0):
        remedy = "Quantize weights per output channel."
        raise PairError(w.graph.path, f"scales on axis 0 at node {name!r}", f"axis {weights.affine.axis}", remedy)
    scale = weights.affine.scale
    per_channel = scale.size > 1
    weight = w.flat.constant(
        f"{name}_w", values, Affine(scale, np.zeros(scale.size, np.int64), axis if per_channel else None)
    )
    bias_scale = w.affine[source].scale * scale
    if bias is not None and bias.values.dtype == np.int32 and _close(bias.affine, bias_scale):
        stored = bias.values
    else:
        stored = np.rint(real_bias.astype(np.float64) / bias_scale).clip(-(2**31), 2**31 - 1).astype(np.int32)
    affine = Affine(bias_scale, np.zeros(scale.size, np.int64), 0 if per_channel else None)
    return weight, w.flat.constant(f"{name}_b", stored.reshape(outputs), affine)


def _stored_weights(w: Lowering, name: str, values: np.ndarray, constant: Constant, axis: int) -> int:
    """Float weights; those stored as float16 or int8 stay so and are dequantized by the runtime."""
    if constant.affine is not None:
        affine = Affine(constant.affine.scale, constant.affine.zero_point, axis)
        stored = w.flat.constant(f"{name}_stored", values, affine if affine.scale.size > 1 else constant.affine)
        version = 5 if affine.scale.size > 1 else 2
    elif values.dtype == np.float16:
        stored, version = w.flat.constant(f"{name}_stored", values), 3
    else:
        return w.flat.constant(name, values.astype(np.float32))
    real = w.flat.tensor(name, values.shape, np.float32)
    w.flat.operator("DEQUANTIZE", [stored], [real], version, "DequantizeOptions")
    return real


def pad(
    w: Lowering,
    node: Node,
    source: int,
    kernel: tuple[int, int],
    stride: list[int],
    dilation: list[int],
    fill: str = "zero",
) -> tuple[int, int]:
    """The (perhaps explicitly padded) source and TFLite's padding mode.

    torch pads both sides alike; TFLite's SAME pads less on the left when the total is odd, as it is for a
    stride of 2 on an even map. There the padding is an operator of its own.
    """
    automatic = node.attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
    if automatic or node.attributes.get("ceil_mode", 0):
        w.refuse_node(node, "auto_pad or ceil_mode")
    top, left, bottom, right = node.attributes.get("pads", [0, 0, 0, 0])
    if not (top or left or bottom or right):
        return source, schema.Padding.VALID
    batch, height, width, channels = w.flat.shape(source)
    same = [_same_padding(*axis) for axis in zip((height, width), kernel, stride, dilation, strict=True)]
    if same == [(top, bottom), (left, right)] and fill != "count":
        return source, schema.Padding.SAME
    shape = (batch, height + top + bottom, width + left + right, channels)
    padded = w.like(source, f"{node.name}_padded", shape)
    amounts = w.flat.constant(f"{node.name}_pads", np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32))
    if fill == "lowest":
        lowest = (
            w.flat.constant(f"{node.name}_fill", np.array([-128], np.int8), w.affine[source])
            if source in w.affine
            else w.flat.constant(f"{node.name}_fill", np.array([np.finfo(np.float32).min], np.float32))
        )
        w.emit("PADV2", [source, amounts, lowest], [padded], "PadV2Options")
    else:
        w.emit("PAD", [source, amounts], [padded], "PadOptions")
    return padded, schema.Padding.VALID


def gemm(w: Lowering, node: Node) -> None:
    """A fully connected layer as the convolution it is: its window covers the map that Flatten unrolled.

    So its weights may have a scale a channel, which TFLite's own operator learned late. Several rows (a layer that
    all landmarks share) are pixels side by side under a window of one.
    """
    matrix = w.graph.constants.get(node.inputs[1])
    source_shape = w.graph.shape(node.inputs[0])
    plain = float(node.attributes.get("alpha", 1)) == 1 == float(node.attributes.get("beta", 1))
    if (
        matrix is None
        or matrix.values.ndim != 2
        or len(source_shape) != 2
        or not plain
        or node.attributes.get("transA")
    ):
        w.refuse_node(node, "operands other than a 2-D value and a constant matrix")
    if not node.attributes.get("transB", 0):
        affine = matrix.affine
        if affine is not None and affine.axis is not None:
            affine = Affine(affine.scale, affine.zero_point, 1 - affine.axis)
        matrix = Constant(matrix.values.T, affine)
    bias = w.graph.constants.get(node.inputs[2]) if len(node.inputs) > 2 else None
    result, activation = w.fuse(node)
    int8 = w.is_int8(node, result)
    (source,) = w.operands(node, int8)
    rows = source_shape[0]
    unrolled = _before_flatten(w, node.inputs[0], int8) if rows == 1 else None
    channels, height, width = w.graph.shape(unrolled)[1:] if unrolled else (source_shape[1], 1, 1)
    if unrolled:
        source = w.index[str(w.graph.int8_source(unrolled))] if int8 else w.value(unrolled)
    else:
        source = w.reshaped(source, (1, 1, rows, channels), f"{node.name}_map")
    outputs = matrix.values.shape[0]
    weights = Constant(matrix.values.reshape(outputs, channels, height, width), matrix.affine)
    target = w.result(result, int8)
    pixel = w.like(target, f"{node.name}_pixel", (1, 1, rows, outputs))
    window = Node("Conv", node.name, node.inputs, node.outputs)
    _convolve(w, window, source, pixel, weights, bias, activation)
    w.reshape_into(pixel, target)


def _before_flatten(w: Lowering, name: str, int8: bool) -> str | None:
    """The map that a flattened value came from: through the same chain of nodes, int8 or float."""
    if int8:
        quantize = w.graph.producer.get(str(w.graph.int8_source(name)))
        if quantize is None:
            return None
        name = quantize.inputs[0]
    node = w.graph.producer.get(name)
    if node is None or node.op not in ("Flatten", "Reshape", "Squeeze") or len(w.graph.shape(node.inputs[0])) != 4:
        return None
    if int8:
        source, target = w.graph.int8_source(node.inputs[0]), w.graph.int8_target(name)
        if source is None or target is None:
            return None
        if w.affine[w.index[source]] != w.graph.activation_affine(target):
            return None
    return node.inputs[0]


def _same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """What TFLite's SAME adds before and after an axis."""
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def _close(affine: Affine | None, scale: np.ndarray) -> bool:
    return affine is not None and affine.scale.shape == scale.shape and np.allclose(affine.scale, scale, rtol=1e-5)
