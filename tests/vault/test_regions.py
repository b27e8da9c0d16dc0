"""No write to a foreign region: one module speaks to object stores, and everybody hands it the region of the data."""

import ast
from pathlib import Path

import pytest

from hushwire.app import provision_file
from hushwire.core.errors import HushwireError, RefusedError
from hushwire.vault.blobs import Blobs
from tests.recorded import House, house

__all__ = ["house"]

SOURCE = Path(__file__).parents[2] / "src" / "hushwire"
ELSEWHERE = {"services/backups.py"}
"""Backups of the database go to the deployment's second zone: a place of its own, which no residency leads to. No recording goes there."""

WRITERS = {"put_file": 0, "copy_to": 1}
"""Methods of Blobs that bring data into a store, and which of their arguments is the residency."""


def _modules() -> list[tuple[str, ast.Module]]:
    return [(str(path.relative_to(SOURCE)), ast.parse(path.read_bytes())) for path in sorted(SOURCE.rglob("*.py"))]


def test_one_module_alone_speaks_to_object_stores() -> None:
    found = set()
    for name, tree in _modules():
        for node in ast.walk(tree):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(module.split(".")[0] in ("obstore", "boto3", "botocore", "aioboto3", "s3fs", "minio") for module in imported):
                found.add(name)
    assert found == {"vault/blobs.py"} | ELSEWHERE


def test_every_writing_method_turns_a_residency_into_a_store_in_the_one_place() -> None:
    (tree,) = [tree for name, tree in _modules() if name == "vault/blobs.py"]
    (blobs,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Blobs"]
    writing = set()
    for method in blobs.body:
        if not isinstance(method, ast.AsyncFunctionDef | ast.FunctionDef):
            continue
        body = ast.dump(method)
        if any(
            f"attr='{call}'" in body for call in ("put_async", "put", "copy_async", "copy", "rename_async", "rename", "open_writer_async")
        ):
            writing.add(method.name)
            assert "attr='_store'" in body, method.name
            assert method.args.args[1 + WRITERS[method.name]].arg == "residency"
    assert writing == set(WRITERS)


def test_every_writer_in_the_source_names_the_region_of_the_row_that_it_writes_for() -> None:
    calls = {}
    for name, tree in _modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITERS:
                calls[f"{name}: {ast.unparse(node.args[WRITERS[node.func.attr]])}"] = True
    assert all(call.split(": ")[1].rpartition(".")[2] in ("region", "residency") for call in calls), calls
    assert "services/recordings_shipping.py: recording.region" in calls


async def test_data_of_us_with_only_a_store_in_the_eu_is_refused_when_it_is_written(house: House, tmp_path: Path) -> None:
    blobs = Blobs.open({"eu": (tmp_path / "only-eu").as_uri()})
    recording = await house.record()
    async with (await house.main("worker")).organisation(house.org) as connection:
        await connection.execute("UPDATE recordings SET region = 'us' WHERE id = $1", recording)
    shipping = await house.shipping()
    shipping._blobs = blobs
    with pytest.raises(RefusedError, match="us"):
        await shipping.ship(house.org, recording)
    assert await shipping.ship_all() == 0
    assert (await house.row(recording)).state == "closed"
    assert (house.spool.folder / f"{recording}.hwr").exists()
    assert not [path for path in (tmp_path / "only-eu").rglob("*") if path.is_file()]


def test_an_organisation_in_us_with_only_a_store_in_the_eu_is_refused_at_provisioning(tmp_path: Path) -> None:
    path = tmp_path / "provision.toml"
    path.write_text(
        '[[orgs]]\nslug = "acme"\nname = "Acme"\nhome_country = "US"\nresidency = "us"\nrecord = "all"\nagent_srtp = "required"\n'
    )
    with pytest.raises(HushwireError, match="us"):
        provision_file.read(path, {"eu": "file:///srv/eu"})
    assert provision_file.read(path, {"us": "file:///srv/us"})
