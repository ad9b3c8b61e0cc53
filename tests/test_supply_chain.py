"""Locks have hashes, the page on the supply chain is of these locks, and nothing is loaded by pickle."""

import ast
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet
import pytest

ROOT = pathlib.Path(__file__).parent.parent
LOCKS = ("py310-tfx116", "py311-tfx121", "build", "check", "docs")
# Modules and functions that run what they read.
_RUNNING = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}


@pytest.fixture(scope="module")
def licences():
    spec = importlib.util.spec_from_file_location("licences", ROOT / "requirements" / "licences.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("lock", LOCKS)
def test_each_package_of_a_lock_has_hashes(lock):
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    pins = [part for part in re.split(r"\n(?=[a-z0-9])", text) if re.match(r"[a-z0-9]", part)]
    assert len(pins) >= 5
    for pin in pins:
        assert re.match(r"[a-z0-9._-]+==\S+", pin), pin
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", pin), pin


def test_the_environment_is_made_with_hashes_alone():
    script = (ROOT / "requirements" / "make_env.sh").read_text()
    installs = [line for line in script.splitlines() if "pip install" in line and "say " not in line]
    assert len(installs) == 4
    for line in installs:
        assert "--require-hashes" in line or '"${install[@]}"' in line or "--editable ." in line, line
    assert re.search(r"install=\(.*--require-hashes.*\)", script)


def test_a_machine_without_a_compiler_is_told_so_before_anything_is_made(tmp_path):
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    shutil.copy(ROOT / "setup.py", tmp_path)
    environment = {**os.environ, "FOOTFALL_PYTHON": sys.executable, "CXX": "no-such-compiler"}
    script = tmp_path / "requirements" / "make_env.sh"
    found = subprocess.run([script], env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 1 and "Debian: apt install g++" in found.stderr
    assert "no-such-compiler" in found.stderr and not (tmp_path / ".venv").exists()


# Stands for an interpreter, and for all that an environment has: it makes one of itself, and installs nothing.
_PYTHON = f"""#!/bin/sh
[ "$1" = -c ] && exec {sys.executable} "$@"
[ "$2" = venv ] && mkdir -p "$3/bin" && for name in python uv footfall; do cp "$0" "$3/bin/$name"; done
exit 0
"""


def test_a_clone_that_was_moved_or_copied_gets_an_environment_of_its_own(tmp_path):
    first, moved, copied, linked = (tmp_path / name for name in ("first", "moved", "copied", "linked"))
    for clone in (first, linked):
        shutil.copytree(ROOT / "requirements", clone / "requirements")
        shutil.copy(ROOT / "setup.py", clone)
    for name, text in (("python", _PYTHON), ("c++", "#!/bin/sh\ncat > /dev/null\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "FOOTFALL_PYTHON": str(tmp_path / "python"), "CXX": str(tmp_path / "c++")}

    def made(clone):
        said = [
            subprocess.run(
                [clone / "requirements" / script, *more],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            ).stderr
            for script, *more in (("make_env.sh",), ("make_tools.sh", "check"))
        ]
        return ["Making" in text for text in said]

    assert made(first) == [True, True] and made(first) == [False, False]
    first.rename(moved)
    assert made(moved) == [True, True] and made(moved) == [False, False]
    shutil.copytree(moved, copied)
    assert made(copied) == [True, True] and made(copied) == made(moved) == [False, False]
    for name in (".venv", ".venv-check"):
        (linked / name).symlink_to(moved / name)
    assert made(linked) == [False, False] and (linked / ".venv").is_symlink()


def test_what_builds_is_what_is_locked_everywhere(licences):
    build = licences.locked("build")
    for lock in LOCKS[:2]:
        for name, versions in licences.locked(lock).items():
            assert build.get(name, versions) == versions, name


def test_the_table_of_licences_is_of_the_locks_as_they_are(licences):
    """If this fails: run requirements/licences.py, and read the advisories of what is new."""
    found = licences.table(licences.PAGE.read_text())
    expected = licences.rows({name: cells[-1] for name, cells in found.items()})
    assert found == {name: tuple(rest) for name, *rest in expected}
    assert all(cells[-1] for cells in found.values())


def test_advisories_are_of_the_versions_in_the_locks(licences):
    text = licences.PAGE.read_text().partition("## Known advisories")[2].partition("## Licences")[0]
    locked = {}
    for lock in LOCKS:
        for name, versions in licences.locked(lock).items():
            locked.setdefault(name, set()).update(versions)
    judged = re.findall(
        r"([a-z0-9-]+) (\d[\w.]*(?:, \d[\w.]*)*)", "\n".join(re.findall(r"^\| ([^|]*) \|", text, re.M))
    )
    assert len(judged) > 20
    for name, versions in judged:
        assert set(versions.split(", ")) <= locked[name], (name, versions, locked[name])


def test_no_code_of_ours_loads_pickles():
    """Neither directly, nor by NumPy, nor by a loader of YAML that makes objects."""
    for folder in ("components", "pipeline", "schemas", "serving", "trainer"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    names = {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    names = {(node.module or "").split(".")[0]}
                elif isinstance(node, ast.keyword):
                    assert node.arg != "allow_pickle", path
                    continue
                elif isinstance(node, ast.Attribute):
                    assert node.attr not in (
                        "unsafe_load",
                        "UnsafeLoader",
                        "full_load",
                        "read_pickle",
                        "py_function",
                    ), path
                    continue
                else:
                    continue
                assert not names & _RUNNING, (path, names)


def test_downloads_are_checked():
    from pipeline import datasets

    text = (ROOT / "pipeline" / "datasets.py").read_text()
    assert "http://" not in text and re.fullmatch("[0-9a-f]{64}", datasets._ML_100K_SHA256)


def test_a_parquet_file_runs_no_pickle(tmp_path):
    """CVE-2023-47248: an extension type in a file's schema used to be unpickled as the file was opened."""
    from components.behavior_example_gen import readers, spec

    marker = tmp_path / "ran"
    payload = f"cos\nsystem\n(S'touch {marker}'\ntR.".encode()
    metadata = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": payload}
    field = pa.field("user_id", pa.string(), metadata=metadata)
    schema = pa.schema([field, pa.field("item_id", pa.string()), pa.field("timestamp", pa.int64())])
    path = tmp_path / "log.parquet"
    columns = [pa.array(["u1", "u2"]), pa.array(["i1", "i2"]), pa.array([1, 2])]
    pyarrow.parquet.write_table(pa.Table.from_arrays(columns, schema=schema), path)
    try:
        list(readers.read_all([str(path)], spec.LogSpec(path=str(path))))
    except Exception as error:  # noqa: BLE001  refused or read as text, as long as nothing runs
        assert "extension" in str(error).lower() or "pickle" in str(error).lower(), error
    assert not marker.exists()
