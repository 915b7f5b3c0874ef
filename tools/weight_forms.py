"""Times a matrix product whose weight is stored in 8 or 4 bits, form by form, in onnxruntime.

usage: weight_forms.py [ROWS] [WIDTH]

Needs numpy, onnx and onnxruntime. One thread; the median of 50 runs. `fused` says whether onnxruntime made MatMulNBits of
it; the ratio is to the product of floats.
"""
import sys
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 1
WIDTH = int(sys.argv[2]) if len(sys.argv) > 2 else 1024
BLOCK = 32
RANDOM = np.random.default_rng(0)


def codes(dtype, dims):
    low, high = {T.INT4: (-8, 8), T.INT8: (-128, 128)}[dtype]
    return h.make_tensor("q", dtype, dims, RANDOM.integers(low, high, int(np.prod(dims))).tolist())


def scales(dims):
    return numpy_helper.from_array(RANDOM.uniform(0.01, 0.02, dims).astype(np.float32), "s")


def dequantized(dtype, axis, block, op, **attrs):
    dims = [WIDTH, WIDTH]
    if block:
        of_scales = [WIDTH // block if a == axis else WIDTH for a in range(2)]
        node = h.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=axis, block_size=block)
    else:
        of_scales = [WIDTH]
        node = h.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=axis)
    return [node, h.make_node(op, ["x", "w"], ["y"], **attrs)], [codes(dtype, dims), scales(of_scales)]


def n_bits(bits, level):
    blocks = WIDTH // BLOCK
    packed = RANDOM.integers(0, 256, (WIDTH, blocks, BLOCK * bits // 8)).astype(np.uint8)
    attrs = dict(K=WIDTH, N=WIDTH, bits=bits, block_size=BLOCK, accuracy_level=level)
    node = h.make_node("MatMulNBits", ["x", "q", "s"], ["y"], domain="com.microsoft", **attrs)
    return [node], [numpy_helper.from_array(packed, "q"), scales([WIDTH * blocks])]


def floats():
    weight = RANDOM.normal(size=(WIDTH, WIDTH)).astype(np.float32)
    return [h.make_node("MatMul", ["x", "w"], ["y"])], [numpy_helper.from_array(weight, "w")]


def measure(form, level):
    nodes, held = form
    values = [h.make_tensor_value_info(n, T.FLOAT, [ROWS, WIDTH]) for n in "xy"]
    graph = h.make_graph(nodes, "g", values[:1], values[1:], held)
    opsets = [h.make_opsetid("", 21), h.make_opsetid("com.microsoft", 1)]
    model = h.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if level is not None:
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", str(level))
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {"x": RANDOM.normal(size=(ROWS, WIDTH)).astype(np.float32)}
    times = []
    for _ in range(55):
        start = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - start)
    return float(np.median(times[5:])) * 1e6


FORMS = {
    "float32": (floats(), None),
    "int4 blocks on axis 0, MatMul": (dequantized(T.INT4, 0, BLOCK, "MatMul"), None),
    "the same, session level 1": (dequantized(T.INT4, 0, BLOCK, "MatMul"), 1),
    "int4 blocks on axis 1, Gemm transB": (dequantized(T.INT4, 1, BLOCK, "Gemm", transB=1), None),
    "int4 per channel, MatMul": (dequantized(T.INT4, 1, None, "MatMul"), None),
    "int8 blocks on axis 0, MatMul": (dequantized(T.INT8, 0, BLOCK, "MatMul"), None),
    "int8 per channel, MatMul": (dequantized(T.INT8, 1, None, "MatMul"), None),
    "int8 per channel, Gemm transB": (dequantized(T.INT8, 0, None, "Gemm", transB=1), None),
    "MatMulNBits 4 bits, level 4": (n_bits(4, 4), None),
    "MatMulNBits 4 bits, level 1": (n_bits(4, 1), None),
    "MatMulNBits 8 bits, level 4": (n_bits(8, 4), None),
    "MatMulNBits 8 bits, level 1": (n_bits(8, 1), None),
}

if __name__ == "__main__":
    print(f"onnxruntime {ort.__version__}, [{ROWS}, {WIDTH}] x [{WIDTH}, {WIDTH}], one thread")
    plain = None
    for name, (form, level) in FORMS.items():
        found = measure(form, level)
        plain = plain or found
        print(f"| {name} | {found:.0f} us | {plain / found:.2f} |")
