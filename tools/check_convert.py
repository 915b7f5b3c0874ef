"""Converts every node test of the standard to the opsets around its own, and judges each result.

usage: check_convert.py CASES 'CMD with {i}, {o} and {opset}' [--only SUBSTRING] [--near 4] [--oldest 11] [--jobs 2] [--json OUT]

CASES/live/*.onnx are models of one operator with inputs, CASES/data/*.pb what goes in and what the standard says comes
out. A model of opset N is converted to N-near ... N+near, down to `--oldest` and up to the newest opset of onnx.

Judged, for every conversion:
  exact     the result gives the same answers in onnxruntime; where the original does not run, those of the standard
  refused   the tool says which node cannot be written at that opset, why, and which opset would do
  checked   onnxruntime has no kernel for the result, which the checker of the standard finds valid
  wrong     other answers; also an opset that is not the one asked for
  broken    the result is not valid, or does not run where the original runs
  crashed   any other end: an error that names no node, a panic, a time-out
Exit status 1 if anything is wrong, broken or crashed. Needs onnx and onnxruntime.
"""
import argparse
import collections
import glob
import io
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

warnings.filterwarnings("ignore")
os.environ["ALLOW_RELEASED_ONNX_OPSET_ONLY"] = "0"
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from onnx import numpy_helper  # noqa: E402

RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
RTOL = {"float64": 1e-7, "float32": 1e-3, "float16": 2e-3, "bfloat16": 2e-2, "complex64": 1e-3, "complex128": 1e-7}
NAMED = re.compile(r"cannot be written at opset \d+: .*; (the lowest opset that would do is \d+|no higher opset)")
BAD = ("wrong", "broken", "crashed")


def difference(want, got):
    """How two answers differ; None where they are the same."""
    want, got = np.asarray(want), np.asarray(got)
    if want.shape != got.shape or want.dtype.name != got.dtype.name:
        return f"{want.dtype}{list(want.shape)} became {got.dtype}{list(got.shape)}"
    if want.dtype.name in RTOL or "float" in want.dtype.name:
        rtol = RTOL.get(want.dtype.name, 0.0)
        wide = np.complex128 if want.dtype.kind == "c" else np.float64
        close = np.allclose(got.astype(wide), want.astype(wide), rtol=rtol, atol=rtol * 1e-2, equal_nan=True)
        return None if close else "values differ"
    return None if np.array_equal(want, got) else "values differ"


def run(path, feed):
    """The answers of onnxruntime without its optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, feed)


def attempt(work):
    """What something gives, and None; or None and why it failed."""
    try:
        return work(), None
    except Exception as error:  # noqa: BLE001
        return None, f"{type(error).__name__}: {str(error)[:200]}"


def valid(path):
    return attempt(lambda: onnx.checker.check_model(path, full_check=True))[1]


def opset_of(model):
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), None)


class Case:
    """One node test."""

    def __init__(self, path, root):
        self.path, self.name = path, os.path.basename(path)[:-5]
        self.model = onnx.load(path)
        data = onnx.GraphProto()
        with open(f"{root}/data/{self.name}.pb", "rb") as file:
            data.ParseFromString(file.read())
        data = {t.name: t for t in data.initializer}
        array = lambda name: numpy_helper.to_array(data[name])  # noqa: E731
        self.feed = {i.name: array(f"in_{k}") for k, i in enumerate(self.model.graph.input)}
        self.standard = [array(f"out_{k}") for k in range(len(self.model.graph.output))]
        self.random = any(n.op_type in RANDOM for n in self.model.graph.node)
        self.answers, _ = attempt(lambda: run(path, self.feed))
        self.valid = valid(path) is None

    def judge(self, tool, opset):
        """A verdict and why."""
        with tempfile.TemporaryDirectory() as folder:
            out = f"{folder}/out.onnx"
            command = tool.format(i=self.path, o=out, opset=opset)
            try:
                done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
            except subprocess.TimeoutExpired:
                return "crashed", "time-out"
            if done.returncode or not os.path.exists(out):
                said = (done.stderr or done.stdout).strip()
                named = done.returncode == 1 and NAMED.search(said) and not os.path.exists(out)
                return ("refused", said) if named else ("crashed", said[-200:])
            return self.judge_result(out, opset)

    def judge_result(self, out, opset):
        result = onnx.load(out)
        if opset_of(result) != opset:
            return "wrong", f"its opset is {opset_of(result)}"
        invalid = valid(out)
        if invalid and self.valid:
            return "broken", invalid
        got, failed = attempt(lambda: run(out, self.feed))
        if got is None:
            # A runtime need not have every version of every operator.
            missing = "NOT_IMPLEMENTED" in failed or self.answers is None
            return ("checked", failed) if missing else ("broken", failed)
        if self.random:
            return "checked", "random"
        # A runtime may be wrong in one version of an operator and right in another.
        known = [answers for answers in (self.answers, self.standard) if answers is not None]
        differs = next(filter(None, map(difference, known[0], got)), None)
        if any(not any(map(difference, want, got)) for want in known):
            differs = None
        if differs and self.answers is None:
            # Nobody knows what the runtime would give for the original.
            return "checked", f"other answers than the standard's: {differs}"
        return ("wrong", differs) if differs else ("exact", "")


def targets(opset, arguments):
    newest = onnx.defs.onnx_opset_version()
    around = range(max(arguments.oldest, opset - arguments.near), min(newest, opset + arguments.near) + 1)
    return [t for t in sorted({*around, *arguments.also}) if t != opset]


def judge_case(path, arguments, into):
    case = Case(path, arguments.cases)
    ops = "+".join(sorted({n.op_type for n in case.model.graph.node}))
    opset = opset_of(case.model)
    with open(into, "w") as lines:
        for target in targets(opset, arguments):
            verdict, why = case.judge(arguments.tool, target)
            told = {"name": case.name, "ops": ops, "from": opset, "to": target, "verdict": verdict, "why": why}
            print(json.dumps(told), file=lines, flush=True)
    # The threads of the parent are not here to be waited for.
    os._exit(0)


def isolated(task):
    """The verdicts of one case, which a crash of the runtime does not take along."""
    path, arguments = task
    with tempfile.TemporaryDirectory() as folder:
        into = f"{folder}/verdicts"
        process = multiprocessing.get_context("fork").Process(target=judge_case, args=(path, arguments, into))
        process.start()
        process.join(300)
        if process.is_alive():
            process.kill()
            process.join()
        with open(into) if os.path.exists(into) else io.StringIO() as lines:
            found = [json.loads(line) for line in lines]
    if process.exitcode:
        found.append({"name": os.path.basename(path)[:-5], "ops": "", "from": 0, "to": 0, "verdict": "crashed",
                      "why": f"the judge ended with {process.exitcode}"})
    return found


def of_the_standard(path):
    domains = {o.domain for o in onnx.load(path).opset_import}
    return domains <= {"", "ai.onnx"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cases")
    parser.add_argument("tool")
    parser.add_argument("--only", default="")
    parser.add_argument("--near", type=int, default=4)
    parser.add_argument("--oldest", type=int, default=11)
    parser.add_argument("--also", type=int, nargs="*", default=[], help="opsets to convert every case to besides")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    started = time.time()
    paths = sorted(glob.glob(f"{arguments.cases}/live/*{arguments.only}*.onnx"))
    tasks = [(path, arguments) for path in paths if of_the_standard(path)]
    found = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for results in pool.map(isolated, tasks):
            found.extend(results)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(found, file, indent=0)
    for r in found:
        if r["verdict"] in BAD:
            print(f"{r['verdict']:>8} {r['name']} {r['from']} -> {r['to']}: {r['why']}")
    counts = collections.Counter(r["verdict"] for r in found)
    words = ", ".join(f"{verdict} {counts[verdict]}" for verdict in ("exact", "refused", "checked", *BAD))
    print(f"{len(tasks)} cases, {len(found)} conversions: {words}, {time.time() - started:.0f} s")
    sys.exit(any(counts[verdict] for verdict in BAD))


if __name__ == "__main__":
    main()
