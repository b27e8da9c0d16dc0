"""/v1/audit over the wire: exports that verify offline, parts that prove their place, signed heads."""

from datetime import timedelta
from pathlib import Path

from hushwire.privacy import audit
from hushwire.privacy.audit_export import check, kept_heads
from hushwire.services.audit_heads import AuditHeads
from tests.api.serving import Office, problem, shown
from tests.privacy.test_audit import rewrite
from tests.privacy.test_audit_heads import act


async def sign(office: Office) -> None:
    house = office.house
    await AuditHeads(await house.main("worker"), await house.keyring("worker"), house.clock).sign_due()
    house.clock.ahead += timedelta(hours=1)


async def filled(office: Office) -> None:
    """Nine rows, heads at 3, 6 and 9."""
    for _ in range(3):
        await act(office.house, 3)
        await sign(office)


async def exported(office: Office, query: str = "", role: str = "auditor") -> list[bytes]:
    async with office.client(role) as client:
        answer = await client.get(f"/v1/audit/export{query}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/jsonl"
        return answer.content.splitlines(keepends=True)


async def published_keys(office: Office) -> bytes:
    async with office.stranger() as client:
        return (await client.get("/.well-known/hushwire-keys.json")).content


async def test_an_export_verifies_offline_and_says_that_it_was_made(office: Office) -> None:
    await filled(office)
    recording = await office.house.record()
    async with office.client() as client:
        receipt = (await client.delete(f"/v1/recordings/{recording}")).content
    lines = await exported(office)
    result = check(lines, await published_keys(office))
    assert result.is_whole, result
    assert (result.rows, result.heads, result.confirmed) == (11, 3, 10)  # the receipt vouches for row 10
    assert b'"action":"export.delivered"' in lines[-2]
    assert receipt + b"\n" in lines


async def test_a_part_is_widened_to_signed_heads_and_proves_its_place(office: Office) -> None:
    await filled(office)
    keys = await published_keys(office)
    for query, rows in (("?first=5&last=5", [4, 5, 6]), ("?first=4&last=6", [4, 5, 6]), ("?first=8", [7, 8, 9]), ("?last=1", [1, 2, 3])):
        lines = await exported(office, query)
        result = check(lines, keys)
        assert result.is_whole, (query, result)
        positions = [line.count(b'"position":%d,' % n) for n in rows for line in lines if line.startswith(b'{"action"')]
        assert sum(positions) == 3, query


async def test_a_part_that_the_log_does_not_reach_and_nonsense_are_refused(office: Office) -> None:
    await act(office.house, 2)
    async with office.client("auditor") as client:
        problem(await client.get("/v1/audit/export?first=900"), 404)
        problem(await client.get("/v1/audit/export?first=3&last=2"), 422)
        problem(await client.get("/v1/audit/export?first=0"), 422)
        problem(await client.get("/v1/audit/export?first=99999999999999999999"), 422)
    async with office.client("supervisor") as client:
        problem(await client.get("/v1/audit/export"), 403)


async def test_an_export_of_one_organisation_holds_no_row_of_another(office: Office) -> None:
    await act(office.house, 2)
    async with office.client("owner", "globex") as client:
        lines = (await client.get("/v1/audit/export")).content.splitlines(keepends=True)
    result = check(lines, await published_keys(office))
    assert result.is_whole
    assert result.rows == 1
    assert str(office.house.org).encode() not in b"".join(lines)


async def test_an_export_that_was_kept_convicts_a_log_rewritten_since(office: Office, tmp_path: Path) -> None:
    await act(office.house, 3)
    kept = tmp_path / "kept.jsonl"
    kept.write_bytes(b"".join(await exported(office)))
    db, keys = await office.house.main("api"), await published_keys(office)
    await act(office.house, 2)
    vouching = kept_heads(kept, keys)
    assert (await audit.verify(db, office.house.org, keys=keys, kept=vouching)).is_whole
    await rewrite(office.house.databases, db, office.house.org, 2, 6)
    assert (await audit.verify(db, office.house.org, keys=keys)).is_whole
    result = await audit.verify(db, office.house.org, keys=keys, kept=vouching)
    assert (result.broken_at, result.kind) == (4, audit.Fault.REWRITTEN)


async def test_signed_heads_are_listed_newest_first_page_by_page(office: Office) -> None:
    await filled(office)
    async with office.client("auditor") as client:
        first = shown(await client.get("/v1/audit/heads?limit=2"))
        assert [head["seq"] for head in first["items"]] == [3, 2]
        second = shown(await client.get("/v1/audit/heads", params={"limit": 2, "cursor": first["next"]}))
        assert [head["seq"] for head in second["items"]] == [1]
        assert second["next"] is None
