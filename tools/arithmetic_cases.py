"""The cases of gen_arithmetic_cases.py."""
import numpy as np
from onnx import TensorProto as T

U8, S8 = np.uint8, np.int8


def add_all(gen):
    for add in (quantize, operators, groups, between, dynamic, qlinear):
        add(gen.case, gen)


def quantize(case, gen):
    f = "quantize"
    ties = np.array([-300, -127.5, -3.5, -2.5, -1.5, -0.5, -0.25, 0, 0.25, 0.5, 1.5, 2.5, 3.5, 126.5, 254.5, 255.5, 400], np.float32)
    for t, zeros in ((U8, (0, 128, 255)), (S8, (0, -128, 5)), (np.uint16, (0, 32768)), (np.int16, (0, -7))):
        for zero in zeros:
            for scale in (1.0, 0.5, 0.1):
                label = f"{np.dtype(t)} zero {zero} scale {scale}"
                big = ties * (257 if np.dtype(t).itemsize == 2 else 1)
                case(f, f"QuantizeLinear {label}", lambda b: b.q(b.input(big * scale), scale, zero, t))
        info = np.iinfo(t)
        codes = np.array([info.min, info.min + 1, info.max // 3, info.max], t)
        case(f, f"DequantizeLinear {np.dtype(t)}", lambda b: b.dq(b.input(codes), 0.0123, zeros[-1], t))
    x = gen.RNG.uniform(-9, 9, (2, 3, 4))
    scales, zeros = np.array([0.03, 0.07, 0.011]), np.array([3, 128, 200])
    for t in (U8, S8):
        z = zeros if t == U8 else zeros - 128
        case(f, f"QuantizeLinear {np.dtype(t)} by axis", lambda b: b.q(b.input(x), scales, z, t, axis=1))
        case(f, f"QuantizeLinear {np.dtype(t)} by last axis", lambda b: b.q(b.input(x.transpose(0, 2, 1)), scales, z, t, axis=-1))
        codes = gen.codes_of((2, 3, 4), t)
        case(f, f"DequantizeLinear {np.dtype(t)} by axis", lambda b: b.dq(b.input(codes), scales, z, t, axis=1))
        blocks = np.array([[[0.1, 0.02]] * 3] * 2)
        points = np.full(blocks.shape, 1)
        case(f, f"QuantizeLinear {np.dtype(t)} by block", lambda b: b.q(b.input(x), blocks, points, t, axis=2, block_size=2))
        case(f, f"DequantizeLinear {np.dtype(t)} by block", lambda b: b.dq(b.input(codes), blocks, points, t, axis=2, block_size=2))
    for t, zero in ((T.UINT4, 7), (T.INT4, -1)):
        def both(b, scale, shape, **k):
            s, z = b.c(np.full(shape, scale)), b.op("Cast", [b.c(np.full(shape, zero, S8))], to=t)
            q = b.op("QuantizeLinear", [b.input(ties.reshape(1, -1)[:, :16] * 0.1), s, z], **k)
            return b.op("DequantizeLinear", [q, s, z], **k)
        label = T.DataType.Name(t).lower()
        case(f, f"{label} there and back", lambda b: both(b, 0.1, ()))
        case(f, f"{label} there and back by axis", lambda b: both(b, 0.25, (16,), axis=1))
        case(f, f"{label} there and back by block", lambda b: both(b, 0.25, (1, 4), axis=1, block_size=4))
    case(f, "DequantizeLinear int32", lambda b: b.op("DequantizeLinear", [b.input(np.array([-2**31, -7, 16777217, 2**31 - 1], np.int32)), b.c(np.float32(0.001))]))
    for name, values in (("mixed", [-1.5, 0, 2.25, 0.013, 3]), ("positive", [0.5, 1, 7.7]), ("negative", [-0.5, -1, -7.7]), ("ties", [0, 0.5, 1.5, 2.5, 255])):
        case(f, f"DynamicQuantizeLinear {name}", lambda b: b.op("DynamicQuantizeLinear", [b.input(np.array(values))], outs=3))


def pair(at, wt):
    name = {U8: "u8", S8: "s8"}
    return name[at] + name[wt]


def operators(case, gen):
    f, rng, short = "operators", gen.RNG, gen.short
    shapes = [  # label, x, w, attributes
        ("3x3 of 3 channels", (2, 3, 5, 5), (4, 3, 3, 3), dict(pads=[1, 1, 1, 1])),
        ("3x3 of 4 to 16 channels", (1, 4, 4, 4), (16, 4, 3, 3), dict(pads=[1, 1, 1, 1])),
        ("1x1 of 8 channels", (2, 8, 3, 3), (5, 8, 1, 1), {}),
        ("1x1 of 5 channels, strided", (1, 5, 5, 5), (3, 5, 1, 1), dict(strides=[2, 2])),
        ("3x3 strided and dilated", (1, 2, 9, 9), (3, 2, 3, 3), dict(strides=[2, 2], dilations=[2, 2], pads=[2, 1, 2, 1])),
        ("1 to 1 channel", (1, 1, 5, 5), (1, 1, 3, 3), {}),
        ("1 to 3 channels", (1, 1, 5, 5), (3, 1, 3, 3), {}),
        ("each of 4 channels", (1, 4, 5, 5), (4, 1, 3, 3), dict(group=4, pads=[1, 1, 1, 1])),
        ("each of 16 channels", (1, 16, 4, 4), (16, 1, 3, 3), dict(group=16, pads=[1, 1, 1, 1])),
        ("each of 4 channels to 2", (1, 4, 5, 5), (8, 1, 3, 3), dict(group=4, pads=[1, 1, 1, 1])),
        ("2 groups of 3 channels", (2, 6, 4, 4), (4, 3, 2, 2), dict(group=2)),
        ("one axis", (2, 3, 9), (4, 3, 3), dict(pads=[1, 1])),
        ("three axes", (1, 3, 3, 3, 3), (2, 3, 2, 2, 2), {}),
    ]
    for at, wt in ((U8, S8), (U8, U8), (S8, S8)):
        for label, xs, ws, attrs in shapes:
            for channels in (False, True):
                def conv(b):
                    x = rng.choice([0, 255, 250, 128, 60], xs).astype(U8) if at == U8 else gen.codes_of(xs, S8)
                    w = gen.codes_of(ws, wt)
                    wz = 0 if wt == S8 and channels else (3 if wt == S8 else 131)
                    xz = 121 if at == U8 else -3
                    n = ws[0] if channels else 1
                    scale = short(np.array([0.004] * n) * rng.uniform(0.5, 2, n)) if channels else np.float32(0.004)
                    zero = np.full(n, wz, wt) if channels else np.array(wz, wt)
                    ins = [b.input(x), b.c(np.float32(0.05)), b.c(np.array(xz, at)), b.c(w), b.c(scale), b.c(zero),
                           b.c(np.float32(0.0511 * np.sqrt(np.prod(ws[1:])))), b.c(np.array(117 if at == U8 else 2, at))]
                    if channels:
                        ins.append(b.c(rng.integers(-9999, 9999, ws[0]).astype(np.int32)))
                    return b.op("QLinearConv", ins, **attrs)
                case(f, f"QLinearConv {pair(at, wt)}, {label}, {'a bias, by channel' if channels else 'one scale'}", conv)
    matrices = [("1x7x3", (1, 7), (7, 3)), ("5x6x20", (5, 6), (6, 20)), ("3x33x17", (3, 33), (33, 17)), ("stack", (2, 3, 5), (5, 4)), ("two stacks", (2, 3, 5), (2, 5, 4))]
    for at, wt in ((U8, S8), (U8, U8), (S8, S8)):
        az, bz, yz = (120, 0, 99) if at == U8 else (2, 0, -5)
        bz = 130 if wt == U8 else bz
        a_codes = lambda s: rng.choice([0, 255, 250, 128, 60], s).astype(U8) if at == U8 else gen.codes_of(s, S8)
        for label, sa, sb in matrices:
            case(f, f"MatMulInteger {pair(at, wt)} {label}", lambda b: b.op("MatMulInteger", [b.input(a_codes(sa)), b.c(gen.codes_of(sb, wt)), b.c(np.array(az, at)), b.c(np.array(bz, wt))]))
            for channels in ((False, True) if len(sb) == 2 else (False,)):
                n, k = sb[-1], sa[-1]
                scale = lambda: short(rng.uniform(0.004, 0.02, n)) if channels else np.float32(0.0123)
                zero = np.full(n, bz, wt) if channels else np.array(bz, wt)
                kind = "by channel" if channels else "one scale"
                y = np.float32(0.07 * np.sqrt(k))
                case(f, f"QLinearMatMul {pair(at, wt)} {label} {kind}", lambda b: b.op("QLinearMatMul", [
                    b.input(a_codes(sa)), b.c(np.float32(0.05)), b.c(np.array(az, at)), b.c(gen.codes_of(sb, wt)), b.c(scale()), b.c(zero), b.c(y), b.c(np.array(yz, at))]))
                gen.OUT_TYPES[f"MatMulIntegerToFloat {pair(at, wt)} {label} {kind}"] = T.FLOAT
                case(f, f"MatMulIntegerToFloat {pair(at, wt)} {label} {kind}", lambda b: b.ms("MatMulIntegerToFloat", [
                    b.input(a_codes(sa)), b.c(gen.codes_of(sb, wt)), b.c(np.float32(0.05)), b.c(scale()), b.c(np.array(az, at)), b.c(zero)]
                    + ([b.c(rng.uniform(-1, 1, n))] if channels else [])))
                if len(sa) == 2:
                    for result in (False, True):
                        name = f"QGemm {pair(at, wt)} {label} {kind}, {'to codes' if result else 'to floats'}"
                        gen.OUT_TYPES[name] = (T.UINT8 if at == U8 else T.INT8) if result else T.FLOAT
                        case(f, name, lambda b: b.ms("QGemm", [
                            b.input(a_codes(sa)), b.c(np.float32(0.05)), b.c(np.array(az, at)),
                            b.c(gen.codes_of(sb[::-1], wt)), b.c(scale()), b.c(zero),
                            b.c(rng.integers(-9999, 9999, n).astype(np.int32)) if channels else ""]
                            + ([b.c(y), b.c(np.array(yz, at))] if result else []), transB=1, alpha=1.0 if channels else 0.75))
    for wt in (S8, U8):
        name = f"DynamicQuantizeMatMul {np.dtype(wt)}"
        gen.OUT_TYPES[name] = gen.OUT_TYPES[name + " with a bias"] = T.FLOAT
        def dynamic(b, bias):
            ins = [b.input(rng.uniform(-3, 5, (3, 9))), b.c(gen.codes_of((9, 4), wt)), b.c(short(rng.uniform(0.01, 0.02, 4))), b.c(np.full(4, 0 if wt == S8 else 128, wt))]
            return b.ms("DynamicQuantizeMatMul", ins + ([b.c(rng.uniform(-1, 1, 4))] if bias else []))
        case(f, name, lambda b: dynamic(b, False))
        case(f, name + " with a bias", lambda b: dynamic(b, True))
        case(f, f"ConvInteger u8{'s8' if wt == S8 else 'u8'}", lambda b: b.op("ConvInteger", [
            b.input(rng.choice([0, 255], (1, 4, 5, 5)).astype(U8)), b.c(gen.codes_of((4, 4, 3, 3), wt)), b.c(np.array(9, U8)), b.c(np.array(2, wt))], pads=[1, 1, 1, 1]))


def groups(case, gen):
    f = "groups"
    C = (2, 4, 5, 5)

    def conv(b, x=None, at=U8, wt=S8, shape=(4, 4, 3, 3), axis=0, bias=None, **k):
        w, scale = b.weight(list(shape), wt, axis)
        ins = [x or b.act(C, at), w]
        if bias == "int32":
            ins.append(b.bias(shape[0], scale))
        elif bias == "far":
            ins.append(b.bias(shape[0], scale, 1.5))
        elif bias == "float":
            ins.append(b.c(gen.RNG.uniform(-2, 2, shape[0])))
        return b.op("Conv", ins, **k)

    low = lambda t: 0 if t == U8 else -128
    for at, wt in ((U8, S8), (U8, U8), (S8, S8), (S8, U8)):
        z, p = (128 if at == U8 else 0), pair(at, wt)
        out = lambda b, v, zero=z, scale=0.4: b.qdq(v, scale, zero, at)
        for bias in (None, "int32", "float", "far"):
            case(f, f"Conv {p}, bias: {bias}", lambda b: out(b, conv(b, at=at, wt=wt, bias=bias)), 1e-4 if bias == "far" else None)
        case(f, f"Conv {p}, one scale", lambda b: out(b, conv(b, at=at, wt=wt, axis=None, bias="int32")))
        case(f, f"Conv {p}, each channel", lambda b: out(b, conv(b, at=at, wt=wt, shape=(4, 1, 3, 3), group=4)))
        case(f, f"Conv {p}, no Q after it", lambda b: conv(b, at=at, wt=wt), 1e-4)
        case(f, f"Conv {p}, Relu", lambda b: out(b, b.op("Relu", [conv(b, at=at, wt=wt)]), low(at)))
        case(f, f"Conv {p}, Relu that Q does not", lambda b: out(b, b.op("Relu", [conv(b, at=at, wt=wt)])), 1e-4)
        clip = lambda b, v: b.op("Clip", [v, b.c(np.float32(0)), b.c(np.float32(6))])
        case(f, f"Conv {p}, Clip", lambda b: out(b, clip(b, conv(b, at=at, wt=wt)), low(at), 0.0235))
        case(f, f"Conv {p}, Clip that Q does not", lambda b: out(b, clip(b, conv(b, at=at, wt=wt)), low(at), 0.03), 1e-4)
        gemm = lambda b, bias=None, axis=0, shape=(3, 9), **k: (lambda w: b.op("Gemm", [b.act(shape, at), w[0]] + ([b.bias(5, w[1])] if bias == "int32" else [b.c(gen.RNG.uniform(-2, 2, 5))] if bias else []), transB=1, **k))(b.weight([5, 9], wt, axis))
        for bias in (None, "int32", "float"):
            case(f, f"Gemm {p}, bias: {bias}", lambda b: out(b, gemm(b, bias)))
            case(f, f"Gemm {p} to floats, bias: {bias}", lambda b: gemm(b, bias), 1e-4 if bias == "float" else None)
        case(f, f"Gemm {p}, one scale, alpha", lambda b: out(b, gemm(b, None, None, alpha=0.5)))
        case(f, f"Gemm {p}, Relu", lambda b: out(b, b.op("Relu", [gemm(b, "int32")]), low(at)))
        case(f, f"Gemm {p}, Relu that Q does not", lambda b: out(b, b.op("Relu", [gemm(b)])), 1e-4)
        mm = lambda b, shape=(3, 9), axis=1, dims=None: b.op("MatMul", [b.act(shape, at, dims=dims), b.weight([9, 5], wt, axis)[0]])
        add = lambda b, v: b.op("Add", [v, b.c(gen.RNG.uniform(-2, 2, 5))])
        case(f, f"MatMul {p}", lambda b: out(b, mm(b)))
        case(f, f"MatMul {p}, one scale", lambda b: out(b, mm(b, axis=None)))
        case(f, f"MatMul {p} to floats", lambda b: mm(b))
        case(f, f"MatMul {p} of a stack to floats", lambda b: mm(b, (2, 3, 9)))
        case(f, f"MatMul {p} to two readers", lambda b: (lambda v: b.op("Mul", [b.op("Neg", [v]), v]))(mm(b)))
        case(f, f"MatMul {p} to Q and another", lambda b: (lambda v: b.op("Add", [out(b, v), v]))(mm(b)), 1e-4)
        case(f, f"MatMul {p}, Relu", lambda b: out(b, b.op("Relu", [mm(b)]), low(at)))
        case(f, f"MatMul {p} and bias", lambda b: out(b, add(b, mm(b))))
        case(f, f"MatMul {p} and bias to floats", lambda b: add(b, mm(b)), 1e-4)
        case(f, f"MatMul {p} of a stack and bias", lambda b: out(b, add(b, mm(b, (2, 3, 9)))))
        case(f, f"MatMul {p} of a stack and bias to floats", lambda b: add(b, mm(b, (2, 3, 9))), 1e-4)
        case(f, f"MatMul {p} of a symbolic stack and bias to floats", lambda b: add(b, mm(b, (2, 3, 9), dims=["n", 3, 9])))
        case(f, f"MatMul {p} of a symbolic stack and bias", lambda b: out(b, add(b, mm(b, (2, 3, 9), dims=["n", 3, 9]))), 0.4001)
        case(f, f"MatMul {p} of a stack and bias, Relu", lambda b: out(b, b.op("Relu", [add(b, mm(b, (2, 3, 9)))]), low(at)), 1e-4)
        case(f, f"MatMul {p} of a matrix and bias, Relu", lambda b: out(b, b.op("Relu", [add(b, mm(b))]), low(at)))
        case(f, f"MatMul of two activations {pair(at, at)}{wt.__name__}", lambda b: out(b, b.op("MatMul", [b.act((3, 9), at), b.act((9, 4), wt)])))
    u = lambda b, v, zero=128, scale=0.4: b.qdq(v, scale, zero, U8)
    between = {
        "MaxPool": lambda b, v: b.op("MaxPool", [v], kernel_shape=[2, 2]),
        "Reshape": lambda b, v: b.op("Reshape", [v, b.c(np.array([2, 4, -1, 1]))]),
        "Flatten": lambda b, v: b.op("Flatten", [v]),
        "Transpose": lambda b, v: b.op("Transpose", [v], perm=[0, 1, 3, 2]),
        "Slice": lambda b, v: b.op("Slice", [v, b.c(np.array([0])), b.c(np.array([2])), b.c(np.array([2]))]),
        "Identity": lambda b, v: b.op("Identity", [v]),
        "Relu and MaxPool": lambda b, v: b.op("MaxPool", [b.op("Relu", [v])], kernel_shape=[2, 2]),
        "Gather": lambda b, v: b.op("Gather", [v, b.c(np.array([0]))], axis=1),
    }
    for name, make in between.items():
        within = 1e-4 if name in ("Flatten", "Gather") else None
        case(f, f"Conv, {name}, Q", lambda b: u(b, make(b, conv(b)), 0), within)
        if name not in ("Flatten", "Gather", "Relu and MaxPool"):
            case(f, f"DQ, {name}, Conv", lambda b: u(b, conv(b, make(b, b.act(C)), shape=(4, 4, 1, 1)), 0))
    case(f, "DQ, Flatten, Gemm", lambda b: b.op("Gemm", [b.op("Flatten", [b.act((2, 3, 3))]), b.weight([5, 9], S8, 0)[0]], transB=1), 1e-4)
    case(f, "DQ, Reshape, Gemm", lambda b: b.op("Gemm", [b.op("Reshape", [b.act((2, 3, 3)), b.c(np.array([2, 9]))]), b.weight([5, 9], S8, 0)[0]], transB=1))
    case(f, "Two Convs read one DQ", lambda b: (lambda x: (u(b, conv(b, x)), u(b, conv(b, x, axis=None))))(b.act(C)))
    case(f, "A Conv and another read one DQ", lambda b: (lambda x: (u(b, conv(b, x)), b.op("Neg", [x])))(b.act(C)))
    for t in (U8, S8):
        # Where a DQ has two readers onnxruntime makes two of it, and leaves int8 codes as they are.
        z, n = (128 if t == U8 else 0), np.dtype(t)
        out = lambda b, v: b.qdq(v, 0.4, z, t)
        w = lambda b: b.weight([4, 4, 3, 3], S8, 0)[0]
        m = lambda b: b.weight([5, 9], S8, 0)[0]
        within = None if t == U8 else 1e-4
        case(f, f"Conv and Neg read one DQ of {n}", lambda b: (lambda x: (out(b, b.op("Conv", [x, w(b)])), b.op("Neg", [x])))(b.act(C, t)), within)
        case(f, f"Conv and Conv read one DQ of {n}", lambda b: (lambda x: (out(b, b.op("Conv", [x, w(b)])), out(b, b.op("Conv", [x, w(b)]))))(b.act(C, t)), within)
        case(f, f"Gemm and Neg read one DQ of {n}", lambda b: (lambda x: (out(b, b.op("Gemm", [x, m(b)], transB=1)), b.op("Neg", [x])))(b.act((3, 9), t)), within)
        case(f, f"Gemm to floats and Neg read one DQ of {n}", lambda b: (lambda x: (b.op("Gemm", [x, m(b)], transB=1), b.op("Neg", [x])))(b.act((3, 9), t)))
        case(f, f"MatMul to floats and Neg read one DQ of {n}", lambda b: (lambda x: (b.op("MatMul", [x, b.weight([9, 5], S8, 1)[0]]), b.op("Neg", [x])))(b.act((3, 9), t)), within)
        case(f, f"Conv to a Q of {n} with two DQs", lambda b: (lambda q: (b.dq(q, 0.4, z, t), b.op("Neg", [b.dq(q, 0.4, z, t)])))(b.q(b.op("Conv", [b.act(C, t), w(b)]), 0.4, z, t)), within)
        case(f, f"Conv to a {n} output", lambda b: b.q(b.op("Conv", [b.act(C, t), w(b)]), 0.4, z, t))
        case(f, f"Gemm to a {n} output", lambda b: b.q(b.op("Gemm", [b.act((3, 9), t), m(b)], transB=1), 0.4, z, t))
        case(f, f"Conv of {n} input", lambda b: out(b, b.op("Conv", [b.dq(b.input(gen.codes_of(C, t)), 0.05, z, t), w(b)])), within)
        case(f, f"Gemm of {n} input", lambda b: out(b, b.op("Gemm", [b.dq(b.input(gen.codes_of((3, 9), t)), 0.05, z, t), m(b)], transB=1)), within)
        case(f, f"Gemm of {n} input to floats", lambda b: b.op("Gemm", [b.dq(b.input(gen.codes_of((3, 9), t)), 0.05, z, t), m(b)], transB=1))
        case(f, f"MatMul of {n} input to floats", lambda b: b.op("MatMul", [b.dq(b.input(gen.codes_of((3, 9), t)), 0.05, z, t), b.weight([9, 5], S8, 1)[0]]), within)
    case(f, "Two Convs share a weight", lambda b: (lambda w: u(b, b.op("Conv", [u(b, b.op("Conv", [b.act(C), w]), scale=0.05), w])))(b.weight([4, 4, 1, 1], S8, 0)[0]))
    case(f, "Conv to two Qs", lambda b: (lambda v: (u(b, v), u(b, v, 0, 0.3)))(conv(b)), 1e-4)
    case(f, "Conv to Q of int16", lambda b: b.qdq(conv(b), 0.002, 0, np.int16), 0.0021)
    case(f, "MatMulInteger of a DynamicQuantizeLinear", lambda b: (lambda q: b.op("Mul", [b.op("Cast", [b.op("MatMulInteger", [q[0], b.c(gen.codes_of((9, 4), S8)), q[2], b.c(np.int8(0))])], to=1), b.op("Mul", [q[1], b.c(np.float32(0.0123))])]))(b.op("DynamicQuantizeLinear", [b.input(gen.RNG.uniform(-3, 5, (3, 9)))], outs=3)))


def between(case, gen):
    """Operators between layers. Pooling over windows and Sigmoid we compute in floats: at most one step apart."""
    f, C, step = "between", (2, 4, 5, 5), 0.0801
    for t in (U8, S8):
        z, n = (128 if t == U8 else 0), np.dtype(t)
        out = lambda b, v, zero=z: b.qdq(v, 0.08, zero, t)
        for op in ("Add", "Mul"):
            case(f, f"{op} {n}", lambda b: out(b, b.op(op, [b.act(C, t), b.act(C, t, 0.03)])))
        case(f, f"Add {n}, Relu", lambda b: out(b, b.op("Relu", [b.op("Add", [b.act(C, t), b.act(C, t, 0.03)])]), 0 if t == U8 else -128))
        case(f, f"Concat {n}", lambda b: out(b, b.op("Concat", [b.act(C, t), b.act(C, t, 0.03)], axis=1)))
        case(f, f"AveragePool {n}", lambda b: out(b, b.op("AveragePool", [b.act(C, t)], kernel_shape=[2, 2], strides=[2, 2])), step)
        case(f, f"GlobalAveragePool {n}", lambda b: out(b, b.op("GlobalAveragePool", [b.act(C, t)])))
        case(f, f"Relu {n}", lambda b: out(b, b.op("Relu", [b.act(C, t)])))
        case(f, f"LeakyRelu {n}", lambda b: out(b, b.op("LeakyRelu", [b.act(C, t)], alpha=0.1)))
        case(f, f"Softmax {n}", lambda b: b.qdq(b.op("Softmax", [b.act((2, 3, 9), t)], axis=-1), 0.0039, 0 if t == U8 else -128, t))
        case(f, f"Add {n} of a constant", lambda b: out(b, b.op("Add", [b.act(C, t), b.dq(b.c(gen.codes_of((4, 1, 1), t)), 0.03, z, t)])))
        case(f, f"Mul {n} with a scalar", lambda b: out(b, b.op("Mul", [b.act(C, t), b.dq(b.c(np.array(255 if t == U8 else 127, t)), 0.0019685, 0, t)])))
        case(f, f"Sigmoid {n}", lambda b: b.qdq(b.op("Sigmoid", [b.act(C, t)]), 0.0039, 0 if t == U8 else -128, t), 0.00391)


def dynamic(case, gen):
    """Activations that are quantized while the model runs, as quantize-dynamic writes it: onnxruntime fuses the products."""
    f, rng, short = "dynamic", gen.RNG, gen.short

    def product(b, x, n, t=S8, channels=True, bias=None, zero=None, op="MatMulInteger", shape=None, **attrs):
        q, scale, point = x
        shape = shape or (9, n)
        count = n if channels else 1
        steps = short(rng.uniform(0.004, 0.02, count))
        view = (n,) if op == "MatMulInteger" else (n,) + (1,) * (len(shape) - 2)
        steps = steps.reshape(view if channels else ())
        ins = [q, b.c(gen.codes_of(shape, t)), point]
        if zero is not None:
            ins.append(b.c(np.array(zero, t)))
        sums = b.op("Cast", [b.op(op, ins, **attrs)], to=1)
        y = b.op("Mul", [sums, b.op("Mul", [scale, b.c(steps)])])
        return y if bias is None else b.op("Add", [y, b.c(rng.uniform(-1, 1, bias))])

    def q(b, shape, low=-3, high=5):
        return b.op("DynamicQuantizeLinear", [b.input(rng.uniform(low, high, shape))], outs=3)

    for t in (S8, U8):
        n = np.dtype(t)
        zeros = [None, 3] if t == S8 else [128, rng.integers(90, 160, 4)]
        for zero in zeros:
            label = f"{n}, zero {'none' if zero is None else 'by channel' if np.ndim(zero) else zero}"
            case(f, f"product {label}", lambda b: product(b, q(b, (3, 9)), 4, t, zero=zero))
            case(f, f"product {label}, a bias", lambda b: product(b, q(b, (3, 9)), 4, t, bias=4, zero=zero))
        case(f, f"product {n}, one scale", lambda b: product(b, q(b, (3, 9)), 4, t, channels=False, bias=4, zero=zeros[-1] if t == S8 else 128))
        case(f, f"product {n} of a stack", lambda b: product(b, q(b, (2, 3, 9)), 4, t, bias=(1, 4), zero=zeros[0]))
        case(f, f"product {n} of two stacks", lambda b: product(b, q(b, (2, 2, 3, 9)), 4, t, zero=zeros[0]))
        case(f, f"product {n} of a vector", lambda b: product(b, q(b, (9,)), 4, t, zero=zeros[0]))
        case(f, f"two products {n} of one activation", lambda b: (lambda x: (product(b, x, 4, t, bias=4, zero=zeros[0]), product(b, x, 6, t)))(q(b, (3, 9))))
        case(f, f"product {n} of positive numbers", lambda b: product(b, q(b, (3, 9), 1, 2), 4, t, bias=4, zero=zeros[0]))
        case(f, f"product {n} of zeros", lambda b: product(b, q(b, (3, 9), 0, 0), 4, t, bias=4, zero=zeros[0]))
        case(f, f"product {n}, a bias of one", lambda b: product(b, q(b, (3, 9)), 4, t, bias=(1,), zero=zeros[0]))
        case(f, f"product {n} to one column", lambda b: product(b, q(b, (3, 9)), 1, t, bias=(1,), zero=zeros[0]))
        conv = dict(op="ConvInteger", zero=None if t == S8 else 128)
        case(f, f"convolution {n}", lambda b: product(b, q(b, (2, 4, 5, 5)), 3, t, bias=(3, 1, 1), shape=(3, 4, 3, 3), pads=[1, 1, 1, 1], **conv))
        case(f, f"convolution {n}, one scale", lambda b: product(b, q(b, (2, 4, 5, 5)), 3, t, channels=False, shape=(3, 4, 3, 3), **conv))
        case(f, f"convolution {n} in groups, strided", lambda b: product(b, q(b, (1, 4, 7, 7)), 6, t, shape=(6, 2, 3, 3), group=2, strides=[2, 2], auto_pad="SAME_UPPER", **conv))
        case(f, f"convolution {n} of each channel", lambda b: product(b, q(b, (1, 4, 5, 5)), 4, t, bias=(4, 1, 1), shape=(4, 1, 3, 3), group=4, pads=[1, 1, 1, 1], **conv))
        case(f, f"convolution {n} along one axis, dilated", lambda b: product(b, q(b, (2, 3, 9)), 4, t, shape=(4, 3, 3), dilations=[2], **conv))
    case(f, "DynamicQuantizeLinear of zeros", lambda b: b.op("DynamicQuantizeLinear", [b.input(np.zeros(4))], outs=3))


def qlinear(case, gen):
    """onnxruntime's operators on codes, as they stand. Pooling over windows and Sigmoid we compute in floats."""
    f, rng, C = "qlinear", gen.RNG, (2, 4, 5, 5)
    for t in (U8, S8):
        n, one = np.dtype(t), T.UINT8 if t == U8 else T.INT8
        z, low = (128, 0) if t == U8 else (0, -128)
        scale = lambda b, x: b.c(np.float32(x))
        zero = lambda b, x: b.c(np.array(x, t))
        x = lambda b, shape=C: b.input(gen.codes_of(shape, t))
        unary = lambda b, op, v, ys, yz, **k: b.ms(op, [v, scale(b, 0.05), zero(b, z + 3), scale(b, ys), zero(b, yz)], **k)

        def add(name, make, within=None):
            gen.OUT_TYPES[f"{name} {n}"] = one
            case(f, f"{name} {n}", make, within)

        for op in ("QLinearAdd", "QLinearMul"):
            binary = lambda b, v, w: b.ms(op, [v, scale(b, 0.05), zero(b, z), w, scale(b, 0.031), zero(b, z + 5), scale(b, 0.08), zero(b, z - 7)])
            add(op, lambda b: binary(b, x(b), x(b)))
            add(f"{op} of a constant", lambda b: binary(b, x(b), b.c(gen.codes_of((4, 1, 1), t))))
        add("QLinearConcat", lambda b: b.ms("QLinearConcat", [scale(b, 0.06), zero(b, z - 7), x(b), scale(b, 0.05), zero(b, z), x(b), scale(b, 0.06), zero(b, z - 7), x(b), scale(b, 0.02), zero(b, z + 9)], axis=1))
        add("QLinearGlobalAveragePool", lambda b: unary(b, "QLinearGlobalAveragePool", x(b), 0.031, z - 6, channels_last=0))
        add("QLinearGlobalAveragePool of 1 × 1", lambda b: unary(b, "QLinearGlobalAveragePool", x(b, (2, 4, 1, 1)), 0.05, z + 3, channels_last=0))
        add("QLinearGlobalAveragePool of 8 × 8", lambda b: unary(b, "QLinearGlobalAveragePool", x(b, (1, 33, 8, 8)), 0.013, z, channels_last=0))
        add("QLinearAveragePool", lambda b: unary(b, "QLinearAveragePool", x(b), 0.04, z - 6, kernel_shape=[2, 2], strides=[2, 2]), 1)
        add("QLinearAveragePool, padded", lambda b: unary(b, "QLinearAveragePool", x(b), 0.04, z - 6, kernel_shape=[3, 3], pads=[1, 1, 1, 1]), 1)
        add("QLinearSigmoid", lambda b: unary(b, "QLinearSigmoid", x(b), 1 / 256, low), 1)
        add("QLinearLeakyRelu", lambda b: unary(b, "QLinearLeakyRelu", x(b), 0.03, z - 40, alpha=0.1))
        add("QLinearSoftmax", lambda b: unary(b, "QLinearSoftmax", x(b, (2, 3, 9)), 1 / 256, low, axis=-1, opset=17))
        add("QLinearSoftmax along axis 1", lambda b: unary(b, "QLinearSoftmax", x(b, (2, 3, 9)), 1 / 256, low, axis=1, opset=17))
        gen.OUT_TYPES[f"Clip {n}"] = gen.OUT_TYPES[f"MaxPool {n}"] = one
        case(f, f"Clip {n}", lambda b: b.op("Clip", [x(b), zero(b, low + 30), zero(b, low + 190)]))
        case(f, f"MaxPool {n}", lambda b: b.op("MaxPool", [x(b)], kernel_shape=[2, 2]))
