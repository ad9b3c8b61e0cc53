"""The Dockerfile, as far as it can be held to something without Docker."""

import importlib.util
import pathlib
import re
import shlex

import pytest

from pipeline.runners import targets
from requirements import try_image

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def instructions():
    """(instruction, rest) of each, comments and line ends left out."""
    return list(try_image.instructions((ROOT / "Dockerfile").read_text()))


@pytest.fixture(scope="module")
def copied(instructions):
    """What is copied from the sources."""
    return [
        source
        for kind, rest in instructions
        if kind == "COPY" and not rest.startswith("--from")
        for source in shlex.split(rest)[:-1]
    ]


def _packages():
    """The packages that setup.py installs."""
    found = re.search(r"_PACKAGES = \(([^)]*)\)", (ROOT / "setup.py").read_text()).group(1)
    return re.findall(r'"(\w+)"', found)


def test_all_that_is_copied_is_there_and_sent_to_docker(copied):
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines and sent == set(copied)
    for source in copied:
        assert (ROOT / source).exists(), source


def test_all_that_is_installed_is_copied(copied):
    assert set(_packages()) <= set(copied)
    # What setup.py reads.
    assert {"setup.py", "README.md", "LICENSE"} <= set(copied)
    for package in _packages():
        assert importlib.util.find_spec(package) is not None


def test_nothing_is_installed_without_its_hash(instructions):
    installs = [
        part
        for kind, rest in instructions
        if kind == "RUN"
        for part in re.split(r"&&|;", rest)
        if "pip install" in part
    ]
    assert len(installs) == 4
    for part in installs:
        assert "--require-hashes" in part or part.rstrip().endswith("--no-deps --no-build-isolation .")
        builds_nothing = "--no-build-isolation" in part or "--only-binary :all:" in part
        assert builds_nothing or part.rstrip().endswith("requirements/build.txt")
    # Python's, and the lock's for it.
    image = next(rest for kind, rest in instructions if kind == "ARG")
    assert image.startswith("PYTHON_IMAGE=python:3.10") and "py310-tfx116.txt" in installs[1]


def test_the_libraries_for_gpus_are_looked_for_where_they_are(instructions):
    lock = (ROOT / "requirements" / "py310-tfx116-gpu.txt").read_text()
    packages = {name.replace("-", "_") for name in re.findall(r"^nvidia-(.+)-cu12==", lock, re.MULTILINE)}
    (paths,) = (rest for kind, rest in instructions if kind == "ENV" and rest.startswith("LD_LIBRARY_PATH"))
    # All but a compiler, which has no library.
    assert (
        set(re.findall(r"CUDA_PACKAGES/(\w+)/lib", paths)) == packages - {"cuda_nvcc"} and len(packages) > 5
    )


def test_a_worker_of_dataflow_starts_with_the_boot_of_the_locks_beam(instructions):
    lock = (ROOT / "requirements" / "py310-tfx116.txt").read_text()
    (version,) = re.findall(r"^apache-beam==(\S+)", lock, re.MULTILINE)
    assert ("ARG", f"BEAM_IMAGE=apache/beam_python3.10_sdk:{version}") in instructions
    last = max(at for at, (kind, _) in enumerate(instructions) if kind == "FROM")
    final = instructions[last + 1 :]
    assert ("FROM", "${BEAM_IMAGE} AS beam") in instructions
    assert ("COPY", "--from=beam /opt/apache/beam /opt/apache/beam") in final
    assert ("ENTRYPOINT", '["/opt/apache/beam/boot"]') in final
    # CMD would be arguments of it.
    assert not any(kind == "CMD" for kind, _ in final)
    # It looks for Beam where the lock is installed.
    environment = dict(
        pair.split("=", 1) for kind, rest in final if kind == "ENV" for pair in shlex.split(rest)
    )
    assert environment["RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT"] == "1"
    assert environment["PATH"].startswith("/opt/footfall/bin:")


def test_kubeflows_launcher_may_write_where_it_puts_artifacts(instructions):
    """As the image's user, into a folder at the root for each scheme of a root."""
    last = max(at for at, (kind, _) in enumerate(instructions) if kind == "FROM")
    places = {f"/{'gcs' if scheme == 'gs' else scheme}" for scheme in targets.TARGETS["kubeflow"].schemes}
    (made,) = (rest for kind, rest in instructions[last:] if kind == "RUN" and "mkdir" in rest)
    user, folders, owned = (shlex.split(part) for part in made.split("&&"))
    assert (folders[0], set(folders[1:])) == ("mkdir", places)
    assert owned[:2] == ["chown", f"{user[-1]}:"] and set(owned[2:]) == places
    (number,) = (rest for kind, rest in instructions[last:] if kind == "USER")
    assert user[:1] == ["useradd"] and user[user.index("--uid") + 1] == number


def test_what_runs_is_not_root_and_has_no_compiler(instructions):
    last = max(at for at, (kind, _) in enumerate(instructions) if kind == "FROM")
    assert [kind for kind, _ in instructions].count("FROM") == 3
    final = instructions[last + 1 :]
    (user,) = (rest for kind, rest in final if kind == "USER")
    assert int(user) >= 10_000
    assert not any("apt-get" in rest for _, rest in final)
    assert ("COPY", "--from=build /opt/footfall /opt/footfall") in final
