"""How results are shown: tables, and progress."""
