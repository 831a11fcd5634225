"""Orders of the fabric manager for the offload policy, which all VM controllers follow (paper section 3.3.1). Pure."""

from __future__ import annotations

from controllers.vmc.offload.policy import OffloadPolicy, OffloadSettings
from controllers.vmc.offload.policy_file import changed, load_policy
from hoverboard.contract.wire import control_pb2 as pb
from hoverboard.contract.wire import fabric_pb2


def settings_message(settings: OffloadSettings, reference: str | None) -> fabric_pb2.OffloadSettings:
    """The settings and the policy's reference as a message."""
    return fabric_pb2.OffloadSettings(
        threshold_bps=settings.threshold_bps, keep_bps=settings.keep_bps,
        minimum_lifetime=settings.minimum_lifetime, idle_expiry=settings.idle_expiry,
        budget=settings.budget, policy=reference or "",
    )  # fmt: skip


class FollowedOffload:
    """The last order that a VM controller has followed.

    Args:
        settings: with which the controller was started.
        reference: "/path/file.py:Class" of its policy; None: the built-in policy.
    """

    def __init__(self, settings: OffloadSettings, reference: str | None) -> None:
        self._settings = settings
        self._order = pb.OffloadOrder(settings=settings_message(settings, reference))

    def follow(self, order: pb.OffloadOrder) -> OffloadPolicy | None:
        """The policy that an order asks for; None: the present one.

        A fabric manager begins with number 0. So an equal order of another number is a request to read the file again.

        Raises:
            InputError: the policy cannot be made; the present one stays.
        """
        known, self._order = self._order, order
        if order.settings == known.settings and order.number in (0, known.number):
            return None
        self._settings = changed(self._settings, order.settings)
        return load_policy(order.settings.policy or None, self._settings)
