"""Names by which a colleague's phone may pick up a call that rings: in the place of Call-ID and tags, which would open its dialog.

Who knows a dialog's Call-ID and both tags is believed to be in it: could end the call, or take its sound elsewhere. So what dialog-info
tells of a ringing call (RFC 4235 section 4.1.2) is a name made for this: good for an INVITE with Replaces while it rings, and for
nothing else.
"""

from collections.abc import Callable
from typing import Final

from hushwire.core.ids import CallId
from hushwire.sip.effects import DialogKey

_PREFIX: Final = "pickup-"


class PickupNames:
    """The names of calls that ring now. `put(name, dialog)` has the SIP engine know one, `drop(name)` forget it; `tag` as below."""

    def __init__(self, tag: Callable[[str], bytes], put: Callable[[DialogKey, DialogKey], None], drop: Callable[[DialogKey], None]) -> None:
        self._tag = tag
        self._put = put
        self._drop = drop
        self._given: dict[CallId, tuple[DialogKey, DialogKey]] = {}

    def of(self, call_id: CallId, dialog: DialogKey) -> DialogKey:
        """The name of a call that rings in this dialog of ours; as the ringing phone would see it."""
        given = self._given.get(call_id)
        if given is not None and given[1] == dialog:
            return given[0]
        self.forget(call_id)
        name = pickup_name(call_id, self._tag)
        self._given[call_id] = name, dialog
        for either in (name, _turned(name)):  # who is the near side of whose dialog is read in both ways by phones
            self._put(either, dialog)
        return name

    def forget(self, call_id: CallId) -> None:
        """The call rings no more."""
        given = self._given.pop(call_id, None)
        if given is not None:
            self._drop(given[0])
            self._drop(_turned(given[0]))


def pickup_name(call_id: CallId, tag: Callable[[str], bytes]) -> DialogKey:
    """What a call is picked up by while it rings, on whatever gateway: `tag` is `DeploymentKeys.between_nodes`."""
    said = tag(f"pickup {call_id}").hex()
    return DialogKey(_PREFIX + said[:32], said[32:48], said[48:])


def _turned(name: DialogKey) -> DialogKey:
    return DialogKey(name.call_id, name.remote_tag, name.local_tag)
