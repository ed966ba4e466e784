"""Builds the floors in place, with the flags of the release profile.  They are part of no wheel."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Distribution, Extension  # type: ignore[import-untyped]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SOURCES = ("floor_uring", "floor_epoll")


def build() -> None:
    """Compile what is older than its source; a second call does nothing."""
    headers = [str(path) for path in HERE.glob("*.h")]
    extensions = [
        Extension(
            f"bench.floor.{name}",
            [str((HERE / f"{name}.pyx").relative_to(ROOT))],
            depends=headers,
            include_dirs=[str(HERE)],
            extra_compile_args=["-std=gnu11", "-O3", "-g1", "-Wall", "-Wno-unused-function"],
        )
        for name in SOURCES
    ]
    modules = cythonize(  # type: ignore[no-untyped-call]
        extensions,
        build_dir="build/floor",
        quiet=True,
        compiler_directives={
            "language_level": "3str",
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "legacy_implicit_noexcept": False,
        },
    )
    distribution = Distribution({"name": "floor", "ext_modules": modules})
    command = distribution.get_command_obj("build_ext")
    command.inplace = True
    command.build_temp = "build/floor"
    distribution.run_command("build_ext")


if __name__ == "__main__":
    build()
