"""The buckets of an organisation and their renewal, as the API shows them."""

from uuid import uuid4

from hushwire.vault.renewal import renew_due
from tests.api.serving import Office, office, problem, shown

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
