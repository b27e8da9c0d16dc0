"""The buckets of an organisation and their renewal, as the API shows them."""

from uuid import uuid4

from hushwire.vault.renewal import renew_due
from tests.api.serving import Office, add_key, office, problem, shown

__all__ = ["office"]


async def test_buckets_are_shown_with_their_state_and_progress_to_their_own_organisation_only(office: Office) -> None:
    house = office.house
    gone, _ = await (await house.keyring("gateway")).new_data_keys(house.org, "recording", [uuid4(), uuid4()])
    await (await house.keyring("api")).destroy_data_key(house.org, "recording", gone.id)
    await renew_due(await house.keyring("worker"))
    async with office.client() as api, office.client(slug="globex") as other, office.client("supervisor") as supervisor:
        page = shown(await api.get("/v1/privacy/keys"))
        new, old = page["items"]
        assert (new["state"], new["keys"], new["progress"], new["destroyed_at"]) == ("current", 1, None, None)
        assert (old["state"], old["keys"], old["erasures"], old["survivors"], old["moved"]) == ("destroyed", 0, 1, 1, 1)
        assert old["progress"] == 1.0
        assert old["destroyed_at"] is not None
        first = shown(await api.get("/v1/privacy/keys", params={"limit": 1}))
        assert [item["id"] for item in first["items"]] == [new["id"]]
        rest = shown(await api.get("/v1/privacy/keys", params={"cursor": first["next"]}))
        assert ([item["id"] for item in rest["items"]], rest["next"]) == ([old["id"]], None)
        (foreign,) = shown(await other.get("/v1/privacy/keys"))["items"]
        assert foreign["id"] not in (new["id"], old["id"])
        problem(await api.get("/v1/privacy/keys", params={"cursor": "x"}), 422)
        problem(await supervisor.get("/v1/privacy/keys"), 403)


async def test_a_second_zone_that_is_away_is_told_by_readiness_and_metrics_and_nothing_is_said_where_there_is_none(office: Office) -> None:
    async with office.stranger() as api:
        assert "zone2" not in shown(await api.get("/readyz"))
        assert "hushwire_zone2_up{" not in (await api.get("/metrics")).text
        office.means.keyring._is_confirmed = True
        assert shown(await api.get("/readyz"))["zone2"] == "away"
        assert 'hushwire_zone2_up{database="keyring"} 0.0' in (await api.get("/metrics")).text


async def test_nobody_reads_content_for_a_purpose_of_the_systems_own(office: Office) -> None:
    recording = await office.house.record()
    office.keys["acme", "sly"] = await add_key(office.house, office.house.org, "owner", purpose="key-renewal")
    async with office.client() as owner, office.client("sly") as sly:
        path = f"/v1/recordings/{recording}/audio"
        problem(await owner.get(path, headers={"Hushwire-Purpose": "storage-integrity"}), 403)
        problem(await sly.get(path), 403)
    assert [row for row in await office.rows("SELECT object FROM access_log") if row["object"] == f"recording:{recording}"] == []
