"""Times models in 8 bits, by onnxruntime's quantizer and by onnxpress, in onnxruntime: in turn, in one run.

usage: time_quantized.py ONNXPRESS FOLDER [MODEL...]

FOLDER holds the models (MODEL.onnx, one float input of images); by default resnet50_bn and mobilenet_v2_bn. Both quantizers
calibrate on the same 16 random images. Prints the medians of docs/quantization.md. Needs onnx and onnxruntime; with
ORT_LIB set, onnxpress runs on that onnxruntime.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

IMAGES, ROUNDS, THREADS = 16, 40, 2
U8, S8 = QuantType.QUInt8, QuantType.QInt8
SCHEMES = {
    "onnxruntime, u8s8 per channel, reduced range": dict(weight_type=S8, reduce_range=True),
    "onnxruntime, u8u8 per channel": dict(weight_type=U8),
}
RECIPES = ["int8-x86-avx2", "int8-x86-vnni"]


class Images(CalibrationDataReader):
    def __init__(self, path):
        arrays = np.load(path)
        (self.name,) = arrays.files
        self.items = iter(arrays[self.name])

    def get_next(self):
        item = next(self.items, None)
        return None if item is None else {self.name: item[None]}


def open_session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = THREADS, 4
    # Else the threads of the others go on spinning while one is timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def make(tool, original, work):
    """The files to be timed, by what made them."""
    given = open_session(original).get_inputs()[0]
    dims = [d if isinstance(d, int) else 1 for d in given.shape]
    rng = np.random.default_rng(0)
    calib = f"{work}/calib.npz"
    np.savez(calib, **{given.name: rng.standard_normal([IMAGES, *dims[1:]], np.float32)})
    ready = f"{work}/ready.onnx"
    quant_pre_process(original, ready)
    made = {"float32": original}
    for at, (name, options) in enumerate(SCHEMES.items()):
        made[name] = f"{work}/{at}.onnx"
        quantize_static(ready, made[name], Images(calib), activation_type=U8, per_channel=True, **options)
    library = os.environ.get("ORT_LIB")
    engine = ["--engine", "ort", "--ort-lib", library] if library else []
    for recipe in RECIPES:
        path = made[f"onnxpress, {recipe}"] = f"{work}/{recipe}.onnx"
        command = [tool, "optimize", original, "-r", recipe, "--data", calib, "-o", path, "--quiet", *engine]
        subprocess.run(command, check=True)
    return made, {given.name: np.load(calib)[given.name][:1]}


def medians(made, feeds):
    """Milliseconds of one run of each, which take turns."""
    sessions = {name: open_session(path) for name, path in made.items()}
    took = {name: [] for name in sessions}
    for turn in range(ROUNDS + 3):
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run(None, feeds)
            if turn >= 3:
                took[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(all_) for name, all_ in took.items()}


def main(tool, folder, *models):
    models = models or ("resnet50_bn", "mobilenet_v2_bn")
    rows = {}
    for model in models:
        with tempfile.TemporaryDirectory() as work:
            found = medians(*make(tool, f"{folder}/{model}.onnx", work))
        for name, took in found.items():
            rows.setdefault(name, []).append(f"{took:.1f} ms, ×{found['float32'] / took:.2f}")
    print("| | " + " | ".join(models) + " |\n|---|" + "---|" * len(models))
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
