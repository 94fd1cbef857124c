"""Doc strings of the stubs: editors show those of the stub of a compiled module, `help()` those of the module.

Run as a program it writes the module's doc strings into the stub.
"""

import ast
import inspect
import pathlib

STUB = pathlib.Path(__file__).parents[1] / "python/mbe_bridge/_native.pyi"


def with_docs(stub):
    """The text of the stub with the doc strings of the module that is installed."""
    from mbe_bridge import _native

    lines = stub.split("\n")
    class_ = next(
        node for node in ast.parse(stub).body if isinstance(node, ast.ClassDef) and node.name == "TimeseriesStreamer"
    )
    methods = [node for node in class_.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    for node in reversed(methods):
        member = vars(_native.TimeseriesStreamer)[node.name]
        body = node.body[0]
        lines[body.lineno - 1 : body.end_lineno] = head(lines, body) + quoted(inspect.getdoc(member), 8)
    first = class_.body[0]
    if isinstance(first, ast.Expr):
        del lines[first.lineno - 1 : first.end_lineno]
    lines[class_.lineno : class_.lineno] = quoted(inspect.getdoc(_native.TimeseriesStreamer), 4)
    return "\n".join(lines)


def head(lines, body):
    """What stands before a body on its line: `def close(self) -> int: ...`."""
    before = lines[body.lineno - 1][: body.col_offset].rstrip()
    return [before] if before else []


def quoted(doc, indent):
    lines = ('"""' + doc + ("\n" if "\n" in doc else "") + '"""').split("\n")
    return [" " * indent + line if line else "" for line in lines]


if __name__ == "__main__":
    STUB.write_text(with_docs(STUB.read_text()))
