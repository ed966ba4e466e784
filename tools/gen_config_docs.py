"""Writes docs/configuration.md from the models; with `--check`, fails when it is not current."""

import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo

from fastmesh.config.describe import Place, places
from fastmesh.config.log_format import ABSENT, DEFAULT_TEMPLATE, ISTIO_FIELDS, meanings
from fastmesh.config.reference import default_text, kind_of

TARGET = Path("docs/configuration.md")
EXAMPLES = Path("examples/config")

HEAD = """\
# Configuration

<!-- Written by tools/gen_config_docs.py from src/fastmesh/config; change the models, then run it. -->

fastmesh reads one YAML file. A first one:

```yaml
{first}```

`fastmesh check FILE` checks a file without running it, and `fastmesh schema` prints a JSON Schema for
completion in editors; `fastmesh reference KEY` says in a terminal what stands here. More examples are in
[examples/config](../examples/config).

## How the file is read

**All errors at once.** Each error has its file, line and column, what was found, what is allowed, and
what to do. An unknown key is an error, so is a key that is there twice. A file with an error changes
nothing: a running fastmesh keeps what it has and reports.

**Durations** are a number with one of `ms`, `s`, `m`, `h`: `250ms`, `1.5s`. **Sizes** are a number with
one of `B`, `KiB`, `MiB`, `GiB`: `64KiB`. A number without a unit is refused, for `10` may be seconds to
one reader and milliseconds to another; only `0` needs no unit.

**Text is text.** What a value means follows from its key, not from its looks: `version: 1.10` is the
text `1.10`, and `on` is `on`. True and false are `true` and `false`.

**Addresses** are `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/app.sock` (at most 107 bytes of path).
`localhost` is 127.0.0.1. Other host names are refused; a cluster finds endpoints by name with
`endpoints: {{use: dns, hosts: ["app.internal:8080"]}}`.

**Endpoints from elsewhere**: in place of a list a cluster may name a policy that finds them, one that comes with
fastmesh or one of your own, see [discovery.md](filters/discovery.md).

**The environment.** `${{NAME}}` stands for an environment variable, `${{NAME:-default}}` gives a default
for one that is not set or empty, `$${{` stands for `${{` itself. A variable without a default that is not
set is an error. References stand in values, of any type, not in keys; what a variable holds is one
value, never more YAML. Inside `[ ]` and `{{ }}` put them in quotes.

**Anchors and merge keys** of YAML work (`&name`, `*name`, `<<: *name`); tags such as `!!int` do not. A
file has at most 16 MiB, one document, and a million values, those behind aliases counted as often as
they are used.

**Paths** in rules are compared in normal form, as those of requests are: dot segments are resolved,
runs of `/` merged, escapes of unreserved characters decoded. So `/a/../internal`, `//internal` and
`/%69nternal` cannot walk around a rule for `/internal`. A path in the file that is not in normal form
is brought into it, with a warning.

**Routes** are tried in the order of the list, and the first that matches wins, however specific a later
one is: host, path and all conditions are weighed together, so the narrow ones stand first. However many
there are, a request is compared only with those whose host and path come into question. One route of
each kind:

```yaml
{routing}```

A route leads to a cluster, or to an answer here; on the way it may change path, host and headers:

```yaml
{acts}```

`fastmesh explain` says which way a request would go, and why, by the tables that workers would get:

```console
$ fastmesh explain routing.yaml GET http://shop.test/static/v2/x.js -H 'cookie: tenant=blue'
GET /static/v2/x.js, host shop.test, from 127.0.0.1
listener edge (routing.yaml:3), 127.0.0.1:8080
path compared: /static/v2/x.js
  routes[0] office-only (routing.yaml:6): no, the path does not begin with /admin
  routes[1] admin-is-closed (routing.yaml:9): no, the path does not begin with /admin
  routes[2] carts (routing.yaml:12): no, the path is none of /shop.v1.Cart/*
  routes[3] old-clients (routing.yaml:15): no, the header x-build is not at most 99
  routes[4] tenant-by-cookie (routing.yaml:23): takes it
timeout: none
retry: failed connects at up to 3 endpoints, lost connections too (budget 20% and 10/s); no rule
cluster blue (routing.yaml:45), least_request
  127.0.0.1:9003  weight 1  100 %
  ejected: who has 7 server_errors, 5 gateway_errors, 3 connect_failures, 5 timeouts in a row
    or by success_rate, failure_percentage in 10s; out for 30s, at most 34% or one at a time
  limits: max_requests 10,000, max_pending 1,024, max_cluster_connections 10,000, max_retries 500
```

**Filters** are classes in Python. Those that several listeners, routes or clusters share are named once, at the top
level; others stand in place. The settings that a class declares stand beside the keys that every filter has. The
classes are imported, and everything about them is checked, by `fastmesh check` too. In a running proxy they see no
environment variables: give them what they need as settings, with `${{NAME}}`.

**A new file** becomes live with SIGHUP or `POST /reload`. Listeners and clusters keep their counters
by their names. Everything takes effect at once, except `reactor`, which workers take
that start from then on (`POST /workers/{{slot}}/replace` replaces one).
"""

LOG = """\
## Access-log operators

`format: text` writes `access_log.template`, in which each operator is replaced; a doubled `%%` is `%`. What
there is none of is `-`. `format: json` writes one object per line: each key of `access_log.fields`
with one operator, as a string, a number, or `null`, or with constant text. Operators are those of
Envoy, so that its formats can be copied.

| operator | meaning |
|---|---|
{operators}

`%REQ(NAME)%` and `%RESP(NAME)%` take any header. {absent} are accepted and never have a value.

Default of `template`:

```
{template}
```

Default of `fields`, the keys of Istio's log:

```yaml
{fields}
```
"""


def page() -> str:
    """The whole document."""
    parts = [HEAD.format(first=(EXAMPLES / "first.yaml").read_text(), routing=(EXAMPLES / "routing.yaml").read_text(),
                         acts=(EXAMPLES / "redirects.yaml").read_text())]
    parts += [section(place) for place in places()]
    parts.append(LOG.format(
        operators="\n".join(f"| `{name}` | {meaning} |" for name, meaning in meanings()),
        absent=", ".join(f"`%{name}%`" for name in sorted(ABSENT)), template=DEFAULT_TEMPLATE,
        fields="\n".join(f'{key}: "{value}"' for key, value in ISTIO_FIELDS.items())))
    return "\n".join(parts)


def section(place: Place) -> str:
    """One table."""
    lines = [f'<a id="{section_anchor(place.path)}"></a>', "", f"## {place.path or 'The top level'}", ""]
    if place.path:
        lines += [" ".join((place.section.__doc__ or "").split()), ""]
    lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
    lines += list(rows(place))
    return "\n".join(lines) + "\n"


def section_anchor(path: str) -> str:
    """Where the table of a section begins; the key itself has an anchor in the table around it."""
    return "section-" + (path.replace("[]", "").replace("{}", "-policy").replace(".", "-") or "top")


def rows(place: Place) -> Iterator[str]:
    """A line for each key."""
    prefix = place.path.replace("[]", "").replace("{}", "").replace(".", "-")
    for key, field in place.section.model_fields.items():
        anchor = f"{prefix}-{key}".lstrip("-")
        yield (f'| <a id="{anchor}"></a>`{key}` | {kind_of(field, key, section_link)} | {default(field)} '
               f"| {cell(field.description or '')} |")


def section_link(path: str) -> str:
    """To the table of a section."""
    return f"[{path}](#{section_anchor(path)})"


def default(field: FieldInfo) -> str:
    """The default, as one would write it."""
    if field.is_required():
        return "required"
    text = default_text(field)
    return f"`{text}`" if text else "–"


def cell(text: str) -> str:
    """A text that does not end its cell."""
    return text.replace("|", "\\|")


def main() -> int:
    text = page()
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text, encoding="utf-8")
    elif not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
        print(f"{TARGET} is not current: run tools/gen_config_docs.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
