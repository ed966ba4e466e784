"""`fastmesh explain --next`: what becomes of the next request of a running proxy, and why."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from fastmesh.cli.admin_api import PATIENCE, Unreachable, ask
from fastmesh.cli.explained.request import Request, Unclear, split_url
from fastmesh.cli.explained.subset import subset_was
from fastmesh.cli.explanation import REFUSED, Explanation
from fastmesh.config.checks import Finder
from fastmesh.config.load import Loaded
from fastmesh.snapshot.chains import Chains
from fastmesh.snapshot.compiler import as_written
from fastmesh.snapshot.discoveries import Discoveries
from fastmesh.snapshot.registry import Registry

_NONE = 404     # of the admin API: no such request has come
# Of attempts beside each other: endpoint, milliseconds, rule, why.
_BESIDE = {"beside": "sent to {0} as well, after {1:.3f} ms ({2})", "alone": "not sent to another one as well: {3}",
           "lost": "the attempt at {0} is over after {1:.3f} ms: {3}", "won": "the answer is that of {0}, {1:.3f} ms "
           "after it was asked as well"}

# Of what the rules of the route and its filters have done to it.
_OF_RULES = {
    "delayed": "held back for {for_ms:g} ms, by a fault of the route", "slowed": "{why}, by a fault of the route",
    "copied": "a copy goes to {cluster}", "not copied": "no copy goes to {why}", "steered": "by the filter {filter}",
    "filters": "filters that were asked: {asked}"}


def run(args: argparse.Namespace, loaded: Loaded, find: Finder, name: str) -> int:
    """0 when a request came, 1 when none did, or the proxy cannot be asked."""
    address = args.admin or str(loaded.config.admin.address)
    query = _wanted(args)
    shown = ", ".join(f"{key} {value}" for key, value in query.items()) or "any"
    print(f"waiting for a request at {address} ({shown}), for at most {args.wait:g} s", file=sys.stderr)
    try:
        status, body = ask(address, "/explain?" + urlencode({**query, "seconds": f"{args.wait:g}"}), "POST",
                           args.wait + PATIENCE)
        live_status, live = ask(address, "/config")
    except Unreachable as error:
        print(f"fastmesh explain: {error}\n  to do: {error.hint} --admin names another",
              file=sys.stderr)
        return 1
    if status != 200:
        print(f"fastmesh explain: {body[:300].decode('utf-8', 'replace').strip()}", file=sys.stderr)
        if status == _NONE:
            print("  to do: ask for less, or --wait longer", file=sys.stderr)
        return 1
    account: dict[str, Any] = json.loads(body)
    is_same = live_status == 200 and json.loads(live) == _written(loaded)
    print("\n".join(_lines(account, loaded, find, name, is_same)))
    return 0


def _wanted(args: argparse.Namespace) -> dict[str, str]:
    """What `POST /explain` is asked for. Raises Unclear."""
    query: dict[str, str] = {}
    if args.listener:
        query["listener"] = args.listener
    if args.method is not None and args.method != "*":
        query["method"] = args.method
    if args.url is not None:
        authority, target = split_url(args.url)
        if authority:
            query["host"] = authority.rpartition(":")[0] if authority.rpartition(":")[2].isdigit() else authority
        query["path"] = target.partition("?")[0]
    if len(args.header) > 1:
        raise Unclear("found several headers\n  to do: name one that tells the request from others")
    if args.header:
        header, colon, value = args.header[0].partition(":")
        query["header"] = f"{header.strip()}:{value.strip()}" if colon else header.strip()
    return query


def _written(loaded: Loaded) -> dict[str, Any]:
    """As the admin API shows it."""
    config = loaded.config
    written: dict[str, Any] = json.loads(json.dumps(as_written(
        config, Chains(config, loaded.filters, Registry()), Discoveries(config, loaded.filters))))
    return written


def _lines(account: dict[str, Any], loaded: Loaded, find: Finder, name: str, is_same: bool) -> Iterator[str]:
    request = Request(account["method"], account["host"], account["target"], account["client"].rpartition(":")[0],
                      account["listener"])
    request.has_fields = False      # they are not told of
    request.matched = account.get("matched_method", request.method)
    yield f"{request.method} {request.target}, host {request.authority or '(none)'}, from {account['client']}"
    route = account.get("route")
    if is_same:
        yield from _with_the_file(account, Explanation(loaded, find, name, request))
    else:
        yield f"{name} is not what the proxy runs: rules are told without their lines"
        yield f"listener {account['listener']}"
        if "path" in account:
            yield f"path compared: {account['path']}"
            passed = len(account["passed"]) + account["not_listed"]
            yield f"  {passed:,} routes did not take it"
        if route is not None:
            yield f"  routes[{route[0]}] {route[1]}: takes it"
    if account.get("decided", "route") != "route":
        yield f"answer {REFUSED[account['decided']]}"
    yield from subset_was(account)
    yield from map(_step, account["steps"])
    yield _end(account)


def _with_the_file(account: dict[str, Any], explained: Explanation) -> Iterator[str]:
    listener = explained.listener
    yield f"listener {listener.name} ({explained.place(('listeners', explained.at))}), {listener.address}"
    if "path" not in account:
        yield "it did not come as far as the routes"
        return
    yield f"path compared: {account['path']}"
    route = account.get("route")
    passed = [(i, what, field) for i, _, what, field in account["passed"]]
    yield from explained.walk(passed, account["not_listed"], None if route is None else route[0])
    if route is not None:
        clusters = {cluster.name: i for i, cluster in enumerate(explained.config.clusters)}
        yield from explained.target(route[0], clusters.get(account["first_cluster"]))


def _step(step: dict[str, Any]) -> str:
    what = step["what"]
    if what == "picked":
        said = f"picked {step['endpoint']} of {step['cluster']}"
        said += ", of its session" if step.get("session") else ""
        said += ", the one request that asks whether it is well" if step.get("probe") else ""
    elif what == "sent":
        said = f"sent, on a {step['connection']} connection"
    elif what == "answered":
        said = f"answered with {step['status']}"
    elif what == "again":
        said = "to be tried again"
    elif what == "fallback":
        name = f" {step['name']}" if "name" in step else ""
        age = f", {step['age']} s old" if "age" in step else ""
        said = f"step {step['step']} of the fallback: {step['kind']}{name}{age} ({step['reason']}: {step['why']})"
    elif what == "exhausted":
        said = "no step of the fallback could answer"
    elif what in _OF_RULES:
        said = _OF_RULES[what].format(**step)
    elif what in _BESIDE:
        said = _BESIDE[what].format(step.get("endpoint", "another endpoint"), step.get("after_ms", 0.0),
                                    step.get("rule", ""), step.get("why", ""))
    else:
        said = f"{what}: {step['why']}" if "why" in step else what
    return f"{step['ms']:10.3f} ms  {said}"


def _end(account: dict[str, Any]) -> str:
    flags = f", {account['flags']}" if account["flags"] else ""
    limits = f", limited by {account['limited_by']}" if account["limited_by"] else ""
    attempts = account["attempts"]
    instead = f", instead: {account['degraded']}" if account.get("degraded") else ""
    return (f"{account['duration_ms']:10.3f} ms  ended with {account['status']} ({account['details']}{flags}{limits}), "
            f"{attempts} attempt{'' if attempts == 1 else 's'}{instead}, {account['proxy_ms']:.3f} ms of it here")
