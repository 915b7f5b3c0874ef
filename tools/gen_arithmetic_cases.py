"""Record what onnxruntime computes for quantized operators and groups: fixtures/arithmetic/*.jsonl.

usage: gen_arithmetic_cases.py [OUTPUT_DIRECTORY]     (needs numpy, onnx, onnxruntime, and qemu-x86_64)
To be run on an x86 CPU with VNNI: `exact` is what that gives. `avx2` is what the same library gives under
`qemu-x86_64 -cpu Haswell`, where it has AVX2 and no VNNI; it is left out where it is the same. On a CPU with AVX2 and
without VNNI it adds the cases that the records lack, with `avx2` alone. Every line is a case: its model in the ONNX text
syntax, inputs and outputs as [type, dims, elements]. Numbers have five digits at most, so
that text keeps them. `within` is how far a result may be from ours: for operators that we compute in floats.
"""
import json, os, pickle, subprocess, sys, tempfile

import numpy as np, onnx, onnxruntime as ort
from onnx import TensorProto as T, helper as h, numpy_helper as nh, parser, printer

U8, S8 = np.uint8, np.int8
NAMES = {np.dtype(np.float32): "float", np.dtype(U8): "uint8", np.dtype(S8): "int8", np.dtype(np.int32): "int32",
         np.dtype(np.uint16): "uint16", np.dtype(np.int16): "int16"}
CASES, RNG = {}, np.random.default_rng(7)


def short(a, digits=5):
    a = np.asarray(a, np.float64)
    return np.array([float(f"{v:.{digits}g}") for v in a.ravel()], np.float32).reshape(a.shape)


class Build:
    """A model in the making; its methods return names of values."""

    def __init__(self):
        self.nodes, self.inits, self.ins, self.feeds, self.count = [], [], [], [], 0

    def name(self, start):
        self.count += 1
        return f"{start}{self.count}"

    def c(self, a):
        a = np.asarray(a)
        name = self.name("c")
        self.inits.append(nh.from_array(short(a) if a.dtype.kind == "f" else a, name))
        return name

    def input(self, a, dims=None):
        a = short(a) if np.asarray(a).dtype.kind == "f" else np.asarray(a)
        name = self.name("x")
        self.ins.append(h.make_tensor_value_info(name, h.np_dtype_to_tensor_dtype(a.dtype), dims or a.shape))
        self.feeds.append((name, a))
        return name

    def op(self, op, ins, outs=1, **attrs):
        names = [self.name("v") for _ in range(outs)]
        self.nodes.append(h.make_node(op, ins, names, **attrs))
        return names[0] if outs == 1 else names

    def ms(self, op, ins, **attrs):
        return self.op(op, ins, domain="com.microsoft", **attrs)

    def q(self, x, scale=0.05, zero=128, t=U8, **k):
        return self.op("QuantizeLinear", [x, self.c(np.float32(scale)), self.c(np.array(zero, t))], **k)

    def dq(self, x, scale=0.05, zero=128, t=U8, **k):
        return self.op("DequantizeLinear", [x, self.c(np.float32(scale)), self.c(np.array(zero, t))], **k)

    def qdq(self, x, scale=0.05, zero=128, t=U8):
        return self.dq(self.q(x, scale, zero, t), scale, zero, t)

    def act(self, shape, t=U8, scale=0.05, dims=None, zero=None):
        """A quantized input; wide enough to saturate codes."""
        zero = (128 if t == U8 else 0) if zero is None else zero
        return self.qdq(self.input(RNG.uniform(-8, 8, shape), dims), scale, zero, t)

    def weight(self, shape, t=S8, axis=None, zero=None):
        """A dequantized constant; its scale by channel."""
        zero = (0 if t == S8 else 128) if zero is None else zero
        codes = self.c(codes_of(shape, t))
        if axis is None:
            scale = short(0.0123)
            return self.dq(codes, scale, zero, t), np.full(1, scale, np.float32)
        scale = short(RNG.uniform(0.004, 0.02, shape[axis]))
        return self.dq(codes, scale, np.full(shape[axis], zero), t, axis=axis), scale

    def bias(self, n, scale, factor=1.0):
        scale = short(np.float32(0.05) * scale * np.float32(factor), 7)
        codes = self.c(RNG.integers(-9000, 9000, n).astype(np.int32))
        name = self.name("c")
        self.inits.append(nh.from_array(scale if len(scale) > 1 else scale[0], name))
        return self.op("DequantizeLinear", [codes, name], **({"axis": 0} if len(scale) > 1 else {}))


def codes_of(shape, t):
    """Codes with many large ones."""
    if t == U8:
        return RNG.choice([0, 255, 1, 128, 200, 77], shape).astype(U8)
    return np.clip(np.round(RNG.normal(0, 75, shape)), -127, 127).astype(S8)


def case(file, name, make, within=None, opset=21):
    b = Build()
    outputs = make(b)
    outputs = [outputs] if isinstance(outputs, str) else list(outputs)
    graph = h.make_graph(b.nodes, "g", b.ins, [onnx.ValueInfoProto(name=o) for o in outputs], b.inits)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", opset), h.make_opsetid("com.microsoft", 1)], ir_version=10)
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
        types = {o.name: o for o in inferred.graph.output}
    except Exception:
        types = {}
    for o in model.graph.output:
        if o.name in types and types[o.name].type.tensor_type.elem_type:
            kind = types[o.name].type.tensor_type.elem_type
        else:
            kind = OUT_TYPES[name]
        o.CopyFrom(h.make_tensor_value_info(o.name, kind, None))
    text = printer.to_text(model)
    assert (file, name) not in CASES, name
    CASES[(file, name)] = (text, b.feeds, within)


def run_all(cases):
    """Outputs of every case, and the operators that onnxruntime ran."""
    results = {}
    for key, (text, feeds, _) in cases.items():
        model = parser.parse_model(text)
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        try:
            session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # a model that it cannot load is no case
            print("left out:", key, str(error).splitlines()[0][:150])
            continue
        results[key] = session.run(None, dict(feeds))
    return results


def tensor(a):
    items = [float(str(v)) for v in a.ravel()] if a.dtype == np.float32 else a.ravel().tolist()
    return [NAMES[a.dtype], list(a.shape), items]


OUT_TYPES = {}
from arithmetic_cases import add_all  # noqa: E402  (it needs what is above)


def add_missing(out):
    """Adds the cases that are in no record, as this CPU runs them."""
    path = lambda file: os.path.join(out, file + ".jsonl")
    lines = lambda file: open(path(file)).read().splitlines() if os.path.exists(path(file)) else []
    known = {file: {json.loads(line)["name"] for line in lines(file)} for file in {file for file, _ in CASES}}
    missing = {key: case for key, case in CASES.items() if key[1] not in known[key[0]]}
    for (file, name), outputs in run_all(missing).items():
        text, feeds, within = CASES[(file, name)]
        line = {"name": name, "model": text, "inputs": [tensor(a) for _, a in feeds], "avx2": [tensor(a) for a in outputs]}
        if within is not None:
            line["within"] = within
        print(json.dumps(line), file=open(path(file), "a"))
        print("added:", file, name)


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "--run":
        pickle.dump(run_all(pickle.load(open(sys.argv[2], "rb"))), open(sys.argv[3], "wb"))
        return
    flags = open("/proc/cpuinfo").read()
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../fixtures/arithmetic")
    os.makedirs(out, exist_ok=True)
    add_all(sys.modules[__name__])
    if "vnni" not in flags:
        assert "avx2" in flags and "avx512" not in flags, "this CPU is neither of the two kinds"
        add_missing(out)
        return
    exact = run_all(CASES)
    with tempfile.TemporaryDirectory() as scratch:
        given, made = os.path.join(scratch, "given"), os.path.join(scratch, "made")
        pickle.dump(CASES, open(given, "wb"))
        command = ["qemu-x86_64", "-cpu", "Haswell", sys.executable, os.path.abspath(__file__), "--run", given, made]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        avx2 = pickle.load(open(made, "rb"))
    files = {}
    for (file, name), (text, feeds, within) in CASES.items():
        key = (file, name)
        if key not in exact:
            continue
        line = {"name": name, "model": text, "inputs": [tensor(a) for _, a in feeds],
                "exact": [tensor(a) for a in exact[key]]}
        if any(a.tobytes() != b.tobytes() for a, b in zip(exact[key], avx2[key])):
            line["avx2"] = [tensor(a) for a in avx2[key]]
        if within is not None:
            line["within"] = within
        files.setdefault(file, []).append(json.dumps(line))
    for file, lines in files.items():
        open(os.path.join(out, file + ".jsonl"), "w").write("\n".join(lines) + "\n")
        print(file, len(lines), "cases,", sum('"avx2"' in line for line in lines), "differ on AVX2")


if __name__ == "__main__":
    main()
