"""A plugin of pytest: use the compiled core that SANITIZED_CORE names, in place of the installed one.

`make -C actors/core asan` compiles one with sanitizers.
"""

import importlib.util
import os
import sys

NAME = "enfilade.actors.core.compiled"

spec = importlib.util.spec_from_file_location(NAME, os.environ["SANITIZED_CORE"])
assert spec is not None
assert spec.loader is not None
sys.modules[NAME] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules[NAME])
