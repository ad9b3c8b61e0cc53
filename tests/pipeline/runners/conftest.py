"""A disk that is small enough to fill."""

import errno
import os
import pathlib
import subprocess

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 4 MB, mounted; a function mounts it anew with options."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(*options):
        command = ["mount", "-t", "tmpfs", "-o", ",".join(("size=4m", *options)), "tmpfs", str(place)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("needs the right to mount a tmpfs")

    mount()
    yield place, mount
    # Lazily: a metadata store that failed may be open still.
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill_disk(place: pathlib.Path) -> pathlib.Path:
    """Leaves no space on the disk of a folder; the file that takes it."""
    path = place / "filler"
    with open(path, "wb", buffering=0) as stream:
        with pytest.raises(OSError) as full:
            while True:
                stream.write(b"x" * 4096)
    assert full.value.errno == errno.ENOSPC
    return path
