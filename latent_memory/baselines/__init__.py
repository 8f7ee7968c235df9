"""Methods of others that have to be trained before they can be compared with."""
