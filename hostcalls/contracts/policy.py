"""The rules between guests that an embedder may choose."""

from __future__ import annotations

import attrs

from enfilade.fields import by_annotation


@attrs.frozen(kw_only=True, field_transformer=by_annotation)
class Policy:
    """Rules that an embedder may choose.

    Attributes:
        upstream: keep the rules of the runtime that the guest ABI comes from: a guest may grant its
            children what it was not granted itself, may stop any process, and its children outlive it.
        tombstones: processes that have ended and are remembered, so that they can be stopped once more and
            their log read; when there are more, the oldest is forgotten.
        forward_logs: whether what guests write into their log channels is emitted as log records.
    """

    upstream: bool = False
    tombstones: int = 256
    forward_logs: bool = True
