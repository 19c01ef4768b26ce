"""Accounts of the admin service: who may do what, in the store of Slipway."""
