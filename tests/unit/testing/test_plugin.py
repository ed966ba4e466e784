"""The plugin, in the pytest of a user who has done nothing but install fastmesh."""

import re
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
OTHERS = ("benchmark", "hypothesispytest", "timeout", "xdist", "xdist.looponfail")

TENANTS = '''
from fastmesh import Filter, Request, Response

kept = []

class RequireTenant(Filter):
    """Refuses requests that name no tenant."""

    header: str = "x-tenant"

    def on_request(self, request: Request) -> Response | None:
        tenant = request.headers.get(self.header)
        if tenant is None:
            return Response(400, text=f"missing {self.header}\\n")
        request.headers["x-seen"] = tenant.upper()
        self.log.info("tenant %s", tenant)
        return None

class Keeps(Filter):
    def on_request(self, request: Request) -> None:
        request.headers["x-kept"] = "1"
        kept.append(request)
'''


@pytest.fixture(autouse=True)
def written(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(tenants=TENANTS)
    # Nothing of this project's own configuration, and no plugin that its own tests need.
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider " + " ".join(f"-p no:{name}" for name in OTHERS))


def test_a_kit(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_tenants='''
        from tenants import RequireTenant

        def test_refused(filter_kit):
            assert filter_kit(RequireTenant(header="x-team")).get("/").status == 400

        def test_let_through(filter_kit):
            kit = filter_kit(RequireTenant)
            other = filter_kit(RequireTenant)
            upstream = kit.get("/", headers={"x-tenant": "blue"}).upstream
            assert upstream is not None and upstream.headers["x-seen"] == "BLUE"
            assert other.get("/").upstream is None
    ''')
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=2)


def test_what_is_left_is_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_keeps='''
        from tenants import Keeps

        def test_keeps(filter_kit):
            assert filter_kit(Keeps).get("/").status == 200

        def test_fails(filter_kit):
            assert filter_kit(Keeps).get("/").status == 404
    ''')
    result = pytester.runpytest_subprocess("-W", "error")
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*Leftover: at the end of the test there are 1 heads*"])


def test_what_a_filter_raises_is_shown_where_it_was_raised(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_broken='''
        from fastmesh import Filter

        class Broken(Filter):
            def on_request(self, request):
                return {}["tenant"]

        def test_broken(filter_kit):
            filter_kit(Broken).get("/")
    ''')
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['>       return {}["tenant"]', "*KeyError: 'tenant'"])


def test_a_proxy(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_tenants='''
        import pytest
        from fastmesh import Filter, Response
        from fastmesh.testing.proxy import ProxyFailed
        from tenants import RequireTenant

        def test_by_name(filter_proxy):
            proxy = filter_proxy("tenants:RequireTenant", header="x-team")
            assert proxy.get("/").text == "missing x-team\\n" and proxy.origin.requests == []
            proxy.origin.answers(201, json={"a": 1})
            answer = proxy.post("/a?b", headers={"x-team": "blue"}, chunks=[b"one", b"two"])
            assert answer.status == 201 and answer.json() == {"a": 1}
            asked = proxy.origin.requests[-1]
            assert (asked.method, asked.path, asked.query, asked.body) == ("POST", "/a", "b", b"onetwo")
            assert asked.headers["x-seen"] == "BLUE"
            assert proxy.metric("fastmesh_listener_requests_total", listener="web") == 2
            proxy.wait_log("tenant blue")
            proxy.reload(header="x-other")
            assert proxy.get("/", headers={"x-team": "blue"}).status == 400
            with pytest.raises(ProxyFailed, match="heder"):
                proxy.reload(heder="x-other")
            assert proxy.get("/", headers={"x-other": "blue"}).status == 201
            proxy.origin.fails("reset", times=1)
            assert proxy.get("/", headers={"x-other": "blue"}).status == 503

        def test_by_class(filter_proxy):
            assert filter_proxy(RequireTenant).get("/").text == "missing x-tenant\\n"

        class Here(Filter):
            def on_request(self, request):
                return Response(204)

        def test_one_of_this_file(filter_proxy):
            assert filter_proxy(Here).get("/").status == 204

        def test_one_that_does_not_start(filter_proxy):
            with pytest.raises(ProxyFailed, match="no_such_module"):
                filter_proxy("no_such_module:Filter")
    ''')
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=4)


def test_the_plugin_costs_those_nothing_who_do_not_use_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_nothing='''
        import sys

        def test_nothing():
            assert "fastmesh.testing.kit" not in sys.modules and "fastmesh._core.worker" not in sys.modules
    ''')
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_the_package_that_is_begun_for_an_author(pytester: pytest.Pytester) -> None:
    assert pytester.run(sys.executable, "-m", "fastmesh", "new", "filter", "tenant-guard").ret == 0
    result = pytester.run(sys.executable, "-m", "pytest", "-q", "-W", "error", "-o", "pythonpath=src",
                          "--rootdir=tenant-guard", "-c", "tenant-guard/pyproject.toml", "tenant-guard")
    result.assert_outcomes(passed=2)


def test_the_page_about_testing(pytester: pytest.Pytester) -> None:
    page = (Path(__file__).parents[3] / "docs" / "filters" / "testing.md").read_text()
    filters, *tests = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    pytester.makepyfile(tenants=filters, **{f"test_page_{i}": text for i, text in enumerate(tests)})
    result = pytester.runpytest_subprocess("-W", "error")
    result.assert_outcomes(passed=sum(text.count("def test_") for text in tests))
    assert len(tests) == page.count("```python") - 1 == 7
