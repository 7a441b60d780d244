from collections.abc import Callable
from typing import Any

def begin(dispatcher: object, value: object, /) -> dict[str, Callable[..., Any]]: ...
