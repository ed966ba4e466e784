import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmesh.config.log_format import (
    DEFAULT_TEMPLATE,
    ISTIO_FIELDS,
    LogField,
    LogOp,
    check_field,
    check_template,
    compile_json,
    compile_template,
)
from fastmesh.errors import WrongValue

LITERAL = LogField.LITERAL


def test_a_text_template():
    assert compile_template("%START_TIME% [%REQ(:METHOD)%] %REQ(X-Tenant)% %RESP(Server)% 100%% %TRACE_ID%\n") == [
        LogOp(LogField.START_TIME, 0, ""), LogOp(LITERAL, 0, " ["), LogOp(LogField.METHOD, 0, ""),
        LogOp(LITERAL, 0, "] "), LogOp(LogField.REQUEST_HEADER, 0, "x-tenant"), LogOp(LITERAL, 0, " "),
        LogOp(LogField.RESPONSE_HEADER, 0, "server"), LogOp(LITERAL, 0, " 100% -")]


def test_a_json_object():
    assert compile_json({"status": "%RESPONSE_CODE%", 'k"y': 'te"xt', "null": "null", "none": "%TRACE_ID%", "s": "50%%"}
                        ) == [
        LogOp(LITERAL, 0, '{"status":'), LogOp(LogField.RESPONSE_CODE, 1, ""),
        LogOp(LITERAL, 0, ',"k\\"y":"te\\"xt","null":"null","none":null,"s":"50%"}')]


@pytest.mark.parametrize(("operator", "field", "text"), [
    ("%REQ(:PATH)%", LogField.PATH, ""), ("%REQ(:AUTHORITY)%", LogField.AUTHORITY, ""),
    ("%REQ(HOST)%", LogField.AUTHORITY, ""), ("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", LogField.PATH, ""),
    ("%REQ(User-Agent)%", LogField.USER_AGENT, ""), ("%REQ(x-forwarded-for)%", LogField.X_FORWARDED_FOR, ""),
    ("%REQ(X-REQUEST-ID)%", LogField.REQUEST_ID, ""), ("%REQ(X_Y)%", LogField.REQUEST_HEADER, "x_y"),
    ("%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%", LogField.UPSTREAM_SERVICE_TIME, ""),
    ("%RESP(:STATUS)%", LogField.RESPONSE_CODE, ""), ("%PROTOCOL%", LogField.PROTOCOL, ""),
    ("%UPSTREAM_REQUEST_ATTEMPT_COUNT%", LogField.ATTEMPTS, ""), ("%PROXY_TIME%", LogField.PROXY_TIME, "")])
def test_operators(operator, field, text):
    assert compile_template(operator) == [LogOp(field, 0, text)]
    assert compile_json({"k": operator})[1] == LogOp(field, 1, text)


def test_the_defaults_compile_and_are_what_they_say():
    ops = compile_json(ISTIO_FIELDS)
    line = json.loads("".join(op.text if op.field == LITERAL else "7" for op in ops))
    assert list(line) == list(ISTIO_FIELDS)
    assert line["response_code"] == 7 and line["requested_server_name"] is None
    assert len(compile_template(DEFAULT_TEMPLATE)) > 20


@pytest.mark.parametrize(("template", "message"), [
    ("%STATUS%", "found the unknown operator '%STATUS%'"), ("%REQ%", "found '%REQ%'"), ("%REQ()%", "found '%REQ()%'"),
    ("%REQ(A B)%", "found '%REQ(A B)%'"), ("%REQ(A?B)%", "found '%REQ(A?B)%'"), ("100%", "found '%'"),
    ("%PROTOCOL(x)%", "found '%PROTOCOL(x)%'"), ("%REQ(A):9%", "found '%REQ(A):9%'"), ("%lower%", "found '%lower%'"),
    ("a\nb", "found a control character or a line break"), ("%REQ(:SCHEME)%", "found '%REQ(:SCHEME)%'"),
    ("%START_TIME(%s)%", "found '%START_TIME(%'")])
def test_wrong_templates(template, message):
    with pytest.raises(WrongValue) as caught:
        check_template(template)
    assert str(caught.value).split(", allowed")[0] == message


@pytest.mark.parametrize("value", ["a %PROTOCOL%", "%PROTOCOL%%PROTOCOL%", "%TRACE_ID% x", "%REQ(A)%b"])
def test_a_json_value_has_one_operator(value):
    with pytest.raises(WrongValue) as caught:
        check_field(value)
    assert caught.value.hint == "give each operator a key of its own"


@given(st.text(st.characters(codec="utf-8")))
def test_text_without_operators_comes_out_as_it_was(text):
    assert json.loads(compile_json({text: text.replace("%", "%%")})[0].text) == {text: text}


@given(st.text("%REQSP()_:?AX-PROTOCOL \"\\{}"))
def test_any_template_compiles_or_is_refused(template):
    for compiled in (compile_template, check_field):
        try:
            compiled(template)
        except WrongValue as wrong:
            assert wrong.allowed


def test_labels():
    assert compile_template("%LABEL(tenant)% %LABELS%") == [(26, 0, "tenant"), (0, 0, " "), (27, 0, "")]
    assert compile_json({"a": "%LABELS%"}) == [(0, 0, '{"a":'), (27, 1, ""), (0, 0, "}")]
    for wrong in ("%LABEL()%", "%LABEL%", f"%LABEL({'n' * 65})%"):
        with pytest.raises(WrongValue, match="64 bytes"):
            compile_template(wrong)
