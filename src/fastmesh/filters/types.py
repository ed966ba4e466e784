"""Types for the settings of filters that Python itself has no name for.

    class Guard(Filter):
        key: Secret
        patience: Duration = 0.25       # seconds; an operator writes 250ms
        largest: Size = 65536           # bytes; an operator writes 64KiB
        part: Share = 0.1               # 0 to 1; an operator writes 10%

Importing this costs a worker next to nothing.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    Duration = Annotated[float, "seconds"]
    Size = Annotated[int, "bytes"]
    Share = Annotated[float, "0 to 1"]
    Secret = Annotated[str, "is not shown"]
else:
    class Duration(float):
        """Seconds, written `250ms`, `1.5s`, `2m`, `1h`."""

    class Size(int):
        """Bytes, written `64KiB`, `1MiB`."""

    class Share(float):
        """A part of the whole, 0 to 1, written `10%`."""

    class Secret(str):
        """Text that is not shown by /config, in logs and by `repr`; `str` of it, and what is made with it, are plain.

        Write it as `${NAME}` in the configuration, so that the file does not hold it.
        """

        __slots__ = ()

        def __repr__(self) -> str:
            return "Secret('…')"
