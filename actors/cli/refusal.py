"""The error with which a sub-command refuses a request."""


class Refusal(Exception):
    """A request that cannot be met; its text is the one line that the user reads, and the status is 1."""
