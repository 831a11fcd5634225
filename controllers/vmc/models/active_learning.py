"""Active learning: hosts learn direct routes from their gateway (Achelous, SIGCOMM 2023).

The control plane programs the gateway model, with a default route that says that the host may learn. The host process
sends the requests, and keeps and revalidates the answers (hoverboard.host.underlay.learned_routes). Its flows have
Kind.LEARNED, and only the host process changes them.
"""

from __future__ import annotations

from controllers.vmc.models.gateway import GatewayModel


class ActiveLearningModel(GatewayModel, shipped="active-learning"):
    """A default route on VM hosts, all routes on Hoverboards; hosts learn the direct paths from them."""
