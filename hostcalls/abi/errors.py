"""Errors of hostcalls, and the exact texts in which guests receive them."""

from __future__ import annotations


class HostcallError(Exception):
    """A hostcall failed; the guest's future resolves to an error with `text`, and the guest goes on.

    The texts belong to the guest ABI and say little. A refusal of something that the embedder could allow
    says more in `why`: one sentence, without the names of guest and hostcall. The host logs it, and puts it
    into the exit reason of a guest that gives up because of the refusal.

    Attributes:
        text: what the guest reads.
        why: what was refused and what would allow it; empty for an ordinary failure.
    """

    def __init__(self, text: str, *, why: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.why = why

    @property
    def explained(self) -> str:
        """The text with the reason behind it, for people."""
        return f"{self.text}: {self.why}" if self.why else self.text


class InvalidArgument(HostcallError):
    """An argument makes no sense: a slot of another kind, a reader that is in use, a capacity above the
    limit.
    """

    def __init__(self, *, why: str = "") -> None:
        super().__init__("invalid argument", why=why)


class LimitReached(InvalidArgument):
    """The guest has as much as one of its limits allows.

    Args:
        limit: the name of the field of `enfilade.hostcalls.Limits`.
        bound: its value.
    """

    def __init__(self, limit: str, bound: int | float) -> None:
        super().__init__(
            why=f"the limit {limit}={bound} is reached; "
            f"raise it with Limits({limit}=...) or --limit {limit}=..."
        )


class NotFound(HostcallError):
    """There is nothing under this slot, shared handle, process id, name or singleton id."""

    def __init__(self) -> None:
        super().__init__("resource not found")


class PermissionDenied(HostcallError):
    """The caller was not granted this."""

    def __init__(self, *, why: str = "") -> None:
        super().__init__("permission denied", why=why)


class AlreadyExists(HostcallError):
    """The singleton id is taken, or the resource is a singleton already."""

    def __init__(self) -> None:
        super().__init__("Stable identifier already exists")


class KernelError(HostcallError):
    """The host could not do what was asked, for reasons that are not the guest's business."""

    def __init__(self) -> None:
        super().__init__("The kernel encountered an error. Please report this to your administrator.")


class RegistryError(HostcallError):
    """The registry refused a reservation."""

    def __init__(self) -> None:
        super().__init__(
            "The kernel Registry encountered an error. Please report this to your administrator."
        )


class SubsystemError(HostcallError):
    """Something below the hostcall failed; `detail` says what."""

    def __init__(self, detail: str, *, why: str = "") -> None:
        super().__init__(f"internal error: {detail}", why=why)
        self.detail = detail


class NotInThisBuild(SubsystemError):
    """The hostcall called `name` was granted, and there is nothing behind it."""

    def __init__(self, name: str, *, why: str = "") -> None:
        super().__init__(f"{name} is not part of this build", why=why)


class StartError(Exception):
    """A guest could not be started; the message says at which step and why."""
