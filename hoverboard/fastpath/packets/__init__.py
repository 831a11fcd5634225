"""Packets: parsed, segmented and encapsulated in place, in rings and looked up in the flow table."""
