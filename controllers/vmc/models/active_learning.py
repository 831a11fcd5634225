"""Active learning: hosts learn direct routes from their gateway themselves (Achelous, SIGCOMM 2023).

The control plane programs what the gateway model does, and no more: the default route says that the
host may learn. Requests, answers, the cache and its revalidation are the host process's
(hoverboard.host.underlay.learned_routes); its flows, of Kind.LEARNED, are its own and nobody else's to touch.
"""

from __future__ import annotations

from controllers.vmc.models.gateway import GatewayModel


class ActiveLearningModel(GatewayModel, shipped="active-learning"):
    """Default route on VM hosts, all routes on Hoverboards; the rest is between those two."""
