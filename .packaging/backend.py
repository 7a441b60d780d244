"""setuptools' build backend, told which cffi modules to compile.

cffi registers its modules through the `cffi_modules` keyword of `setup()`, for which `pyproject.toml` has no
field, and this project keeps no `setup.py`. Everything else is setuptools' own backend, unchanged.
"""

import setuptools
from setuptools import build_meta

CFFI_MODULES = [
    "transport/doors/_build.py:ffibuilder",
    "hostcalls/engine/_build.py:ffibuilder",
]


class Backend(build_meta._BuildMetaBackend):  # type: ignore[name-defined,misc]
    def run_setup(self, setup_script: str = "setup.py") -> None:
        setuptools.setup(cffi_modules=CFFI_MODULES)


_backend = Backend()

build_sdist = _backend.build_sdist
build_wheel = _backend.build_wheel
build_editable = _backend.build_editable
get_requires_for_build_sdist = _backend.get_requires_for_build_sdist
get_requires_for_build_wheel = _backend.get_requires_for_build_wheel
get_requires_for_build_editable = _backend.get_requires_for_build_editable
prepare_metadata_for_build_wheel = _backend.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = _backend.prepare_metadata_for_build_editable
