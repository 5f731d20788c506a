"""Tells other systems about events and days: signed, in order, at least once."""
