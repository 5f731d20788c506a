"""Turns captures into events and events into days that payroll can trust."""
