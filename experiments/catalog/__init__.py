"""The paper's evaluation, one experiment a file."""

# The paper's order, for lists and for `run all`.
ORDER = (
    "throughput", "latency", "cpu", "programming-time", "pair-rates", "offload", "models", "burst",
    "gateway-overload", "on-demand-collapse", "programming-latency", "isolation", "coprocessor", "batching", "failover",
)  # fmt: skip


def rank(name: str) -> int:
    """Where an experiment stands in lists; those that the paper does not know come last."""
    return ORDER.index(name) if name in ORDER else len(ORDER)
