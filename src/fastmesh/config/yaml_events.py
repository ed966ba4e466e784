"""The events of PyYAML's parser, with character positions.

Its compiled part (libyaml, in every wheel) takes 0.1 s for a file of 100,000 endpoints; without it the same parser
in Python takes 3 s.
"""

import importlib
from collections.abc import Iterator
from typing import Any

_yaml: Any = importlib.import_module("yaml")

YAMLError: type[Exception] = _yaml.YAMLError
Alias: Any = _yaml.events.AliasEvent
Scalar: Any = _yaml.events.ScalarEvent
SequenceStart: Any = _yaml.events.SequenceStartEvent
SequenceEnd: Any = _yaml.events.SequenceEndEvent
MappingStart: Any = _yaml.events.MappingStartEvent
MappingEnd: Any = _yaml.events.MappingEndEvent
StreamStart: Any = _yaml.events.StreamStartEvent
StreamEnd: Any = _yaml.events.StreamEndEvent
DocumentStart: Any = _yaml.events.DocumentStartEvent
DocumentEnd: Any = _yaml.events.DocumentEndEvent


def _open(text: str) -> Any:
    return (getattr(_yaml, "CSafeLoader", None) or _yaml.SafeLoader)(text)


def parse_events(text: str) -> Iterator[Any]:
    """The events of `text`, one at a time. Raises YAMLError when the text is not YAML."""
    parser = None
    try:
        parser = _open(text)
        while (event := parser.get_event()) is not None and type(event) is not StreamEnd:
            yield event
    except YAMLError:
        raise
    except (IndexError, KeyError, AttributeError, TypeError, ValueError, AssertionError, RecursionError) as error:
        # The parsers in Python trip over some texts instead of refusing them.
        raise YAMLError(f"the parser cannot read it: {error!r}") from None
    finally:
        if parser is not None:
            parser.dispose()
