"""Plants the bug that the tests are to catch, when the environment names one."""

from __future__ import annotations

from tests.crash import bugs

bugs.plant()
