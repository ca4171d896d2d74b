"""Printers of the event stream."""
