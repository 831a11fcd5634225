"""The memory of one host's engines: the positions of words in its arrays, one module per kind of array, and the arrays.

All state is in preallocated NumPy arrays over one mapping: an engine allocates no memory, takes no lock and raises no
exception (paper section 4.1). Python threads see the same arrays. With a shared mapping, so does the process that runs
the engines of several hosts in one thread. Modules write `from hoverboard.fastpath.memory import packets` and
`row[packets.FRAME]`, which costs nothing in compiled code.
"""
