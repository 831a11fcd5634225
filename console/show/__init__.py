"""How results are shown: tables, JSON and progress."""
