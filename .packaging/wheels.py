"""Make what a release consists of, in `dist/`: the source archive, and a wheel for each kind of Linux.

The compiler is Zig's, which carries the C library of each target. So a wheel for another processor, or for a
system older than this one, needs neither a container nor another machine. The extensions use the stable
interface of Python: one wheel serves every Python from 3.11 on.

Each wheel is made twice, in different folders. Both must be the same, byte for byte. auditwheel then looks
for symbols that an older C library does not have.
"""

import argparse
import gzip
import hashlib
import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MACHINES = ("x86_64", "aarch64")
GLIBC = (2, 28)
"""The oldest C library that the wheels run with: that of Debian 10, RHEL 8 and Ubuntu 20.04."""

BACKEND = """
import sys
sys.path.insert(0, ".packaging")
import backend
what, target, *options = sys.argv[1:]
print(getattr(backend, "build_" + what)(target, {"--build-option": options}))
"""


def run(*command: str, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> str:
    """Run a program and give what it prints; end with its error, should it fail."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def compiler(machine: str, place: Path) -> dict[str, str]:
    """The environment in which setuptools compiles for a machine; a script in `place` is the compiler."""
    script = place / f"cc-{machine}"
    target = f"{machine}-linux-gnu.{GLIBC[0]}.{GLIBC[1]}"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ziglang cc -target {target} "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    # Debug information holds the path of the folder, which would make each build another one.
    return {"CC": str(script), "LDSHARED": f"{script} -shared -s", "CFLAGS": "-g0 -O2"}


def commit_time() -> str:
    """When the commit that is released was made: the date of every file in the archives."""
    return run("git", "log", "-1", "--format=%ct").strip()


def source_archive(target: Path, epoch: str) -> Path:
    """Make the source archive of what git has, not of what lies about."""
    with tempfile.TemporaryDirectory() as place:
        checkout = Path(place) / "enfilade"
        run("git", "clone", "--quiet", "--no-local", str(ROOT), str(checkout))
        command = (sys.executable, "-c", BACKEND, "sdist", str(target))
        name = run(*command, cwd=checkout, environment={"SOURCE_DATE_EPOCH": epoch}).split()[-1]
    settle(target / name, int(epoch))
    return target / name


def settle(archive: Path, epoch: int) -> None:
    """Write an archive again, in one order, without what it says of the time and the user that made it."""
    with tarfile.open(archive) as made:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as settled:
            for member in sorted(made, key=lambda each: each.name):
                member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
                member.pax_headers = {}
                settled.addfile(member, made.extractfile(member) if member.isfile() else None)
    archive.write_bytes(gzip.compress(packed.getvalue(), mtime=epoch))


def wheel(archive: Path, machine: str, target: Path, epoch: str) -> Path:
    """Make the wheel for a machine out of the source archive alone."""
    with tempfile.TemporaryDirectory() as place:
        with tarfile.open(archive) as packed:
            packed.extractall(place, filter="tar")  # the links between its folders are ours
        (source,) = Path(place).glob("enfilade-*")
        options = [f"--plat-name=manylinux_{GLIBC[0]}_{GLIBC[1]}_{machine}", "--py-limited-api=cp311"]
        environment = {**compiler(machine, Path(place)), "SOURCE_DATE_EPOCH": epoch}
        command = (sys.executable, "-c", BACKEND, "wheel", str(target), *options)
        name = run(*command, cwd=source, environment=environment).split()[-1]
    return target / name


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def twice(archive: Path, machine: str, target: Path, epoch: str) -> Path:
    """Make a wheel two times, and end if the two differ."""
    made = wheel(archive, machine, target, epoch)
    with tempfile.TemporaryDirectory() as place:
        again = wheel(archive, machine, Path(place), epoch)
        if digest(made) != digest(again):
            kept = shutil.copy(again, target / f"again-{made.name}")
            sys.exit(f"two builds of {made.name} differ; the other one is {kept}")
    return made


def audit(path: Path) -> None:
    """End if a wheel needs a newer C library than its name says."""
    report = run(sys.executable, "-m", "auditwheel", "show", str(path))
    tags = [word.strip('".,') for word in report.split() if word.strip('".,').startswith("manylinux_")]
    found = [tuple(int(part) for part in tag.split("_")[1:3]) for tag in tags]
    if not found or min(found) > GLIBC:
        sys.exit(f"{path.name} is not what its name says:\n{report}")


def main() -> None:
    """Make the archives and print their names and digests, in the form of `sha256sum`."""
    os.umask(0o022)  # the modes of files are a part of the archives
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--machine", action="append", choices=MACHINES, help="all of them, if none is named")
    parser.add_argument("--target", type=Path, default=ROOT / "dist")
    arguments = parser.parse_args()
    if run("git", "status", "--porcelain"):
        sys.exit("there are changes that are in no commit: a release is made of what git has")
    target = arguments.target.resolve()
    target.mkdir(parents=True, exist_ok=True)
    epoch = commit_time()
    made = [source_archive(target, epoch)]
    for machine in arguments.machine or MACHINES:
        made.append(twice(made[0], machine, target, epoch))
        audit(made[-1])
    for path in made:
        print(f"{digest(path)}  {path.name}")


if __name__ == "__main__":
    main()
