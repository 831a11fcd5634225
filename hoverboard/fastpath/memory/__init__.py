"""The memory of one host's engines: where words stand in its arrays, a module for each kind of array, and the arrays.

All state is preallocated NumPy arrays over one mapping: an engine allocates nothing, locks nothing and raises nothing
(paper section 4.1). Python threads see the same arrays, and with a shared mapping so does the process that runs
several hosts' engines in one thread. Used as `from hoverboard.fastpath.memory import packets` and
`row[packets.FRAME]`, which costs nothing in compiled code.
"""
