"""Filters and policies made by hand: settings as keywords, checked as those of a configuration are.

For tests, and for whoever else calls such a class himself. A worker makes its own without it.
"""

from __future__ import annotations

from fastmesh.config.fields import closest
from fastmesh.filters.balancer import LoadBalancer
from fastmesh.filters.discovery import Discovery
from fastmesh.filters.fallback import Fallback
from fastmesh.filters.filter import Filter
from fastmesh.filters.healer import Healer
from fastmesh.filters.settings import Setting, read, settings_of

Made = Filter | LoadBalancer | Discovery | Healer | Fallback


def set_settings(made: Made, given: dict[str, object]) -> None:
    """Sets these settings. Raises TypeError for unknown ones and for values that cannot be used."""
    known = {setting.name: setting for setting in _declared(type(made))}
    for name, value in given.items():
        if name not in known:
            hint = closest(name, tuple(known))
            raise TypeError(f"{type(made).__name__} has no setting {name!r}: it has {', '.join(known) or 'none'}"
                            + (f"; {hint}" if hint else ""))
        _set(made, known[name], value)


def complete(made: Made) -> None:
    """Gives it its defaults, each instance its own. Raises TypeError when a setting is missing."""
    for setting in _declared(type(made)):
        if setting.name in getattr(made, "__dict__", ()):
            continue
        if setting.is_required:
            if not hasattr(made, setting.name):     # it may have slots
                raise TypeError(f"the setting {setting.name!r} of {type(made).__name__} is missing: write "
                                f"{type(made).__name__}({setting.name}=…)")
            continue
        _set(made, setting, setting.default)


def secrets_of(made: Made) -> list[str]:
    """The texts among its settings that nobody is shown."""
    return [text for setting in _declared(type(made)) if setting.is_secret
            for text in _texts(getattr(made, setting.name))]


def put(made: object, name: str, value: object) -> None:
    """Sets an attribute, also of a frozen dataclass."""
    try:
        setattr(made, name, value)
    except AttributeError:
        object.__setattr__(made, name, value)


def _declared(cls: type[Made]) -> list[Setting]:
    base = next((base for base in (Discovery, Fallback, Healer, LoadBalancer) if issubclass(cls, base)), Filter)
    settings, bad = settings_of(cls, base)
    for name, reason in bad:
        raise TypeError(f"{cls.__name__}.{name} is no setting: {reason}; write {name}: ClassVar[…] = … for what is no "
                        "setting, or set it in start")
    return settings


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [text for item in value for text in _texts(item)]
    return [str(value)] if isinstance(value, str) else []


def _set(made: Made, setting: Setting, value: object) -> None:
    taken, wrong = read(setting.annotation, value)
    for one in wrong:
        where = "".join(f"[{step!r}]" for step in one.at)
        raise TypeError(f"{type(made).__name__}.{setting.name}{where} is {one.what.found}: {one.what.allowed} is "
                        f"allowed{'; ' if one.what.hint else ''}{one.what.hint}")
    put(made, setting.name, taken)
