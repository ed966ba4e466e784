"""Builds the bare loops and the open-loop client in place, with the flags of the release profile.

They are part of no wheel.
"""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Distribution, Extension  # type: ignore[import-untyped]

HERE = Path(__file__).parent
ROOT = HERE.parent
SOURCES = ("floor/floor_uring", "floor/floor_epoll", "load/open_loop")


def build() -> None:
    """Compile what is older than its source; a second call does nothing."""
    headers = [str(path) for path in (HERE / "floor").glob("*.h")]
    extensions = [
        Extension(
            f"bench.{name.replace('/', '.')}",
            [str((HERE / f"{name}.pyx").relative_to(ROOT))],
            depends=headers,
            include_dirs=[str(HERE / "floor")],
            extra_compile_args=["-std=gnu11", "-O3", "-g1", "-Wall", "-Wno-unused-function"],
        )
        for name in SOURCES
    ]
    modules = cythonize(  # type: ignore[no-untyped-call]
        extensions,
        build_dir="build/bench",
        quiet=True,
        compiler_directives={
            "language_level": "3str",
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "legacy_implicit_noexcept": False,
        },
    )
    distribution = Distribution({"name": "bench", "ext_modules": modules})
    command = distribution.get_command_obj("build_ext")
    command.inplace = True
    command.build_temp = "build/bench"
    distribution.run_command("build_ext")


if __name__ == "__main__":
    build()
