from typing import Final

CHOICES: Final[tuple[str, ...]]
