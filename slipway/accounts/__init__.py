"""Accounts of the admin service and their permissions, saved in Slipway's store."""
