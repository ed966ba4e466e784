"""Writes docs/filters/reference.md from the docstrings of what filters import; with `--check`, fails when it is not
current. Sources are parsed, not imported: a page can be written where nothing is compiled.

What begins with `For the kit` or `For the worker` is no part of what authors use, and left out.
"""

import ast
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from textwrap import dedent, indent, wrap

SRC = Path("src/fastmesh")
TARGET = Path("docs/filters/reference.md")
WIDTH = 118             # of text, as in the other documents
SIGNATURE_WIDTH = 100   # of a block of code, which does not wrap where it is shown

VIEW = "_core/filter/view.pyi"
# Heading of a part → files and the names in them, in their order. `Sleep as sleep` is shown by the name that it is
# imported by; without a name before it, it is that of the file itself.
Parts = dict[str, dict[str, tuple[str, ...]]]
FILTERS: Parts = {
    "The filter": {"filters/filter.py": ("Filter",)},
    "What phases are given": {
        VIEW: ("Request", "Response", "Headers", "Labels", "Connection", "UpstreamError", "Outcome")},
    "What is said of further attempts": {"_core/filter/retry_rule.pyi": ("Retry",)},
    "What may be awaited": {VIEW: ("Sleep as sleep", "Signal", "Wait")},
    "Calls of clusters": {
        "filters/mesh.py": ("Mesh", "Reply as Reply (of Mesh)"), "_core/filter/call.pyi": ("CallFailed",)},
    "What is logged and counted": {
        "filters/reporter.py": ("Reporter",), "filters/metrics.py": ("Metrics",),
        "_core/mem/metric.pyi": (
            "Counter as Counter (of Metrics)", "Gauge as Gauge (of Metrics)", "Histogram as Histogram (of Metrics)",
            "CounterCell as CounterCell (of Metrics)", "GaugeCell as GaugeCell (of Metrics)",
            "HistogramCell as HistogramCell (of Metrics)", "MetricError as MetricError (of Metrics)")},
    "What all workers share": {
        "filters/shared.py": (" as shared",),
        "_core/mem/shared.pyi": (
            "Counter as shared.Counter", "Gauge as shared.Gauge", "Flag as shared.Flag",
            "TokenBuckets as shared.TokenBuckets", "LruMap as shared.LruMap", "SharedError as shared.SharedError")},
    "Types of settings": {"filters/types.py": ("Duration", "Size", "Share", "Secret")},
    "Errors": {VIEW: ("ViewClosed", "HeaderError", "Cancelled", "FilterTimeout")},
    "Policies": {"filters/policies.py": ("Authorizer", "RateLimitKey", "RetryPolicy", "AccessLogger")},
    "Fallbacks": {"filters/fallback.py": ("Fallback",), VIEW: ("Failure",)},
    "Load balancers": {"filters/balancer.py": ("LoadBalancer",), "_core/filter/balance.pyi": ("Endpoint",)},
    "Endpoints from elsewhere": {"filters/discovery.py": ("Discovery", "Endpoints")},
    "Healing": {"filters/healer.py": ("Healer", "HealEvent")},
}
TESTING: Parts = {
    "Tests without sockets": {"testing/kit.py": ("Kit", "Leftover")},
    "What became of an exchange": {"testing/reply.py": ("Reply", "LogLine", "Report", "Unanswered")},
    "Upstreams of tests": {"testing/upstream.py": ("Cluster", "Answer", "Asked")},
    "Tests through a real proxy": {
        "testing/proxy.py": ("Proxy", "ProxyFailed"), "testing/origin.py": ("Origin",),
        "testing/message.py": ("Message", "Fields")},
    "Tests of load balancers": {"testing/made_up.py": ("endpoint as endpoint (of tests)",)},
    "Tests of discovery": {"testing/discovery.py": ("take_sets",)},
    "Tests of healing": {"testing/healer.py": ("tell_healer",)},
    "Types that signatures name": {
        "testing/request.py": ("Parts",), "testing/message.py": ("FieldsLike",), "testing/kit.py": ("Given",),
        "testing/wiring.py": ("Match",), "testing/proxy.py": ("Use",), "testing/upstream.py": ("Answers",),
        "testing/made_up.py": ("Numbers",)},
}
SEEN = {(file, name.partition(" as ")[0])
        for part in (FILTERS | TESTING).values() for file, names in part.items() for name in names}

HEAD = """\
# Reference of the filter API

<!-- Written by tools/gen_filter_docs.py from the docstrings; change those, then run it. -->

What filters use is imported from `fastmesh`: `from fastmesh import Filter, Request, Response`; what their tests use
from `fastmesh.testing`. `fastmesh.__version__` is the version, as text. When which phase is called is in
[phases.md](phases.md), how to begin in the [tutorial](tutorial.md), how to test in [testing.md](testing.md).
"""
OF_TESTS = "# For tests of filters\n\nAll of it is imported from `fastmesh.testing`.\n"

NOT_FOR_AUTHORS = ("For the kit", "For the worker")
Named = ast.ClassDef | ast.FunctionDef | ast.Assign
Method = ast.FunctionDef | ast.AsyncFunctionDef
# How what has a special name is written in a program: `{0}` is the object, `{1}` and `{2}` are the parameters.
WRITTEN = {
    "__getitem__": "{0}[{1}]", "__setitem__": "{0}[{1}] = {2}", "__delitem__": "del {0}[{1}]",
    "__contains__": "{1} in {0}", "__iter__": "for each in {0}", "__len__": "len({0})", "__bool__": "if {0}"}


def page() -> str:
    """The whole document."""
    contents: list[str] = ["From `fastmesh`:\n"]
    body: list[str] = []
    for parts in (FILTERS, TESTING):
        if parts is TESTING:
            contents.append("\nFrom `fastmesh.testing`:\n")
            body.append(OF_TESTS.replace("# ", "## ", 1))
        for title, files in parts.items():
            chosen = [entry for file, names in files.items() for entry in map(File(file).entry, names)]
            links = ", ".join(f"[{entry.shown}](#{entry.anchor})" for entry in chosen)
            contents.append(filled(f"- {title}: {links}", "  "))
            body.append(f"## {title}\n")
            for entry in chosen:
                body += entry.section()
    return "\n".join([HEAD, *contents, "", *body])


class File:
    """What stands at the top of a file, below its conditions too."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.constants: dict[str, ast.expr] = {}
        self.tree = ast.parse((SRC / name).read_text(encoding="utf-8"))
        self.found: dict[str, tuple[Named, str]] = {}
        self._look(self.tree.body)
        self._spell_out()

    def _look(self, body: list[ast.stmt]) -> None:
        for here, below in pairs(body):
            if isinstance(here, ast.ClassDef | ast.FunctionDef):
                self.found.setdefault(here.name, (here, clean(here)))
            elif isinstance(here, ast.Assign) and isinstance(here.targets[0], ast.Name) and text_of(below):
                self.found.setdefault(here.targets[0].id, (here, text_of(below)))
            elif isinstance(here, ast.Assign) and isinstance(here.targets[0], ast.Name):
                self.constants[here.targets[0].id] = here.value
            elif isinstance(here, ast.If):
                self._look(here.body)
                self._look(here.orelse)

    def _spell_out(self) -> None:
        """Puts numbers in place of the constants that are defaults: their names are not to be imported."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.arguments):
                for values in (node.defaults, node.kw_defaults):
                    for i, value in enumerate(values):
                        if isinstance(value, ast.Name) and value.id in self.constants:
                            values[i] = self.constants[value.id]

    def entry(self, name: str) -> "Entry":
        own, _, shown = name.partition(" as ")
        if not own:
            return Entry(self, shown, None, clean(self.tree))
        node, text = self.found[own]
        if isinstance(node, ast.Assign) and not text:
            raise SystemExit(f"{name} has no text below it")
        return Entry(self, shown or own, node, text)


class Entry:
    """One name that authors import, or are given."""

    def __init__(self, file: File, shown: str, node: Named | None, text: str) -> None:
        self.file = file
        self.shown = shown
        self.anchor = shown.lower().translate({ord(" "): "-", ord("("): None, ord(")"): None})
        self.node = node
        self.text = text

    def section(self) -> Iterator[str]:
        """A heading, what it is, how it is called or made, and what it has."""
        yield f'<a id="{self.anchor}"></a>\n'
        yield f"### {self.shown}\n"
        if isinstance(self.node, ast.ClassDef):
            yield from self._class(self.node)
            return
        if isinstance(self.node, ast.FunctionDef):
            yield f"```python\n{signature(self.node)}\n```\n"
        elif isinstance(self.node, ast.Assign):
            yield f"```python\n{ast.unparse(self.node)}\n```\n"
        yield markdown(self.text) + "\n"

    def _class(self, node: ast.ClassDef) -> Iterator[str]:
        bases = [ast.unparse(base) for base in node.bases if not self._is_unseen(base)]
        if bases:
            yield f"`class {self.shown}({', '.join(bases)})`\n"
        if self.text:
            yield markdown(self.text) + "\n"
        body = self._body(node)
        methods = [each for each in body if isinstance(each, Method)]
        for each in methods:
            if each.name == "__init__" and not is_left_out(each) and "Error" not in str(bases):
                yield f"```python\n{signature(each, self.shown)}\n```\n"
                if text := clean(each):
                    yield markdown(text) + "\n"
        attributes = list(self._attributes(body, methods))
        if attributes:
            yield "\n".join(attributes) + "\n"
        for name in dict.fromkeys(each.name for each in methods):
            same = [each for each in methods if each.name == name]
            yield from self._method(same)

    def _method(self, same: list[Method]) -> Iterator[str]:
        """Of one name: overloads are shown together, before the text that one of them has."""
        text = next((found for each in same if (found := clean(each))), "")
        first = same[0]
        is_told = bool(text) or not first.name.startswith(("_", "on_")) or self.shown == "Filter"
        if is_property(first) or is_left_out(first) or first.name in ("__init__", "__init_subclass__") or not is_told:
            return
        if first.name.startswith("_") and first.name not in WRITTEN:
            return
        overloads = [each for each in same if is_marked(each, "overload")] or same[:1]
        yield "```python\n" + "\n".join(
            written(each, self.shown) if each.name in WRITTEN else signature(each) for each in overloads) + "\n```\n"
        yield markdown(text) + "\n"

    def _attributes(self, body: list[ast.stmt], methods: list[Method]) -> Iterator[str]:
        """Lines of a list: annotated attributes, with the string below each, and properties."""
        for here, below in pairs(body):
            if isinstance(here, ast.AnnAssign) and isinstance(here.target, ast.Name):
                text = text_of(below)
                if text.startswith(NOT_FOR_AUTHORS):
                    continue
                kind = ast.unparse(here.annotation)
                if kind.startswith("ClassVar["):
                    kind = kind.removeprefix("ClassVar[").removesuffix("]")
                value = f" = {value_of(here.value)}" if here.value else ""
                yield attribute(f"`{here.target.id}: {kind}{value}`", text)
        for each in methods:
            if is_property(each) and not is_left_out(each):
                kind = ast.unparse(each.returns) if each.returns else ""
                yield attribute(f"`{each.name}: {kind}`, read only", clean(each))

    def _is_unseen(self, base: ast.expr) -> bool:
        """A class of the same file that has no section: what it has is shown with those that are made of it."""
        return (isinstance(base, ast.Name) and base.id in self.file.found
                and (self.file.name, base.id) not in SEEN)

    def _body(self, node: ast.ClassDef) -> list[ast.stmt]:
        above: list[ast.stmt] = []
        for base in node.bases:
            if self._is_unseen(base):
                assert isinstance(base, ast.Name)
                of = self.file.found[base.id][0]
                assert isinstance(of, ast.ClassDef)
                above += self._body(of)
        return above + node.body


def pairs(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, ast.stmt | None]]:
    """Each statement with the one below it."""
    return zip_longest(body, body[1:])


def text_of(node: ast.stmt | None) -> str:
    """A string that stands by itself, as below an attribute."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return ""


def attribute(head: str, text: str) -> str:
    return f"- {head}  \n" + filled("  " + " ".join(text.split()), "  ")


def filled(text: str, inner: str) -> str:
    """Lines of the width of the documents; a link is not broken."""
    return "\n".join(wrap(text, WIDTH, subsequent_indent=inner, break_long_words=False, break_on_hyphens=False))


def is_property(node: Method) -> bool:
    return is_marked(node, "property")


def is_marked(node: Method, how: str) -> bool:
    return any(isinstance(each, ast.Name) and each.id == how for each in node.decorator_list)


def is_left_out(node: Method) -> bool:
    return clean(node).startswith(NOT_FOR_AUTHORS)


def parameters(node: Method) -> list[str]:
    """Without `self`, as one would write them."""
    arguments = node.args
    before = [each for each in arguments.posonlyargs if each.arg != "self"]
    plain = [each for each in arguments.args if each.arg != "self"]
    both = [*before, *plain]
    defaults: list[ast.expr | None] = [None] * (len(both) - len(arguments.defaults)) + list(arguments.defaults)
    shown = [parameter(each, value) for each, value in zip(both, defaults[len(defaults) - len(both):], strict=True)]
    if before:
        shown.insert(len(before), "/")
    if arguments.vararg:
        shown.append("*" + parameter(arguments.vararg, None))
    elif arguments.kwonlyargs:
        shown.append("*")
    shown += [parameter(each, value)
              for each, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    if arguments.kwarg:
        shown.append("**" + parameter(arguments.kwarg, None))
    return shown


def parameter(node: ast.arg, value: ast.expr | None) -> str:
    kind = f": {ast.unparse(node.annotation)}" if node.annotation else ""
    default = "" if value is None else f" = {value_of(value)}" if kind else f"={value_of(value)}"
    return f"{node.arg}{kind}{default}"


def value_of(node: ast.expr) -> str:
    """As one writes it here: text in double quotes."""
    text = ast.unparse(node)
    return text if '"' in text else text.replace("'", '"')


def signature(node: Method, of: str = "") -> str:
    """As one would call it; `of` is the class whose constructor it is."""
    returns = f" -> {ast.unparse(node.returns)}" if node.returns and not of else ""
    prefix = "" if of else "async def " if isinstance(node, ast.AsyncFunctionDef) else "def "
    head, tail = f"{prefix}{of or node.name}(", f"){returns}"
    inner = parameters(node)
    line = head + ", ".join(inner) + tail
    if len(line) <= SIGNATURE_WIDTH:
        return line
    return "\n".join([head, *wrapped(inner), tail])


def wrapped(inner: list[str]) -> list[str]:
    """Parameters, as many on a line as there is room for."""
    lines, line = [], ""
    for i, each in enumerate(inner):
        more = each + ("," if i + 1 < len(inner) else "")
        if line and len(line) + len(more) + 5 > SIGNATURE_WIDTH:
            lines.append("    " + line)
            line = more
        else:
            line = f"{line} {more}" if line else more
    return [part for each in [*lines, "    " + line]
            for part in wrap(each, SIGNATURE_WIDTH, subsequent_indent="        ")]


def written(node: Method, of: str) -> str:
    """What has a special name, as a program has it: `headers[name]`."""
    names = [each.partition(":")[0] for each in parameters(node) if each != "/"]
    text = WRITTEN[node.name].format(of.rpartition(".")[2].partition(" ")[0].lower(), *names)
    result = ast.unparse(node.returns) if node.returns else "None"
    return text if node.name in ("__bool__", "__iter__") or result == "None" else f"{text} -> {result}"


def clean(node: ast.Module | ast.ClassDef | Method) -> str:
    """A docstring. Where only code follows its first line, its indent would be taken for that of the text."""
    text = ast.get_docstring(node) or ""
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
