"""What a provisioning file declares of an organisation's own keys: its custody, and the public keys of its recipients."""

from dataclasses import dataclass, field
from datetime import datetime

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import ConfigError
from hushwire.core.ids import OrgId
from hushwire.services.custody import MOST_KEYS, Challenged, Custodian, NoSuchKey, Refused, View
from hushwire.store import provisioning as rows
from hushwire.store.database import Database
from hushwire.vault.custody import Mode
from hushwire.vault.keyring import Keyring
from hushwire.vault.recipients import PublicKey


@dataclass(frozen=True, slots=True)
class RecipientSpec:
    """A public key of the organisation's own, as declared; nothing is sealed to it before somebody proved to hold its other half."""

    name: str
    key: PublicKey = field(repr=False)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CustodySpec:
    """The mode and the keys of one organisation. None: what it has set itself stays."""

    mode: Mode | None = None
    recipients: tuple[RecipientSpec, ...] | None = None


@dataclass(slots=True)
class Done:
    """What was changed, and what was left alone though it is not declared."""

    changes: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


class DeclaredCustody:
    """Brings the keyring to what files declare."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random) -> None:
        self._main = main
        self._custodian = Custodian(main, keyring, clock, random)

    async def check(self, slug: str, spec: CustodySpec, now: datetime) -> None:
        """Raises ConfigError for what could not be carried out, before anything is changed."""
        if spec.recipients is None:
            return
        org_id = await self._find(slug)
        keys = () if org_id is None else (await self._custodian.view(org_id)).keys
        known = {key.fingerprint: key for key in keys}
        new = [recipient for recipient in spec.recipients if recipient.key.fingerprint not in known]
        wrong = [
            f'recipient "{recipient.name}": the key is retired, and does not come back: make a new pair'
            for recipient in spec.recipients
            if (found := known.get(recipient.key.fingerprint)) is not None and found.state == "retired"
        ]
        wrong += [
            f'recipient "{recipient.name}": expires_at lies in the past'
            for recipient in new
            if recipient.expires_at is not None and recipient.expires_at <= now
        ]
        if len(new) + sum(key.state != "retired" for key in keys) > MOST_KEYS:
            wrong.append(f"recipients: there may be {MOST_KEYS} keys at most")
        if wrong:
            raise ConfigError("\n".join(f"organisation {slug}: {problem}" for problem in wrong))

    async def apply(self, slug: str, spec: CustodySpec, actor: str, *, prune: bool) -> Done:
        """Register what is new, and set the mode, even where nothing can be recorded until a key is proven: that is said."""
        done = Done()
        org_id = await self._find(slug)
        if org_id is None or (spec.recipients is None and spec.mode is None):
            return done
        if spec.recipients is not None:
            await self._recipients(org_id, slug, spec.recipients, done, actor, prune=prune)
        view = await self._custodian.view(org_id)
        if spec.mode is not None and spec.mode != view.mode:
            changed = _granted(await self._custodian.set_mode(org_id, spec.mode, actor=actor, is_forced=True))
            done.changes.append(f"custody of {slug}: {spec.mode}, for recordings from now on")
            if isinstance(changed, View) and not changed.can_record:
                done.changes.append(f"custody of {slug}: NOTHING IS RECORDED before one of its keys is proven")
        return done

    async def _recipients(self, org_id: OrgId, slug: str, specs: tuple[RecipientSpec, ...], done: Done, actor: str, *, prune: bool) -> None:
        known = {key.fingerprint: key for key in (await self._custodian.view(org_id)).keys}
        for spec in specs:
            found, name = known.pop(spec.key.fingerprint, None), f"recipient {spec.name} of {slug}"
            if found is None:
                added = _granted(await self._custodian.add(org_id, spec.name, spec.key, spec.expires_at, actor=actor))
                assert isinstance(added, Challenged)
                place = f"/v1/privacy/custody/keys/{added.key.id}/challenge"
                done.changes.append(f"{name}: registered; nothing is sealed to it before it is proven (POST {place})")
            elif (found.name, found.expires_at) != (spec.name, spec.expires_at):
                _granted(await self._custodian.describe(org_id, found.id, name=spec.name, expires_at=spec.expires_at, actor=actor))
                done.changes.append(f"{name}: changed")
        for key in known.values():
            if key.state == "retired":
                continue
            if prune:
                _granted(await self._custodian.remove(org_id, key.id, actor=actor))
                done.changes.append(f"recipient {key.name} of {slug}: {'removed' if key.state == 'pending' else 'retired'}")
            else:
                done.kept.append(f"recipient {key.name} of {slug}")

    async def _find(self, slug: str) -> OrgId | None:
        async with self._main.transaction() as connection:
            return await rows.find_org(connection, slug)


def _granted(found: View | Challenged | Refused | NoSuchKey) -> View | Challenged:
    if isinstance(found, Refused):
        raise ConfigError(found.why)
    assert not isinstance(found, NoSuchKey)
    return found
