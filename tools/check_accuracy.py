"""Quantizes trained models with onnxpress, and fails where onnxruntime's answers are further off than they may be.

usage: check_accuracy.py ONNXPRESS FOLDER ORT_LIB

FOLDER holds `evaluate.py`, which judges (`TASK MODEL --ref ORIGINAL`, one JSON line), and the models. ORT_LIB is for
`--engine ort --ort-lib`. Prints a table with every figure and its bar; the exit code is 1 where one is missed. Needs onnx
and onnxruntime.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

# Of each model: its task, the top-1 of its floats, and the signal to noise ratio in dB that 8 bits have to keep.
MODELS = {
    "mobilenet_mnistphoto": ("mnistphoto", 0.9428, 31.0),
    "resnet8_mnistphoto": ("mnistphoto", 0.9416, 37.0),
    "vit_mnist": ("mnist", 0.9647, 31.0),
}
PLAIN = "rounding: nearest, scales: min-max"
WEIGHTS = "extends: simplify\nsteps:\n  - quantize-weights: {{ {} }}\n"
# What 4 bits may be off, and what samples have to gain.
FOUR_BITS, GAIN = 20.0, 2.0


def layers_in_8_bits():
    """The built-in recipe for the machine that runs this."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        flags = []
    vnni = {"avx512_vnni", "avx_vnni"} & set(flags)
    return "int8-x86-vnni" if vnni else "int8-x86-avx2"


class Judge:
    """Figures and the bars that they are held to."""

    def __init__(self):
        self.missed = 0

    def hold(self, model, recipe, what, found, least):
        # What is no number, such as "unknown: …", holds no bar.
        held = isinstance(found, (int, float)) and found >= least
        self.missed += not held
        shown = f"{found:.4g}" if isinstance(found, (int, float)) else str(found)
        print(f"{model:<22} {recipe:<28} {what:<13} {shown:>9} {least:>9.4g}  {'ok' if held else 'MISSED'}", flush=True)


def quantize(tool, library, paths, recipe):
    """The figures of a model by a built-in recipe, or the text of one."""
    folder, original, calib, work = paths
    name = recipe
    if "\n" in recipe:
        name = work / "recipe.yaml"
        name.write_text(recipe)
    made = work / "made.onnx"
    made.unlink(missing_ok=True)
    engine = ["--engine", "ort", "--ort-lib", library]
    command = [tool, "optimize", original, "-r", name, "--data", calib, "-o", made, "--quiet", *engine]
    subprocess.run([str(part) for part in command], check=True)
    task = MODELS[original.stem][0]
    command = [sys.executable, str(folder / "evaluate.py"), task, str(made), "--ref", str(original)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(lines.splitlines()[-1])


def check(judge, tool, library, folder, work):
    eight = layers_in_8_bits()
    print(f"{'model':<22} {'recipe':<28} {'figure':<13} {'found':>9} {'least':>9}")
    for model, (task, top1, least) in MODELS.items():
        calib = work / f"{model}.npz"
        command = [sys.executable, str(folder / "evaluate.py"), task, "--write-calib", str(calib)]
        subprocess.run(command, check=True, capture_output=True)
        paths = folder, folder / f"{model}.onnx", calib, work

        found = quantize(tool, library, paths, eight)
        judge.hold(model, eight, "sqnr_db", found["sqnr_db"], least)
        judge.hold(model, eight, "integer_macs", found["integer_macs"], 0.95)
        judge.hold(model, eight, "agreement", found["agreement"], 0.993)
        judge.hold(model, eight, "top1", found["top1"], top1 - 0.004)

        found = quantize(tool, library, paths, WEIGHTS.format("weights: int8"))
        judge.hold(model, "weights: int8", "sqnr_db", found["sqnr_db"], 40.0)

        found = quantize(tool, library, paths, "int4-weights")
        plain = quantize(tool, library, paths, WEIGHTS.format(f"weights: uint4, {PLAIN}"))
        judge.hold(model, "int4-weights", "sqnr_db", found["sqnr_db"], FOUR_BITS)
        judge.hold(model, "int4-weights over plain", "sqnr_db", found["sqnr_db"] - plain["sqnr_db"], GAIN)


def main(tool, folder, library):
    judge = Judge()
    with tempfile.TemporaryDirectory() as work:
        check(judge, tool, library, Path(folder), Path(work))
    if judge.missed:
        sys.exit(f"{judge.missed} figures below their bar")
    print("all figures reach their bar")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
