"""`edgeopt.models.trust.storage`: weights that lie in other files, and few bytes that stand for many."""

from __future__ import annotations

import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from edgeopt.errors import FileFormatError, UnsafeModelError
from edgeopt.models.load import load_model
from edgeopt.models.trust.storage import check_archive, check_hdf5

pytestmark = pytest.mark.parametrize("suffix", [".keras", ".h5"])


@pytest.fixture(autouse=True)
def secret(tmp_path, monkeypatch):
    """A file of this machine's whose numbers are nobody's business."""
    monkeypatch.chdir(tmp_path)
    with h5py.File("secret.h5", "w") as file:
        file["kernel"] = np.full((4, 2), 42, "f4")
    (tmp_path / "secret.bin").write_bytes(np.full((4, 2), 42, "f4").tobytes())


def check(suffix, change, compression=zipfile.ZIP_STORED):
    """Write a file of a kernel and what `change` makes, pack it where it is one of `.keras`, and have it checked."""
    with h5py.File("model.weights.h5", "w") as file:
        change(file.create_group("layers"))
    if suffix == ".h5":
        check_hdf5(path := Path("model.weights.h5"), path)
        return
    with zipfile.ZipFile("model.keras", "w", compression) as archive:
        archive.write("model.weights.h5")
    check_archive(Path("model.keras"))


def external(group):
    group["kernel"] = h5py.ExternalLink("secret.h5", "/kernel")


def whole_file(group):
    group["more"] = h5py.ExternalLink("secret.h5", "/")


def stored_elsewhere(group):
    group.create_dataset("kernel", (4, 2), "f4", external=[("secret.bin", 0, 32)])


def put_together(group):
    layout = h5py.VirtualLayout((4, 2), "f4")
    layout[:] = h5py.VirtualSource("secret.h5", "kernel", (4, 2))
    group.create_virtual_dataset("kernel", layout)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (external, "'/layers/kernel' is a link into another file"),
        (whole_file, "'/layers/more' is a link into another file"),
        (stored_elsewhere, "'/layers/kernel' lies in another file"),
        (put_together, "'/layers/kernel' is put together from other files"),
    ],
)
def test_data_of_other_files_are_not_read(suffix, change, what):
    with pytest.raises(UnsafeModelError, match=f"{what}, which would be read from this machine; pass --unsafe-load"):
        check(suffix, change)


def test_a_model_that_takes_its_weights_from_another_file(suffix, any_keras):
    inputs = any_keras.Input((4,), name="x")
    any_keras.Model(inputs, any_keras.layers.Dense(2, name="d")(inputs)).save(f"model{suffix}")
    if suffix == ".h5":
        tie("model.h5")
    else:
        with zipfile.ZipFile("model.keras") as archive:
            archive.extractall()
        tie("model.weights.h5")
        with zipfile.ZipFile("model.keras", "w") as archive:
            for name in ("metadata.json", "config.json", "model.weights.h5"):
                archive.write(name)
    with pytest.raises(UnsafeModelError, match="is a link into another file"):
        load_model(f"model{suffix}")


def tie(path):
    """Put a link in place of the kernel."""
    with h5py.File(path, "a") as file:
        found = []
        file.visititems(lambda name, item: found.append(name) if getattr(item, "shape", None) == (4, 2) else None)
        del file[found[0]]
        file[found[0]] = h5py.ExternalLink("secret.h5", "/kernel")


@pytest.mark.parametrize("options", [{}, {"chunks": (2**20,), "compression": "gzip"}])
def test_a_dataset_of_gigabytes_in_a_few_bytes(suffix, options):
    """HDF5 stores nothing of what was never written."""
    with pytest.raises(UnsafeModelError, match=r"stand for 8,589,\d+,\d+, more than 32 times as many"):
        check(suffix, lambda group: group.create_dataset("more", (2**31,), "f4", **options))


def test_many_datasets_that_are_large_together(suffix):
    with pytest.raises(UnsafeModelError, match="more than 32 times as many"):
        check(suffix, lambda group: [group.create_dataset(f"{k}", (2**22,), "f4") for k in range(5)])


def test_a_zip_file_that_becomes_gigabytes(suffix):
    def zeros(group):
        group["more"] = np.zeros(2**25, "f4")

    if suffix == ".h5":
        check(suffix, zeros)
        return
    with pytest.raises(UnsafeModelError, match=r"stand for 134,\d+,\d+, more than 32 times"):
        check(suffix, zeros, zipfile.ZIP_DEFLATED)


def test_links_within_the_file_and_cycles_are_no_harm(suffix):
    def around(group):
        group["kernel"] = np.ones((4, 2), "f4")
        group["again"], group["up"] = h5py.SoftLink("/nowhere"), group.file["/"]

    check(suffix, around)


def test_pruned_weights_that_were_zipped_again_are_accepted(suffix):
    """95 % of 17 million weights are zero, and the file is packed as small as zip makes it."""
    sparse = np.random.default_rng(0).normal(size=2**20).astype("f4") * (np.arange(2**20) % 20 == 0)
    check(suffix, lambda group: group.create_dataset("more", data=np.tile(sparse, 17)), zipfile.ZIP_DEFLATED)


def test_a_damaged_file_is_one(suffix, tmp_path):
    (tmp_path / "cut.h5").write_bytes((tmp_path / "secret.h5").read_bytes()[:1000])
    with pytest.raises(FileFormatError, match="damaged HDF5 file"):
        check_hdf5(path := Path("cut.h5"), path)
