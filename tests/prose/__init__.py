"""The rules for sentences in this project, and what finds the sentences: see CONTRIBUTING.md, "Sentences".

`python -m tests.prose [FILE ...]` lists what breaks a rule in documents and Python files (default: all of them).
"""
