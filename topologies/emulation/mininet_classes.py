"""Mininet's classes, loaded without Mininet's effect on everybody's loggers; all others import them from here.

`mininet.log` makes its own class that of every logger made afterwards, in the whole process: such a logger hides
`info`, and prints each line a second time, without a time. A program that imports ours keeps the class it had.
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
