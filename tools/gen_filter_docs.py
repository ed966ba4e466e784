"""Writes docs/filters/reference.md from the docstrings of what filters import; with `--check`, fails when it is not
current. Sources are parsed, not imported: a page can be written where nothing is compiled."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent, indent

SRC = Path("src/fastmesh")
TARGET = Path("docs/filters/reference.md")

# Heading of a part, file, the names in their order (empty: those that are public, as they stand there).
PARTS: list[tuple[str, str, tuple[str, ...]]] = [
    ("The filter", "filters/filter.py", ("Filter",)),
    ("What phases are given", "_core/filter/view.pyi",
     ("Request", "Response", "Headers", "Labels", "Connection", "UpstreamError", "Outcome")),
    ("What is said of further attempts", "_core/filter/retry_rule.pyi", ("Retry",)),
    ("What may be awaited", "_core/filter/view.pyi", ("Wait", "Sleep", "Signal")),
    ("Errors", "_core/filter/view.pyi", ("ViewClosed", "HeaderError", "Cancelled", "FilterTimeout")),
    ("Policies", "filters/policies.py", ("Authorizer", "RateLimitKey", "RetryPolicy", "AccessLogger")),
    ("Fallbacks", "filters/fallback.py", ("Fallback",)),
    ("What fallbacks are given", "_core/filter/view.pyi", ("Failure",)),
    ("Load balancers", "filters/balancer.py", ("LoadBalancer",)),
    ("What load balancers are given", "_core/filter/balance.pyi", ("Endpoint",)),
    ("Endpoints from elsewhere", "filters/discovery.py", ("Discovery",)),
    ("Healing", "filters/healer.py", ("Healer", "HealEvent")),
    ("Tests without sockets", "testing/kit.py", ("Kit",)),
    ("What became of an exchange", "testing/reply.py", ("Reply",)),
    ("Upstreams of tests", "testing/upstream.py", ("Cluster", "Answer", "Asked")),
    ("Tests through a real proxy", "testing/proxy.py", ("Proxy",)),
    ("Tests of discovery", "testing/discovery.py", ("take_sets",)),
    ("Tests of healing", "testing/healer.py", ("tell_healer",)),
]

HEAD = """\
# Reference of the filter API

<!-- Written by tools/gen_filter_docs.py from the docstrings; change those, then run it. -->

What filters use is imported from `fastmesh`: `from fastmesh import Filter, Request, Response`; what their tests use
from `fastmesh.testing`. When which phase is called is in [phases.md](phases.md), how to begin in the
[tutorial](tutorial.md), how to test in [testing.md](testing.md).
"""


def page() -> str:
    """The whole document."""
    contents: list[str] = []
    body: list[str] = []
    for title, file, names in PARTS:
        body.append(f"## {title}\n")
        classes = {node.name: node for node in ast.parse((SRC / file).read_text(encoding="utf-8")).body
                   if isinstance(node, ast.ClassDef | ast.FunctionDef)}
        chosen = [classes[name] for name in names] if names else [
            node for name, node in classes.items() if not name.startswith("_") and isinstance(node, ast.ClassDef)]
        contents.append(f"**{title}**: " + ", ".join(f"[{node.name}](#{node.name.lower()})" for node in chosen) + "  ")
        for node in chosen:
            body += class_section(node) if isinstance(node, ast.ClassDef) else function_section(node)
    return "\n".join([HEAD, *contents, "", *body])


def class_section(node: ast.ClassDef) -> Iterator[str]:
    """A heading, what the class is, its attributes as a table, its methods one by one."""
    yield f'<a id="{node.name.lower()}"></a>\n'
    bases = [ast.unparse(base) for base in node.bases]
    yield f"### {node.name}\n"
    if bases:
        yield f"`class {node.name}({', '.join(bases)})`\n"
    if text := docstring(node):
        yield markdown(text) + "\n"
    methods = [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    for each in methods:
        if each.name == "__init__":
            yield f"```python\n{signature(node, each)}\n```\n"
    attributes = list(rows(node, methods))
    if attributes:
        yield "| attribute | type | default | meaning |\n|---|---|---|---|"
        yield "\n".join(attributes) + "\n"
    for each in methods:
        if is_property(each) or (each.name.startswith("_") and not is_worth_telling(each)):
            continue
        text = ast.get_docstring(each)
        if text is None and node.name != "Filter" and each.name.startswith("on_"):
            continue        # a policy answers the phase by itself
        yield f"```python\n{signature(node, each)}\n```\n"
        if text:
            yield markdown(text) + "\n"


def function_section(node: ast.FunctionDef) -> Iterator[str]:
    """A heading, how it is called, what it does."""
    yield f'<a id="{node.name.lower()}"></a>\n'
    yield f"### {node.name}\n"
    yield f"```python\n{signature(None, node)}\n```\n"
    if text := ast.get_docstring(node):
        yield markdown(text) + "\n"


def rows(node: ast.ClassDef, methods: list[ast.FunctionDef | ast.AsyncFunctionDef]) -> Iterator[str]:
    """Lines of the table: annotated attributes, with the string below each, and properties."""
    for here, below in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(here, ast.AnnAssign) and isinstance(here.target, ast.Name):
            text = ""
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                text = str(below.value.value)
            kind = ast.unparse(here.annotation).removeprefix("ClassVar[").removesuffix(
                "]" if ast.unparse(here.annotation).startswith("ClassVar[") else "")
            value = f"`{ast.unparse(here.value)}`" if here.value else "–"
            yield row(here.target.id, kind, value, text)
    for each in methods:
        if is_property(each):
            kind = ast.unparse(each.returns) if each.returns else ""
            yield row(each.name, kind, "read only", ast.get_docstring(each) or "")


def row(name: str, kind: str, value: str, text: str) -> str:
    told = " ".join(text.split()).replace("|", "\\|")
    return f"| `{name}` | `{kind.replace('|', chr(92) + '|')}` | {value} | {told} |"


def is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "property" for each in node.decorator_list)


def is_worth_telling(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Item assignment and its like, where something is said about them."""
    return (node.name.startswith("__") and node.name not in ("__init__", "__init_subclass__")
            and ast.get_docstring(node) is not None)


def signature(owner: ast.ClassDef | None, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """As one would call it: without self, and with the class for a constructor."""
    arguments = ast.parse(ast.unparse(node.args) and f"def f({ast.unparse(node.args)}): ...").body[0]
    assert isinstance(arguments, ast.FunctionDef)
    arguments.args.args = [each for each in arguments.args.args if each.arg != "self"]
    arguments.args.posonlyargs = [each for each in arguments.args.posonlyargs if each.arg != "self"]
    inner = ast.unparse(arguments.args)
    if owner is not None and node.name == "__init__":
        return wrapped(f"{owner.name}(", inner, ")")
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    prefix = "async def " if isinstance(node, ast.AsyncFunctionDef) else "def "
    return wrapped(f"{prefix}{node.name}(", inner, f"){returns}")


def wrapped(head: str, inner: str, tail: str) -> str:
    """One line, or one for the arguments of their own when it would be long."""
    line = head + inner + tail
    return line if len(line) <= 110 else f"{head}\n    {inner}\n{tail}"


def docstring(node: ast.ClassDef) -> str | None:
    """That of a class. Where only code follows the first line, its indent would be taken for that of the text."""
    text = ast.get_docstring(node)
    if text is None:
        return None
    first, _, rest = text.partition("\n")
    if first.endswith("::") and not rest.lstrip("\n").startswith(" "):
        rest = indent(rest, "    ")
    return f"{first}\n{rest}" if rest else first


def markdown(text: str) -> str:
    """A docstring as Markdown: what is indented below `::` is Python."""
    lines: list[str] = []
    code: list[str] = []
    is_code = False
    for line in [*dedent(text).splitlines(), None]:
        if is_code and (line is None or (line and not line.startswith("    "))):
            lines += ["```python", *dedent("\n".join(code)).strip("\n").splitlines(), "```"]
            if line is not None:
                lines.append("")
            is_code, code = False, []
        if line is None:
            break
        if is_code:
            code.append(line)
        elif line.endswith("::"):
            lines += [line[:-1], ""]
            is_code = True
        else:
            lines.append(line)
    return "\n".join(lines)


def main() -> int:
    text = page()
    if "--check" not in sys.argv[1:]:
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        TARGET.write_text(text, encoding="utf-8")
    elif not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
        print(f"{TARGET} is not current: run tools/gen_filter_docs.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
