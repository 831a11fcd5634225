"""Mininet's classes, imported without Mininet's effect on logging; all other modules import them from here.

`mininet.log` sets its own class for all loggers that the process makes later. Such a logger hides `info`, and prints
each line a second time, without a time. This module restores the logger class.
"""

import logging

_before = logging.getLoggerClass()
try:
    from mininet.link import Intf, Link
    from mininet.net import Mininet
    from mininet.node import Node
    from mininet.topo import Topo
finally:
    logging.setLoggerClass(_before)

__all__ = ["Intf", "Link", "Mininet", "Node", "Topo"]
