"""Quantizes trained models with onnxruntime's quantizer and with onnxpress, and judges both in one run.

usage: compare_quantizers.py ONNXPRESS FOLDER

FOLDER holds `evaluate.py`, which judges (`TASK MODEL --ref ORIGINAL`, one JSON line), and the models. Prints the table of
docs/quantization.md. Needs onnx and onnxruntime.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

TASKS = {"mobilenet_mnistphoto": "mnistphoto", "resnet8_mnistphoto": "mnistphoto", "vit_mnist": "mnist"}
U8, S8 = QuantType.QUInt8, QuantType.QInt8
SCHEMES = {
    "onnxruntime, default (u8s8 per tensor)": dict(activation_type=U8, weight_type=S8),
    "onnxruntime, u8s8 per channel": dict(activation_type=U8, weight_type=S8, per_channel=True),
    "onnxruntime, u8s8 per channel, reduced range": dict(
        activation_type=U8, weight_type=S8, per_channel=True, reduce_range=True
    ),
    "onnxruntime, u8u8 per channel": dict(activation_type=U8, weight_type=U8, per_channel=True),
    "onnxruntime, s8s8 per channel": dict(activation_type=S8, weight_type=S8, per_channel=True),
}
RECIPES = ["int8-x86-avx2", "int8-x86-vnni"]


class Batches(CalibrationDataReader):
    def __init__(self, path):
        arrays = np.load(path)
        (self.name,) = arrays.files
        self.items = iter(np.array_split(arrays[self.name], 16))

    def get_next(self):
        batch = next(self.items, None)
        return None if batch is None else {self.name: batch}


def judge(folder, task, model, original):
    command = [sys.executable, f"{folder}/evaluate.py", task, model, "--ref", original]
    line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    found = json.loads(line)
    return f"{found['sqnr_db']:.1f} dB, {found['agreement']:.3f}, {os.path.getsize(model) // 1000} kB"


def main(tool, folder):
    rows = {name: [] for name in [*SCHEMES, "onnxruntime, dynamic"] + [f"onnxpress, {r}" for r in RECIPES]}
    for model, task in TASKS.items():
        original = f"{folder}/{model}.onnx"
        with tempfile.TemporaryDirectory() as work:
            calib, made, ready = f"{work}/calib.npz", f"{work}/q.onnx", f"{work}/ready.onnx"
            evaluate = [sys.executable, f"{folder}/evaluate.py", task, "--write-calib", calib]
            subprocess.run(evaluate, check=True, capture_output=True)
            quant_pre_process(original, ready)
            for name, options in SCHEMES.items():
                quantize_static(ready, made, Batches(calib), **options)
                rows[name].append(judge(folder, task, made, original))
            quantize_dynamic(ready, made, weight_type=U8)
            rows["onnxruntime, dynamic"].append(judge(folder, task, made, original))
            for recipe in RECIPES:
                command = [tool, "optimize", original, "-r", recipe, "--data", calib, "-o", made, "--quiet"]
                subprocess.run(command, check=True)
                rows[f"onnxpress, {recipe}"].append(judge(folder, task, made, original))
    print("| | " + " | ".join(TASKS) + " |\n|---|" + "---|" * len(TASKS))
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(*sys.argv[1:])
