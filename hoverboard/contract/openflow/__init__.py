"""The OpenFlow program of a host: flows, tables, pipeline and policy."""
