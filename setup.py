"""Builds the compiled core: one extension per .pyx file, flags by profile.

    FASTMESH_PROFILE   release (default) | perf | dev | asan | fuzz
    FASTMESH_ONLY      build only the modules whose name starts with one of these words
    FASTMESH_PURE      1 = no extensions at all (the editable install of `make build`, which compiles apart)

Each module is translated and compiled by itself, several at a time, and only when a file that it really
reads has changed: Cython and the C compiler both write down what they read. `build_ext --inplace` also builds
tests/probes. Everything that is generated goes below build/<profile>/.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SRC = Path("src")
CORE = SRC / "fastmesh" / "_core"
TESTS = Path("tests")
PROBES = TESTS / "probes"

WARN = ["-std=gnu11", "-Wall", "-Wextra", "-Wno-unused-function", "-Wno-unused-parameter", "-Wno-unused-variable",
        "-Wno-missing-field-initializers", "-Wno-sign-compare", "-Wno-cast-function-type"]
# Nehalem (2009) and later: SSE4.2 and POPCNT without asking at run time.
BASE = ["-march=x86-64-v2"] if os.uname().machine == "x86_64" else []
FAST = [*BASE, "-O3", "-g1", "-fvisibility=hidden", "-fno-plt", "-fno-semantic-interposition",
        "-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
HARD = ["-Wl,-z,relro,-z,now"]
SANITIZE = [*BASE, "-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined",
            # Not `null`: &pointer.field of NULL is how Cython says offsetof, and whoever reads there crashes anyway.
            "-fno-sanitize=null", "-fno-sanitize-recover=undefined", "-U_FORTIFY_SOURCE", "-DFM_DEBUG=1"]
PROFILES = {
    "release": (FAST, HARD),
    "perf": ([*FAST, "-fno-omit-frame-pointer"], HARD),
    "dev": ([*BASE, "-Og", "-g3", "-U_FORTIFY_SOURCE", "-DFM_DEBUG=1"], []),
    "asan": (SANITIZE, ["-fsanitize=address,undefined"]),
    # Compiled by clang; scripts/fuzz brings the fuzzer's own library.
    "fuzz": ([*SANITIZE, "-fsanitize=fuzzer-no-link"], ["-fsanitize=address,undefined", "-shared-libasan"]),
}
DIRECTIVES = {
    "boundscheck": False, "wraparound": False, "initializedcheck": False, "nonecheck": False, "cdivision": True,
    "embedsignature": True, "binding": True, "legacy_implicit_noexcept": False,
    # Not warn.undeclared, which complains about every Python constant of a module, and not warn.maybe_uninitialized,
    # which does not see through `while True` and `&result`; the C compiler does (-Wall).
    "warn.unused": True,
}
CHECKED = {"boundscheck": True, "initializedcheck": True, "nonecheck": True}

profile = os.environ.get("FASTMESH_PROFILE") or "release"
only = tuple(os.environ.get("FASTMESH_ONLY", "").split())
cflags, ldflags = PROFILES[profile]
directives = DIRECTIVES | (CHECKED if profile == "dev" else {})


def extension(source: Path, root: Path) -> Extension:
    name = ".".join(source.relative_to(root).with_suffix("").parts)
    return Extension(name, [str(source)], include_dirs=[str(CORE / "include")],
                     extra_compile_args=[*WARN, *cflags, "-MMD"], extra_link_args=ldflags)


def extensions(probes: bool) -> list[Extension]:
    if os.environ.get("FASTMESH_PURE"):
        return []
    found = [extension(source, SRC) for source in sorted(CORE.rglob("*.pyx"))]
    if probes:
        found += [extension(source, TESTS) for source in sorted(PROBES.glob("*.pyx"))]
    if probes and profile == "fuzz":
        found.append(extension(TESTS / "fuzz" / "driver.pyx", TESTS))
    return [ext for ext in found if ext.name.startswith(only or ("",))]


def dependencies(depfile: Path) -> list[str]:
    """What a depfile of Cython or of the C compiler names, without the system's own files."""
    if not depfile.exists():
        return []
    text = depfile.read_text().replace("\\\n", " ")
    return [word for line in text.splitlines() if line.strip() for word in line.split(":", 1)[1].split()
            if not word.startswith("/")]


def is_older(target: Path, sources: list[str]) -> bool:
    if not target.exists():
        return True
    made = target.stat().st_mtime_ns
    return any(not os.path.exists(s) or os.stat(s).st_mtime_ns > made for s in sources)


def replace_file(source: Path, target: Path) -> None:
    """Copy by rename: a process that has the old file mapped keeps it whole."""
    there = target.stat() if target.exists() else None
    here = source.stat()
    if there and (there.st_mtime_ns, there.st_size) == (here.st_mtime_ns, here.st_size):
        return
    part = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.copy2(source, part)
    part.replace(target)


class BuildCore(build_ext):
    def finalize_options(self) -> None:
        if self.inplace:
            self.distribution.ext_modules = extensions(probes=True)
            # Not where a wheel is collected from: probes would travel with it.
            self.build_lib = str(Path("build", profile, f"lib-{sys.implementation.cache_tag}"))
        super().finalize_options()
        if self.parallel is None:
            self.parallel = int(os.environ.get("JOBS") or len(os.sched_getaffinity(0)))
        self.generated = Path("build", profile, "c")

    def run(self) -> None:
        super().run()
        if not only:
            self.forget_removed()

    def build_extension(self, ext: Extension) -> None:
        self.generated.mkdir(parents=True, exist_ok=True)
        with self.generated.joinpath(f"{ext.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two builds of one tree may run at the same time
            self.translate(ext)
            super().build_extension(ext)

    def translate(self, ext: Extension) -> None:
        """Run Cython when needed and leave the C file as the only source."""
        import Cython

        source, c_file = ext.sources[0], self.generated / f"{ext.name}.c"
        command = [sys.executable, "-m", "cython", "--3str", "--line-directives", "--depfile", "--fast-fail",
                   "-I", str(SRC), "-I", str(TESTS), "--module-name", ext.name, "-o", str(c_file)]
        for name, value in directives.items():
            command += ["-X", f"{name}={value}"]
        # Flags count as a source: a change of them makes everything older than this file.
        recipe = self.generated / f"{ext.name}.recipe"
        text = " ".join([Cython.__version__, *command[1:], *ext.extra_compile_args, *ext.extra_link_args])
        if not recipe.exists() or recipe.read_text() != text:
            recipe.write_text(text)
        if is_older(c_file, [source, str(recipe), *dependencies(Path(f"{c_file}.dep"))]):
            print(f"  cython  {ext.name}", flush=True)
            done = subprocess.run([*command, source], check=False, stderr=subprocess.PIPE, text=True)
            self.generated.joinpath(f"{ext.name}.hints").write_text(done.stderr)
            # A name that begins with _ is one that is not used; of generator expressions nothing can be said.
            sys.stderr.writelines(line for line in done.stderr.splitlines(keepends=True)
                                  if "Unused entry '_" not in line and "Unused entry 'genexpr'" not in line)
            if done.returncode:
                c_file.unlink(missing_ok=True)
                raise SystemExit(f"{source}: Cython refused it")
        ext.sources = [str(c_file)]
        (made,) = self.compiler.object_filenames([str(c_file)], output_dir=self.build_temp)
        ext.depends = [str(recipe), *dependencies(Path(made).with_suffix(".d"))]

    def built(self, ext: Extension) -> Path:
        return Path(self.build_lib, self.get_ext_filename(ext.name))

    def copy_extensions_to_source(self) -> None:
        for ext in self.extensions:
            built = self.built(ext)
            root = SRC if ext.name.startswith("fastmesh.") else TESTS
            replace_file(built, root / built.relative_to(self.build_lib))

    def forget_removed(self) -> None:
        """Drop what earlier builds left of modules that are gone."""
        names = {ext.name for ext in self.extensions}
        places = [(Path(self.build_lib), Path(self.build_lib))]
        if self.inplace:
            places += [(CORE, SRC), (PROBES, TESTS)]
        for folder, root in places:
            for old in folder.rglob("*.so"):
                if ".".join((*old.relative_to(root).parts[:-1], old.name.split(".")[0])) not in names:
                    old.unlink()


if __name__ == "__main__":
    setup(
        ext_modules=extensions(probes=False),
        cmdclass={"build_ext": BuildCore},
        options={"build": {"build_base": f"build/{profile}"}},
    )
