"""What an ordinary user lacks in the namespaces of a run, for tests that need it: each mark says what that is."""

from __future__ import annotations

import pytest

from hoverboard import mapped_users

# An ordinary user is root of its namespaces, where it is the only user.
ORDINARY = mapped_users.only_one()

needs_other_users = pytest.mark.skipif(
    ORDINARY, reason="an ordinary user cannot become another user, and can give no file to one"
)
needs_owners = pytest.mark.skipif(
    ORDINARY, reason="an ordinary user's namespaces have one user: all other owners of files look like one stranger"
)
