"""The demo: an offload to watch, its results, its picture and its report."""
