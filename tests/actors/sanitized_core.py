"""A plugin of pytest: use the compiled extensions that SANITIZED_CORE, SANITIZED_WORDS and SANITIZED_WAYS
name, as far as they are set, in place of those that are installed.

`make -C actors/core asan` and `make -C transport/core asan` compile them with sanitizers.
"""

import importlib.util
import os
import sys

EXTENSIONS = {
    "enfilade.actors.core.compiled": "SANITIZED_CORE",
    "enfilade.actors.observing.sampling.words": "SANITIZED_WORDS",
    "enfilade.transport.core.compiled": "SANITIZED_WAYS",
}

for name, variable in EXTENSIONS.items():
    if variable not in os.environ:
        continue
    spec = importlib.util.spec_from_file_location(name, os.environ[variable])
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
