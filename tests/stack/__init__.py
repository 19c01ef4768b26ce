"""Tests of the whole stack. The package's fixtures end with its last test, so the stack does not run beside other tests."""
