"""Element-wise operators, pooling, resizing and reshaping in TFLite."""

from __future__ import annotations

import numpy as np

from pair_fld.export.onnx_graph import Node, affine
from pair_fld.export.tflite.flatbuffer import schema
from pair_fld.export.tflite.lowering import AXIS_IN_NHWC, NCHW, NHWC, Lowering
from pair_fld.export.tflite.ops_conv import pad

_LOGISTIC_OUTPUT = affine(1 / 256, -128)  # fixed by the TFLite specification


def alias(w: Lowering, node: Node) -> None:
    w.index[node.outputs[0]] = w.value(node.inputs[0])


def quantize(w: Lowering, node: Node) -> None:
    name = node.outputs[0]
    if name in w.index:
        return  # the operator before wrote int8 already
    wanted = w.graph.activation_affine(node)
    int8 = w.graph.int8_source(node.inputs[0])
    source = w.index[int8] if int8 else w.value(node.inputs[0])
    if w.affine.get(source) == wanted:
        w.index[name] = source
        return
    w.index[name] = w.int8_tensor(name, w.shape(node.inputs[0]), wanted)
    w.flat.operator("QUANTIZE", [source], [w.index[name]], 1, "QuantizeOptions")


def binary(w: Lowering, node: Node) -> None:
    result, activation = w.fuse(node)
    int8 = w.is_int8(node, result)
    rank = len(w.graph.shape(result))
    operands = [_operand(w, node, name, int8, rank) for name in node.inputs]
    name = {"Add": "ADD", "Mul": "MUL"}[node.op]
    kind = {"Add": "AddOptions", "Mul": "MulOptions"}[node.op]
    w.emit(name, operands, [w.result(result, int8)], kind, fusedActivationFunction=activation)


def _operand(w: Lowering, node: Node, name: str, int8: bool, rank: int) -> int:
    """An operand of a broadcasting operator, in the layout of the result."""
    constant = w.graph.constants.get(name)
    if constant is None:
        if len(w.graph.shape(name)) != rank:
            w.refuse_node(node, "computed operands of different rank")
        return w.index[str(w.graph.int8_source(name))] if int8 else w.value(name)
    constant = constant.signed()
    values = constant.values if int8 else constant.real()
    values = values.reshape((1,) * (rank - values.ndim) + values.shape)
    values = values.transpose(NHWC) if rank == 4 else values
    if not int8:
        return w.flat.constant(f"{node.name}_constant", values)
    assert constant.affine is not None
    if constant.affine.axis is not None or values.dtype != np.int8:
        w.refuse_node(node, "a per-channel constant")
    index = w.flat.constant(f"{node.name}_constant", values, constant.affine)
    w.affine[index] = constant.affine
    return index


def activation(w: Lowering, node: Node) -> None:
    kind = w.activation_kind(node)
    if kind is None:
        w.refuse_node(node, "bounds other than 0 and 6")
    int8 = w.is_int8(node, node.outputs[0])
    w.emit(kind, w.operands(node, int8), [w.result(node.outputs[0], int8)])


def hard_swish(w: Lowering, node: Node) -> None:
    int8 = w.is_int8(node, node.outputs[0])
    w.emit("HARD_SWISH", w.operands(node, int8), [w.result(node.outputs[0], int8)], "HardSwishOptions")


def sigmoid(w: Lowering, node: Node) -> None:
    int8 = w.is_int8(node, node.outputs[0])
    (source,) = w.operands(node, int8)
    target = w.result(node.outputs[0], int8)
    if not int8 or w.affine[target] == _LOGISTIC_OUTPUT:
        w.emit("LOGISTIC", [source], [target])
        return
    before = w.int8_tensor(f"{node.name}_unscaled", w.shape(node.outputs[0]), _LOGISTIC_OUTPUT)
    w.emit("LOGISTIC", [source], [before])
    w.flat.operator("QUANTIZE", [before], [target], 1, "QuantizeOptions")


def hard_sigmoid(w: Lowering, node: Node) -> None:
    """relu6(x + 3) / 6, in float: TFLite has no operator for it."""
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    if abs(alpha - 1 / 6) > 1e-6 or beta != 0.5:
        w.refuse_node(node, f"alpha {alpha:g} and beta {beta:g}")
    (source,) = w.operands(node, False)
    shape = w.shape(node.outputs[0])
    clipped = w.flat.tensor(f"{node.name}_clipped", shape, np.float32)
    three, sixth = (w.flat.constant(f"{node.name}_{v:.2g}", np.array([v], np.float32)) for v in (3, 1 / 6))
    relu6 = schema.ActivationFunctionType.RELU6
    w.emit("ADD", [source, three], [clipped], "AddOptions", fusedActivationFunction=relu6)
    w.emit("MUL", [clipped, sixth], [w.result(node.outputs[0], False)], "MulOptions")


def concat(w: Lowering, node: Node) -> None:
    result = node.outputs[0]
    int8 = w.is_int8(node, result)
    sources = w.operands(node, int8)
    if len(sources) != len(node.inputs):
        w.refuse_node(node, "a constant operand")
    rank = len(w.graph.shape(result))
    axis = int(node.attributes["axis"]) % rank
    target = w.result(result, int8)
    if int8:  # the int8 kernel copies, so all scales must be the result's
        sources = [w.requantize(s, w.affine[target], f"{node.name}_{i}") for i, s in enumerate(sources)]
    axis = AXIS_IN_NHWC[axis] if rank == 4 else axis
    w.emit("CONCATENATION", sources, [target], "ConcatenationOptions", axis=axis)


def pool(w: Lowering, node: Node) -> None:
    kernel = [int(size) for size in node.attributes["kernel_shape"]]
    if len(kernel) != 2 or len(node.outputs) > 1 or any(d != 1 for d in node.attributes.get("dilations", [1, 1])):
        w.refuse_node(node, "a window that is not two-dimensional and dense")
    result = node.outputs[0]
    int8 = w.is_int8(node, result)
    (source,) = w.operands(node, int8)
    target = w.result(result, int8)
    stride = [int(size) for size in node.attributes.get("strides", [1, 1])]
    average = node.op == "AveragePool"
    counted = average and bool(node.attributes.get("count_include_pad", 0))
    fill = "count" if counted else "zero" if average else "lowest"
    padded, padding = pad(w, node, source, (kernel[0], kernel[1]), stride, [1, 1], fill)
    if average and not counted and padded != source:
        w.refuse_node(node, "uneven padding that is not counted")
    options = {"padding": padding, "strideH": stride[0], "strideW": stride[1]}
    options |= {"filterHeight": kernel[0], "filterWidth": kernel[1]}
    name = "AVERAGE_POOL_2D" if average else "MAX_POOL_2D"
    w.same_scale(padded, target, lambda out: w.emit(name, [padded], [out], "Pool2DOptions", **options))


def mean(w: Lowering, node: Node) -> None:
    shape = w.graph.shape(node.inputs[0])
    axes: list[int] = [2, 3] if node.op == "GlobalAveragePool" else _axes(w, node)
    axes = sorted(axis % len(shape) for axis in axes)
    keep = node.op == "GlobalAveragePool" or bool(node.attributes.get("keepdims", 1))
    if len(shape) != 4 or (not keep and axes != [2, 3]):
        w.refuse_node(node, f"axes {axes} of {len(shape)}")
    int8 = w.is_int8(node, node.outputs[0])
    (source,) = w.operands(node, int8)
    where = np.array(sorted(AXIS_IN_NHWC[axis] for axis in axes), np.int32)
    axes_tensor = w.flat.constant(f"{node.name}_axes", where)
    target = w.result(node.outputs[0], int8)
    w.emit("MEAN", [source, axes_tensor], [target], "ReducerOptions", keepDims=keep)


def row_sum(w: Lowering, node: Node) -> None:
    """The sum of each row, in float: what a tail that decodes needs."""
    shape = w.graph.shape(node.inputs[0])
    if len(shape) != 2 or _axes(w, node) not in ([1], [-1]) or not node.attributes.get("keepdims", 1):
        w.refuse_node(node, "other than rows of two axes, kept")
    axes = w.flat.constant(f"{node.name}_axes", np.array([1], np.int32))
    source = w.value(node.inputs[0])
    w.emit("SUM", [source, axes], [w.result(node.outputs[0], False)], "ReducerOptions", keepDims=True)


def softmax(w: Lowering, node: Node) -> None:
    """Along the rows of two axes, in float."""
    if len(w.graph.shape(node.inputs[0])) != 2 or node.attributes.get("axis", -1) not in (1, -1):
        w.refuse_node(node, "other than rows of two axes")
    source = w.value(node.inputs[0])
    w.emit("SOFTMAX", [source], [w.result(node.outputs[0], False)], "SoftmaxOptions", beta=1.0)


def sqrt(w: Lowering, node: Node) -> None:
    source = w.value(node.inputs[0])
    w.emit("SQRT", [source], [w.result(node.outputs[0], False)])


def _axes(w: Lowering, node: Node) -> list[int]:
    if len(node.inputs) > 1 and node.inputs[1] in w.graph.constants:
        return [int(axis) for axis in w.graph.constants[node.inputs[1]].values]
    return [int(axis) for axis in node.attributes.get("axes", range(len(w.graph.shape(node.inputs[0]))))]


def resize(w: Lowering, node: Node) -> None:
    get = node.attributes.get
    before, after = w.graph.shape(node.inputs[0]), w.graph.shape(node.outputs[0])
    mode = (get("coordinate_transformation_mode", b"half_pixel"), get("nearest_mode", b"round_prefer_floor"))
    # with a whole factor these two name the same pixel: copies of it side by side
    plain = mode in ((b"asymmetric", b"floor"), (b"half_pixel", b"round_prefer_floor"))
    whole = len(before) == 4 and before[:2] == after[:2] and not (after[2] % before[2] or after[3] % before[3])
    if get("mode", b"nearest") != b"nearest" or not plain or not whole:
        w.refuse_node(node, "a mode other than nearest neighbour by a whole factor")
    int8 = w.is_int8(node, node.outputs[0])
    source = w.operands(node, int8)[0]
    size = w.flat.constant(f"{node.name}_size", np.array(after[2:], np.int32))
    target = w.result(node.outputs[0], int8)
    name, kind = "RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions"
    w.same_scale(source, target, lambda out: w.emit(name, [source, size], [out], kind))


def depth_to_space(w: Lowering, node: Node) -> None:
    if node.attributes.get("mode", b"DCR") != b"DCR":
        w.refuse_node(node, "channels in column-row-depth order")
    int8 = w.is_int8(node, node.outputs[0])
    (source,) = w.operands(node, int8)
    target = w.result(node.outputs[0], int8)
    block = int(node.attributes["blocksize"])
    name, kind = "DEPTH_TO_SPACE", "DepthToSpaceOptions"
    w.same_scale(source, target, lambda out: w.emit(name, [source], [out], kind, blockSize=block))


def reshape(w: Lowering, node: Node) -> None:
    """Flatten, Reshape, Squeeze, Unsqueeze; elements keep their ONNX order, by a TRANSPOSE if needed."""
    int8 = w.is_int8(node, node.outputs[0])
    source = w.operands(node, int8)[0]
    before, after = w.graph.shape(node.inputs[0]), w.graph.shape(node.outputs[0])
    target = w.result(node.outputs[0], int8)

    def emit(out: int) -> None:
        value = source
        if len(before) == 4 and _order_matters(before):
            value = _transposed(w, value, NCHW, before, f"{node.name}_nchw")
        if len(after) == 4 and _order_matters(after):
            value = w.reshaped(value, after, f"{node.name}_map")
            order = w.flat.constant(f"{node.name}_order", np.array(NHWC, np.int32))
            w.emit("TRANSPOSE", [value, order], [out], "TransposeOptions")
        else:
            w.reshape_into(value, out)

    w.same_scale(source, target, emit)


def _transposed(w: Lowering, source: int, order: tuple[int, ...], shape: tuple[int, ...], name: str) -> int:
    target = w.like(source, name, shape)
    axes = w.flat.constant(f"{name}_order", np.array(order, np.int32))
    w.emit("TRANSPOSE", [source, axes], [target], "TransposeOptions")
    return target


def _order_matters(shape: tuple[int, ...]) -> bool:
    """Whether NCHW and NHWC list the elements of such a value in different orders."""
    return shape[1] > 1 and shape[2] * shape[3] > 1
