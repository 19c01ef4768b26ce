"""The steps of shipping a change that belong to no other capability: validate, inspect, decide, record, staging."""
