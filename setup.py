"""Builds the compiled core: one extension per .pyx, flags by profile."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).parent
CORE = ROOT / "src" / "fastmesh" / "_core"

PROFILES = {
    "release": (["-O3", "-g1", "-fvisibility=hidden", "-fno-plt", "-fno-semantic-interposition",
                 "-fstack-protector-strong"], ["-Wl,-z,relro,-z,now"]),
    "dev": (["-Og", "-g3", "-DFM_DEBUG=1"], []),
    "asan": (["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-DFM_DEBUG=1"],
             ["-fsanitize=address,undefined"]),
}
DIRECTIVES = {
    "language_level": "3str", "boundscheck": False, "wraparound": False, "initializedcheck": False,
    "nonecheck": False, "cdivision": True, "embedsignature": True, "binding": True,
    "legacy_implicit_noexcept": False,
}
profile = os.environ.get("FASTMESH_PROFILE", "release")
only = os.environ.get("FASTMESH_ONLY", "")
cflags, ldflags = PROFILES[profile]


def extensions() -> list[Extension]:
    found = []
    for source in sorted(CORE.rglob("*.pyx")):
        module = ".".join(source.relative_to(ROOT / "src").with_suffix("").parts)
        if only and not module.startswith(only):
            continue
        found.append(Extension(module, [str(source.relative_to(ROOT))],
                               include_dirs=[str(CORE / "include")],
                               extra_compile_args=["-std=gnu11", "-Wall", "-Wno-unused-function", *cflags],
                               extra_link_args=ldflags))
    return found


setup(ext_modules=cythonize(extensions(), compiler_directives=DIRECTIVES, include_path=["src"],
                            build_dir=f"build/{profile}", emit_linenums=True))
