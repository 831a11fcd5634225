"""The processes of a run: each is recorded, started, waited for and ended."""
