#!/usr/bin/env python3
"""Write src/schema/generated.rs: the operator table of the ONNX standard.

Needs `pip install onnx==1.23.2`. With `--check` nothing is written and the exit status is 1 when the file is stale.
"""

import argparse
import json
import pathlib
import re
import struct
import sys

import onnx
import onnx.defs
import onnx.helper

ONNX_VERSION = "1.23.2"
DOMAINS = ("", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training")
TARGET = pathlib.Path(__file__).resolve().parent.parent / "src" / "schema" / "generated.rs"
UNBOUNDED = 2**31 - 1
CONTAINERS = {"seq": "SEQUENCE", "optional": "OPTIONAL", "map": "MAP", "sparse_tensor": "SPARSE"}
DATA_TYPES = onnx.TensorProto.DataType


def camel(name):
    return "".join(part.capitalize() for part in name.split("_"))


def type_set(types):
    """The allowed types of a parameter as one Rust expression."""
    mask, containers = 0, set()
    for text in types:
        head, inner = re.fullmatch(r"(\w+)\((.*)\)", text).groups()
        if head == "tensor":
            mask |= 1 << DATA_TYPES.Value(inner.upper())
        else:
            containers.add(CONTAINERS[head])
    flags = " | ".join(f"TypeSet::{c}" for c in sorted(containers)) or "0"
    return f"TypeSet::new({mask:#010x}, {flags})"


def float_literal(value):
    """The shortest decimal that is the same f32."""
    bits = struct.pack("<f", value)
    for digits in range(1, 10):
        text = f"{value:.{digits}g}"
        if abs(float(text)) <= 3.4028235e38 and struct.pack("<f", float(text)) == bits:
            return text if "." in text or "e" in text else text + ".0"
    raise ValueError(f"no f32 literal for {value}")


def quoted(text):
    return json.dumps(text.decode() if isinstance(text, bytes) else text)


def default_value(attribute):
    proto = attribute.default_value
    if not proto.type:
        return "None"
    value = onnx.helper.get_attribute_value(proto)
    match onnx.AttributeProto.AttributeType.Name(proto.type):
        case "FLOAT":
            body = f"Float({float_literal(value)})"
        case "INT":
            body = f"Int({value})"
        case "STRING":
            body = f"String({quoted(value)})"
        case "FLOATS":
            body = f"Floats(&[{', '.join(map(float_literal, value))}])"
        case "INTS":
            body = f"Ints(&[{', '.join(map(str, value))}])"
        case "STRINGS":
            body = f"Strings(&[{', '.join(map(quoted, value))}])"
        case other:
            raise ValueError(f"{attribute.name}: a default of type {other} is not supported")
    return f"Some({body})"


class Pool:
    """Gives each distinct expression one constant."""

    def __init__(self, prefix, rust_type):
        self.prefix, self.rust_type, self.names = prefix, rust_type, {}

    def name(self, expression):
        return self.names.setdefault(expression, f"{self.prefix}{len(self.names)}")

    def lines(self):
        return [f"const {name}: {self.rust_type} = {text};" for text, name in self.names.items()]


class Table:
    """Collects the operators and the constants that they share."""

    def __init__(self):
        self.types = Pool("T", "TypeSet")
        self.params = Pool("P", "&[Param]")
        self.attributes = Pool("A", "&[AttrDef]")

    def param_list(self, formal):
        out = []
        for p in formal:
            form = str(p.option).split(".")[-1]
            types = self.types.name(type_set(p.types))
            same = "true" if p.is_homogeneous else "false"
            out.append(f"Param::new({quoted(p.name)}, {quoted(p.type_str)}, {types}, {form}, {same})")
        return self.params.name(f"&[{', '.join(out)}]")

    def attribute_list(self, schema):
        out = []
        for name, a in sorted(schema.attributes.items()):
            kind = camel(str(a.type).split(".")[-1])
            required = "true" if a.required else "false"
            out.append(f"AttrDef::new({quoted(name)}, AttrKind::{kind}, {required}, {default_value(a)})")
        return self.attributes.name(f"&[{', '.join(out)}]")

    def operator(self, schema):
        flags = []
        if schema.deprecated:
            flags.append("DEPRECATED")
        if schema.has_function or schema.has_context_dependent_function:
            flags.append("FUNCTION")

        def limit(n):
            return "MANY" if n == UNBOUNDED else str(n)

        fields = [quoted(schema.domain), quoted(schema.name), str(schema.since_version), " | ".join(flags) or "0"]
        fields += [self.param_list(schema.inputs), str(schema.min_input), limit(schema.max_input)]
        fields += [self.param_list(schema.outputs), str(schema.min_output), limit(schema.max_output)]
        return f"    op({', '.join(fields)}, {self.attribute_list(schema)}),"


def release_lines():
    rows = []
    for version, ir_version, opset, ml_opset, *_ in onnx.helper.VERSION_TABLE:
        rows.append(f'    Release {{ version: "{version}", ir_version: {ir_version}, opset: {opset}, ml_opset: {ml_opset} }},')
    return rows


def render():
    schemas = [s for s in onnx.defs.get_all_schemas_with_history() if s.domain in DOMAINS]
    schemas.sort(key=lambda s: (s.domain.encode(), s.name.encode(), s.since_version))
    table = Table()
    operators = [table.operator(s) for s in schemas]
    releases = release_lines()
    newest = {d: onnx.defs.onnx_opset_version() if d == "" else max(s.since_version for s in schemas if s.domain == d)
              for d in ("", "ai.onnx.ml")}
    lines = [
        f"// @generated by tools/gen_schema.py from onnx {ONNX_VERSION}",
        "",
        "use super::Release;",
        "use super::op::{AttrDef, AttrDefault::*, AttrKind, OpSchema, Param, ParamOption::*, TypeSet};",
        "use super::op::{DEPRECATED, FUNCTION, UNBOUNDED as MANY, op};",
        "",
        f"pub(super) const NEWEST_OPSET: i64 = {newest['']};",
        f"pub(super) const NEWEST_ML_OPSET: i64 = {newest['ai.onnx.ml']};",
        "",
        f"pub(super) static RELEASES: [Release; {len(releases)}] = [",
        *releases,
        "];",
        "",
        *table.types.lines(),
        "",
        *table.params.lines(),
        "",
        *table.attributes.lines(),
        "",
        "// domain, name, since_version, flags, inputs, min, max, outputs, min, max, attributes",
        f"pub(super) static SCHEMAS: [OpSchema; {len(operators)}] = [",
        *operators,
        "];",
    ]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 when the file is stale")
    args = parser.parse_args()
    if onnx.__version__ != ONNX_VERSION:
        sys.exit(f"onnx {onnx.__version__} is installed, the table is made from {ONNX_VERSION}: pip install onnx=={ONNX_VERSION}")
    text = render()
    if not args.check:
        TARGET.write_text(text, encoding="utf-8")
    elif not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
        sys.exit(f"{TARGET.name} is stale: run tools/gen_schema.py")


if __name__ == "__main__":
    main()
