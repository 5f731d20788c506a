"""Faces in, decisions out: arrays on every arrow, no HTTP, SQL or settings.

bytes -> image -> detection -> alignment -> quality -> embedding -> gallery -> scoring -> decision;
each file is named after the arrow it implements.
"""
