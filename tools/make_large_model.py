"""Write a model of about 3 GB with external data: a chain of MatMuls with transposed weights.

usage: make_large_model.py OUT.onnx [GIGABYTES]          (needs numpy and onnx; writes OUT.onnx and OUT.data)
Its weights are a repeated random megabyte: the size is what is measured, not the numbers.
"""
import os, sys
import numpy as np, onnx
from onnx import TensorProto, helper

out = sys.argv[1]
gigabytes = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
data = os.path.splitext(out)[0] + ".data"
block = (np.random.default_rng(0).standard_normal(1 << 18) * 0.02).astype(np.float32).tobytes()
nodes, tensors, offset = [], [], 0
sink = open(data, "wb")


def weight(name, dims):
    global offset
    size = 4 * int(np.prod(dims))
    t = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", os.path.basename(data)), ("offset", str(offset)), ("length", str(size))):
        t.external_data.add(key=key, value=value)
    sink.write(np.float32(len(tensors)).tobytes())  # no two are equal
    for at in range(4, size, len(block)):
        sink.write(block[: min(len(block), size - at)])
    offset += size
    tensors.append(t)
    return name


x, i = "x", 0
while offset < gigabytes * 1e9:
    w = weight(f"w{i}", [4096, 4096])
    nodes.append(helper.make_node("Transpose", [w], [f"t{i}"], perm=[1, 0]))
    nodes.append(helper.make_node("MatMul", [x, f"t{i}"], [f"y{i}"]))
    nodes.append(helper.make_node("Identity", [f"y{i}"], [f"z{i}"]))
    x, i = f"z{i}", i + 1
nodes.append(helper.make_node("Relu", [x], ["y"]))
sink.close()
graph = helper.make_graph(
    nodes, "large", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4096])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4096])], tensors)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
open(out, "wb").write(model.SerializeToString())
print(out, i, "layers,", offset, "bytes of weights")
