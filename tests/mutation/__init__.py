"""Mutation testing: change one thing in a module, and see whether a unit test fails. Started by `tests/mutate`.

Two libraries were tried. mutmut 3.8 replaces functions by trampolines. It leaves out decorated functions (all that
Numba compiles) and what stands outside functions (the OpenFlow tables). cosmic-ray 8.7 starts the whole test command for
each mutant and knows nothing of coverage: minutes for each, where this package takes less than a second.
"""
