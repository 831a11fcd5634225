"""Scripted experiments on a running testbed: raw samples, tables, figures, a report.

The measuring tools (iperf3, ping) are driven by one module each; experiments combine them. This
layer stands on `topologies` and knows nothing of the command line.
"""
