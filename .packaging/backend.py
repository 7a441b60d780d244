"""setuptools' build backend, told which modules to compile.

cffi registers its modules through the `cffi_modules` keyword of `setup()`, for which `pyproject.toml` has no
field, as it has none for the flags of an extension, and this project keeps no `setup.py`. Everything else is
setuptools' own backend, unchanged.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import hardening
import setuptools
from setuptools import build_meta
from setuptools.command.sdist import sdist

CFFI_MODULES = [
    "transport/doors/_build.py:ffibuilder",
    "hostcalls/engine/_build.py:ffibuilder",
]
CORE = Path("actors/core")
WAYS = Path("transport/core")
SAMPLING = Path("actors/observing/sampling")
PACKAGE = Path(".packaging/enfilade")
"""Where setuptools finds the package: its folders are links to those at the top level."""

TWINS = PACKAGE / "twins.c"
"""What the compiled modules of both packages share. It is in the source archive, and in no wheel."""

BUILD_FILES = [".packaging/backend.py", ".packaging/hardening.py"]


class SourceArchive(sdist):
    """Archive the folders and the links to them, where setuptools would put copies in the links' places."""

    def make_release_tree(self, base_dir: str, files: Iterable[str]) -> None:
        root = Path.cwd().resolve()
        places = {Path(name).resolve().relative_to(root).as_posix() for name in [*files, *BUILD_FILES]}
        super().make_release_tree(base_dir, sorted(places))
        for link in PACKAGE.iterdir():
            if link.is_symlink():
                os.symlink(os.readlink(link), base_dir / link)


def extension(
    name: str, folder: Path, *link_flags: str, shared: tuple[Path, ...] = ()
) -> setuptools.Extension:
    """An extension by the stable interface of Python. It is optional: there is a way to do without.

    Args:
        name: of its module.
        folder: holds its C.
        link_flags: are given to the linker, too.
        shared: C of another folder that is compiled into it; the headers beside it are found by their names.
    """
    flags = ["-std=gnu11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra", *hardening.compile_flags()]
    return setuptools.Extension(
        name,
        sorted(map(str, [*folder.glob("*.c"), *shared])),
        depends=sorted(map(str, [*folder.glob("*.h"), *(file.with_suffix(".h") for file in shared)])),
        include_dirs=sorted({str(file.parent) for file in shared}),
        py_limited_api=True,
        optional=True,
        extra_compile_args=flags,
        extra_link_args=[*link_flags, *hardening.link_flags()],
    )


EXTENSIONS = [
    extension("enfilade.actors.core.compiled", CORE, shared=(TWINS,)),
    extension("enfilade.transport.core.compiled", WAYS, shared=(TWINS,)),
    extension("enfilade.actors.observing.sampling.words", SAMPLING, "-pthread"),
]


class Backend(build_meta._BuildMetaBackend):  # type: ignore[name-defined,misc]
    def run_setup(self, setup_script: str = "setup.py") -> None:
        setuptools.setup(cffi_modules=CFFI_MODULES, ext_modules=EXTENSIONS, cmdclass={"sdist": SourceArchive})


_backend = Backend()

build_sdist = _backend.build_sdist
build_wheel = _backend.build_wheel
build_editable = _backend.build_editable
get_requires_for_build_sdist = _backend.get_requires_for_build_sdist
get_requires_for_build_wheel = _backend.get_requires_for_build_wheel
get_requires_for_build_editable = _backend.get_requires_for_build_editable
prepare_metadata_for_build_wheel = _backend.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = _backend.prepare_metadata_for_build_editable
