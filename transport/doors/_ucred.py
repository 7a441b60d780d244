"""Parts of a `ucred_t *`, as in ucred_get(3C).

In C, a null pointer in the place of one ends the process, on illumos as on Linux; here it is a `ValueError`.
"""

from typing import Any, TypeAlias

from enfilade.transport.doors._doors import ffi, lib

CData: TypeAlias = Any


def given(pointer: CData, kind: str = "ucred_t *") -> CData:
    """Return `pointer`, of this `kind`. Raises `ValueError` for a null pointer."""
    if pointer is None or pointer == ffi.NULL:
        raise ValueError(f"expected a {kind}, got a null pointer")
    return pointer


def ucred_free(credentials: CData) -> None:
    """Free `credentials`, or do nothing for `NULL`."""
    lib.ucred_free(credentials)


def ucred_geteuid(credentials: CData) -> int:
    """Return the effective user of `credentials`. Raises `ValueError` for `NULL`."""
    return int(lib.ucred_geteuid(given(credentials)))


def ucred_getruid(credentials: CData) -> int:
    """Return the real user of `credentials`. Raises `ValueError` for `NULL`."""
    return int(lib.ucred_getruid(given(credentials)))


def ucred_getsuid(credentials: CData) -> int:
    """Return the saved user of `credentials`, or -1 where it is unknown. Raises `ValueError` for `NULL`."""
    return int(lib.ucred_getsuid(given(credentials)))


def ucred_getegid(credentials: CData) -> int:
    """Return the effective group of `credentials`. Raises `ValueError` for `NULL`."""
    return int(lib.ucred_getegid(given(credentials)))


def ucred_getrgid(credentials: CData) -> int:
    """Return the real group of `credentials`. Raises `ValueError` for `NULL`."""
    return int(lib.ucred_getrgid(given(credentials)))


def ucred_getsgid(credentials: CData) -> int:
    """Return the saved group of `credentials`, or -1 where it is unknown. Raises `ValueError` for `NULL`."""
    return int(lib.ucred_getsgid(given(credentials)))


def ucred_getgroups(credentials: CData, groups: CData) -> int:
    """Set `groups`, a `gid_t **`, to the supplementary groups; return how many, or -1 if they are unknown.

    They are those of `credentials`, and end with them. Raises `ValueError` for `NULL`.
    """
    return int(lib.ucred_getgroups(given(credentials), given(groups, "gid_t **")))


def ucred_getpid(credentials: CData) -> int:
    """Return the process of `credentials`. Raises `ValueError` for `NULL`."""
    return int(lib.ucred_getpid(given(credentials)))


def ucred_getprojid(credentials: CData) -> int:
    """Return the project of `credentials`, -1 on Linux, which has none. Raises `ValueError` for `NULL`."""
    return int(lib.ucred_getprojid(given(credentials)))


def ucred_getzoneid(credentials: CData) -> int:
    """Return the zone of `credentials`, or -1 where it is unknown. Raises `ValueError` for `NULL`."""
    return int(lib.ucred_getzoneid(given(credentials)))


def ucred_getpflags(credentials: CData, flags: int) -> int:
    """Return those of the privilege `flags` that `credentials` have; Linux has none.

    Raises `ValueError` for `NULL`.
    """
    return int(lib.ucred_getpflags(given(credentials), flags))


def ucred_getprivset(credentials: CData, kind: CData) -> CData:
    """Return a set of privileges of `credentials`, a `const priv_set_t *`, or `NULL` where it is unknown.

    `kind` is `PRIV_EFFECTIVE`, `PRIV_PERMITTED`, `PRIV_INHERITABLE` or `PRIV_LIMIT`. Raises `ValueError` for
    `NULL`.
    """
    return lib.ucred_getprivset(given(credentials), given(kind, "name of a set"))


def ucred_get(pid: int) -> CData:
    """Return the credentials of the process `pid`, to be given to `ucred_free`, or `NULL`."""
    return lib.ucred_get(pid)


def ucred_size() -> int:
    """Return the bytes of a `ucred_t`."""
    return int(lib.ucred_size())
