"""Tests of the whole stack. Fixtures of this package end with its last test, so the stack does not run on beside others."""
