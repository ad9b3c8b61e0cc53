"""Executes the steps of the `Dockerfile` in a Debian root, where there is no container engine; as root.

    python requirements/try_image.py FOLDER --python PREFIX [--mirror URL]

The base is Debian bookworm by debootstrap with a Python 3.10 from PREFIX (a folder with `bin/python3.10` and its `lib`) in
/usr/local, which is what `python:3.10-slim-bookworm` has. Each stage is a copy of it below FOLDER. RUN is executed by
chroot, with the instructions' own environment, folder and user; COPY copies what is tracked. Then the user of the image asks
`footfall --version` and imports what the steps start with. A base that is there is used again.

It ends with 0 if all steps do. It is no container engine: it knows the instructions that the Dockerfile has, and stops at others;
and it pulls no images: what is copied from another than Python's is left out.
"""

import argparse
import contextlib
import dataclasses
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator

_ROOT = pathlib.Path(__file__).resolve().parents[1]
# What a slim image of Python has besides Debian's smallest.
_PACKAGES = "ca-certificates,libbz2-1.0,libffi8,liblzma5,libreadline8,libsqlite3-0,libssl3,libuuid1,netbase,tzdata,zlib1g"
# Of the machine: where packages come from, and who is trusted.
_PASSED = re.compile(r"(PIP|UV|SSL|CURL|REQUESTS)_|.*_proxy$", re.IGNORECASE)
_MOUNTED = ("proc", "dev", "sys")
# The image that the stages are of which are executed.
_BASE = "${PYTHON_IMAGE}"
_VARIABLE = re.compile(r"\$([A-Z_]+)")
_CHECK = (
    "import importlib\n"
    "for name in ('components.behavior_example_gen.component', 'components.evaluator.executor', "
    "'components.trainer.executor', 'trainer.task', 'pipeline.runners.kubeflow_step'):\n"
    "    importlib.import_module(name)\n"
    "print('imports: ok')\n"
)


@dataclasses.dataclass
class Stage:
    """A stage of the build: its root, and what the instructions so far have set."""

    root: pathlib.Path
    env: dict[str, str] = dataclasses.field(
        default_factory=lambda: {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"}
    )
    folder: str = "/"
    user: str = "0"

    def filled(self, text: str) -> str:
        """With the values of the variables in it."""
        return _VARIABLE.sub(lambda found: self.env.get(found[1], ""), text)

    def run(self, command: str) -> None:
        """Executes a shell command; a command that fails ends the script."""
        given = {name: value for name, value in os.environ.items() if _PASSED.match(name)}
        inside = f"cd {shlex.quote(self.folder)} && {command}"
        home = "/root" if self.user == "0" else "/home/footfall"
        done = subprocess.run(
            ["chroot", f"--userspec={self.user}:{self.user}", str(self.root), "/bin/sh", "-ec", inside],
            env={**given, "HOME": home, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", **self.env},
        )
        if done.returncode:
            sys.exit(f"try_image: exit code {done.returncode} of: {command}")


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Dockerfile: their names, and what follows in one line."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), rest.strip()


def base(folder: pathlib.Path, python: pathlib.Path, mirror: str) -> pathlib.Path:
    """Debian with Python in /usr/local."""
    root = folder / "base"
    if not (root / "usr/local/bin/python").exists():
        command = [
            "debootstrap",
            "--variant=minbase",
            f"--include={_PACKAGES}",
            "bookworm",
            str(root),
            mirror,
        ]
        subprocess.run(command, check=True)
        for part in ("bin", "lib", "include"):
            shutil.copytree(python / part, root / "usr/local" / part, symlinks=True, dirs_exist_ok=True)
        # Its own packages, of which an image has none.
        site = root / "usr/local/lib/python3.10/site-packages"
        for path in site.iterdir():
            if not path.name.startswith(("pip", "setuptools", "_distutils_hack", "distutils-precedence")):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        Stage(root).run("ldconfig && ln -sf python3.10 /usr/local/bin/python")
    for name in ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt"):
        if os.path.exists(f"/{name}"):
            shutil.copyfile(f"/{name}", root / name)
    return root


@contextlib.contextmanager
def _mounted(root: pathlib.Path) -> Iterator[None]:
    try:
        for name in _MOUNTED:
            subprocess.run(["mount", "--bind", f"/{name}", str(root / name)], check=True)
        yield
    finally:
        for name in reversed(_MOUNTED):
            subprocess.run(["umount", str(root / name)])


def _copy(stage: Stage, stages: dict[str, Stage], rest: str) -> None:
    words = shlex.split(rest)
    source_root = _ROOT
    if words[0].startswith("--from="):
        source = words.pop(0).removeprefix("--from=")
        if source not in stages:
            print(f"try_image: nothing of {source} is here: left out", flush=True)
            return
        source_root = stages[source].root
    *sources, target = words
    into = stage.root / os.path.join(stage.folder, target).lstrip("/")
    for source in sources:
        found = source_root / source.lstrip("/")
        several = target.endswith("/")
        place = into / found.name if several else into
        place.parent.mkdir(parents=True, exist_ok=True)
        if found.is_dir():
            shutil.copytree(found, place, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copyfile(found, place)


def build(text: str, folder: pathlib.Path, start: pathlib.Path) -> Stage:
    """Executes all stages; gives the last."""
    stages: dict[str, Stage] = {}
    with contextlib.ExitStack() as mounts:
        for name, rest in instructions(text):
            print(f"try_image: {name} {rest}"[:160], flush=True)
            if name == "FROM":
                words = rest.split()
                if words[0] != _BASE:
                    continue
                title = words[2] if len(words) > 2 else "last"
                root = folder / title
                # Of a run that was killed: to delete the root would be to delete the machine's own.
                left = [name for name in _MOUNTED if os.path.ismount(root / name)]
                if left:
                    sys.exit(f"try_image: {', '.join(left)} of {root} is still mounted: umount it first")
                shutil.rmtree(root, ignore_errors=True)
                subprocess.run(["cp", "-a", str(start), str(root)], check=True)
                mounts.enter_context(_mounted(root))
                stage = stages[title] = Stage(root)
            elif name == "RUN":
                stage.run(rest)
            elif name == "ENV":
                for pair in shlex.split(rest):
                    key, _, value = pair.partition("=")
                    stage.env[key] = stage.filled(value)
            elif name == "WORKDIR":
                stage.folder = rest
                (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            elif name == "COPY":
                _copy(stage, stages, rest)
            elif name == "USER":
                stage.user = rest
            elif name not in ("ARG", "ENTRYPOINT"):
                sys.exit(f"try_image: {name}: not known here")
        # Where Kubeflow's launcher puts the files of artifacts.
        stage.run("for place in /gcs /minio /s3; do mkdir $place/bucket; done")
        stage.run("footfall --version")
        stage.run(f"python -c {shlex.quote(_CHECK)}")
    return stage


def main() -> None:
    """Executes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--python", type=pathlib.Path, required=True)
    parser.add_argument("--mirror", default="http://deb.debian.org/debian")
    options = parser.parse_args()
    if os.geteuid():
        parser.error("chroot and debootstrap need root")
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = options.folder.resolve()
    start = base(folder, options.python, options.mirror)
    build((_ROOT / "Dockerfile").read_text(encoding="utf-8"), folder, start)
    print("try_image: all steps ended well")


if __name__ == "__main__":
    main()
