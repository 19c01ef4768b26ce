"""The store of Slipway: which run holds which service, the attempts at each run, and the outcomes of its steps."""
