"""`apply` and an organisation's own keys: declared, registered once, never sealed to before they are proven."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from hushwire.app.sources import SystemClock, SystemRandom
from hushwire.core.errors import ConfigError, KeyUnavailable
from hushwire.core.ids import OrgId
from hushwire.services.custody import Challenged, Custodian, View
from hushwire.services.provisioning import Outcome, Provisioning
from hushwire.services.provisioning_custody import CustodySpec, RecipientSpec
from hushwire.services.provisioning_specs import Desired, OrgSpec
from hushwire.vault.envelopes import answer_challenge
from tests.services.test_provisioning import ROW, rows, service
from tests.vault.test_envelopes import KEYS, ours

__all__ = ["service"]
X, OTHER = RecipientSpec("vault", ours("x25519").public), RecipientSpec("spare", KEYS["x25519/other"].public)


async def apply(service: Provisioning, custody: CustodySpec, **more: Any) -> Outcome:
    return await service.apply(Desired((), (OrgSpec(ROW, (), (), (), custody=custody),)), **more)


async def custodian_of(service: Provisioning) -> tuple[Custodian, OrgId]:
    (row,) = await rows(service.main, "SELECT id FROM orgs")
    return Custodian(service.main, service.keyring, SystemClock(), SystemRandom()), OrgId(row["id"])


async def test_declared_keys_wait_for_their_proof_and_a_second_apply_changes_nothing(service: Provisioning) -> None:
    declared = CustodySpec("customer", (X, OTHER))
    first = await apply(service, declared)
    assert any("recipient vault of acme: registered" in change for change in first.changes)
    assert any("NOTHING IS RECORDED" in change for change in first.changes)
    custodian, org = await custodian_of(service)
    with pytest.raises(KeyUnavailable, match="holds its own keys"):
        await service.keyring.new_data_key(org, "recording", uuid4())
    second = await apply(service, declared)
    assert (second.changes, second.kept) == ([], [])
    pending = next(key for key in (await custodian.view(org)).keys if key.name == "vault")
    asked = await custodian.challenge(org, pending.id)
    assert isinstance(asked, Challenged)
    proven = await custodian.prove(org, pending.id, answer_challenge(asked.challenge, ours("x25519")), actor="api-key:1")
    assert isinstance(proven, View)
    assert proven.can_record
    assert (await service.keyring.new_data_key(org, "recording", uuid4())).custody == "customer"
    assert (await apply(service, declared)).changes == []
    (versions,) = await rows(service.main, "SELECT custody_version FROM orgs")
    assert versions["custody_version"] == proven.version


async def test_what_is_not_declared_is_kept_and_named_and_retired_by_prune_only(service: Provisioning) -> None:
    await apply(service, CustodySpec("hushwire", (X, OTHER)))
    assert (await apply(service, CustodySpec(None, (X,)))).kept == ["recipient spare of acme"]
    # Without a word about recipients even prune leaves alone what the organisation has registered itself.
    assert (await apply(service, CustodySpec(), prune=True)).changes == []
    assert (await apply(service, CustodySpec(None, (X,)), prune=True)).changes == ["recipient spare of acme: removed"]
    custodian, org = await custodian_of(service)
    assert [key.name for key in (await custodian.view(org)).keys] == ["vault"]


async def test_a_name_or_an_end_is_changed_in_place(service: Provisioning) -> None:
    end = datetime.now(UTC) + timedelta(days=100)
    await apply(service, CustodySpec(None, (X,)))
    changed = await apply(service, CustodySpec(None, (dataclasses.replace(X, name="renamed", expires_at=end),)))
    assert changed.changes == ["recipient renamed of acme: changed"]
    custodian, org = await custodian_of(service)
    (key,) = (await custodian.view(org)).keys
    assert (key.name, key.expires_at) == ("renamed", end)


async def test_what_can_not_be_carried_out_is_said_before_anything_changes(service: Provisioning) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    with pytest.raises(ConfigError, match='recipient "vault": expires_at lies in the past'):
        await apply(service, CustodySpec("both", (dataclasses.replace(X, expires_at=past),)))
    async with service.main.transaction() as connection:
        assert await connection.fetchval("SELECT find_org('acme')") is None
    await apply(service, CustodySpec(None, (X,)))
    custodian, org = await custodian_of(service)
    (key,) = (await custodian.view(org)).keys
    asked = await custodian.challenge(org, key.id)
    assert isinstance(asked, Challenged)
    await custodian.prove(org, key.id, answer_challenge(asked.challenge, ours("x25519")), actor="api-key:1")
    await custodian.remove(org, key.id, actor="api-key:1")
    with pytest.raises(ConfigError, match="does not come back"):
        await apply(service, CustodySpec("both", (X,)))
    assert (await custodian.view(org)).mode == "hushwire"
