"""Parses, segments and encapsulates packets in place; rings of packets; the flow table."""
