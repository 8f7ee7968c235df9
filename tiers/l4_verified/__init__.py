"""L4, verified: documents become evidence with exact sources, and claims that are checked against it."""
