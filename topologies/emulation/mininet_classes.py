"""Mininet's classes, imported without Mininet's effect on logging; all other modules import them from here.

`mininet.log` sets its own class for all loggers that the process makes later. Such a logger hides `info`, and prints
each line a second time, without a time. This module restores the logger class.

It changes Mininet in two places. Its helpers replace a byte that is no UTF-8. Its command line takes names with a "-",
as VMs have them.
"""

import codecs
import logging

_before = logging.getLoggerClass()
try:
    from mininet import util as _util
    from mininet.cli import CLI as _CLI
    from mininet.link import Intf, Link
    from mininet.log import error as mininet_error
    from mininet.log import output as mininet_output
    from mininet.net import Mininet
    from mininet.node import Node
    from mininet.topo import Topo
finally:
    logging.setLoggerClass(_before)


def replacing_decoder() -> codecs.IncrementalDecoder:
    """A decoder of UTF-8 that never fails."""
    return codecs.getincrementaldecoder("utf-8")(errors="replace")


_util.getincrementaldecoder = replacing_decoder  # for `pmonitor`, which reads many `popen`s
_CLI.identchars += "-"

__all__ = ["Intf", "Link", "Mininet", "Node", "Topo", "mininet_error", "mininet_output", "replacing_decoder"]
