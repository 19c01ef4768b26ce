"""The steps of shipping a change that belong to no other capability."""
