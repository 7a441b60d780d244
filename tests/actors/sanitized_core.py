"""A plugin of pytest: use the compiled extensions that SANITIZED_CORE and SANITIZED_WORDS name, in place of
those that are installed.

`make -C actors/core asan` compiles them with sanitizers.
"""

import importlib.util
import os
import sys

EXTENSIONS = {
    "enfilade.actors.core.compiled": "SANITIZED_CORE",
    "enfilade.actors.observing.sampling.words": "SANITIZED_WORDS",
}

for name, variable in EXTENSIONS.items():
    spec = importlib.util.spec_from_file_location(name, os.environ[variable])
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
